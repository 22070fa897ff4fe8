/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What is made of events for receivers that take HTTP; that they take it is for tests/integration.
 */
#include "common/cleanup.h"
#include "daemon/sender/alert_labels.h"
#include "daemon/sender/pagerduty_event.h"
#include "daemon/sender/signature.h"
#include "daemon/sender/slack_text.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
/* cmocka.h wants the above */
#include <cmocka.h>

static void cleanup_json(json_t **slot)
{
	json_decref(*slot);
}
#define auto_json __attribute__((cleanup(cleanup_json)))

static json_t *make_event(const char *kind, const char *severity)
{
	json_t *event = json_pack("{s:s, s:s, s:s, s:s, s:{s:s}, s:{s:s?}}", "event", kind, "host",
	                          "h", "endpoint", "10.0.0.7:9100", "text", "words", "breaker",
	                          "name", "r", "finding", "severity", severity);

	assert_non_null(event);
	return event;
}

static const char *text_of(const json_t *object, const char *key)
{
	const char *text = json_string_value(json_object_get(object, key));

	return text ? text : "(none)";
}

/* openssl dgst -sha256 -hmac Jefe says the same of "1795298404.{"a":1}". */
static void signs_time_and_body(void **state)
{
	char out[SIGNATURE_LEN];

	(void)state;
	assert_int_equal(signature_make("Jefe", 1795298404, "{\"a\":1}", 7, out), 0);
	assert_string_equal(out,
	                    "t=1795298404,v1="
	                    "f56524294f27a5b58c4b173cbf9575c579ae85bf1db1caefe2adc9834b8fa694");
}

static void escapes_what_begins_a_link(void **state)
{
	auto_free char *text = slack_text_make("<!here> & é &lt;\n@all *x*");

	(void)state;
	assert_string_equal(text, "&lt;!here&gt; &amp; é &amp;lt;\n@all *x*");
}

static void cuts_at_a_line_or_a_character(void **state)
{
	char lines[3 * SLACK_TEXT_MAX_BYTES], word[3 * SLACK_TEXT_MAX_BYTES];
	auto_free char *by_line = NULL, *by_character = NULL;

	(void)state;
	lines[0] = '\0';
	for (size_t at = 0; at + 100 < sizeof(lines); at += 100)
		snprintf(lines + at, sizeof(lines) - at, "%*zu\n", 99, at / 100);
	by_line = slack_text_make(lines);
	assert_non_null(strstr(by_line, " 38\n… and 78 more lines"));
	for (size_t at = 0; at + 4 < sizeof(word); at += 3)
		memcpy(word + at, "€", 4);
	by_character = slack_text_make(word);
	assert_int_equal(strlen(by_character), SLACK_TEXT_MAX_BYTES + 3);
	assert_string_equal(by_character + SLACK_TEXT_MAX_BYTES - 3, "€…");
}

static void keeps_labels_while_it_fires(void **state)
{
	auto_json json_t *opened = make_event("opened", "medium");
	auto_json json_t *worse = make_event("refresh", "high"),
	                 *clear = make_event("closed", NULL);
	const char *name = alert_kind_of(opened, 0)->name;
	auto_json json_t *first = alert_labels(opened, name, NULL);
	auto_json json_t *second = alert_labels(worse, name, first);
	auto_json json_t *last = alert_labels(clear, name, second);

	(void)state;
	assert_null(alert_kind_of(opened, 1));
	assert_int_equal(alert_kind_of(clear, 0)->change, ALERT_CHANGE_ENDS);
	assert_string_equal(text_of(first, "severity"), "medium");
	assert_string_equal(text_of(first, "product"), "unknown");
	assert_string_equal(text_of(second, "severity"), "high");
	assert_true(json_equal(second, last));
	/* Nothing more: each label more is a group more. */
	assert_int_equal(json_object_size(first), 6);
}

static void learns_a_product(void **state)
{
	auto_json json_t *event = make_event("refresh", "high");
	const char *name = alert_kind_of(event, 0)->name;
	auto_json json_t *unknown = alert_labels(event, name, NULL), *known = NULL, *kept = NULL;

	(void)state;
	json_object_set_new(json_object_get(event, "finding"), "program", json_string("etcd"));
	known = alert_labels(event, name, unknown);
	json_object_set_new(json_object_get(event, "finding"), "program", json_string("other"));
	kept = alert_labels(event, name, known);
	assert_string_equal(text_of(known, "product"), "etcd");
	assert_string_equal(text_of(kept, "product"), "etcd");
}

static void has_one_key_from_trigger_to_resolve(void **state)
{
	const struct conf_alert conf = {.type = CONF_ALERT_PAGERDUTY, .secret = (char[]){"k"}};
	auto_json json_t *opened = make_event("opened", "low"),
	                 *closed = make_event("closed", NULL);
	auto_json json_t *other = make_event("manual_block", "low");
	auto_json json_t *trigger = pagerduty_make(&conf, opened);
	auto_json json_t *resolve = pagerduty_make(&conf, closed);

	(void)state;
	assert_false(pagerduty_has(other));
	assert_string_equal(text_of(trigger, "event_action"), "trigger");
	assert_string_equal(text_of(resolve, "event_action"), "resolve");
	assert_string_equal(text_of(trigger, "dedup_key"), "pprofwall/h/10.0.0.7:9100/r");
	assert_string_equal(text_of(resolve, "dedup_key"), "pprofwall/h/10.0.0.7:9100/r");
	assert_string_equal(text_of(json_object_get(trigger, "payload"), "severity"), "warning");
	assert_null(json_object_get(resolve, "payload"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(signs_time_and_body),
	    cmocka_unit_test(escapes_what_begins_a_link),
	    cmocka_unit_test(cuts_at_a_line_or_a_character),
	    cmocka_unit_test(keeps_labels_while_it_fires),
	    cmocka_unit_test(learns_a_product),
	    cmocka_unit_test(has_one_key_from_trigger_to_resolve),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
