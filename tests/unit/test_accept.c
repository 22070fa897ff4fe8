/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Accepted risks: what is covered, until when, and where a mistake in the file stands. */
#include "common/cleanup.h"
#include "scanner/accept.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
/* after what it needs */
#include <cmocka.h>

#define DAY_MS INT64_C(86400000)

static const char file[] = "accepted:\n"
                           "  - name: SEC-1\n"
                           "    endpoints: [\"10.0.0.7:9100\", 10.1.0.0/16, \"[2001:db8::1]:80\"]\n"
                           "    reason: behind the VPN\n"
                           "    owner: payments\n"
                           "    expires: 2026-02-28\n"
                           "  - name: SEC-2\n"
                           "    endpoints: [\"*.lab.example:6060\", one.example]\n"
                           "    reason: a test bed\n"
                           "    owner: lab\n"
                           "    expires: 2027-01-01\n";
/* 2026-02-28T00:00:00Z */
static const int64_t last_day_ms = INT64_C(1772236800000);

static const char *find(const struct accept_list *list, const char *endpoint, const char *host,
                        int64_t now_ms)
{
	const struct acceptance *a;
	struct endpoint e;

	assert_int_equal(endpoint_parse(endpoint, &e), 0);
	a = accept_find(list, &e, host, now_ms);
	return a ? a->name : "";
}

static void test_what_is_covered(void **state)
{
	static const struct {
		const char *endpoint, *host, *name;
	} cases[] = {
	    {"10.0.0.7:9100", NULL, "SEC-1"},
	    {"10.0.0.7:9101", NULL, ""},
	    {"10.0.0.8:9100", NULL, ""},
	    {"10.1.255.1:1", "", "SEC-1"},
	    {"10.2.0.0:1", NULL, ""},
	    {"[2001:db8::1]:80", NULL, "SEC-1"},
	    {"192.0.2.1:6060", "a.lab.example", "SEC-2"},
	    {"192.0.2.1:6060", "A.B.LAB.example", "SEC-2"},
	    {"192.0.2.1:6061", "a.lab.example", ""},
	    {"192.0.2.1:6060", "lab.example", ""},
	    {"192.0.2.1:6060", "collab.example", ""},
	    {"192.0.2.1:6060", "a.lab.example.org", ""},
	    {"192.0.2.1:6060", NULL, ""},
	    {"192.0.2.1:1", "one.example", "SEC-2"},
	    {"192.0.2.1:1", "two.one.example", ""},
	};
	char error[CONF_ERROR_LEN];
	struct accept_list *list = accept_load("f", file, strlen(file), error);

	(void)state;
	assert_non_null(list);
	for (size_t i = 0; i < ARRAY_LEN(cases); i++)
		assert_string_equal(find(list, cases[i].endpoint, cases[i].host, last_day_ms),
		                    cases[i].name);
	accept_free(list);
}

static void test_it_comes_back(void **state)
{
	char error[CONF_ERROR_LEN];
	struct accept_list *list = accept_load("f", file, strlen(file), error);

	(void)state;
	assert_non_null(list);
	assert_string_equal(find(list, "10.0.0.7:9100", NULL, last_day_ms + DAY_MS - 1), "SEC-1");
	assert_string_equal(find(list, "10.0.0.7:9100", NULL, last_day_ms + DAY_MS), "");
	assert_null(accept_find(NULL, &(struct endpoint){.family = AF_INET, .port = 1}, NULL, 0));
	accept_free(list);
}

static void test_description(void **state)
{
	char error[CONF_ERROR_LEN];
	struct accept_list *list = accept_load("f", file, strlen(file), error);
	auto_free char *text = NULL;

	(void)state;
	assert_non_null(list);
	text = accept_describe(&list->items[0]);
	assert_string_equal(text, "SEC-1: behind the VPN (payments, until 2026-02-28)");
	accept_free(list);
}

#define ENTRY(endpoints, expires)                                                                  \
	"accepted:\n  - name: x\n    endpoints: [" endpoints "]\n    reason: r\n    owner: o\n"    \
	"    expires: " expires "\n"

static void test_mistakes_have_a_place(void **state)
{
	static const struct {
		const char *text, *at;
	} cases[] = {
	    {"", "f:1:1: "},
	    {"acepted: []\n", "f:1:1: "},
	    {"accepted:\n  - name: x\n    reason: r\n", "f:2:5: "},
	    {ENTRY("1.2.3.4:99999", "2026-01-01"), "f:3:17: "},
	    {ENTRY("1.2.3.4, 10.0.0.0/40", "2026-01-01"), "f:3:26: "},
	    {ENTRY("\"http://a.example/\"", "2026-01-01"), "f:3:17: "},
	    {ENTRY("\"*.10.0.0.1\"", "2026-01-01"), "f:3:17: "},
	    {ENTRY("\"*\"", "2026-01-01"), "f:3:17: "},
	    {ENTRY("", "2026-01-01"), "f:3:16: "},
	    {ENTRY("1.2.3.4", "2026-02-30"), "f:6:14: "},
	    {ENTRY("1.2.3.4", "2026-1-1"), "f:6:14: "},
	    {ENTRY("1.2.3.4", "never"), "f:6:14: "},
	    {ENTRY("1.2.3.4", "2026-01-01") "    until: 2027-01-01\n", "f:7:5: "},
	    {ENTRY("1.2.3.4", "2026-01-01") "    owner: p\n", "f:7:5: "},
	};
	char error[CONF_ERROR_LEN];

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		if (accept_load("f", cases[i].text, strlen(cases[i].text), error))
			fail_msg("case %zu was taken", i);
		if (strncmp(error, cases[i].at, strlen(cases[i].at)) != 0)
			fail_msg("case %zu: %s", i, error);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_what_is_covered),
	    cmocka_unit_test(test_it_comes_back),
	    cmocka_unit_test(test_description),
	    cmocka_unit_test(test_mistakes_have_a_place),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
