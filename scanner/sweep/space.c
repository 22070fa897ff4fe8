/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "scanner/sweep/space.h"

#include "common/cleanup.h"

#include <endian.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

/*
 * Prefixes nest or are apart. Sorted, with the wider first, they are a forest, whose nodes know
 * the nearest node around them. Nearly always no node has one: then nothing below walks at all.
 *
 * Within a span the ports are outermost: index = base + (port << host_bits | host), so that both
 * ways are shifts and masks. Host parts lie in the lower word, since no span is over 2^62.
 */
enum { HOST_BITS_MAX = 62 };
#define SIZE_LIMIT (UINT64_C(1) << HOST_BITS_MAX)
#define NO_NODE    UINT32_MAX

/* An address in the host's byte order; IPv4 is a lower word alone. */
struct place {
	uint64_t zone; /* family and scope */
	uint64_t high, low;
};

struct span {
	struct place first;
	uint32_t token;
	uint32_t node;
	uint16_t port; /* 0: every port of the list */
	uint8_t host_bits;
	bool shadowed; /* a span around it has a port of the list: ask for duplicates */
};

/* The spans of one prefix: that of every port first, then those of one port, sorted. */
struct node {
	struct place first;
	uint32_t parent;
	uint32_t span, end;
	uint8_t host_bits;
};

struct sweep_space {
	struct span *spans;
	uint64_t *bases; /* of each span; the size after the last */
	struct node *nodes;
	uint64_t *v4_firsts; /* of the first n_v4 nodes, which are the IPv4 ones: `first.low` */
	uint32_t n_spans, n_nodes, n_v4;
	uint16_t *ports;
	uint32_t n_ports;
	uint16_t place_of_port[65536]; /* in `ports`, from 1; 0: not there */
};

static uint64_t host_mask(unsigned host_bits)
{
	return (UINT64_C(1) << host_bits) - 1;
}

static struct place place_of(sa_family_t family, uint32_t scope_id,
                             const uint8_t address[static 16])
{
	struct place p = {.zone = (uint64_t)family << 32};
	uint64_t words[2];
	uint32_t v4;

	if (family == AF_INET) {
		memcpy(&v4, address, sizeof(v4));
		p.low = be32toh(v4);
		return p;
	}
	p.zone |= scope_id;
	memcpy(words, address, sizeof(words));
	p.high = be64toh(words[0]);
	p.low = be64toh(words[1]);
	return p;
}

static void place_to_endpoint(const struct place *p, uint16_t port, struct endpoint *out)
{
	struct endpoint e = {
	    .family = (sa_family_t)(p->zone >> 32),
	    .port = port,
	    .scope_id = (uint32_t)p->zone,
	};
	const uint64_t words[2] = {htobe64(p->high), htobe64(p->low)};
	const uint32_t v4 = htobe32((uint32_t)p->low);

	if (e.family == AF_INET)
		memcpy(e.address, &v4, sizeof(v4));
	else
		memcpy(e.address, words, sizeof(words));
	*out = e;
}

static int compare_words(uint64_t a, uint64_t b)
{
	return (a > b) - (a < b);
}

static int compare_places(const struct place *a, const struct place *b)
{
	int order = compare_words(a->zone, b->zone);

	if (order == 0)
		order = compare_words(a->high, b->high);
	return order ? order : compare_words(a->low, b->low);
}

static bool node_has(const struct node *node, const struct place *p)
{
	return node->first.zone == p->zone && node->first.high == p->high &&
	       (node->first.low ^ p->low) >> node->host_bits == 0;
}

/* The span of a node that has a port, or NULL; an all-ports span before one of a single port. */
static const struct span *node_find_port(const struct sweep_space *s, const struct node *node,
                                         uint16_t port)
{
	uint32_t low = node->span, high = node->end;

	if (s->spans[low].port == 0) {
		if (s->place_of_port[port])
			return &s->spans[low];
		low++;
	}
	while (low < high) {
		uint32_t middle = low + (high - low) / 2;

		if (s->spans[middle].port == port)
			return &s->spans[middle];
		if (s->spans[middle].port < port)
			low = middle + 1;
		else
			high = middle;
	}
	return NULL;
}

/* The same of the widest of a node and those around it: the one of the lowest index. */
static const struct span *chain_find_port(const struct sweep_space *s, uint32_t node, uint16_t port)
{
	const struct span *found = NULL;

	for (; node != NO_NODE; node = s->nodes[node].parent) {
		const struct span *here = node_find_port(s, &s->nodes[node], port);

		if (here)
			found = here;
	}
	return found;
}

