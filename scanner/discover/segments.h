/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The addresses of one family, cut into segments at the ends of prefixes: between two cuts, no
 * prefix of a routing table begins or ends, so that one answer holds for all of a segment. A
 * number of the caller's (0 at first) is kept for each. Pure; one thread.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

/* 48 MB of them; the whole Internet's table has about half as many. */
enum { SEGMENTS_MAX = 1 << 21 };

struct segment {
	uint64_t high, low; /* its first address: sixteen bytes, IPv4's four first */
	uint32_t value;
};

struct segments {
	struct segment *list;
	size_t count, capacity;
};

/* Sixteen bytes; `bits` 0..32 or 0..128. Returns 0, -ENOMEM, or -E2BIG: too many. */
int segments_cut(struct segments *s, const uint8_t address[static 16], unsigned bits);
/* After the last cut. Returns 0 or -ENOMEM. */
int segments_seal(struct segments *s);
/* The value of the segment that an address is in, to read or set. O(log n). */
uint32_t *segments_at(struct segments *s, const uint8_t address[static 16]);
void segments_fini(struct segments *s);
