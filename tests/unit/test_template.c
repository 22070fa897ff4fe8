/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "common/cleanup.h"
#include "common/spelling.h"
#include "common/template.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

static const char opened[] =
    "{\"event\":\"opened\",\"host\":\"web-3\",\"endpoint\":\"10.0.0.7:9100\",\"reason\":null,"
    "\"breaker\":{\"name\":\"default\",\"state\":\"open\"},\"listener\":{\"process\":\"nx\","
    "\"pid\":911},\"finding\":{\"program\":\"node_exporter\",\"path\":\"/a\\nb\\u007f{event}\"},"
    "\"impact\":{\"cut\":0}}";
static const char denied[] =
    "{\"event\":\"denied\",\"endpoint\":\"10.0.0.7:9100\",\"denied\":{\"client\":\"10.0.0.9\","
    "\"reason\":\"path\",\"path\":\"/debug/pprof/\",\"count\":3}}";
static const char source[] =
    "{\"event\":\"source_failed\",\"host\":\"web-3\",\"endpoint\":null,\"source\":\"@/etc/x\","
    "\"breaker\":null,\"finding\":null,\"listener\":null}";

static void expect_rendered(const char *template, const char *json, const char *expected)
{
	json_t *event = json_loads(json, 0, NULL);
	char why[TEMPLATE_ERROR_LEN];
	auto_free char *text = NULL;
	size_t at;

	assert_non_null(event);
	assert_int_equal(template_check(template, &at, why), 0);
	text = template_render(template, event);
	json_decref(event);
	assert_string_equal(text, expected);
}

static void values_stand_where_the_fields_were(void **state)
{
	(void)state;
	expect_rendered("", opened, "");
	expect_rendered("plain", opened, "plain");
	expect_rendered("[{host}] {event}: {endpoint}", opened, "[web-3] opened: 10.0.0.7:9100");
	expect_rendered("{rule}/{state}/{pid}/{cut}", opened, "default/open/911/0");
	expect_rendered("{{{host}}} {{}}", opened, "{web-3} {}");
	expect_rendered("{client} {denied} {asked} {count}", denied,
	                "10.0.0.9 path /debug/pprof/ 3");
}

static void what_the_event_has_not_is_nothing_or_the_fallback(void **state)
{
	(void)state;
	expect_rendered("<{reason}>", opened, "<>");
	expect_rendered("<{reason|none given}>", opened, "<none given>");
	expect_rendered("<{reason|}>", opened, "<>");
	expect_rendered("{about}", opened, "10.0.0.7:9100");
	expect_rendered("{about}, {endpoint|no endpoint}, {rule|no rule}", source,
	                "@/etc/x, no endpoint, no rule");
	/* who listens is better known than what the answer looked like */
	expect_rendered("{process}", opened, "nx");
}

static void a_value_is_no_template_and_has_no_lines(void **state)
{
	(void)state;
	expect_rendered("{path}", opened, "/a b {event}");
}

static void expect_refused(const char *template, size_t at, const char *why)
{
	char said[TEMPLATE_ERROR_LEN] = "";
	size_t where = 0;

	assert_int_equal(template_check(template, &where, said), -EINVAL);
	assert_string_equal(said, why);
	assert_int_equal(where, at);
}

static void faults_have_a_place(void **state)
{
	(void)state;
	expect_refused("a {endpont} b", 2, "unknown field \"endpont\"; did you mean \"endpoint\"?");
	expect_refused("{xyzzy}", 0, "unknown field \"xyzzy\"");
	expect_refused("ab{host", 2, "a brace that is not closed; a brace itself is written {{");
	expect_refused("ab{host{", 2, "a brace that is not closed; a brace itself is written {{");
	expect_refused("{", 0, "a brace that is not closed; a brace itself is written {{");
	expect_refused("{{}", 2, "a closing brace alone; a brace itself is written }}");
	expect_refused("{}", 0, "no field between the braces");
	expect_refused("{|x}", 0, "no field between the braces");
	/* may be a secret that slipped */
	expect_refused("{hunter2-0123456789}", 0, "no field between the braces");
	expect_refused("{host|{event}}", 0,
	               "a brace that is not closed; a brace itself is written {{");
}

/* Cut in whole characters, however long the value and however often it stands there. */
static void lengths_are_bounded(void **state)
{
	char template[TEMPLATE_MAX_BYTES + 1] = "";
	auto_free char *text = NULL, *cut = NULL;
	char value[3 * TEMPLATE_VALUE_MAX_BYTES + 1];
	json_t *event;

	(void)state;
	for (size_t i = 0; i + 2 < sizeof(value); i += 2)
		memcpy(value + i, "\xc3\xa9", 3);
	value[0] = 'e';
	value[1] = 'e';
	memmove(value, value + 1, strlen(value)); /* now the limit is within a character */
	event = json_pack("{s:s}", "text", value);
	cut = template_render("{text}", event);
	assert_int_equal(strlen(cut), TEMPLATE_VALUE_MAX_BYTES - 1 + 3);
	assert_string_equal(cut + strlen(cut) - 5, "\xc3\xa9...");
	for (size_t i = 0; i + 6 < sizeof(template); i += 6)
		memcpy(template + i, "{text}", 7);
	text = template_render(template, event);
	assert_true(strlen(text) <= TEMPLATE_RESULT_MAX_BYTES);
	assert_true(strlen(text) > TEMPLATE_RESULT_MAX_BYTES - 4);
	json_decref(event);
	event = json_pack("{s:s}", "text", text); /* still UTF-8 */
	assert_non_null(event);
	json_decref(event);
}

/* Only what is documented, and all that is documented. */
static void fields_are_documented(void **state)
{
	const char *folder = getenv("PW_SOURCE_DIR");
	char path[4096], docs[64 * 1024];
	FILE *file;
	size_t length;

	(void)state;
	assert_non_null(folder);
	snprintf(path, sizeof(path), "%s/docs/alerts.md", folder);
	file = fopen(path, "r");
	assert_non_null(file);
	length = fread(docs, 1, sizeof(docs) - 1, file);
	docs[length] = '\0';
	fclose(file);
	assert_true(length < sizeof(docs) - 1);
	for (size_t i = 0; template_field_name(i); i++) {
		char cell[32];

		snprintf(cell, sizeof(cell), "`{%s}`", template_field_name(i));
		if (!strstr(docs, cell))
			fail_msg("docs/alerts.md lacks %s", cell);
	}
}

static void words_are_near_or_far(void **state)
{
	(void)state;
	assert_int_equal(spelling_edits("host", "host"), 0);
	assert_int_equal(spelling_edits("HOST", "host"), 0);
	assert_int_equal(spelling_edits("hots", "host"), 2);
	assert_int_equal(spelling_edits("", "host"), 4);
	assert_int_equal(spelling_edits("0123456789012345678901234567890123456789", "host"),
	                 SPELLING_WORD_MAX_LEN);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(values_stand_where_the_fields_were),
	    cmocka_unit_test(what_the_event_has_not_is_nothing_or_the_fallback),
	    cmocka_unit_test(a_value_is_no_template_and_has_no_lines),
	    cmocka_unit_test(faults_have_a_place),
	    cmocka_unit_test(lengths_are_bounded),
	    cmocka_unit_test(fields_are_documented),
	    cmocka_unit_test(words_are_near_or_far),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
