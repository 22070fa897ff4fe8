/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "common/cleanup.h"
#include "daemon/sender/event_kind.h"
#include "daemon/sender/journal_format.h"

#include <string.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

/* People search by them: never to be changed. */
#define OPENED_ID "505bd04c92da4636b3bd9b95e4fb9e10"
#define CLOSED_ID "04800c4aef5441128a0867f5343d57d8"

static void expect(const char *json, const char *text, const char *expected, size_t expected_length)
{
	json_t *event = json_loads(json, 0, NULL);
	size_t length = 0;
	auto_free char *bytes = journal_format(event, text, &length);

	assert_non_null(event);
	assert_non_null(bytes);
	assert_int_equal(length, expected_length);
	assert_memory_equal(bytes, expected, length);
	json_decref(event);
}

#define EXPECT(json, text, expected) expect(json, text, expected, sizeof(expected) - 1)

static void test_fields_of_an_event(void **state)
{
	(void)state;
	EXPECT(
	    "{\"id\":\"5f0c\",\"event\":\"opened\",\"endpoint\":\"10.0.0.7:9100\",\"reason\":null,"
	    "\"breaker\":{\"name\":\"default\"},\"listener\":{\"process\":\"nx\",\"pid\":911},"
	    "\"finding\":{\"severity\":\"high\"}}",
	    "opened: é",
	    "MESSAGE=opened: é\nMESSAGE_ID=" OPENED_ID "\nPRIORITY=2\n"
	    "SYSLOG_IDENTIFIER=pprofwalld\nPPROFWALL_ID=5f0c\nPPROFWALL_EVENT=opened\n"
	    "PPROFWALL_ENDPOINT=10.0.0.7:9100\nPPROFWALL_SEVERITY=high\nPPROFWALL_RULE=default\n"
	    "PPROFWALL_PROCESS=nx\nPPROFWALL_PID=911\n");
}

static void test_a_line_break_makes_no_field(void **state)
{
	(void)state;
	EXPECT("{\"event\":\"closed\",\"reason\":\"a\\nPRIORITY=0\"}", "b\nMESSAGE_ID=0",
	       "MESSAGE\n\x0e\0\0\0\0\0\0\0b\nMESSAGE_ID=0\nMESSAGE_ID=" CLOSED_ID "\nPRIORITY=6\n"
	       "SYSLOG_IDENTIFIER=pprofwalld\nPPROFWALL_EVENT=closed\n"
	       "PPROFWALL_REASON=a PRIORITY=0\n");
}

static void expect_priority(const char *json, enum event_priority priority)
{
	json_t *event = json_loads(json, 0, NULL);

	assert_int_equal(event_priority(event), priority);
	assert_int_equal(strspn(event_message_id(event), "0123456789abcdef"), 32);
	assert_int_equal(strlen(event_message_id(event)), 32);
	json_decref(event);
}

static void test_priorities(void **state)
{
	(void)state;
	expect_priority("{\"event\":\"reminder\",\"finding\":{\"severity\":\"high\"}}",
	                EVENT_PRIORITY_CRITICAL);
	expect_priority("{\"event\":\"opened\",\"finding\":{\"severity\":\"medium\"}}",
	                EVENT_PRIORITY_WARNING);
	expect_priority("{\"event\":\"opened\",\"finding\":{\"severity\":\"low\"}}",
	                EVENT_PRIORITY_NOTICE);
	expect_priority("{\"event\":\"opened\",\"finding\":null}", EVENT_PRIORITY_WARNING);
	/* What was bad is over, however bad it was. */
	expect_priority("{\"event\":\"gone\",\"finding\":{\"severity\":\"high\"}}",
	                EVENT_PRIORITY_INFO);
	expect_priority("{\"event\":\"of tomorrow\"}", EVENT_PRIORITY_NOTICE);
	expect_priority("{}", EVENT_PRIORITY_NOTICE);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_fields_of_an_event),
	    cmocka_unit_test(test_a_line_break_makes_no_field),
	    cmocka_unit_test(test_priorities),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
