/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "scanner/discover/host_pace.h"

#include "common/siphash.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum { SETS = 1 << 13, WAYS = 8 };

/* One cache line of marks, one of times: a host may lie in any way of its set. */
struct host_set {
	uint64_t mark[WAYS]; /* hash of the host; two hosts with one hash would share its pace */
	int64_t free_ns[WAYS];
};

struct host_pace {
	int64_t interval_ns;
	struct siphash_key key;
	struct host_set set[SETS];
};

int host_pace_new(uint64_t per_host_per_sec, uint64_t seed, struct host_pace **out)
{
	struct host_pace *h;

	if (!per_host_per_sec)
		return -EINVAL;
	h = calloc(1, sizeof(*h));
	if (!h)
		return -ENOMEM;
	h->interval_ns =
	    per_host_per_sec >= 1000000000 ? 1 : (int64_t)(1000000000 / per_host_per_sec);
	h->key = (struct siphash_key){.low = seed, .high = ~seed};
	for (size_t i = 0; i < SETS; i++) {
		for (size_t way = 0; way < WAYS; way++)
			h->set[i].free_ns[way] = INT64_MIN;
	}
	*out = h;
	return 0;
}

void host_pace_free(struct host_pace *h)
{
	free(h);
}

static uint64_t hash_host(const struct host_pace *h, const struct endpoint *e)
{
	uint8_t message[sizeof(e->address) + sizeof(e->scope_id) + 1];

	memcpy(message, e->address, sizeof(e->address));
	memcpy(message + sizeof(e->address), &e->scope_id, sizeof(e->scope_id));
	message[sizeof(message) - 1] = e->family == AF_INET6;
	return siphash_compute(&h->key, message, sizeof(message));
}

int64_t host_pace_ready(struct host_pace *h, const struct endpoint *e, int64_t now_ns)
{
	uint64_t mark = hash_host(h, e);
	struct host_set *set = &h->set[mark % SETS];
	size_t soonest = 0;

	for (size_t way = 0; way < WAYS; way++) {
		if (set->mark[way] == mark && set->free_ns[way] > now_ns)
			return set->free_ns[way] - now_ns;
		if (set->free_ns[way] < set->free_ns[soonest])
			soonest = way;
	}
	/* Only what is past may be forgotten: else its host would be asked too early. */
	if (set->free_ns[soonest] > now_ns)
		return set->free_ns[soonest] - now_ns;
	set->mark[soonest] = mark;
	set->free_ns[soonest] = now_ns + h->interval_ns;
	return 0;
}
