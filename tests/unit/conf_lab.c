/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/unit/conf_lab.h"

#include <string.h>

struct conf *conf_lab_load(const char *text)
{
	char error[CONF_ERROR_LEN] = "";
	struct conf *conf = conf_load("f", text, strlen(text), error);

	if (!conf)
		fail_msg("%s\n%s", error, text);
	return conf;
}

/* "..." at the end of what is expected stands for any end. */
static bool matches(const char *error, const char *expected)
{
	size_t n = strlen(expected);

	if (n > 3 && strcmp(expected + n - 3, "...") == 0)
		return strlen(error) > n && strncmp(error, expected, n - 3) == 0;
	return strcmp(error, expected) == 0;
}

void conf_lab_expect_refused(const struct bad_input *inputs, size_t count)
{
	unsigned wrong = 0;

	for (size_t i = 0; i < count; i++) {
		const struct bad_input *bad = &inputs[i];
		char error[CONF_ERROR_LEN] = "ff(loaded)";
		auto_conf struct conf *c = conf_load("f", bad->text, bad->length, error);

		if (!c && strncmp(error, "f:", 2) == 0 && matches(error + 2, bad->error) &&
		    !strstr(error, "hunter2"))
			continue;
		print_error("%s\nexpected  %s\nbut is    %s\n", bad->text, bad->error, error + 2);
		wrong++;
	}
	assert_int_equal(wrong, 0);
}
