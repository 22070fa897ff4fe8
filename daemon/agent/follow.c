/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Who is told of an endpoint, and what of it as time goes by: escalation, until somebody has taken
 * it on, and what keeps it alive at Alertmanager. Each open breaker has one timer, for whichever is
 * next; what it is follows from when the breaker opened, so that a restart forgets nothing.
 */
#include "common/clock.h"
#include "common/log.h"
#include "daemon/agent/agent.h"

#include <errno.h>
#include <event2/util.h>
#include <string.h>

enum { LATER_MS = 200 /* what has happened before is told first */ };

struct route_facts follow_facts(const struct watch *w, const char *event)
{
	enum finding_severity worst = w->record.worst;

	/* It may show stacks before it has been called exposed. */
	if (w->last && w->last->severity > worst)
		worst = w->last->severity;
	return (struct route_facts){
	    .event = event,
	    .severity = worst,
	    .endpoint = &w->endpoint,
	    .owner = w->listener ? w->listener->owner : NULL,
	    .escalated_ms = w->escalated_ms,
	};
}

bool follow_is_acknowledged(const struct watch *w)
{
	return w->ack && w->breaker.state != BREAKER_CLOSED;
}

static void forget(struct watch *w)
{
	if (w->follow_timer)
		event_del(w->follow_timer);
	free(w->ack);
	w->ack = NULL;
	w->escalated_ms = 0;
	w->refresh_ms = 0;
	if (!w->record.evidence)
		w->record.worst = SEVERITY_NONE;
}

static int64_t least(int64_t a, int64_t b)
{
	return a < b ? a : b;
}

/* When the next sink is to hear of it, or INT64_MAX. */
static int64_t next_escalation(const struct agent *a, const struct watch *w)
{
	struct route_facts facts = follow_facts(w, "escalated");
	int64_t after_ms = w->ack ? 0 : route_next_escalation(a->routes, &facts);

	return after_ms ? w->breaker.opened_ms + after_ms : INT64_MAX;
}

/* 0: nobody wants it. */
static int64_t refresh_every(const struct agent *a, const struct watch *w)
{
	struct route_facts facts = follow_facts(w, "refresh");

	return route_refresh_every(a->routes, &facts);
}

/* The first at any moment of the interval: not all endpoints at once, nor all hosts. */
static int64_t next_refresh(const struct agent *a, struct watch *w, int64_t now)
{
	int64_t every_ms = refresh_every(a, w);
	uint32_t random = 0;

	if (!every_ms) {
		w->refresh_ms = 0;
		return INT64_MAX;
	}
	if (!w->refresh_ms) {
		evutil_secure_rng_get_bytes(&random, sizeof(random));
		w->refresh_ms = now + (int64_t)(random % (uint64_t)every_ms);
	}
	w->refresh_ms = least(w->refresh_ms, now + every_ms);
	return w->refresh_ms;
}

static void on_time(evutil_socket_t fd, short what, void *arg);

static void set_timer(struct agent *a, struct watch *w, int64_t in_ms)
{
	enforce_set_timer(a, w, &w->follow_timer, on_time, in_ms);
}

void follow_update(struct agent *a, struct watch *w)
{
	int64_t now = clock_monotonic_ms(), next;

	if (w->breaker.state == BREAKER_CLOSED) {
		forget(w);
		return;
	}
	if (w->shielded) { /* nobody was alarmed */
		if (w->follow_timer)
			event_del(w->follow_timer);
		return;
	}
	next = least(next_escalation(a, w), next_refresh(a, w, now));
	if (w->ack)
		next = least(next, w->ack_until_ms);
	if (next < INT64_MAX)
		set_timer(a, w, next - now);
	else if (w->follow_timer)
		event_del(w->follow_timer);
}

static void escalate(struct agent *a, struct watch *w)
{
	struct route_facts facts = follow_facts(w, "escalated");

	w->escalated_ms = route_next_escalation(a->routes, &facts);
	record_event(a, w, "escalated", NULL, NULL);
}

static void refresh(struct agent *a, struct watch *w)
{
	w->refresh_ms = clock_monotonic_ms() + refresh_every(a, w);
	event_refresh(a, w);
}

static void on_time(evutil_socket_t fd, short what, void *arg)
{
	int64_t now = clock_monotonic_ms();
	struct watch *w = arg;
	struct agent *a = w->agent;
	char text[WATCH_NAME_LEN];

	(void)fd;
	(void)what;
	if (w->breaker.state == BREAKER_CLOSED)
		return;
	if (w->owed != BREAKER_ALERT_NONE || w->wall.pending) {
		set_timer(a, w, LATER_MS);
		return;
	}
	if (w->ack && now >= w->ack_until_ms) {
		log_info("%s: acknowledged until now; it is still open", watch_name(w, text));
		story_add(w, "nobody has taken it on any more: the time is over");
		(void)follow_acknowledge(a, w, NULL);
	}
	if (now >= next_escalation(a, w))
		escalate(a, w);
	if (w->refresh_ms && now >= w->refresh_ms)
		refresh(a, w);
	follow_update(a, w);
}

int follow_take_on(struct watch *w, const struct state_manual *ack)
{
	struct state_manual *copy = NULL;

	if (ack) {
		copy = malloc(sizeof(*copy));
		if (!copy)
			return -ENOMEM;
		*copy = *ack;
		w->ack_until_ms = clock_monotonic_ms() + ack->until_ms - clock_wall_ms();
	}
	free(w->ack);
	w->ack = copy;
	return 0;
}

int follow_acknowledge(struct agent *a, struct watch *w, const struct state_manual *ack)
{
	int err = follow_take_on(w, ack);

	if (err)
		return err;
	w->record.ack_saved = false;
	if (ack)
		record_event(a, w, "acknowledged", ack->reason[0] ? ack->reason : NULL, ack->who);
	else
		record_event(a, w, NULL, NULL, NULL);
	follow_update(a, w);
	return 0;
}
