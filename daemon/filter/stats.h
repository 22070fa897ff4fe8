/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The filter's counters. Pure. */
#pragma once

#include "daemon/filter/wire.h"

/* From a request's head to the first byte of its answer. Each bucket counts what is within its
 * bound, the last one all. */
void stats_note_latency(struct filter_stats *stats, int64_t ns);

/* A path as it may be told: other bytes than those of [A-Za-z0-9/._-] are '?'; cut if need be. */
void stats_write_path(const char *path, size_t length, char out[static FILTER_PATH_LEN]);
