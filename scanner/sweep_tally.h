/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Which shards of which sweeps are there, whole, in part, or twice. Pure. One thread. Memory: a
 * trailer for each one that was added, and a byte for each shard while it reports.
 */
#pragma once

#include "scanner/sweep_trailer.h"

struct sweep_tally;

struct sweep_tally *sweep_tally_new(void); /* NULL: out of memory */
void sweep_tally_free(struct sweep_tally *tally);

/*
 * The same run (sweep, scan and shard) counts once; the one that is complete then. Returns 0,
 * -ENOMEM, or -EINVAL when the sweep is there with another number of shards.
 */
int sweep_tally_add(struct sweep_tally *tally, const struct sweep_trailer *t);
/* How many different sweeps. */
size_t sweep_tally_sweeps(const struct sweep_tally *tally);
/* Endpoints of all shards; of a shard with several runs those of the one with the most. */
uint64_t sweep_tally_endpoints(struct sweep_tally *tally);
/* All runs, sorted by sweep, shard, begin. */
size_t sweep_tally_runs(struct sweep_tally *tally, const struct sweep_trailer **out);

/*
 * Says, sweep by sweep and one line at a time without a newline, what is missing, incomplete or
 * there twice. Returns 1 when every shard of every sweep is there and complete (and there is one),
 * else 0; or -ENOMEM.
 */
typedef void sweep_tally_say(const char *line, void *arg);
int sweep_tally_report(struct sweep_tally *tally, sweep_tally_say *say, void *arg);
