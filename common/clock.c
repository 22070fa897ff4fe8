/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "common/clock.h"

#include <stdio.h>
#include <time.h>

static int64_t read_ms(clockid_t clock)
{
	struct timespec now;

	clock_gettime(clock, &now);
	return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

int64_t clock_monotonic_ms(void)
{
	return read_ms(CLOCK_MONOTONIC);
}

int64_t clock_monotonic_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

int64_t clock_wall_ms(void)
{
	return read_ms(CLOCK_REALTIME);
}

const char *clock_format_wall(int64_t wall_ms, char text[static CLOCK_TEXT_LEN])
{
	time_t seconds = (time_t)(wall_ms / 1000);
	struct tm utc;

	if (!gmtime_r(&seconds, &utc) ||
	    strftime(text, CLOCK_TEXT_LEN, "%Y-%m-%dT%H:%M:%SZ", &utc) == 0)
		snprintf(text, CLOCK_TEXT_LEN, "?");
	return text;
}
