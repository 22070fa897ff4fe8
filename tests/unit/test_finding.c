/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "common/cleanup.h"
#include "common/finding.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#define REPLACEMENT "\xef\xbf\xbd"

/* The line of the documentation, but for the time's milliseconds and the error. */
static const char example[] =
    "{\"schema\":1,\"time\":\"2026-11-22T21:00:00Z\",\"scan_id\":\"s1\",\"vantage\":\"10.0.0.1\","
    "\"endpoint\":\"10.0.0.7:9100\",\"address\":\"10.0.0.7\",\"port\":9100,\"scheme\":\"http\","
    "\"host\":null,\"path\":\"/debug/pprof/\",\"verdict\":\"confirmed\",\"severity\":\"high\","
    "\"risk\":\"HIGH_RISK\",\"kind\":\"go-pprof\",\"evidence\":[\"index\",\"symbol\","
    "\"goroutine-debug2\"],\"profiles\":[\"allocs\",\"goroutine\",\"heap\"],\"status\":200,"
    "\"go_version\":\"1.19\",\"module\":\"github.com/prometheus/"
    "node_exporter\",\"program\":\"node_exporter\","
    "\"command\":[\"/usr/bin/x\"],\"identified_by\":[\"module=stack\"],\"relatives\":[\"expvar\"],"
    "\"serves\":[\"metrics\",\"api\"],"
    "\"advice\":\"Bind it to "
    "loopback.\",\"signatures\":\"2026.11\",\"labels\":[\"team=a\"],\"accepted\":\"SEC-1: known "
    "(lab, until 2026-12-31)\","
    "\"error\":null,\"latency_ms\":4,\"bytes\":5120}";

static void test_round_trip(void **state)
{
	(void)state;
	struct finding f;
	char why[128] = "";
	auto_free char *line = NULL;

	finding_init(&f);
	assert_int_equal(finding_from_line(example, strlen(example), &f, why), 0);
	assert_int_equal(f.time_ms, INT64_C(1795381200000));
	assert_int_equal(f.endpoint.port, 9100);
	assert_int_equal(f.verdict, VERDICT_CONFIRMED);
	assert_int_equal(f.severity, SEVERITY_HIGH);
	assert_true(f.high_risk);
	assert_null(f.host);
	assert_int_equal(f.evidence.count, 3);
	assert_true(finding_list_has(&f.profiles, "heap"));
	assert_false(finding_list_has(&f.profiles, "hea"));
	assert_int_equal(f.bytes, 5120);
	line = finding_to_line(&f);
	assert_string_equal(line, example);
	finding_fini(&f);
}

/* Histories keep what earlier versions wrote. */
static void test_serves_may_be_missing(void **state)
{
	static const char key[] = "\"serves\":[\"metrics\",\"api\"],";
	struct finding f;
	char why[128] = "", old[sizeof(example)];
	const char *at = strstr(example, key);

	(void)state;
	snprintf(old, sizeof(old), "%.*s%s", (int)(at - example), example, at + strlen(key));
	finding_init(&f);
	assert_int_equal(finding_from_line(old, strlen(old), &f, why), 0);
	assert_int_equal(f.serves.count, 0);
	finding_fini(&f);
	assert_int_equal(finding_from_line(example, strlen(example), &f, why), 0);
	assert_int_equal(f.serves.count, 2);
	finding_fini(&f);
}

static void test_nothing_answered(void **state)
{
	(void)state;
	struct finding f, back;
	char why[128] = "";
	auto_free char *line = NULL;

	finding_init(&f);
	f.time_ms = 1234;
	f.verdict = VERDICT_FILTERED;
	assert_int_equal(endpoint_parse("[2001:db8::1]:80", &f.endpoint), 0);
	assert_int_equal(finding_set(&f.error, "no route to host"), 0);
	line = finding_to_line(&f);
	assert_string_equal(
	    line,
	    "{\"schema\":1,\"time\":\"1970-01-01T00:00:01.234Z\",\"scan_id\":null,"
	    "\"vantage\":null,\"endpoint\":\"[2001:db8::1]:80\",\"address\":\"2001:db8::1\","
	    "\"port\":80,\"scheme\":null,\"host\":null,\"path\":null,\"verdict\":\"filtered\","
	    "\"severity\":\"none\",\"risk\":null,\"kind\":null,\"evidence\":[],\"profiles\":[],"
	    "\"status\":null,\"go_version\":null,\"module\":null,\"program\":null,"
	    "\"command\":[],\"identified_by\":[],\"relatives\":[],\"serves\":[],\"advice\":null,"
	    "\"signatures\":null,\"labels\":[],\"accepted\":null,"
	    "\"error\":\"no route to host\",\"latency_ms\":null,\"bytes\":0}");
	finding_init(&back);
	assert_int_equal(finding_from_line(line, strlen(line), &back, why), 0);
	assert_int_equal(back.time_ms, 1234);
	assert_int_equal(back.latency_ms, -1);
	assert_int_equal(back.status, 0);
	assert_string_equal(back.error, "no route to host");
	finding_fini(&f);
	finding_fini(&back);
}

