/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Command lines without their secrets: program and flag names stay, values of what is named like a
 * secret go, and so does the userinfo of URLs and data source names. In doubt a value is hidden:
 * what is printed ends up in tickets. Pure; any thread.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#define REDACTED "[redacted]"

/* What the arguments so far say of the next one; all zero before the first. */
struct redactor {
	bool started;
	bool next_is_secret; /* "-dbpass" stood alone: its value follows */
};

/*
 * One argument of a command line, in order. Returns a malloc()ed string, or NULL when memory is
 * out. The argument need not be UTF-8, and ends at its first NUL at the latest.
 */
char *redact_argument(struct redactor *r, const char *argument, size_t length);
