/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "scanner/guard_hosts.h"

#include <stdlib.h>
#include <string.h>

enum {
	WAYS = 4, /* places that a key may stand in */
	OPENS_MANY = 5,
	OPENS_FEW = 3,
	OPENS_BESIDE = 2, /* where a neighbour accepts every port already */
	RANDOM_PORTS = GUARD_LAST_RANDOM_PORT - GUARD_FIRST_RANDOM_PORT + 1,
};

/* A host, or a network with zeros behind it. Compared as bytes: no padding. */
struct key {
	uint8_t address[16];
	uint32_t scope_id;
	uint32_t family; /* 0: the place is free */
};

struct entry {
	struct key key;
	uint32_t count; /* open ports of a host; hosts of a network that accept every port */
	uint32_t next;  /* looked at when `count` is so high */
	uint32_t made;  /* in turn: the lower, the older */
	uint32_t aside; /* 0 or 1; the whole struct is of 32 bits */
};

struct table {
	struct entry *entries;
	uint32_t count; /* a multiple of WAYS */
};

struct guard_hosts {
	struct siphash_key key;
	struct table hosts, networks;
	uint32_t made;
	unsigned threshold;
	bool has_free_ports;
	uint8_t ports[65536 / 8]; /* of the sweep, a bit each */
};

unsigned guard_hosts_threshold(size_t n_ports)
{
	size_t most = n_ports / 2 + 1;

	if (most < OPENS_FEW)
		return OPENS_FEW;
	return most < OPENS_MANY ? (unsigned)most : OPENS_MANY;
}

static bool is_swept(const struct guard_hosts *h, unsigned port)
{
	return h->ports[port / 8] >> (port % 8) & 1;
}

struct guard_hosts *guard_hosts_new(const struct siphash_key *key, const uint16_t *ports,
                                    size_t n_ports)
{
	struct guard_hosts *h = calloc(1, sizeof(*h));
	unsigned free_ports = 0;

	if (!h)
		return NULL;
	h->hosts = (struct table){calloc(GUARD_HOSTS, sizeof(struct entry)), GUARD_HOSTS};
	h->networks = (struct table){calloc(GUARD_NETWORKS, sizeof(struct entry)), GUARD_NETWORKS};
	if (!h->hosts.entries || !h->networks.entries) {
		guard_hosts_free(h);
		return NULL;
	}
	h->key = *key;
	h->threshold = guard_hosts_threshold(n_ports);
	for (size_t i = 0; i < n_ports; i++)
		h->ports[ports[i] / 8] |= (uint8_t)(1U << (ports[i] % 8));
	for (unsigned p = GUARD_FIRST_RANDOM_PORT; p <= GUARD_LAST_RANDOM_PORT; p++)
		free_ports += !is_swept(h, p);
	h->has_free_ports = free_ports >= 3;
	return h;
}

void guard_hosts_free(struct guard_hosts *h)
{
	if (!h)
		return;
	free(h->hosts.entries);
	free(h->networks.entries);
	free(h);
}

static struct key host_key(const struct endpoint *e)
{
	struct key key = {.scope_id = e->scope_id, .family = e->family};

	memcpy(key.address, e->address, sizeof(key.address));
	return key;
}

struct prefix guard_hosts_network(const struct endpoint *e)
{
	struct prefix p = {.family = e->family, .bits = e->family == AF_INET ? 24 : 64};

	memcpy(p.address, e->address, p.bits / 8);
	return p;
}

static struct key network_key(const struct endpoint *e)
{
	struct prefix network = guard_hosts_network(e);
	struct key key = {.scope_id = e->scope_id, .family = e->family};

	memcpy(key.address, network.address, sizeof(key.address));
	return key;
}

static struct entry *places_of(const struct guard_hosts *h, const struct table *t,
                               const struct key *key)
{
	uint64_t hash = siphash_compute(&h->key, key, sizeof(*key));

	return &t->entries[hash % (t->count / WAYS) * WAYS];
}

static struct entry *find(const struct guard_hosts *h, const struct table *t, struct key key)
{
	struct entry *places = places_of(h, t, &key);

	for (size_t i = 0; i < WAYS; i++) {
		if (memcmp(&places[i].key, &key, sizeof(key)) == 0)
			return &places[i];
	}
	return NULL;
}

/* What is set aside is worth most, then what has been seen most, then the youngest. */
static bool is_worth_less(const struct entry *a, const struct entry *b)
{
	if (a->aside != b->aside)
		return a->aside < b->aside;
	if (a->count != b->count)
		return a->count < b->count;
	return a->made < b->made;
}

