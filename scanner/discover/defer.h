/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Endpoints that are put off until a time, by due time. Bounded and without allocation: what does
 * not fit has to wait where it comes from. Pure: the time (CLOCK_MONOTONIC nanoseconds) is passed
 * in.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

enum { DEFER_MAX = 4096 };

struct defer_item {
	int64_t due_ns;
	uint32_t slot;   /* of the window */
	uint32_t offset; /* within the window */
};

/* Starts as zeros. */
struct defer {
	unsigned count;
	struct defer_item item[DEFER_MAX]; /* a heap: none is due before the one at (i - 1) / 2 */
};

/* false: full. */
bool defer_push(struct defer *d, const struct defer_item *item);
/* The one that is due first, if it is due. */
bool defer_pop(struct defer *d, int64_t now_ns, struct defer_item *out);
/* When the first is due; INT64_MAX: there is none. */
int64_t defer_due_ns(const struct defer *d);
