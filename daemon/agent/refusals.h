/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Which requests that the filter has refused people are told of: the first of a client, endpoint
 * and reason at once, the others together when REFUSALS_EVERY_MS have passed. Bounded: where there
 * is no place, it is counted as untold. Pure; the time is passed in.
 */
#pragma once

#include "daemon/filter/wire.h"

enum { REFUSALS_MAX = 1024, REFUSALS_EVERY_MS = 10 * 60 * 1000 };

struct refusal {
	struct endpoint endpoint, client; /* the client's port is 0 */
	enum filter_reason reason;
	uint64_t count;             /* since the last that was told */
	char path[FILTER_PATH_LEN]; /* of the last one; "" if it is not known */
};

struct refusals;

/* NULL: out of memory. */
struct refusals *refusals_new(void);
void refusals_free(struct refusals *r);
/* Returns whether it is to be told now: *out then says what. */
bool refusals_note(struct refusals *r, const struct refusal *refusal, int64_t now_ms,
                   struct refusal *out);
/* One that is to be told by now; to be called until it returns false. */
bool refusals_next(struct refusals *r, int64_t now_ms, struct refusal *out);
/* Requests that had no place. */
uint64_t refusals_untold(const struct refusals *r);
