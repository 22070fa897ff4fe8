/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "conf/conf_quiet.h"

#include <errno.h>
#include <string.h>

enum { DAYS = 7 };

/* Takes a day's name off the text. */
static bool read_day(const char **text, unsigned *day)
{
	static const char names[DAYS][4] = {"Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"};

	for (unsigned i = 0; i < DAYS; i++) {
		if (strncmp(*text, names[i], 3) == 0) {
			*text += 3;
			*day = i;
			return true;
		}
	}
	return false;
}

static bool is_digit(char c)
{
	return c >= '0' && c <= '9';
}

/* Likewise, "07:00" to "24:00". */
static bool read_clock(const char **text, unsigned *minutes)
{
	const char *t = *text;
	unsigned hours, rest;

	if (!is_digit(t[0]) || !is_digit(t[1]) || t[2] != ':' || !is_digit(t[3]) || !is_digit(t[4]))
		return false;
	hours = (unsigned)(t[0] - '0') * 10 + (unsigned)(t[1] - '0');
	rest = (unsigned)(t[3] - '0') * 10 + (unsigned)(t[4] - '0');
	*minutes = hours * 60 + rest;
	*text += 5;
	return rest < 60 && *minutes <= CONF_DAY_MINUTES;
}

static bool skip(const char **text, char c)
{
	if (**text != c)
		return false;
	++*text;
	return true;
}

static void add(struct conf_quiet *quiet, unsigned from, unsigned count)
{
	for (unsigned i = 0; i < count; i++) {
		unsigned minute = (from + i) % CONF_WEEK_MINUTES;

		quiet->minutes[minute / 8] |= (uint8_t)(1U << minute % 8);
	}
}

int conf_quiet_add(struct conf_quiet *quiet, const char *text)
{
	unsigned first = 0, last = DAYS - 1, from, to;

	if (read_day(&text, &first)) {
		last = first;
		if (skip(&text, '-') && !read_day(&text, &last))
			return -EINVAL;
		if (!skip(&text, ' '))
			return -EINVAL;
	}
	if (!read_clock(&text, &from) || !skip(&text, '-') || !read_clock(&text, &to) || *text ||
	    from == to || from == CONF_DAY_MINUTES)
		return -EINVAL;
	if (to < from)
		to += CONF_DAY_MINUTES;
	/* "Sat-Sun" goes over the week's end. */
	for (unsigned day = first;; day = (day + 1) % DAYS) {
		add(quiet, day * CONF_DAY_MINUTES + from, to - from);
		if (day == last)
			return 0;
	}
}

static bool is_quiet(const struct conf_quiet *quiet, unsigned minute)
{
	return quiet->minutes[minute / 8] & 1U << minute % 8;
}

unsigned conf_quiet_left(const struct conf_quiet *quiet, unsigned minute)
{
	unsigned n = 0;

	while (n < CONF_WEEK_MINUTES && is_quiet(quiet, (minute + n) % CONF_WEEK_MINUTES))
		n++;
	return n;
}
