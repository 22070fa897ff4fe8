/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What a sweep must not touch: a set of prefixes, IPv4 and IPv6. It is filled, sealed, and then
 * asked before every packet. Sealed it never changes, and any thread may ask it.
 */
#pragma once

#include "common/prefix.h"

#include <stdio.h>

enum {
	EXCLUDE_ERROR_LEN = 512,
	EXCLUDE_MAX = 1 << 20, /* prefixes of one set, before those inside others are dropped */
};

struct exclude_set;

struct exclude_set *exclude_set_new(void); /* NULL: no memory */
void exclude_set_free(struct exclude_set *set);

/* Returns 0, -ENOMEM, -E2BIG (EXCLUDE_MAX), or -EINVAL: sealed, or no prefix. */
int exclude_set_add(struct exclude_set *set, const struct prefix *p);
/*
 * Adds what a file lists: one address or CIDR on a line, comments from '#' to the line's end,
 * blank lines. Nothing is resolved. On failure returns -errno and writes one line to `why`,
 * "FILE:LINE:COLUMN: what is wrong; expected what" where it is the text's fault (-EINVAL); prefixes
 * of lines before are in the set then, and it is good for exclude_set_free() only.
 */
int exclude_set_read(struct exclude_set *set, const char *file, char why[static EXCLUDE_ERROR_LEN]);
/* As above from an open stream, which stays open; `name` is for messages. */
int exclude_set_read_stream(struct exclude_set *set, FILE *in, const char *name,
                            char why[static EXCLUDE_ERROR_LEN]);

/* Sorts; drops prefixes that lie in others. Nothing can be added after. Returns 0 or -ENOMEM. */
int exclude_set_seal(struct exclude_set *set);

/*
 * Whether an endpoint's address is in a sealed set; its port and zone don't matter. An
 * IPv4-mapped IPv6 address is in it, too, when the IPv4 address it stands for is. O(log n).
 * A set that is not sealed has everything.
 */
bool exclude_set_contains(const struct exclude_set *set, const struct endpoint *e);

/* Of a sealed set: its prefixes, sorted and disjoint; i < exclude_set_count(). */
size_t exclude_set_count(const struct exclude_set *set);
const struct prefix *exclude_set_at(const struct exclude_set *set, size_t i);
