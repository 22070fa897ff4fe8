/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Durations and numbers, strict: what looks almost right is an error, never a guess. */
#include "common/cleanup.h"
#include "conf/conf.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

static const struct unit {
	const char *name;
	int64_t ms;
} units[] = {
    {"d", 86400000}, {"h", 3600000}, {"m", 60000}, {"s", 1000}, {"ms", 1},
};

/* Reads `n` digits. */
static int read_digits(const char *text, size_t n, uint64_t max, uint64_t *out)
{
	uint64_t value = 0;

	if (n == 0 || (n > 1 && text[0] == '0'))
		return -EINVAL;
	for (size_t i = 0; i < n; i++) {
		uint64_t digit = (uint64_t)(text[i] - '0');

		if (digit > max || value > (max - digit) / 10)
			return -ERANGE;
		value = value * 10 + digit;
	}
	*out = value;
	return 0;
}

int conf_parse_number(const char *text, uint64_t max, uint64_t *out)
{
	size_t n = strspn(text, "0123456789");

	return text[n] ? -EINVAL : read_digits(text, n, max, out);
}

int conf_parse_duration(const char *text, int64_t *ms)
{
	size_t n = strspn(text, "0123456789");
	uint64_t value;
	int err;

	if (strcmp(text, "0") == 0) {
		*ms = 0;
		return 0;
	}
	for (size_t i = 0; i < ARRAY_LEN(units); i++) {
		if (strcmp(text + n, units[i].name) != 0)
			continue;
		err = read_digits(text, n, (uint64_t)(INT64_MAX / units[i].ms), &value);
		if (err)
			return err;
		*ms = (int64_t)value * units[i].ms;
		return 0;
	}
	return -EINVAL;
}

const char *conf_format_duration(int64_t ms, char text[static 32])
{
	const struct unit *unit = units;

	if (ms == 0)
		return strcpy(text, "0");
	while (ms % unit->ms)
		unit++;
	snprintf(text, 32, "%" PRId64 "%s", ms / unit->ms, unit->name);
	return text;
}
