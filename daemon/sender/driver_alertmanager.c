/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Alertmanager's API, version 2: POST /api/v2/alerts, an array of alerts. What is open is told
 * again and again, with an end three times as far away: so an alert ends even if its agent dies.
 * What has fired is remembered by its labels, since only the same labels end it, and the evidence
 * of the last probe is another one than that of the first.
 */
#include "common/clock.h"
#include "daemon/sender/alert_labels.h"
#include "daemon/sender/driver_http.h"

#include <errno.h>
#include <string.h>

enum { REFRESHES = 3, MAX_FIRING = 10000 };

static const char api[] = "/api/v2/alerts";

struct am_attempt {
	void *inner;
	struct drivers *drivers;
	char sink[CONF_NAME_MAX_LEN + 1];
	json_t *alerts;  /* what is posted */
	json_t *changes; /* to what fires, once it is delivered: key -> labels, or null */
	attempt_done_cb *done;
	void *arg;
};

static void free_attempt(struct am_attempt *a)
{
	json_decref(a->alerts);
	json_decref(a->changes);
	free(a);
}

/* The labels that fired under this key, an earlier event of the same message included; or NULL. */
static const json_t *find_firing(const struct am_attempt *a, const char *key)
{
	const json_t *labels = json_object_get(a->changes, key);

	if (!labels)
		labels = json_object_get(json_object_get(a->drivers->firing, a->sink), key);
	return json_is_object(labels) ? labels : NULL;
}

static void keep_changes(struct am_attempt *a)
{
	json_t *firing = json_object_get(a->drivers->firing, a->sink);
	const char *key;
	json_t *labels;

	if (!firing) {
		firing = json_object();
		json_object_set_new(a->drivers->firing, a->sink, firing);
	}
	json_object_foreach (a->changes, key, labels) {
		if (json_is_null(labels))
			json_object_del(firing, key);
		else if (json_object_get(firing, key) || json_object_size(firing) < MAX_FIRING)
			json_object_set(firing, key, labels);
	}
}

/* Without a beginning an alert begins where it ends: whatever is known of it there stays. */
static int add_end(struct am_attempt *a, const json_t *labels)
{
	char now[CLOCK_TEXT_LEN];

	clock_format_wall(clock_wall_ms(), now);
	return json_array_append_new(a->alerts,
	                             json_pack("{s:O, s:s}", "labels", labels, "endsAt", now));
}

static int add_fire(struct am_attempt *a, const struct conf_alert *conf,
                    const struct alert_kind *kind, json_t *event, json_t *labels)
{
	const char *opened =
	    json_string_value(json_object_get(json_object_get(event, "breaker"), "opened"));
	const char *begins = opened ? opened : json_string_value(json_object_get(event, "time"));
	int64_t lasts_ms = kind->lasts_ms ? kind->lasts_ms : REFRESHES * conf->refresh_ms;
	char ends[CLOCK_TEXT_LEN];

	clock_format_wall(clock_wall_ms() + lasts_ms, ends);
	return json_array_append_new(a->alerts,
	                             json_pack("{s:O, s:o, s:s*, s:s}", "labels", labels,
	                                       "annotations", alert_annotations(conf, event),
	                                       "startsAt", begins, "endsAt", ends));
}

/* Adds what one kind of alert is told, and what is to be remembered of it. */
static int add_change(struct am_attempt *a, const struct conf_alert *conf,
                      const struct alert_kind *kind, json_t *event)
{
	char *key = alert_key(event, kind->name);
	const json_t *before = key ? find_firing(a, key) : NULL;
	json_t *labels = key ? alert_labels(event, kind->name, before) : NULL;
	int rc = labels ? 0 : -1;

	if (rc == 0 && kind->change == ALERT_CHANGE_ENDS) {
		rc = add_end(a, before ? before : labels);
		rc |= json_object_set_new(a->changes, key, json_null());
	} else if (rc == 0) {
		if (before && !json_equal(before, labels))
			rc = add_end(a, before);
		rc |= add_fire(a, conf, kind, event, labels);
		rc |= json_object_set(a->changes, key, labels);
	}
	json_decref(labels);
	free(key);
	return rc ? -ENOMEM : 0;
}

static int add_event(struct am_attempt *a, const struct conf_alert *conf, json_t *event)
{
	const struct alert_kind *kind;
	int rc = 0;

	for (size_t i = 0; rc == 0 && (kind = alert_kind_of(event, i)); i++)
		rc = add_change(a, conf, kind, event);
	return rc;
}

static void on_done(const struct attempt_result *result, void *arg)
{
	struct am_attempt *a = arg;
	attempt_done_cb *done = a->done;
	void *done_arg = a->arg;

	if (result->verdict == ATTEMPT_DELIVERED)
		keep_changes(a);
	free_attempt(a);
	done(result, done_arg);
}

/* The URL is that of the Alertmanager, with the prefix that it may be served under. */
static char *make_url(const char *base)
{
	size_t length = strlen(base);
	char *url;

	while (length > 0 && base[length - 1] == '/')
		length--;
	if (length >= strlen(api) && strncmp(base + length - strlen(api), api, strlen(api)) == 0)
		length -= strlen(api);
	return asprintf(&url, "%.*s%s", (int)length, base, api) < 0 ? NULL : url;
}

static int post(struct am_attempt *a, const struct attempt_spec *spec)
{
	char *url = make_url(spec->conf->url);
	const struct http_post post = {
	    .url = url,
	    .body = json_dumps(a->alerts, JSON_COMPACT),
	    .event_id = "",
	};
	int rc = -ENOMEM;

	if (url)
		rc = driver_http_start(a->drivers, spec, &post, on_done, a, &a->inner);
	else
		free(post.body);
	driver_http_forget(url);
	return rc;
}

static int start(struct drivers *d, const struct attempt_spec *spec, attempt_done_cb *done,
                 void *arg, void **attempt)
{
	struct am_attempt *a = calloc(1, sizeof(*a));
	int rc = 0;

	if (!a)
		return -ENOMEM;
	*a = (struct am_attempt){.drivers = d,
	                         .alerts = json_array(),
	                         .changes = json_object(),
	                         .done = done,
	                         .arg = arg};
	snprintf(a->sink, sizeof(a->sink), "%s", spec->conf->name);
	for (size_t i = 0; rc == 0 && i < spec->message->n; i++)
		rc = add_event(a, spec->conf, spec->message->events[i]);
	if (rc == 0)
		rc = json_array_size(a->alerts) ? post(a, spec)
		                                : driver_http_skip(d, on_done, a, &a->inner);
	if (rc < 0) {
		free_attempt(a);
		return rc;
	}
	*attempt = a;
	return 0;
}

static void cancel(void *attempt)
{
	struct am_attempt *a = attempt;

	driver_http_cancel(a->inner);
	free_attempt(a);
}

const struct driver driver_alertmanager = {
    .groups = true, .always_groups = true, .start = start, .cancel = cancel};
