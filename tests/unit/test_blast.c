/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "common/cleanup.h"
#include "daemon/agent/blast.h"

#include <string.h>

static char rule_name[] = "default";
static struct prefix one_prefix[1];

static struct conf_breaker rule_of(bool whole_port, bool allows)
{
	return (struct conf_breaker){
	    .name = rule_name,
	    .whole_port = whole_port,
	    .allow_from = {.items = one_prefix, .count = allows},
	};
}

static void test_who_may_be_blocked(void **state)
{
	static const struct {
		bool whole_port, allows;
		const char *serves;
		bool in_kernel, may;
	} cases[] = {
	    {false, false, "", false, true},
	    {false, false, "", true, true},
	    {false, false, "metrics", false, false},
	    {false, false, "metrics", true, false},
	    {true, false, "metrics", false, true},
	    {false, true, "metrics", false, true},
	    {true, true, "metrics and api", false, true},
	    /* nobody has looked yet: what is, stays */
	    {false, false, NULL, false, false},
	    {false, false, NULL, true, true},
	    {true, false, NULL, false, true},
	    {false, true, NULL, false, true},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct conf_breaker rule = rule_of(cases[i].whole_port, cases[i].allows);

		if (blast_may_block(&rule, cases[i].serves, cases[i].in_kernel) != cases[i].may)
			fail_msg("case %zu", i);
	}
}

static void test_describes(void **state)
{
	static const char *const expected[] = {"", "metrics", "metrics and api",
	                                       "metrics, api and ui"};
	static const char *const items[] = {"metrics", "api", "ui"};
	struct finding f;
	char text[BLAST_SERVES_LEN];

	(void)state;
	finding_init(&f);
	for (size_t i = 0; i < ARRAY_LEN(expected); i++) {
		assert_string_equal(blast_describe(&f.serves, text), expected[i]);
		if (i < ARRAY_LEN(items))
			assert_int_equal(finding_list_add(&f.serves, items[i], strlen(items[i])),
			                 0);
	}
	finding_fini(&f);
}

/* A prober that was taken over may send what it likes; what does not fit is left out whole. */
static void test_long_items_are_left_out(void **state)
{
	struct finding f;
	char text[BLAST_SERVES_LEN];

	(void)state;
	finding_init(&f);
	for (int i = 0; i < FINDING_LIST_MAX; i++)
		assert_int_equal(finding_list_add(&f.serves, "ééééééééééé", 22), 0);
	blast_describe(&f.serves, text);
	assert_string_equal(text, "ééééééééééé, ééééééééééé");
	finding_fini(&f);
}

static void test_says_why_and_what_to_write(void **state)
{
	struct conf_breaker rule = rule_of(false, false);
	char text[BLAST_REASON_LEN];

	(void)state;
	assert_string_equal(blast_reason(&rule, "metrics and api", text),
	                    "the port also serves metrics and api; name allow_from, or set "
	                    "whole_port, in breaker default");
	rule.standing = true; /* whole_port is no key of filters */
	assert_string_equal(blast_reason(&rule, "metrics", text),
	                    "the port also serves metrics; name allow_from in filter default");
	assert_non_null(strstr(blast_reason(&rule, NULL, text), "not known yet"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_who_may_be_blocked),
	    cmocka_unit_test(test_describes),
	    cmocka_unit_test(test_long_items_are_left_out),
	    cmocka_unit_test(test_says_why_and_what_to_write),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
