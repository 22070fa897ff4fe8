/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "common/cleanup.h"
#include "daemon/sender/syslog_format.h"

#include <stdio.h>
#include <string.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

static const char *format(const char *json, const char *text, size_t max_bytes, bool counted)
{
	static char out[SYSLOG_STREAM_MAX_BYTES + SYSLOG_PREFIX_MAX_BYTES + 1];
	json_t *event = json_loads(json, 0, NULL);

	assert_non_null(event);
	out[syslog_format(event, text, 3, max_bytes, counted, out)] = '\0';
	json_decref(event);
	return out;
}

#define BOM "\xef\xbb\xbf"

static void test_a_message(void **state)
{
	(void)state;
	assert_string_equal(
	    format(
	        "{\"id\":\"5f0c\",\"event\":\"opened\",\"time\":\"2026-11-22T21:00:04Z\",\"host\":"
	        "\"web-3\",\"endpoint\":\"[::1]:6060\",\"reason\":\"a\\\"b\\\\c]d\\né\","
	        "\"finding\":"
	        "{\"severity\":\"high\"}}",
	        "opened: naïve\r\nsecond", SYSLOG_DATAGRAM_MAX_BYTES, false),
	    "<26>1 2026-11-22T21:00:04Z web-3 pprofwalld - opened [pprofwall@32473 id=\"5f0c\" "
	    "event=\"opened\" endpoint=\"[::1\\]:6060\" severity=\"high\" "
	    "reason=\"a\\\"b\\\\c\\]d é\"] " BOM "opened: naïve  second");
}

static void test_what_is_no_header_field_is_nil(void **state)
{
	(void)state;
	assert_string_equal(format("{\"time\":\"x y\",\"host\":\"ä\",\"event\":\"\"}", "t",
	                           SYSLOG_DATAGRAM_MAX_BYTES, false),
	                    "<29>1 - - pprofwalld - - [pprofwall@32473] " BOM "t");
}

static void test_octets_are_counted(void **state)
{
	const char *message = format("{\"event\":\"gone\"}", "é", SYSLOG_STREAM_MAX_BYTES, true);
	const char *space = strchr(message, ' ');
	char count[32];

	(void)state;
	assert_non_null(space);
	snprintf(count, sizeof(count), "%zu", strlen(space + 1));
	assert_int_equal(strncmp(message, count, strlen(count)), 0);
	assert_int_equal(strlen(count), space - message);
}

/* Whatever the event is: cut at a character, and some of the text is left. */
static void test_length_is_bounded(void **state)
{
	static const char *const keys[] = {"id",   "endpoint", "source", "action",
	                                   "mode", "reason",   "who",    "event"};
	char json[16384] = "{\"severity\":1", value[1001] = "", text[9001] = "";
	size_t used = strlen(json);
	const char *message;

	(void)state;
	memset(value, ']', sizeof(value) - 1);
	for (size_t i = 0; i < sizeof(text) - 1; i += 2)
		memcpy(text + i, "é", 2);
	for (size_t i = 0; i < ARRAY_LEN(keys); i++)
		used += (size_t)snprintf(json + used, sizeof(json) - used, ",\"%s\":\"%s\"",
		                         keys[i], value);
	snprintf(json + used, sizeof(json) - used, ",\"breaker\":{\"name\":\"%s\"}}", value);
	for (size_t max = SYSLOG_DATAGRAM_MAX_BYTES; max < SYSLOG_DATAGRAM_MAX_BYTES + 4; max++) {
		message = format(json, text, max, false);
		assert_in_range(strlen(message), max - 1, max);
		assert_non_null(strstr(message, BOM "éééééééééé"));
		assert_int_equal(strcmp(message + strlen(message) - 2, "é"), 0);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_a_message),
	    cmocka_unit_test(test_what_is_no_header_field_is_nil),
	    cmocka_unit_test(test_octets_are_counted),
	    cmocka_unit_test(test_length_is_bounded),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
