/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/agent/route.h"

#include "conf/conf_quiet.h"

#include <errno.h>
#include <string.h>
#include <time.h>

enum {
	MINUTE = 60,  /* in seconds */
	MAX_JUMPS = 8 /* of the zone's offset, within a week */
};

struct route {
	struct match match;
	struct conf_quiet *quiet; /* owned; NULL: never */
};

struct routes {
	const struct conf *conf;
	size_t count;
	struct route items[];
};

static int init_route(struct route *route, const struct conf_alert *alert,
                      char error[static CONF_ERROR_LEN])
{
	int err = match_init(&route->match, &alert->match, alert->name, error);

	if (err || alert->quiet_hours.count == 0)
		return err;
	route->quiet = calloc(1, sizeof(*route->quiet));
	if (!route->quiet)
		return -ENOMEM;
	for (size_t i = 0; i < alert->quiet_hours.count && !err; i++)
		err = conf_quiet_add(route->quiet, alert->quiet_hours.items[i]);
	return err;
}

int routes_new(const struct conf *conf, struct routes **out, char error[static CONF_ERROR_LEN])
{
	struct routes *routes =
	    calloc(1, sizeof(*routes) + conf->n_alerts * sizeof(routes->items[0]));
	int err = 0;

	if (!routes)
		return -ENOMEM;
	tzset();
	routes->conf = conf;
	routes->count = conf->n_alerts;
	for (size_t i = 0; i < conf->n_alerts && !err; i++)
		err = init_route(&routes->items[i], &conf->alerts[i], error);
	if (err)
		routes_free(routes);
	else
		*out = routes;
	return err;
}

void routes_free(struct routes *routes)
{
	if (!routes)
		return;
	for (size_t i = 0; i < routes->count; i++) {
		match_fini(&routes->items[i].match);
		free(routes->items[i].quiet);
	}
	free(routes);
}

/* Which */

static bool is(const struct route_facts *facts, const char *event)
{
	return strcmp(facts->event, event) == 0;
}

static bool has_event(const struct conf_strings *list, const char *event)
{
	for (size_t i = 0; i < list->count; i++) {
		if (strcmp(list->items[i], event) == 0)
			return true;
	}
	return false;
}

static bool fits_event(const struct conf_alert *alert, const struct route_facts *facts)
{
	const struct conf_strings *list = &alert->events;

	if (is(facts, "refresh") && alert->type != CONF_ALERT_ALERTMANAGER)
		return false;
	/* What is held off already, and may be every day's: only for those who ask. */
	if (is(facts, "filtered") || is(facts, "denied"))
		return has_event(list, facts->event);
	return list->count == 0 || has_event(list, facts->event) ||
	       ((is(facts, "escalated") || is(facts, "refresh")) && has_event(list, "opened"));
}

/* Is it, of what the sink is for at all, one of those that it hears? */
static bool fits_escalation(const struct conf_alert *alert, const struct route_facts *facts)
{
	if (is(facts, "escalated"))
		return alert->escalate_after_ms > 0 &&
		       alert->escalate_after_ms == facts->escalated_ms;
	if (alert->escalate_after_ms == 0)
		return true;
	if (!facts->endpoint)
		return has_event(&alert->events, facts->event);
	return alert->escalate_after_ms <= facts->escalated_ms;
}

static bool fits_endpoint(const struct route *route, const struct conf_alert *alert,
                          const struct route_facts *facts)
{
	const struct match_facts match = {.endpoint = facts->endpoint, .owner = facts->owner};

	if (facts->severity != SEVERITY_NONE && facts->severity < alert->severity)
		return false;
	return facts->endpoint ? !match_why_not(&route->match, &match)
	                       : match_is_empty(&route->match);
}

static bool fits(const struct route *route, const struct conf_alert *alert,
                 const struct route_facts *facts)
{
	return fits_event(alert, facts) && fits_escalation(alert, facts) &&
	       fits_endpoint(route, alert, facts);
}

int64_t route_next_escalation(const struct routes *routes, const struct route_facts *facts)
{
	struct route_facts opened = *facts;
	int64_t next = 0;

	opened.event = "opened";
	for (size_t i = 0; i < routes->count; i++) {
		const struct conf_alert *alert = &routes->conf->alerts[i];

		if (alert->escalate_after_ms > facts->escalated_ms &&
		    (next == 0 || alert->escalate_after_ms < next) && fits_event(alert, &opened) &&
		    fits_endpoint(&routes->items[i], alert, &opened))
			next = alert->escalate_after_ms;
	}
	return next;
}

int64_t route_refresh_every(const struct routes *routes, const struct route_facts *facts)
{
	struct route_facts refresh = *facts;
	int64_t least = 0;

	refresh.event = "refresh";
	for (size_t i = 0; i < routes->count; i++) {
		const struct conf_alert *alert = &routes->conf->alerts[i];

		if (fits(&routes->items[i], alert, &refresh) &&
		    (!least || alert->refresh_ms < least))
			least = alert->refresh_ms;
	}
	return least;
}

/* When */

static long offset_at(time_t when, unsigned *week_minute)
{
	struct tm tm;

	localtime_r(&when, &tm);
	*week_minute = (unsigned)(tm.tm_wday * CONF_DAY_MINUTES + tm.tm_hour * 60 + tm.tm_min);
	return tm.tm_gmtoff;
}

/* The first minute in (from, to] that has another offset than `from`; `to` has. */
static time_t find_jump(time_t from, time_t to)
{
	unsigned ignored;
	long before = offset_at(from, &ignored);

	while (to - from > MINUTE) {
		time_t middle = from + (to - from) / MINUTE / 2 * MINUTE;

		if (offset_at(middle, &ignored) == before)
			from = middle;
		else
			to = middle;
	}
	return to;
}

/* From where the local clock jumps on, the hours are looked up anew. */
static time_t end_of_quiet(const struct conf_quiet *quiet, time_t when)
{
	unsigned ignored, minute;

	when -= when % MINUTE;
	for (int jumps = 0; jumps < MAX_JUMPS; jumps++) {
		long before = offset_at(when, &minute);
		time_t end = when + (time_t)conf_quiet_left(quiet, minute) * MINUTE;

		if (offset_at(end, &ignored) == before)
			return end;
		when = find_jump(when, end);
	}
	return when;
}

int64_t route_quiet_until(const struct routes *routes, size_t sink, int64_t wall_ms)
{
	time_t now = (time_t)(wall_ms / 1000), end;

	if (sink >= routes->count || !routes->items[sink].quiet)
		return 0;
	end = end_of_quiet(routes->items[sink].quiet, now);
	return end > now ? (int64_t)end * 1000 : 0;
}

size_t route_choose(const struct routes *routes, const struct route_facts *facts, int64_t wall_ms,
                    struct route_choice out[static CONF_MAX_ALERTS])
{
	size_t n = 0;

	for (size_t i = 0; i < routes->count; i++) {
		const struct conf_alert *alert = &routes->conf->alerts[i];
		const struct route *route = &routes->items[i];

		if (!fits(route, alert, facts))
			continue;
		out[n].index = (unsigned)i;
		out[n++].not_before_ms = facts->severity >= alert->quiet_except
		                             ? 0
		                             : route_quiet_until(routes, i, wall_ms);
	}
	return n;
}
