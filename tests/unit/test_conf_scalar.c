/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "conf/conf.h"

#include <errno.h>

static void reads_durations(void **state)
{
	static const struct {
		const char *text;
		int err;
		int64_t ms;
		const char *shortest;
	} durations[] = {
	    {"0", 0, 0, "0"},
	    {"0s", 0, 0, "0"},
	    {"200ms", 0, 200, "200ms"},
	    {"3s", 0, 3000, "3s"},
	    {"10m", 0, 600000, "10m"},
	    {"60m", 0, 3600000, "1h"},
	    {"90s", 0, 90000, "90s"},
	    {"24h", 0, 86400000, "1d"},
	    {"7d", 0, 604800000, "7d"},
	    {"1001ms", 0, 1001, "1001ms"},
	    {"106751991167d", 0, INT64_C(9223372036828800000), "106751991167d"},
	    {"106751991168d", -ERANGE, 0, NULL},
	    {"9223372036854775808ms", -ERANGE, 0, NULL},
	    {"", -EINVAL, 0, NULL},
	    {"3", -EINVAL, 0, NULL},
	    {"00", -EINVAL, 0, NULL},
	    {"03s", -EINVAL, 0, NULL},
	    {"s", -EINVAL, 0, NULL},
	    {"-3s", -EINVAL, 0, NULL},
	    {"3 s", -EINVAL, 0, NULL},
	    {" 3s", -EINVAL, 0, NULL},
	    {"3s ", -EINVAL, 0, NULL},
	    {"3S", -EINVAL, 0, NULL},
	    {"3w", -EINVAL, 0, NULL},
	    {"1m30s", -EINVAL, 0, NULL},
	};
	char text[32];

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(durations); i++) {
		int64_t ms = -7;

		assert_int_equal(conf_parse_duration(durations[i].text, &ms), durations[i].err);
		assert_int_equal(ms, durations[i].err ? -7 : durations[i].ms);
		if (!durations[i].err)
			assert_string_equal(conf_format_duration(ms, text), durations[i].shortest);
	}
}

static void reads_numbers(void **state)
{
	uint64_t number = 77;

	(void)state;
	assert_int_equal(conf_parse_number("0", 0, &number), 0);
	assert_int_equal(number, 0);
	assert_int_equal(conf_parse_number("18446744073709551615", UINT64_MAX, &number), 0);
	assert_true(number == UINT64_MAX);
	assert_int_equal(conf_parse_number("18446744073709551616", UINT64_MAX, &number), -ERANGE);
	assert_int_equal(conf_parse_number("5", 4, &number), -ERANGE);
	assert_int_equal(conf_parse_number("14", 13, &number), -ERANGE);
	assert_int_equal(conf_parse_number("", 9, &number), -EINVAL);
	assert_int_equal(conf_parse_number("3x", 9, &number), -EINVAL);
	assert_int_equal(conf_parse_number("010", 99, &number), -EINVAL);
	assert_int_equal(conf_parse_number("+1", 9, &number), -EINVAL);
	assert_true(number == UINT64_MAX);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(reads_durations),
	    cmocka_unit_test(reads_numbers),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
