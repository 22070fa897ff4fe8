/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The event as it is; of several, {"schema":1,"group":true,"events":[...]}. */
#include "daemon/sender/driver_http.h"

#include <errno.h>

enum { GROUP_SCHEMA = 1 };

static char *make_body(const struct message *m)
{
	json_t *list, *group;
	char *body;

	if (m->n == 1)
		return json_dumps(m->events[0], JSON_COMPACT);
	list = json_array();
	for (size_t i = 0; i < m->n; i++)
		json_array_append(list, m->events[i]);
	group = json_pack("{s:i, s:b, s:o}", "schema", GROUP_SCHEMA, "group", 1, "events", list);
	body = group ? json_dumps(group, JSON_COMPACT) : NULL;
	json_decref(group);
	return body;
}

static int start(struct drivers *d, const struct attempt_spec *spec, attempt_done_cb *done,
                 void *arg, void **attempt)
{
	const struct message *m = spec->message;
	const struct http_post post = {
	    .url = spec->conf->url,
	    .body = make_body(m),
	    .event_id = m->n == 1 ? message_event_id(m->events[0]) : "",
	    .is_signed = true,
	};

	return driver_http_start(d, spec, &post, done, arg, attempt);
}

const struct driver driver_webhook = {.groups = true, .start = start, .cancel = driver_http_cancel};