static void check_set(const void *bytes, size_t length, const char *expected)
{
	auto_free char *slot = NULL;

	assert_int_equal(finding_set_bytes(&slot, bytes, length), 0);
	assert_string_equal(slot, expected);
}

static void test_strings_are_cleaned(void **state)
{
	(void)state;
#define CHECK(bytes, expected) check_set("" bytes, sizeof(bytes) - 1, expected)
	CHECK("plain", "plain");
	CHECK("", "");
	CHECK("gr\xc3\xbc\xc3\x9f \xe2\x82\xac \xf0\x9f\x99\x82",
	      "gr\xc3\xbc\xc3\x9f \xe2\x82\xac \xf0\x9f\x99\x82");
	CHECK("a\0b", "a" REPLACEMENT "b");
	CHECK("\x1b[31mred\n", REPLACEMENT "[31mred" REPLACEMENT);
	CHECK("\x7f", REPLACEMENT);
	CHECK("\xc2\x9b", REPLACEMENT);             /* C1: CSI */
	CHECK("\xe2\x80\xae", REPLACEMENT);         /* right-to-left override */
	CHECK("\xff\xfe", REPLACEMENT REPLACEMENT); /* no UTF-8 */
	CHECK("\xc0\xaf", REPLACEMENT REPLACEMENT); /* overlong */
	CHECK("\xe0\x80\xaf", REPLACEMENT REPLACEMENT REPLACEMENT);
	CHECK("\xed\xa0\x80", REPLACEMENT REPLACEMENT REPLACEMENT); /* surrogate */
	CHECK("\xf4\x90\x80\x80", REPLACEMENT REPLACEMENT REPLACEMENT REPLACEMENT);
	CHECK("\xe2\x82", REPLACEMENT REPLACEMENT); /* cut off */
#undef CHECK
}

static void test_strings_are_capped_at_a_character(void **state)
{
	(void)state;
	char longest[2000];
	auto_free char *slot = NULL;

	memset(longest, 'x', sizeof(longest));
	assert_int_equal(finding_set_bytes(&slot, longest, sizeof(longest)), 0);
	assert_int_equal(strlen(slot), FINDING_STRING_MAX_BYTES);
	for (size_t i = 0; i < sizeof(longest) - 1; i += 3)
		memcpy(longest + i, "\xe2\x82\xac", i + 3 <= sizeof(longest) ? 3 : 1);
	assert_int_equal(finding_set_bytes(&slot, longest, sizeof(longest)), 0);
	assert_int_equal(strlen(slot), FINDING_STRING_MAX_BYTES / 3 * 3);
	/* a cleaned string is not longer for its replacement characters */
	memset(longest, 0xff, sizeof(longest));
	assert_int_equal(finding_set_bytes(&slot, longest, sizeof(longest)), 0);
	assert_int_equal(strlen(slot), FINDING_STRING_MAX_BYTES / 3 * 3);
	assert_int_equal(finding_set(&slot, NULL), 0);
	assert_null(slot);
}

static void test_a_list_is_bounded(void **state)
{
	(void)state;
	struct finding f;

	finding_init(&f);
	for (size_t i = 0; i < FINDING_LIST_MAX; i++)
		assert_int_equal(finding_list_add(&f.command, "a", 1), 0);
	assert_int_equal(finding_list_add(&f.command, "a", 1), -ENOSPC);
	assert_int_equal(f.command.count, FINDING_LIST_MAX);
	finding_fini(&f);
}

static void test_the_largest_finding_fits_a_line(void **state)
{
	(void)state;
	struct finding f, back;
	char quotes[FINDING_STRING_MAX_BYTES], why[128] = "";
	auto_free char *line = NULL;

	finding_init(&f);
	finding_init(&back);
	memset(quotes, '"', sizeof(quotes)); /* doubled by the encoder */
	assert_int_equal(endpoint_parse("192.0.2.1:1", &f.endpoint), 0);
	for (size_t i = 0; i < FINDING_LIST_MAX; i++) {
		assert_int_equal(finding_list_add(&f.command, quotes, sizeof(quotes)), 0);
		assert_int_equal(finding_list_add(&f.profiles, quotes, sizeof(quotes)), 0);
		assert_int_equal(finding_list_add(&f.evidence, quotes, sizeof(quotes)), 0);
	}
	finding_set_bytes(&f.module, quotes, sizeof(quotes));
	line = finding_to_line(&f);
	assert_non_null(line);
	assert_true(strlen(line) <= FINDING_JSON_MAX_BYTES);
	assert_int_equal(finding_from_line(line, strlen(line), &back, why), 0);
	assert_true(back.evidence.count > 5 && back.command.count > 5);
	finding_fini(&f);
	finding_fini(&back);
}

