/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "scanner/sweep/exclude.h"

#include "common/cleanup.h"

#include <endian.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

struct exclude_set {
	struct prefix *prefixes;
	size_t count, room;
	bool sealed;
	size_t n_v4;     /* AF_INET sorts before AF_INET6 */
	uint32_t *first; /* of the IPv4 prefixes: their first addresses, in the host's byte order */
};

_Static_assert(AF_INET < AF_INET6, "prefix_compare() sorts IPv4 first");

struct exclude_set *exclude_set_new(void)
{
	return calloc(1, sizeof(struct exclude_set));
}

void exclude_set_free(struct exclude_set *set)
{
	if (!set)
		return;
	free(set->prefixes);
	free(set->first);
	free(set);
}

int exclude_set_add(struct exclude_set *set, const struct prefix *p)
{
	if (set->sealed || (p->family != AF_INET && p->family != AF_INET6) ||
	    p->bits > (p->family == AF_INET ? 32 : 128))
		return -EINVAL;
	if (set->count >= EXCLUDE_MAX)
		return -E2BIG;
	if (set->count == set->room) {
		size_t room = set->room ? set->room * 2 : 64;
		struct prefix *more = reallocarray(set->prefixes, room, sizeof(*more));

		if (!more)
			return -ENOMEM;
		set->prefixes = more;
		set->room = room;
	}
	set->prefixes[set->count++] = *p;
	return 0;
}

static uint32_t read_v4(const uint8_t address[static 4])
{
	uint32_t v4;

	memcpy(&v4, address, sizeof(v4));
	return be32toh(v4);
}

int exclude_set_seal(struct exclude_set *set)
{
	size_t count, n_v4 = 0;
	uint32_t *first;

	if (set->sealed)
		return 0;
	count = prefix_simplify(set->prefixes, set->count);
	set->count = count;
	first = calloc(count + 1, sizeof(*first));
	if (!first)
		return -ENOMEM;
	for (; n_v4 < count && set->prefixes[n_v4].family == AF_INET; n_v4++)
		first[n_v4] = read_v4(set->prefixes[n_v4].address);
	set->first = first;
	set->n_v4 = n_v4;
	set->sealed = true;
	return 0;
}

/* Of disjoint ranges only the last that starts at or before an address can have it. */
static bool contains_v4(const struct exclude_set *set, uint32_t address)
{
	const uint32_t *at = set->first;
	size_t n = set->n_v4;
	unsigned host_bits;

	if (n == 0 || address < at[0])
		return false;
	while (n > 1) {
		size_t half = n / 2;

		/* A conditional move: which way a branch goes, nothing could foretell. */
		at = at[half] <= address ? at + half : at;
		n -= half;
	}
	host_bits = 32U - set->prefixes[at - set->first].bits;
	return (uint64_t)(address ^ *at) >> host_bits == 0;
}

static bool contains_v6(const struct exclude_set *set, const struct endpoint *e)
{
	size_t low = set->n_v4, high = set->count;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (memcmp(set->prefixes[middle].address, e->address, 16) <= 0)
			low = middle + 1;
		else
			high = middle;
	}
	return low > set->n_v4 && prefix_contains(&set->prefixes[low - 1], e);
}

bool exclude_set_contains(const struct exclude_set *set, const struct endpoint *e)
{
	static const uint8_t mapped[12] = {[10] = 0xff, [11] = 0xff};

	/* Nothing may be sent on the word of a set that cannot tell. */
	if (!set->sealed)
		return true;
	if (e->family == AF_INET)
		return contains_v4(set, read_v4(e->address));
	if (memcmp(e->address, mapped, sizeof(mapped)) == 0 &&
	    contains_v4(set, read_v4(e->address + sizeof(mapped))))
		return true;
	return contains_v6(set, e);
}

size_t exclude_set_count(const struct exclude_set *set)
{
	return set->count;
}

const struct prefix *exclude_set_at(const struct exclude_set *set, size_t i)
{
	return &set->prefixes[i];
}