/* The last of `n` ascending numbers, the first of which is at most `key`, that is at most `key`. */
static size_t last_at_most(const uint64_t *numbers, size_t n, uint64_t key)
{
	const uint64_t *at = numbers;

	while (n > 1) {
		size_t half = n / 2;

		/* A conditional move: which way a branch goes, nothing could foretell. */
		at = at[half] <= key ? at + half : at;
		n -= half;
	}
	return (size_t)(at - numbers);
}

/* The last node that starts at or before an address, or NO_NODE. */
static uint32_t find_start(const struct sweep_space *s, const struct place *p)
{
	uint32_t low = s->n_v4, high = s->n_nodes;

	if (p->zone == (uint64_t)AF_INET << 32) {
		if (s->n_v4 == 0 || p->low < s->v4_firsts[0])
			return NO_NODE;
		return (uint32_t)last_at_most(s->v4_firsts, s->n_v4, p->low);
	}
	while (low < high) {
		uint32_t middle = low + (high - low) / 2;

		if (compare_places(&s->nodes[middle].first, p) <= 0)
			low = middle + 1;
		else
			high = middle;
	}
	return low > s->n_v4 ? low - 1 : NO_NODE;
}

/* The narrowest node that has an address, or NO_NODE. */
static uint32_t find_node(const struct sweep_space *s, const struct place *p)
{
	uint32_t node = find_start(s, p);

	/* That one has it, or lies in one that has it, or none has. */
	while (node != NO_NODE && !node_has(&s->nodes[node], p))
		node = s->nodes[node].parent;
	return node;
}

bool sweep_space_at(const struct sweep_space *s, uint64_t index, struct endpoint *out,
                    uint32_t *token)
{
	const struct span *span;
	struct place p;
	uint64_t offset;
	uint16_t port;
	size_t i;

	if (index >= s->bases[s->n_spans])
		return false;
	i = last_at_most(s->bases, s->n_spans, index);
	span = &s->spans[i];
	offset = index - s->bases[i];
	port = span->port ? span->port : s->ports[offset >> span->host_bits];
	if (span->shadowed && chain_find_port(s, span->node, port) != span)
		return false;
	p = span->first;
	p.low |= offset & host_mask(span->host_bits);
	place_to_endpoint(&p, port, out);
	*token = span->token;
	return true;
}

bool sweep_space_find(const struct sweep_space *s, const struct endpoint *e, uint64_t *index)
{
	const struct place p = place_of(e->family, e->scope_id, e->address);
	const struct span *span = chain_find_port(s, find_node(s, &p), e->port);
	uint64_t port;

	if (!span)
		return false;
	port = span->port ? 0 : s->place_of_port[e->port] - 1U;
	*index = s->bases[span - s->spans] +
	         (port << span->host_bits | (p.low & host_mask(span->host_bits)));
	return true;
}

uint64_t sweep_space_size(const struct sweep_space *s)
{
	return s->bases[s->n_spans];
}

/* A span as given, to be sorted. */
struct candidate {
	struct span span;
	size_t order;
};

static int compare_candidates(const void *left, const void *right)
{
	const struct candidate *a = left, *b = right;
	int order = compare_places(&a->span.first, &b->span.first);

	if (order == 0)
		order = (int)b->span.host_bits - (int)a->span.host_bits;
	if (order == 0)
		order = (int)a->span.port - (int)b->span.port;
	return order ? order : compare_words(a->order, b->order);
}

static int read_span(const struct sweep_span *from, size_t n_ports, struct span *out)
{
	const struct prefix *prefix = &from->prefix;
	const unsigned width = prefix->family == AF_INET ? 32 : 128;
	struct span span = {
	    .first = place_of(prefix->family, from->scope_id, prefix->address),
	    .token = from->token,
	    .port = from->port,
	};

	if (prefix->family != AF_INET && prefix->family != AF_INET6)
		return -EINVAL;
	if (prefix->bits > width || (span.port == 0 && n_ports == 0))
		return -EINVAL;
	if (width - prefix->bits > HOST_BITS_MAX)
		return -EOVERFLOW;
	span.host_bits = (uint8_t)(width - prefix->bits);
	if (span.first.low & host_mask(span.host_bits))
		return -EINVAL;
	if (width == 128 && span.first.high == 0 && span.first.low >> 32 == 0xffff &&
	    span.host_bits <= 32)
		return -EINVAL;
	*out = span;
	return 0;
}

