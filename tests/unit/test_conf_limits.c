/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What a file may be at most, and what its errors may tell. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "conf/conf.h"

#include <string.h>

/* Whatever one slip of the finger makes of a file with a secret, the error does not tell it. */
static void never_tells_a_secret(void **state)
{
	static const char original[] = "mode: observe\nalerts:\n  - name: hook\n"
	                               "    type: webhook\n"
	                               "    url: \"https://u:hunter2@h/hunter2?t=hunter2\"\n"
	                               "    timeout: 3s\n";
	static const char slips[] = " :\"'\n\t[]{}#&*!|>%@`-?,\\x\1\xff";
	char text[sizeof(original)];
	unsigned failed = 0;

	(void)state;
	for (size_t i = 0; i < sizeof(original) - 1; i++) {
		for (size_t s = 0; s < sizeof(slips); s++) {
			char error[CONF_ERROR_LEN] = "";
			struct conf *c;

			memcpy(text, original, sizeof(text));
			text[i] = slips[s];
			c = conf_load("f", text, sizeof(text) - 1, error);
			failed += c == NULL;
			conf_free(c);
			assert_null(strstr(error, "hunter2"));
			assert_null(strchr(error, '\n'));
		}
	}
	assert_true(failed > 500);
}

/* `head`, then so many times `before`, a number, `after`. Returns the error, or "". */
static const char *load_repeated(const char *head, const char *before, const char *after,
                                 unsigned times, char error[static CONF_ERROR_LEN])
{
	auto_free char *text = NULL;
	size_t length;
	FILE *out = open_memstream(&text, &length);

	fputs(head, out);
	for (unsigned i = 0; i < times; i++)
		fprintf(out, "%s%08u%s", before, 1 + i, after);
	fclose(out);
	error[0] = '\0';
	conf_free(conf_load("f", text, length, error));
	return error;
}

static void bounds_what_it_reads(void **state)
{
	char error[CONF_ERROR_LEN];

	(void)state;
	load_repeated("breakers:\n", "- name: b", "\n", 255, error);
	assert_string_equal(error, "");
	load_repeated("breakers:\n", "- name: b", "\n", 256, error);
	assert_string_equal(error, "f:2:1: breakers: 256 items; expected at most 255");
	load_repeated("breakers:\n- name: a\nfilters:\n", "- {name: b", ", match: {ports: [1]}}\n",
	              254, error);
	assert_string_equal(error, "");
	load_repeated("filters:\n", "- {name: b", ", match: {ports: [1]}}\n", 255, error);
	assert_string_equal(error, "f:2:1: filters: 255 items, and 1 breakers; expected at most "
	                           "255 together");
	load_repeated("filters:\n- name: f\n  match: {ports: [1]}\n  deny:\n", "  - /b", "\n", 256,
	              error);
	assert_string_equal(error, "");
	load_repeated("filters:\n- name: f\n  match: {ports: [1]}\n  deny:\n", "  - /b", "\n", 257,
	              error);
	assert_string_equal(error, "f:5:3: filters[].deny: 257 items; expected at most 256");
	load_repeated("alerts:\n", "- {name: b", ", type: webhook, url: 'http://h'}\n", 65, error);
	assert_string_equal(error, "f:2:1: alerts: 65 items; expected at most 64");
	load_repeated("protect:\n  sources:\n", "  - 2001:db8::/32 #", "\n", 4096, error);
	assert_string_equal(error, "");
	load_repeated("protect:\n  sources:\n", "  - 2001:db8::/32 #", "\n", 4097, error);
	assert_string_equal(error, "f:3:3: protect.sources: 4097 items; expected at most 4096");
	load_repeated("scan:\n  ports: [80]\n  targets:\n", "  -  h", "\n", 65536, error);
	assert_string_equal(error, "");
	load_repeated("scan:\n  ports: [80]\n  targets:\n", "  - h", "\n", 65537, error);
	assert_string_equal(error, "f:4:3: scan.targets: 65537 items; expected at most 65536");
	load_repeated("scan:\n  ports: [80,81]\n  targets:\n", "  - h", "\n", 32769, error);
	assert_string_equal(error, "f:32772:5: scan.targets: expands to 65538 endpoints; expected "
	                           "at most 65536");
	load_repeated("", "- - - - - - - - - - #", "", 1, error);
	assert_string_equal(error, "f:1:17: nested too deeply; expected at most 8 levels");
	load_repeated("", "# ", "\n", 1048576 / 11, error);
	assert_string_equal(error, "f:1:1: empty; expected keys, at least \"mode: observe\"");
	load_repeated("", "# ", "\n", 1048576 / 11 + 1, error);
	assert_string_equal(error, "f:1:1: file is 1048586 bytes; expected at most 1048576");
}

/* As many nodes as a file of that size can hold, and as deep. */
static void bounds_what_it_builds(void **state)
{
	static char text[CONF_MAX_BYTES];
	char error[CONF_ERROR_LEN];

	(void)state;
	memset(text, ',', sizeof(text));
	memcpy(text, "a: [", 4);
	for (size_t i = 4; i < sizeof(text); i += 2)
		text[i] = 'b';
	assert_null(conf_load("f", text, sizeof(text), error));
	assert_string_equal(error, "f:1:524287: too many values; expected at most 262144");
	memset(text, '[', sizeof(text));
	assert_null(conf_load("f", text, sizeof(text), error));
	assert_string_equal(error, "f:1:9: nested too deeply; expected at most 8 levels");
	for (size_t i = 0; i < sizeof(text); i++)
		text[i] = "- "[i % 2];
	assert_null(conf_load("f", text, sizeof(text), error));
	assert_string_equal(error, "f:1:17: nested too deeply; expected at most 8 levels");
	for (size_t i = 0; i < sizeof(text); i++)
		text[i] = "? "[i % 2];
	assert_null(conf_load("f", text, sizeof(text), error));
	assert_string_equal(error, "f:1:17: nested too deeply; expected at most 8 levels");
}

static void keeps_errors_to_one_line(void **state)
{
	char error[CONF_ERROR_LEN];
	char file[1000];

	(void)state;
	assert_null(conf_load("a\nb\xff", "x", 1, error));
	assert_string_equal(error, "a?b?:1:1: a scalar; expected a mapping of keys");
	memset(file, 'x', sizeof(file));
	file[sizeof(file) - 1] = '\0';
	assert_null(conf_load(file, "xyz: x", 6, error));
	assert_memory_equal(error, "...xxx", 6);
	assert_non_null(strstr(error, "x:1:1: unknown key \"xyz\"; expected one of mode, "
	                              "enforce_percent, enforce_salt, scan"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(never_tells_a_secret),
	    cmocka_unit_test(bounds_what_it_reads),
	    cmocka_unit_test(bounds_what_it_builds),
	    cmocka_unit_test(keeps_errors_to_one_line),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