/* The example with one key's value replaced (or the key left out) must be refused. */
static void check_refused(const char *key, const char *value, const char *reason)
{
	json_error_t error;
	json_t *o = json_loads(example, 0, &error);
	struct finding f, before;
	char why[128] = "";

	memset(&f, 0x5a, sizeof(f));
	memcpy(&before, &f, sizeof(f));
	if (value) {
		json_t *other = json_loads(value, JSON_DECODE_ANY | JSON_ALLOW_NUL, &error);

		assert_non_null(other);
		json_object_set_new(o, key, other);
	} else {
		assert_int_equal(json_object_del(o, key), 0);
	}
	if (finding_from_json(o, &f, why) != -EINVAL)
		fail_msg("%s: %s was accepted", key, value ? value : "(nothing)");
	assert_memory_equal(&f, &before, sizeof(f)); /* untouched */
	if (!strstr(why, reason))
		fail_msg("%s: said \"%s\", not \"%s\"", key, why, reason);
	json_decref(o);
}

static void test_every_bad_field_is_refused(void **state)
{
	(void)state;
	static const char *const keys[] = {
	    "schema",        "time",      "scan_id",    "vantage",    "endpoint",   "address",
	    "port",          "scheme",    "host",       "path",       "verdict",    "severity",
	    "risk",          "kind",      "bytes",      "evidence",   "status",     "command",
	    "profiles",      "module",    "go_version", "error",      "latency_ms", "program",
	    "identified_by", "relatives", "advice",     "signatures", "labels",     "accepted"};
	static const char *const lists[] = {"evidence",  "profiles", "command", "identified_by",
	                                    "relatives", "labels",   "serves"};
	static const char *const nullable[] = {"scan_id", "vantage",    "host",      "path",
	                                       "kind",    "go_version", "module",    "error",
	                                       "program", "advice",     "signatures"};

	for (size_t i = 0; i < ARRAY_LEN(keys); i++) {
		check_refused(keys[i], NULL, keys[i]);
		check_refused(keys[i], "{}", keys[i]);
		check_refused(keys[i], "1.5", keys[i]);
		check_refused(keys[i], "true", keys[i]);
	}
	for (size_t i = 0; i < ARRAY_LEN(lists); i++) {
		check_refused(lists[i], "null", lists[i]);
		check_refused(lists[i], "[1]", lists[i]);
		check_refused(lists[i], "[null]", lists[i]);
		check_refused(lists[i], "[\"fine\",\"b\\u0007d\"]", lists[i]);
	}
	for (size_t i = 0; i < ARRAY_LEN(nullable); i++) {
		check_refused(nullable[i], "7", nullable[i]);
		check_refused(nullable[i], "\"a\\nb\"", nullable[i]);
		check_refused(nullable[i], "\"a\\u0000b\"", nullable[i]);
		check_refused(nullable[i], "\"\\u202e\"", nullable[i]);
	}
}

static void test_bad_values_are_refused(void **state)
{
	(void)state;
	check_refused("schema", "0", "range");
	check_refused("schema", "\"1\"", "integer");
	check_refused("surprise", "1", "does not know");
	check_refused("time", "\"2026-02-30T00:00:00Z\"", "time");
	check_refused("time", "\"2026-11-22T24:00:00Z\"", "time");
	check_refused("time", "\"2026-11-22 21:00:00Z\"", "time");
	check_refused("time", "\"2026-11-22T21:00:00+01:00\"", "time");
	check_refused("time", "\"2026-11-22T21:00:00.1Z\"", "time");
	check_refused("time", "\"1969-11-22T21:00:00Z\"", "time");
	check_refused("endpoint", "\"10.0.0.7:9101\"", "differs");
	check_refused("endpoint", "\"10.0.0.8:9100\"", "differs");
	check_refused("endpoint", "\"host:9100\"", "numeric");
	check_refused("address", "\"\"", "numeric");
	check_refused("port", "0", "range");
	check_refused("port", "65536", "range");
	check_refused("port", "74636", "range"); /* 9100 + 65536 */
	check_refused("port", "\"9100\"", "integer");
	check_refused("scheme", "\"gopher\"", "scheme");
	check_refused("verdict", "\"Confirmed\"", "verdict");
	check_refused("severity", "\"critical\"", "severity");
	check_refused("risk", "\"LOW\"", "risk");
	check_refused("status", "99", "range");
	check_refused("status", "1000", "range");
	check_refused("latency_ms", "-1", "range");
	check_refused("bytes", "-1", "range");
	check_refused("bytes", "null", "integer");
}

