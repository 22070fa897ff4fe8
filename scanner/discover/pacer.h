/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A token bucket: how many packets may go now, at a rate. Pure: the time (CLOCK_MONOTONIC
 * nanoseconds) is passed in, and nothing is allocated. Exact in integers: no rate drifts.
 *
 * In any t seconds at most rate * t + burst tokens are given; the burst is 10 ms of the rate, at
 * least 1 and at most PACER_BURST_MAX.
 */
#pragma once

#include <stdint.h>

enum { PACER_BURST_MAX = 1024 };

struct pacer {
	uint64_t rate_per_sec; /* 0: no limit */
	uint64_t credit;       /* 1e9 of it are a token */
	uint64_t credit_max;
	int64_t at_ns; /* when the credit was last counted */
};

/* The bucket starts full. 0: no limit. Rates above 1e9 per second count as 1e9. */
void pacer_init(struct pacer *p, uint64_t rate_per_sec, int64_t now_ns);
/* Keeps what the bucket holds, up to the new rate's burst. */
void pacer_set_rate(struct pacer *p, uint64_t rate_per_sec, int64_t now_ns);
/* Takes up to `want` tokens: 0..want. A time before the last one counts as the last one. */
unsigned pacer_take(struct pacer *p, int64_t now_ns, unsigned want);
/* Gives back tokens that were taken and not used. */
void pacer_return(struct pacer *p, unsigned unused);
/* From the last time that was passed in until a token is there; 0: one is. */
int64_t pacer_wait_ns(const struct pacer *p);
