/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/startup.h"

#include <getopt.h>
#include <stdlib.h>
#include <string.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

enum { ARGUMENTS_MAX = 8 };

/* Splits `line` at its spaces, in place of a shell. */
static bool read_line(const char *line, struct sandbox_spec *spec, const char **config)
{
	static char text[256]; /* *config points into it */
	char *argv[ARGUMENTS_MAX + 1] = {0}, *next = NULL;
	int argc = 0;

	strncpy(text, line, sizeof(text) - 1);
	for (char *word = strtok_r(text, " ", &next); word; word = strtok_r(NULL, " ", &next)) {
		assert_true(argc < ARGUMENTS_MAX);
		argv[argc++] = word;
	}
	optind = 0;
	return startup_read_arguments(argc, argv, spec, config);
}

static void test_identity(void **state)
{
	struct sandbox_spec spec = {0};

	(void)state;
	assert_true(read_line("x --uid 4294967294 --gid 7", &spec, NULL));
	assert_int_equal(spec.uid, 4294967294);
	assert_int_equal(spec.gid, 7);
	assert_false(spec.keep_uid);
}

static void test_config(void **state)
{
	struct sandbox_spec spec = {0};
	const char *config = NULL;

	(void)state;
	assert_true(read_line("x --uid 1 --config /etc/x.yaml --gid 2", &spec, &config));
	assert_string_equal(config, "/etc/x.yaml");
	assert_int_equal(spec.uid, 1);
	assert_int_equal(spec.gid, 2);
	assert_false(read_line("x --uid 1 --gid 2", &spec, &config));
	assert_false(read_line("x --uid 1 --gid 2 --config /etc/x.yaml", &spec, NULL));
}

static void test_refused(void **state)
{
	static const char *const lines[] = {
	    "x",
	    "x --uid 1",
	    "x --gid 1",
	    "x --uid 0 --gid 1",
	    "x --uid 1 --gid 0",
	    "x --uid daemon --gid 1",
	    "x --uid 1 --gid 1x",
	    "x --uid -1 --gid 1",
	    "x --uid 4294967295 --gid 1",
	    "x --uid 01 --gid 1",
	    "x --uid 1 --gid 1 more",
	    "x --uid 1 --gid 1 --other",
	    "x --uid 1 --gid",
	};

	(void)state;
	for (size_t i = 0; i < sizeof(lines) / sizeof(lines[0]); i++) {
		struct sandbox_spec spec = {.uid = 5, .gid = 6};

		if (read_line(lines[i], &spec, NULL))
			fail_msg("accepted: %s", lines[i]);
		assert_int_equal(spec.uid, 5);
		assert_int_equal(spec.gid, 6);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_identity),
	    cmocka_unit_test(test_config),
	    cmocka_unit_test(test_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
