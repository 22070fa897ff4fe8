/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "scanner/discover/rtt.h"

#include <string.h>

enum {
	FORGET_AFTER = 1 << 16,
	FEW = 20, /* with fewer, wait longer: the slowest of them is not the slowest there is */
};

#define MIN_WAIT_NS INT64_C(100000000)

static unsigned bucket_of(uint64_t us)
{
	unsigned octave, quarter, bucket;

	if (us < 4)
		return (unsigned)us;
	octave = 63 - (unsigned)__builtin_clzll(us);
	quarter = (unsigned)(us >> (octave - 2)) & 3;
	bucket = (octave - 1) * 4 + quarter;
	return bucket < RTT_BUCKETS ? bucket : RTT_BUCKETS - 1;
}

/* The first value that is in the next one. */
static int64_t bucket_end(unsigned bucket)
{
	unsigned octave = bucket / 4 + 1, quarter = bucket % 4;

	if (bucket < 4)
		return bucket + 1;
	return (int64_t)(5 + quarter) << (octave - 2);
}

void rtt_learn(struct rtt *r, int64_t rtt_us)
{
	if (rtt_us < 0)
		return;
	r->counts[bucket_of((uint64_t)rtt_us)]++;
	if (++r->total < FORGET_AFTER)
		return;
	r->total = 0;
	for (unsigned i = 0; i < RTT_BUCKETS; i++) {
		r->counts[i] /= 2;
		r->total += r->counts[i];
	}
}

int64_t rtt_quantile_us(const struct rtt *r, unsigned per_mille)
{
	uint64_t want = ((uint64_t)r->total * per_mille + 999) / 1000, seen = 0;

	if (r->total == 0)
		return 0;
	for (unsigned i = 0; i < RTT_BUCKETS; i++) {
		seen += r->counts[i];
		if (seen >= want && seen > 0)
			return bucket_end(i);
	}
	return bucket_end(RTT_BUCKETS - 1);
}

int64_t rtt_wait_ns(const struct rtt *r, int64_t timeout_ns)
{
	int64_t wait_ns = 3000 * rtt_quantile_us(r, 990);
	int64_t tail_ns = 1500 * rtt_quantile_us(r, 999);

	if (r->total == 0)
		return timeout_ns;
	if (wait_ns < tail_ns)
		wait_ns = tail_ns;
	if (wait_ns < MIN_WAIT_NS)
		wait_ns = MIN_WAIT_NS;
	if (r->total < FEW)
		wait_ns *= 3;
	return wait_ns < timeout_ns ? wait_ns : timeout_ns;
}
