/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * How the last sweep went, as a file for the textfile collector of node_exporter. Gauges, since
 * they are of one run: they begin anew with the next. Pure; any thread.
 */
#pragma once

#include "common/finding.h"

struct sweep_metrics {
	int64_t started_ms, ended_ms; /* wall clock */
	bool complete;
	unsigned shard, shards; /* 1..shards */
	uint64_t targets;       /* endpoints to look at; 0: not known */
	uint64_t verdicts[VERDICT_COUNT];
	/* Of confirmed and likely; of one that is accepted, in `accepted` instead. */
	uint64_t exposures[VERDICT_COUNT][SEVERITY_COUNT];
	uint64_t accepted;
	uint64_t packets_sent, packets_retransmitted; /* discovery: SYNs or connects */
	uint64_t packets_dropped;                     /* by our own sockets */
	double loss_ratio;                            /* measured; negative: not known */
};

/* In Prometheus' text format; malloc()ed, or NULL when memory is out. */
char *sweep_metrics_render(const struct sweep_metrics *m, size_t *length);
