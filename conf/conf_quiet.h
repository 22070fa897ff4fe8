/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Hours of the week in which an alert is not told at once: alerts[].quiet_hours. Which moment falls
 * into which minute is the caller's to say; here are no clocks and no zones. Any thread.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

enum { CONF_DAY_MINUTES = 24 * 60, CONF_WEEK_MINUTES = 7 * CONF_DAY_MINUTES };

/* Minutes of the week from Sunday, 00:00; zeroed: none is quiet. */
struct conf_quiet {
	uint8_t minutes[CONF_WEEK_MINUTES / 8];
};

/*
 * Adds "22:00-07:00" (every day), "Sat 00:00-24:00" or "Mon-Fri 22:00-07:00"; what ends before it
 * begins ends on the day after. Returns 0, or -EINVAL and has added nothing.
 */
int conf_quiet_add(struct conf_quiet *quiet, const char *text);
/* How long it stays quiet from this minute on: 0, if it is not; CONF_WEEK_MINUTES, for ever. */
unsigned conf_quiet_left(const struct conf_quiet *quiet, unsigned minute);
