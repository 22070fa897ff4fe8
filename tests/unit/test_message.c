/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/sender/message.h"

#include "common/cleanup.h"

#include <string.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

struct events {
	json_t *list[3];
};

static int make_events(void **state)
{
	static struct events events;

	for (size_t i = 0; i < ARRAY_LEN(events.list); i++)
		events.list[i] = json_pack("{s:s, s:s, s:s, s:s+}", "event", "opened", "endpoint",
		                           i ? "10.0.0.8:80" : "10.0.0.7:9100", "host", "web-3",
		                           "text", "sentence ", i ? "two\nlines" : "one");
	*state = &events;
	return 0;
}

static int free_events(void **state)
{
	struct events *events = *state;

	for (size_t i = 0; i < ARRAY_LEN(events->list); i++)
		json_decref(events->list[i]);
	return 0;
}

static void expect(const struct conf_alert *conf, const struct events *events, size_t n,
                   const char *subject, const char *text)
{
	struct message m = {.events = events->list, .n = n};
	auto_free char *is_subject = message_make_subject(conf, &m);
	auto_free char *is_text = message_make_text(conf, &m);

	assert_string_equal(is_subject, subject);
	assert_string_equal(is_text, text);
}

static void without_templates_the_sentence_is_told(void **state)
{
	expect(&(struct conf_alert){.type = CONF_ALERT_SLACK}, *state, 1,
	       "[pprofwall] opened: 10.0.0.7:9100 on web-3", "sentence one");
}

static void several_are_a_list(void **state)
{
	expect(&(struct conf_alert){.type = CONF_ALERT_SLACK}, *state, 3,
	       "[pprofwall] opened: 10.0.0.7:9100 on web-3 and 2 more",
	       "pprofwall: 3 events\n- sentence one\n- sentence two lines\n- sentence two lines");
}

static void templates_are_followed(void **state)
{
	struct conf_alert conf = {.type = CONF_ALERT_SMTP,
	                          .subject = (char[]){"{host}!"},
	                          .text = (char[]){"{about}\n{unit|no unit}"}};

	expect(&conf, *state, 1, "web-3!", "10.0.0.7:9100\nno unit");
	expect(&conf, *state, 2, "web-3! and 1 more",
	       "pprofwall: 2 events\n- 10.0.0.7:9100\nno unit\n- 10.0.0.8:80\nno unit");
}

static void a_mail_has_all_that_matters(void **state)
{
	const struct events *events = *state;
	struct message m = {.events = events->list, .n = 1};
	struct conf_alert conf = {.type = CONF_ALERT_SMTP};
	auto_free char *text = message_make_text(&conf, &m);

	assert_non_null(strstr(text, "sentence one\n\n"));
	assert_non_null(strstr(text, "Endpoint:  10.0.0.7:9100\n"));
	assert_non_null(strstr(text, "Unit:      -\n"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(without_templates_the_sentence_is_told),
	    cmocka_unit_test(several_are_a_list),
	    cmocka_unit_test(templates_are_followed),
	    cmocka_unit_test(a_mail_has_all_that_matters),
	};

	return cmocka_run_group_tests(tests, make_events, free_events);
}