static struct entry *find_or_make(struct guard_hosts *h, const struct table *t, struct key key,
                                  uint32_t next)
{
	struct entry *entry = find(h, t, key), *places;

	if (entry)
		return entry;
	places = places_of(h, t, &key);
	entry = &places[0];
	for (size_t i = 1; i < WAYS; i++) {
		if (is_worth_less(&places[i], entry))
			entry = &places[i];
	}
	*entry = (struct entry){.key = key, .next = next, .made = ++h->made};
	return entry;
}

enum guard_seen guard_hosts_see(struct guard_hosts *h, const struct endpoint *e)
{
	const struct entry *network = find(h, &h->networks, network_key(e));
	struct entry *host;

	if (network && network->aside)
		return GUARD_SEEN_NETWORK_ASIDE;
	host = find_or_make(h, &h->hosts, host_key(e), h->threshold);
	if (host->aside)
		return GUARD_SEEN_HOST_ASIDE;
	if (host->count < UINT32_MAX)
		host->count++;
	/* Only networks where a host was set aside are remembered. */
	if (host->count >= host->next ||
	    (network && host->count == OPENS_BESIDE && host->next == h->threshold))
		return GUARD_SEEN_CHECK;
	return GUARD_SEEN_PASS;
}

bool guard_hosts_judge(struct guard_hosts *h, const struct endpoint *e, bool accepts_all)
{
	struct entry *host = find_or_make(h, &h->hosts, host_key(e), h->threshold);
	struct entry *network;

	if (!accepts_all) {
		host->next = 4 * (host->count > h->threshold ? host->count : h->threshold);
		return false;
	}
	if (host->aside)
		return false;
	host->aside = 1;
	network = find_or_make(h, &h->networks, network_key(e), GUARD_NETWORK_HOSTS);
	return !network->aside && ++network->count >= network->next;
}

void guard_hosts_judge_network(struct guard_hosts *h, const struct endpoint *e, bool accepts_all)
{
	struct entry *network = find_or_make(h, &h->networks, network_key(e), GUARD_NETWORK_HOSTS);

	if (accepts_all)
		network->aside = 1;
	else
		network->next =
		    2 * (network->count > network->next ? network->count : network->next);
}

bool guard_hosts_is_aside(const struct guard_hosts *h, const struct endpoint *e)
{
	const struct entry *network = find(h, &h->networks, network_key(e));
	const struct entry *host = find(h, &h->hosts, host_key(e));

	return (network && network->aside) || (host && host->aside);
}

static uint64_t draw(const struct guard_hosts *h, struct key key, uint32_t what)
{
	struct {
		struct key key;
		uint32_t what;
	} message = {key, what};

	_Static_assert(sizeof(message) == sizeof(struct key) + sizeof(uint32_t), "no padding");
	return siphash_compute(&h->key, &message, sizeof(message));
}

uint16_t guard_hosts_random_port(const struct guard_hosts *h, const struct endpoint *e, unsigned i)
{
	uint64_t at = draw(h, host_key(e), 0) % RANDOM_PORTS;

	/*
	 * One start and one stride for a host: no two of its ports are the same, as the range has
	 * 21,000 = 2^3 * 3 * 5^3 * 7 ports and the stride shares no factor with that.
	 */
	static const uint16_t strides[] = {4027, 5689, 6311, 7883};
	uint64_t stride = strides[draw(h, host_key(e), 1) % (sizeof(strides) / sizeof(*strides))];

	for (;;) {
		uint16_t port = (uint16_t)(GUARD_FIRST_RANDOM_PORT + at);

		at = (at + stride) % RANDOM_PORTS;
		if (h->has_free_ports && is_swept(h, port))
			continue;
		if (i-- == 0)
			return port;
	}
}

void guard_hosts_random_address(const struct guard_hosts *h, const struct endpoint *e, unsigned i,
                                struct endpoint *out)
{
	uint64_t bits = draw(h, network_key(e), 2 + i);
	struct prefix network = guard_hosts_network(e);

	*out = (struct endpoint){.family = e->family, .scope_id = e->scope_id};
	memcpy(out->address, network.address, sizeof(out->address));
	if (e->family == AF_INET)
		out->address[3] = (uint8_t)(1 + bits % 254); /* not the network, not all of it */
	else
		memcpy(out->address + 8, &bits, sizeof(bits));
}