static int read_ports(struct sweep_space *s, const uint16_t *ports, size_t n_ports)
{
	if (n_ports > 65535)
		return -EINVAL;
	/* One more than needed: there may be none. */
	s->ports = calloc(n_ports + 1, sizeof(*s->ports));
	if (!s->ports)
		return -ENOMEM;
	for (size_t i = 0; i < n_ports; i++) {
		if (ports[i] == 0 || s->place_of_port[ports[i]])
			return -EINVAL;
		s->ports[i] = ports[i];
		s->place_of_port[ports[i]] = (uint16_t)(i + 1);
	}
	s->n_ports = (uint32_t)n_ports;
	return 0;
}

/* Whether the spans of these nodes have all of a span's endpoints. */
static bool chain_covers(const struct sweep_space *s, uint32_t node, const struct span *span)
{
	if (span->port)
		return chain_find_port(s, node, span->port) != NULL;
	for (; node != NO_NODE; node = s->nodes[node].parent) {
		if (s->spans[s->nodes[node].span].port == 0)
			return true;
	}
	return false;
}

/* Whether nodes around an all-ports span, none of which has such a span, have ports of the list. */
static bool chain_shadows(const struct sweep_space *s, uint32_t node)
{
	for (; node != NO_NODE; node = s->nodes[node].parent) {
		for (uint32_t i = s->nodes[node].span; i < s->nodes[node].end; i++) {
			if (s->place_of_port[s->spans[i].port])
				return true;
		}
	}
	return false;
}

/* Adds the next span in order, unless the earlier ones have all of it. */
static int add_span(struct sweep_space *s, struct span span)
{
	uint32_t around = s->n_nodes ? s->n_nodes - 1 : NO_NODE;
	uint64_t size = span.port ? 1 : s->n_ports;
	uint64_t base = s->bases[s->n_spans];

	while (around != NO_NODE && !node_has(&s->nodes[around], &span.first))
		around = s->nodes[around].parent;
	if (chain_covers(s, around, &span))
		return 0;
	if (size > SIZE_LIMIT >> span.host_bits || (size << span.host_bits) > SIZE_LIMIT - base)
		return -EOVERFLOW;
	if (around == NO_NODE || s->nodes[around].host_bits != span.host_bits) {
		s->nodes[s->n_nodes] = (struct node){
		    .first = span.first,
		    .parent = around,
		    .span = s->n_spans,
		    .host_bits = span.host_bits,
		};
		span.shadowed = span.port == 0 && chain_shadows(s, around);
		around = s->n_nodes++;
		if (span.first.zone == (uint64_t)AF_INET << 32)
			s->v4_firsts[s->n_v4++] = span.first.low;
	}
	span.node = around;
	s->nodes[around].end = s->n_spans + 1;
	s->spans[s->n_spans++] = span;
	s->bases[s->n_spans] = base + (size << span.host_bits);
	return 0;
}

AUTO_CLEANUP(sweep_space, struct sweep_space *, sweep_space_free)
#define auto_sweep_space __attribute__((cleanup(cleanup_sweep_space)))

int sweep_space_new(const struct sweep_span *spans, size_t n_spans, const uint16_t *ports,
                    size_t n_ports, struct sweep_space **out)
{
	auto_sweep_space struct sweep_space *s = NULL;
	auto_free struct candidate *sorted = NULL;
	int err;

	if (n_spans == 0)
		return -EINVAL;
	if (n_spans > SWEEP_MAX_SPANS)
		return -EOVERFLOW;
	s = calloc(1, sizeof(*s));
	sorted = calloc(n_spans, sizeof(*sorted));
	if (!s || !sorted)
		return -ENOMEM;
	s->spans = calloc(n_spans, sizeof(*s->spans));
	s->nodes = calloc(n_spans, sizeof(*s->nodes));
	s->v4_firsts = calloc(n_spans, sizeof(*s->v4_firsts));
	s->bases = calloc(n_spans + 1, sizeof(*s->bases));
	if (!s->spans || !s->nodes || !s->v4_firsts || !s->bases)
		return -ENOMEM;
	err = read_ports(s, ports, n_ports);
	for (size_t i = 0; i < n_spans && err == 0; i++) {
		sorted[i].order = i;
		err = read_span(&spans[i], n_ports, &sorted[i].span);
	}
	if (err < 0)
		return err;
	qsort(sorted, n_spans, sizeof(*sorted), compare_candidates);
	for (size_t i = 0; i < n_spans && err == 0; i++)
		err = add_span(s, sorted[i].span);
	if (err < 0)
		return err;
	*out = steal_ptr(&s);
	return 0;
}

void sweep_space_free(struct sweep_space *s)
{
	if (!s)
		return;
	free(s->spans);
	free(s->nodes);
	free(s->v4_firsts);
	free(s->bases);
	free(s->ports);
	free(s);
}
