/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "scanner/discover/segments.h"

#include <endian.h>
#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

static struct segment read_address(const uint8_t *address)
{
	uint64_t halves[2];

	memcpy(halves, address, sizeof(halves));
	return (struct segment){.high = be64toh(halves[0]), .low = be64toh(halves[1])};
}

static int compare(const void *x, const void *y)
{
	const struct segment *a = x, *b = y;

	if (a->high != b->high)
		return a->high < b->high ? -1 : 1;
	return (a->low > b->low) - (a->low < b->low);
}

static void sort_unique(struct segments *s)
{
	size_t kept = 0;

	if (s->count == 0)
		return;
	qsort(s->list, s->count, sizeof(*s->list), compare);
	for (size_t i = 1; i < s->count; i++)
		if (compare(&s->list[kept], &s->list[i]) != 0)
			s->list[++kept] = s->list[i];
	s->count = kept + 1;
}

/* Neighbouring prefixes share their ends: most of what is full is there twice. */
static int make_room(struct segments *s)
{
	size_t capacity = s->capacity ? s->capacity : 64;
	struct segment *list;

	if (s->count < s->capacity)
		return 0;
	sort_unique(s);
	if (s->capacity && s->count < s->capacity / 4 * 3)
		return 0;
	if (s->capacity >= SEGMENTS_MAX)
		return s->count < s->capacity ? 0 : -E2BIG;
	capacity = s->capacity ? s->capacity * 2 : capacity;
	list = realloc(s->list, capacity * sizeof(*list));
	if (!list)
		return -ENOMEM;
	s->list = list;
	s->capacity = capacity;
	return 0;
}

static int add(struct segments *s, struct segment start)
{
	int err = make_room(s);

	if (!err)
		s->list[s->count++] = start;
	return err;
}

/* The first address after a prefix; false: there is none. */
static bool after(struct segment *at, unsigned bits)
{
	uint64_t step;

	if (bits == 0)
		return false;
	if (bits <= 64) {
		step = UINT64_C(1) << (64 - bits);
		at->low = 0;
		at->high = (at->high & ~(step - 1)) + step;
		return at->high != 0;
	}
	step = UINT64_C(1) << (128 - bits);
	at->low = (at->low & ~(step - 1)) + step;
	if (at->low == 0)
		at->high++;
	return at->low != 0 || at->high != 0;
}

static void mask(struct segment *at, unsigned bits)
{
	if (bits <= 64) {
		at->low = 0;
		at->high = bits ? at->high & ~(UINT64_MAX >> (bits - 1) >> 1) : 0;
	} else {
		at->low &= bits < 128 ? ~(UINT64_MAX >> (bits - 64)) : UINT64_MAX;
	}
}

int segments_cut(struct segments *s, const uint8_t address[static 16], unsigned bits)
{
	struct segment at = read_address(address);
	int err;

	mask(&at, bits);
	err = add(s, at);
	if (!err && after(&at, bits))
		err = add(s, at);
	return err;
}

int segments_seal(struct segments *s)
{
	static const uint8_t lowest[16];
	int err = segments_cut(s, lowest, 0);

	if (!err)
		sort_unique(s);
	return err;
}

uint32_t *segments_at(struct segments *s, const uint8_t address[static 16])
{
	struct segment at = read_address(address);
	size_t low = 0, high = s->count; /* the answer is in [low, high) */

	while (high - low > 1) {
		size_t middle = low + (high - low) / 2;

		if (compare(&s->list[middle], &at) <= 0)
			low = middle;
		else
			high = middle;
	}
	return &s->list[low].value;
}

void segments_fini(struct segments *s)
{
	free(s->list);
	*s = (struct segments){0};
}