static void test_long_values_are_refused(void **state)
{
	(void)state;
	char text[FINDING_STRING_MAX_BYTES + 4];
	json_t *list = json_array();
	auto_free char *many = NULL;

	memset(text, 'x', sizeof(text));
	text[0] = text[sizeof(text) - 2] = '"';
	text[sizeof(text) - 1] = '\0'; /* 513 bytes between the quotes */
	check_refused("module", text, "too long");
	for (int i = 0; i <= FINDING_LIST_MAX; i++)
		json_array_append_new(list, json_string("x"));
	many = json_dumps(list, 0);
	check_refused("profiles", many, "too many");
	json_decref(list);
}

static void check_line(const char *line, size_t length, int expected)
{
	struct finding f;
	char why[128] = "";

	finding_init(&f);
	assert_int_equal(finding_from_line(line, length, &f, why), expected);
	if (expected < 0)
		assert_int_not_equal(why[0], '\0');
	finding_fini(&f);
}

static void test_lines(void **state)
{
	(void)state;
	char big[sizeof(example) + 64];
	auto_free char *spaces = malloc(FINDING_JSON_MAX_BYTES + 1);

	check_line("", 0, -EINVAL);
	check_line("null", 4, -EINVAL);
	check_line("[1]", 3, -EINVAL);
	check_line("{}", 2, -EINVAL);
	check_line(example, strlen(example) - 1, -EINVAL);
	/* a key given twice */
	snprintf(big, sizeof(big), "{\"schema\":1,%s", example + 1);
	check_line(big, strlen(big), -EINVAL);
	snprintf(big, sizeof(big), "%s {}", example);
	check_line(big, strlen(big), -EINVAL);
	assert_non_null(spaces);
	memset(spaces, ' ', FINDING_JSON_MAX_BYTES + 1);
	memcpy(spaces, example, strlen(example));
	check_line(spaces, FINDING_JSON_MAX_BYTES, 0);
	check_line(spaces, FINDING_JSON_MAX_BYTES + 1, -EINVAL);
}

static void test_a_newer_schema_may_have_more_keys(void **state)
{
	(void)state;
	char line[sizeof(example) + 64];

	snprintf(line, sizeof(line), "{\"schema\":2,\"surprise\":[1],%s", example + 12);
	check_line(line, strlen(line), 0);
	snprintf(line, sizeof(line), "{\"schema\":1,\"surprise\":[1],%s", example + 12);
	check_line(line, strlen(line), -EINVAL);
}

static void test_names(void **state)
{
	(void)state;
	enum finding_verdict verdict;
	enum finding_severity severity;

	for (unsigned i = 0; i < VERDICT_COUNT; i++) {
		assert_int_equal(
		    finding_verdict_parse(finding_verdict_name((enum finding_verdict)i), &verdict),
		    0);
		assert_int_equal(verdict, i);
	}
	for (unsigned i = 0; i < SEVERITY_COUNT; i++) {
		assert_int_equal(finding_severity_parse(
		                     finding_severity_name((enum finding_severity)i), &severity),
		                 0);
		assert_int_equal(severity, i);
	}
	assert_int_equal(finding_verdict_parse("", &verdict), -EINVAL);
	assert_int_equal(finding_severity_parse("HIGH", &severity), -EINVAL);
}

static void test_exposed(void **state)
{
	(void)state;
	struct finding f;

	finding_init(&f);
	f.severity = SEVERITY_MEDIUM;
	for (unsigned i = 0; i < VERDICT_COUNT; i++) {
		f.verdict = (enum finding_verdict)i;
		assert_int_equal(finding_is_exposed(&f, SEVERITY_MEDIUM),
		                 i == VERDICT_CONFIRMED || i == VERDICT_LIKELY);
		assert_false(finding_is_exposed(&f, SEVERITY_HIGH));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_round_trip),
	    cmocka_unit_test(test_serves_may_be_missing),
	    cmocka_unit_test(test_nothing_answered),
	    cmocka_unit_test(test_strings_are_cleaned),
	    cmocka_unit_test(test_strings_are_capped_at_a_character),
	    cmocka_unit_test(test_a_list_is_bounded),
	    cmocka_unit_test(test_the_largest_finding_fits_a_line),
	    cmocka_unit_test(test_every_bad_field_is_refused),
	    cmocka_unit_test(test_bad_values_are_refused),
	    cmocka_unit_test(test_long_values_are_refused),
	    cmocka_unit_test(test_lines),
	    cmocka_unit_test(test_a_newer_schema_may_have_more_keys),
	    cmocka_unit_test(test_names),
	    cmocka_unit_test(test_exposed),
	};

	return cmocka_run_group_tests_name("finding", tests, NULL, NULL);
}
