/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The verb `test-alert`: a marked event to one sink or each, and what came of it. */
#include "common/control.h"
#include "common/log.h"
#include "daemon/agent/verbs_internal.h"

#include <errno.h>
#include <string.h>

/* An attempt may have to wait for the one that is under way. */
enum { ATTEMPTS = 2, MARGIN_MS = 1000 };

static bool speaks_http(enum conf_alert_type type)
{
	return type == CONF_ALERT_WEBHOOK || type == CONF_ALERT_ALERTMANAGER ||
	       type == CONF_ALERT_SLACK || type == CONF_ALERT_PAGERDUTY;
}

static const struct conf_alert *find_alert(const struct agent *a, const char *name)
{
	for (size_t i = 0; i < a->conf->n_alerts; i++) {
		if (strcmp(a->conf->alerts[i].name, name) == 0)
			return &a->conf->alerts[i];
	}
	return NULL;
}

static json_t *outcome_to_json(const struct agent *a, const struct outbox_outcome *o)
{
	const struct conf_alert *alert = find_alert(a, o->sink); /* NULL after a reload */
	bool http = alert && speaks_http(alert->type) && o->status;
	auto_free char *text = NULL;

	(void)finding_set(&text, o->text); /* may be cut within a character */
	return json_pack("{s:s, s:b, s:o, s:I, s:s?}", "name", o->sink, "delivered", o->delivered,
	                 "http_status", http ? json_integer(o->status) : json_null(), "took_ms",
	                 (json_int_t)o->took_ms, "error",
	                 o->delivered    ? NULL
	                 : text && *text ? text
	                                 : "no reason given");
}

static void on_done(const struct outbox_outcome *outcomes, size_t count, void *arg)
{
	struct agent *a = arg;
	struct control_request *cr = a->testing;
	json_t *sinks = json_array();

	a->testing = NULL;
	for (size_t i = 0; i < count; i++)
		json_array_append_new(sinks, outcome_to_json(a, &outcomes[i]));
	control_answer(cr, json_pack("{s:b, s:o}", "ok", 1, "sinks", sinks));
}

/* It is the question that is wrong. */
static void refuse(struct control_request *cr, json_t *why)
{
	control_answer(cr, json_pack("{s:b, s:b, s:o}", "ok", 0, "usage", 1, "error", why));
}

/* The sinks that are asked for; 0: it has been answered that there are none. */
static size_t choose_sinks(struct agent *a, struct control_request *cr, const json_t *name,
                           unsigned sinks[static CONF_MAX_ALERTS])
{
	const char *wanted = json_string_value(name);
	size_t n = 0;

	for (unsigned i = 0; i < outbox_sink_count(a->outbox); i++) {
		if (json_is_null(name) || !name || strcmp(a->conf->alerts[i].name, wanted) == 0)
			sinks[n++] = i;
	}
	if (n)
		return n;
	if (a->conf->n_alerts == 0)
		refuse(cr, json_string("no alerts are configured"));
	else
		refuse(cr,
		       json_sprintf("no alert is called %s; pprofwall status lists them", wanted));
	return 0;
}

static int64_t find_time(const struct agent *a, const unsigned *sinks, size_t n)
{
	int64_t longest_ms = 0;

	for (size_t i = 0; i < n; i++) {
		if (a->conf->alerts[sinks[i]].timeout_ms > longest_ms)
			longest_ms = a->conf->alerts[sinks[i]].timeout_ms;
	}
	longest_ms = ATTEMPTS * longest_ms + MARGIN_MS;
	return longest_ms < CONTROL_TEST_MAX_MS ? longest_ms : CONTROL_TEST_MAX_MS;
}

void verbs_test_alert(struct agent *a, struct control_request *cr, const struct control_peer *peer,
                      const json_t *request)
{
	const json_t *name = json_object_get(request, "sink");
	unsigned sinks[CONF_MAX_ALERTS] = {0};
	size_t n;
	int err;

	if (name && !json_is_string(name) && !json_is_null(name)) {
		refuse(cr, json_string("sink: expected the name of an alert"));
		return;
	}
	if (a->testing) {
		control_answer_error(cr, "another test is under way; try again");
		return;
	}
	n = choose_sinks(a, cr, name, sinks);
	if (n == 0)
		return;
	log_info("test-alert by %s", peer->who);
	a->testing = cr;
	err = outbox_test(a->outbox, event_make_test(a, peer->who), sinks, n,
	                  find_time(a, sinks, n), on_done, a);
	if (err < 0) {
		a->testing = NULL;
		control_answer_error(cr, err == -ENOMEM ? "out of memory"
		                                        : "the sender process does not answer");
	}
}
