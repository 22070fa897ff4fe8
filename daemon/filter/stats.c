/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/filter/stats.h"

#include "daemon/filter/http_field.h"

#include <string.h>

void stats_note_latency(struct filter_stats *stats, int64_t ns)
{
	uint64_t us = ns > 0 ? (uint64_t)ns / 1000 : 0;

	for (size_t i = 0; i < FILTER_LATENCY_BUCKETS - 1; i++)
		stats->latency[i] += us <= filter_latency_bounds_us[i];
	stats->latency[FILTER_LATENCY_BUCKETS - 1]++;
	stats->latency_sum_us += us;
}

void stats_write_path(const char *path, size_t length, char out[static FILTER_PATH_LEN])
{
	size_t n = length < FILTER_PATH_LEN - 1 ? length : FILTER_PATH_LEN - 1;

	memset(out, 0, FILTER_PATH_LEN);
	for (size_t i = 0; i < n; i++)
		out[i] = http_char_is_of(path[i], FILTER_PATH_CHARACTERS) ? path[i] : '?';
}
