/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Joins histories. A sweep is the same one wherever its name and shard are the same; of a shard
 * that two files have, the complete run stays, and of each endpoint the newest observation. One
 * thread.
 */
#pragma once

#include "scanner/history.h"
#include "scanner/sweep_tally.h"

struct history_merge {
	uint64_t added; /* shards that `into` did not have */
	uint64_t same;  /* it had them */
	uint64_t twice; /* it had them from another run */
};

/*
 * Adds what `from` has; the numbers are added to `result`. All or nothing. Returns 0; or -EIO or
 * -EINVAL (a sweep in another number of shards) and one line in `why`.
 */
int history_merge(struct history *into, struct history *from, struct history_merge *result,
                  char why[static HISTORY_ERROR_LEN]);
/*
 * The shards of one sweep as trailers (scan_id is the sweep's: a history has one run of each).
 * Returns 0, -EIO or -ENOMEM.
 */
int history_tally_sweep(struct history *h, const char *name, struct sweep_tally *tally);
