/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What to do after an attempt to deliver. Pure: no clock, no I/O, the random number passed in.
 */
#pragma once

#include <stdint.h>

enum {
	BACKOFF_BASE_MS = 1000,
	BACKOFF_CAP_MS = 60 * 1000,
	BACKOFF_RETRY_AFTER_MAX_MS = 10 * 60 * 1000, /* a receiver cannot put us off for longer */
};

/*
 * How long to wait before the next attempt, when `attempts` (>= 1) have failed: a uniformly random
 * part of an exponentially growing span ("full jitter": many senders do not come back in step),
 * never less than what the receiver asked for by Retry-After (0 or less: it did not).
 */
int64_t backoff_next_ms(unsigned attempts, uint32_t random, int64_t retry_after_ms);

enum backoff_verdict { BACKOFF_DELIVERED, BACKOFF_RETRY, BACKOFF_REFUSED };

/* By HTTP status; 0 when there was none. Redirects and most 4xx are final. */
enum backoff_verdict backoff_judge_status(int status);
