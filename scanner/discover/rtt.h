/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * How long answers take: a histogram that forgets, and how long to wait by it. Pure.
 */
#pragma once

#include <stdint.h>

enum { RTT_BUCKETS = 104 }; /* four an octave, from 1 us */

struct rtt {
	uint32_t counts[RTT_BUCKETS];
	uint32_t total;
};

void rtt_learn(struct rtt *r, int64_t rtt_us);
/* The time within which `per_mille` of the answers came (0..1000); 0: none came yet. */
int64_t rtt_quantile_us(const struct rtt *r, unsigned per_mille);
/* After that long, what has not been answered will not be: at most `timeout_ns`. */
int64_t rtt_wait_ns(const struct rtt *r, int64_t timeout_ns);
