/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Listeners, and one endpoint's story, for people and scripts: docs/control.md has the fields. */
#include "common/clock.h"
#include "daemon/agent/agent.h"

#include <string.h>

enum { MAX_SKIPPED_LISTED = 200 };

/* Names are the processes' own choice, and need not be UTF-8. */
static json_t *text_or_null(const char *text)
{
	auto_free char *clean = NULL;

	return !*text || finding_set(&clean, text) < 0 ? json_null() : json_string(clean);
}

static json_t *wall_time(int64_t wall_ms)
{
	char text[CLOCK_TEXT_LEN];

	return json_string(clock_format_wall(wall_ms, text));
}

json_t *report_listener(const struct listener *l)
{
	const struct owner *o = l->owner;
	char bound[ENDPOINT_TEXT_LEN];

	return json_pack(
	    "{s:s, s:s?, s:I, s:b, s:I, s:i, s:I, s:o, s:o, s:o, s:o, s:o, s:o, s:b}", "bound",
	    endpoint_format(&l->bound, bound), "not_probed", listener_skip_text(l->skip), "netns",
	    (json_int_t)listener_netns(l), "host", listener_is_in_host(l), "sockets",
	    (json_int_t)l->sockets, "pid", o->pid, "uid", (json_int_t)o->uid, "process",
	    text_or_null(o->command), "executable", text_or_null(o->executable), "unit",
	    text_or_null(o->unit), "container", text_or_null(o->container), "runtime",
	    text_or_null(o->runtime), "since", wall_time(l->seen_wall_ms), "gone", l->gone_ms != 0);
}

bool report_is_of_interest(const struct watch *w)
{
	return w->breaker.state != BREAKER_CLOSED || w->breaker.history || w->decision ||
	       w->wall.in_kernel || w->wall.error || w->slot.quarantined || w->high_risk ||
	       w->ambiguous || !w->configured ||
	       (w->last && finding_is_exposed(w->last, SEVERITY_LOW));
}

json_t *report_counts(const struct agent *a)
{
	size_t n = watch_set_count(a->watches), exposed = 0, blocked = 0, not_asked = 0;
	size_t filtered = 0;
	size_t states[BREAKER_STATE_COUNT] = {0};

	for (size_t i = 0; i < n; i++) {
		const struct watch *w = watch_set_at(a->watches, i);

		exposed += w->last && finding_is_exposed(w->last, SEVERITY_LOW);
		blocked += w->wall.in_kernel;
		filtered += enforce_filters(a, w);
		not_asked += !w->seen;
		states[w->breaker.state]++;
	}
	return json_pack("{s:I, s:I, s:I, s:I, s:I, s:I, s:I}", "endpoints", (json_int_t)n,
	                 "exposed", (json_int_t)exposed, "open", (json_int_t)states[BREAKER_OPEN],
	                 "half_open", (json_int_t)states[BREAKER_HALF_OPEN], "blocked",
	                 (json_int_t)blocked, "filtered", (json_int_t)filtered, "not_probed_yet",
	                 (json_int_t)not_asked);
}

void report_add_owner(const struct agent *a, json_t *watch, const struct watch *w)
{
	const struct listener *l = w->listener;
	const struct owner *o = l ? l->owner : NULL;

	if (w->breaker.state == BREAKER_OPEN) {
		int64_t left_ms = w->breaker.open_until_ms - clock_monotonic_ms();

		json_object_set_new(watch, "open_left_ms", json_integer(left_ms > 0 ? left_ms : 0));
	}
	json_object_set_new(watch, "target", json_boolean(w->targeted));
	json_object_set_new(watch, "packets",
	                    w->wall.in_kernel ? json_integer((json_int_t)w->wall.packets)
	                                      : json_null());
	json_object_set_new(watch, "denied",
	                    w->denied || enforce_filters(a, w) ? json_integer((json_int_t)w->denied)
	                                                       : json_null());
	json_object_set_new(watch, "process", o ? text_or_null(o->command) : json_null());
	json_object_set_new(watch, "pid", o && o->pid ? json_integer(o->pid) : json_null());
	json_object_set_new(watch, "uid", o ? json_integer((json_int_t)o->uid) : json_null());
	json_object_set_new(watch, "unit", o ? text_or_null(o->unit) : json_null());
	json_object_set_new(watch, "container", o ? text_or_null(o->container) : json_null());
	json_object_set_new(watch, "netns",
	                    l ? json_integer((json_int_t)listener_netns(l)) : json_null());
	json_object_set_new(watch, "ambiguous", json_boolean(w->ambiguous));
}

