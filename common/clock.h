/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The two clocks: deadlines are monotonic, wall time is for people and files. Any thread. */
#pragma once

#include <stdint.h>

enum { CLOCK_TEXT_LEN = 32 };

int64_t clock_monotonic_ms(void);
int64_t clock_monotonic_ns(void);
/* Since 1970 (UTC). */
int64_t clock_wall_ms(void);
/* RFC 3339, UTC, whole seconds: "2026-11-22T21:00:00Z". Returns text. */
const char *clock_format_wall(int64_t wall_ms, char text[static CLOCK_TEXT_LEN]);
