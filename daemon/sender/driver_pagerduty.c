/* SPDX-License-Identifier: GPL-2.0-or-later */
/* PagerDuty's Events API, version 2: one event a request. */
#include "daemon/sender/driver_http.h"
#include "daemon/sender/pagerduty_event.h"

static const char public_url[] = "https://events.pagerduty.com/v2/enqueue";

static int start(struct drivers *d, const struct attempt_spec *spec, attempt_done_cb *done,
                 void *arg, void **attempt)
{
	json_t *event = spec->message->events[0], *body;
	struct http_post post = {
	    .url = spec->conf->url ? spec->conf->url : public_url,
	    .event_id = "",
	};

	if (!pagerduty_has(event))
		return driver_http_skip(d, done, arg, attempt);
	body = pagerduty_make(spec->conf, event);
	post.body = body ? json_dumps(body, JSON_COMPACT) : NULL;
	json_decref(body);
	return driver_http_start(d, spec, &post, done, arg, attempt);
}

const struct driver driver_pagerduty = {.start = start, .cancel = driver_http_cancel};