struct skipped_list {
	json_t *list;
	bool all;
};

static void add_skipped(const struct listener *l, void *arg)
{
	const struct skipped_list *s = arg;

	if (l->skip != LISTENER_PROBED && (s->all || json_array_size(s->list) < MAX_SKIPPED_LISTED))
		json_array_append_new(s->list, report_listener(l));
}

json_t *report_listeners(const struct agent *a, bool all)
{
	const struct inventory_status *status = listeners_status(a->listeners);
	struct skipped_list skipped = {.list = json_array(), .all = all};
	json_t *by_reason = json_object();
	struct listeners_stats stats;

	listeners_get_stats(a->listeners, &stats);
	for (int i = LISTENER_PROBED + 1; i < LISTENER_SKIP_COUNT; i++) {
		if (stats.skipped[i])
			json_object_set_new(by_reason, listener_skip_name((enum listener_skip)i),
			                    json_integer((json_int_t)stats.skipped[i]));
	}
	listeners_walk(a->listeners, add_skipped, &skipped);
	return json_pack("{s:b, s:b, s:s, s:o, s:I, s:I, s:I, s:I, s:I, s:o, s:o, s:I}", "watched",
	                 a->conf->scan.listeners, "synced", listeners_is_synced(a->listeners),
	                 "mode", status->mode == INVENTORY_BY_EVENTS ? "events" : "polling",
	                 "why_no_events", text_or_null(status->why_no_events), "count",
	                 (json_int_t)stats.listeners, "namespaces", (json_int_t)stats.namespaces,
	                 "in_host", (json_int_t)stats.in_host, "in_containers",
	                 (json_int_t)stats.in_containers, "probed",
	                 (json_int_t)stats.skipped[LISTENER_PROBED], "skipped", by_reason,
	                 "not_probed", skipped.list, "over_cap", (json_int_t)stats.over_cap);
}

static json_t *rules_to_json(const struct agent *a, const struct watch *w)
{
	struct match_facts facts = observe_facts(w);
	json_t *list = json_array();

	for (unsigned i = 0; i <= a->conf->n_breakers; i++) {
		const char *why = rules_why_not(a->rules, i, &facts);

		if (i == a->conf->n_breakers && w->rule != i)
			break; /* nobody needs to hear that the implicit one would have fitted */
		json_array_append_new(list, json_pack("{s:s, s:b, s:s?}", "name",
		                                      a->conf->breakers[i].name, "winner",
		                                      w->rule == i, "does_not_fit", why));
	}
	return list;
}

static bool is_asked_inside(const struct agent *a, const struct endpoint *e)
{
	for (size_t i = 0; i < watch_set_count(a->watches); i++) {
		const struct watch *w = watch_set_at(a->watches, i);

		if (w->netns && endpoint_compare(&w->endpoint, e) == 0)
			return true;
	}
	return false;
}

json_t *report_explanation(const struct agent *a, const struct watch_key *key)
{
	const struct watch *w = watch_set_find_key(a->watches, key);
	const struct watch named = {.endpoint = key->endpoint, .netns = key->netns};
	const struct listener *l = w ? w->listener : NULL;
	char endpoint[WATCH_NAME_LEN];

	if (!l && !w && !key->netns)
		l = listeners_find_skipped(a->listeners, &key->endpoint);
	/* One of those that are probed is meant, then. */
	if (!w && l && !listener_is_in_host(l) && is_asked_inside(a, &key->endpoint))
		l = NULL;
	if (!w && !l)
		return NULL;
	return json_pack(
	    "{s:b, s:s, s:o, s:o, s:o, s:o, s:I, s:o}", "ok", 1, "endpoint",
	    watch_name(&named, endpoint), "watch", w ? report_watch(a, w) : json_null(), "listener",
	    l ? report_listener(l) : json_null(), "breakers",
	    w ? rules_to_json(a, w) : json_array(), "story", w ? story_to_json(w) : json_array(),
	    "story_dropped", (json_int_t)(w ? story_dropped(w) : 0), "finding",
	    w && w->last ? finding_to_json(w->last) : json_null());
}
