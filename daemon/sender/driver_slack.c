/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Slack's incoming webhooks, and what takes the same: {"text": ...}. Blocks would look better in
 * Slack, and nowhere else.
 */
#include "daemon/sender/driver_http.h"
#include "daemon/sender/slack_text.h"

static char *make_body(const struct attempt_spec *spec)
{
	auto_free char *text = message_make_text(spec->conf, spec->message);
	auto_free char *escaped = text ? slack_text_make(text) : NULL;
	/* Formatting is for who wrote the words: a process may be called *this*. */
	json_t *body =
	    escaped ? json_pack("{s:s, s:b}", "text", escaped, "mrkdwn", spec->conf->text != NULL)
	            : NULL;
	char *json = body ? json_dumps(body, JSON_COMPACT) : NULL;

	json_decref(body);
	return json;
}

static int start(struct drivers *d, const struct attempt_spec *spec, attempt_done_cb *done,
                 void *arg, void **attempt)
{
	const struct http_post post = {
	    .url = spec->conf->url,
	    .body = make_body(spec),
	    .event_id = "",
	};

	return driver_http_start(d, spec, &post, done, arg, attempt);
}

const struct driver driver_slack = {.groups = true, .start = start, .cancel = driver_http_cancel};
