/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Waiting for threads that may hang with the disk. */
#pragma once

#include <stdint.h>
#include <time.h>

/* CLOCK_MONOTONIC in so many milliseconds. */
static inline struct timespec state_deadline(int64_t ms)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	ts.tv_sec += (time_t)(ms / 1000);
	ts.tv_nsec += (long)(ms % 1000) * 1000000;
	if (ts.tv_nsec >= 1000000000) {
		ts.tv_sec++;
		ts.tv_nsec -= 1000000000;
	}
	return ts;
}
