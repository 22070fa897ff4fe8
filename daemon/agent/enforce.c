/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * From decisions to the wall, in the order block, commit, alert: a slow disk or a dead sink never
 * delays a block, and an alert says what was done, not what was meant.
 */
#include "common/clock.h"
#include "common/log.h"
#include "daemon/agent/block_list.h"
#include "daemon/agent/enforce_internal.h"

#include <event2/util.h>
#include <stdlib.h>
#include <string.h>

enum {
	RETRY_REFUSED_MS = 10 * 1000,
	RETRY_WAITING_MS = 20, /* for what comes within moments */
	RETRY_STALE_MS = 100,  /* until the agent, too, has taken the new configuration */
	RENEW_AT_MOST_MS = 5 * 60 * 1000,
};

void enforce_set_timer(struct agent *a, struct watch *w, struct event **timer,
                       event_callback_fn callback, int64_t in_ms)
{
	struct timeval delay;

	if (in_ms < 1)
		in_ms = 1;
	delay =
	    (struct timeval){.tv_sec = (time_t)(in_ms / 1000), .tv_usec = (in_ms % 1000) * 1000};
	w->agent = a;
	if (!*timer)
		*timer = evtimer_new(a->base, callback, w);
	if (*timer)
		event_add(*timer, &delay);
}

static void on_renew(evutil_socket_t fd, short what, void *arg);

void enforce_look_again(struct agent *a, struct watch *w, int64_t in_ms)
{
	enforce_set_timer(a, w, &w->renew_timer, on_renew, in_ms);
}

/* Not wanted after all: what is there goes, and people are told why. */
static void refuse(struct agent *a, struct watch *w, const char *why)
{
	if (w->wall.in_kernel || w->wall.pending)
		wall_unblock(a->wall, w);
	w->wall.error = why;
	if (!w->wall.pending)
		enforce_settled(w, a);
}

/*
 * Nobody's way in is closed, not by hand either: it is looked for before a block goes in, and every
 * now and then (logins.c). A rule's block is not even wanted then.
 */
static bool is_way_in(struct agent *a, struct watch *w)
{
	if (!w->wall.in_kernel && !logins_is_fresh(a->logins, clock_monotonic_ms())) {
		enforce_look_again(a, w, RETRY_WAITING_MS);
		return true;
	}
	if (!logins_has(a->logins, w->endpoint.port))
		return false;
	refuse(a, w, logins_reason());
	return true;
}

/* No block of a rule goes in before the firewall knows all whom the rule lets through. */
static bool must_wait(struct agent *a, struct watch *w, const struct enforce_wanted *wanted)
{
	enum admit_gate gate = ADMIT_OPEN;

	if (wanted->rule != FIREWALL_RULE_MANUAL)
		gate = admit_gate(a->admit, wanted->rule - 1);
	/* A block that is there waits, too: this rule's may be another than the one it has. */
	if (gate == ADMIT_OPEN || (gate == ADMIT_REFUSED && w->wall.in_kernel))
		return false;
	if (gate == ADMIT_WAIT) {
		enforce_look_again(a, w, RETRY_WAITING_MS);
		return true;
	}
	w->wall.error = "the firewall does not take the rule's allow_from";
	if (!w->wall.pending)
		enforce_settled(w, a);
	return true;
}

void enforce_apply(struct agent *a, struct watch *w)
{
	struct enforce_wanted wanted = enforce_find_wanted(a, w);

	if (logins_has(a->logins, w->endpoint.port)) /* still? The answer comes by here again */
		(void)logins_is_fresh(a->logins, clock_monotonic_ms());
	if (wanted.block && (is_way_in(a, w) || must_wait(a, w, &wanted)))
		return;
	if (wanted.block) {
		w->lifting = false;
		wall_block(a->wall, w, wanted.rule, wanted.timeout_ms);
	} else if (w->wall.in_kernel || w->wall.pending) {
		w->lifting = true;
		wall_unblock(a->wall, w);
	} else {
		w->wall.error = NULL;
	}
	if (!w->wall.pending) /* nothing to ask for, or nobody to ask */
		enforce_settled(w, a);
}

static void on_renew(evutil_socket_t fd, short what, void *arg)
{
	struct watch *w = arg;

	(void)fd;
	(void)what;
	if (w->configured || w->decision || clock_monotonic_ms() < w->wall.expires_ms) {
		enforce_apply(w->agent, w);
		return;
	}
	/* A block of an earlier configuration has run out. */
	w->wall.in_kernel = false;
	enforce_drop_unused(w->agent, w);
}

/*
 * Well before the end, and not with all others: what was blocked in one minute, or found in the
 * kernel at the start, would else be renewed together for ever.
 */
static int64_t renew_in(const struct agent *a, const struct watch *w, int64_t timeout_ms)
{
	int64_t left_ms = w->wall.expires_ms - clock_monotonic_ms();
	int64_t in_ms = timeout_ms / 4;
	uint32_t random = 0;

	evutil_secure_rng_get_bytes(&random, sizeof(random));
	if (in_ms > RENEW_AT_MOST_MS)
		in_ms = RENEW_AT_MOST_MS;
	if (in_ms > left_ms / 2)
		in_ms = left_ms / 2;
	if (in_ms <= 0)
		return 0;
	/* Found in the kernel: anywhere between now and then; else within its last third. */
	return a->spreading ? (int64_t)(random % (uint64_t)in_ms)
	                    : in_ms - (int64_t)(random % (uint64_t)(in_ms / 3 + 1));
}

static void plan_renewal(struct agent *a, struct watch *w)
{
	struct enforce_wanted wanted = enforce_find_wanted(a, w);
	int64_t in_ms = RETRY_REFUSED_MS;

	if (!wanted.block && !w->wall.in_kernel) {
		if (w->renew_timer)
			event_del(w->renew_timer);
		return;
	}
	/* It came in after nobody wanted it any more, or could not be taken out. */
	if (!wanted.block)
		in_ms = w->wall.error ? RETRY_REFUSED_MS : 0;
	else if (w->wall.in_kernel && !w->wall.error) {
		/* A person's block ends when it was said to end. */
		if (w->decision)
			return;
		in_ms = renew_in(a, w, wanted.timeout_ms);
	}
	enforce_look_again(a, w, in_ms);
}

void enforce_owe(struct watch *w, enum breaker_alert alert)
{
	if (alert != BREAKER_ALERT_NONE)
		w->owed = alert;
}

/*
 * What shows behind a standing filter is no alarm: nobody but us sees it. What comes out from
 * behind one is told as if it had just opened.
 */
static enum breaker_alert weigh_shield(const struct agent *a, struct watch *w)
{
	bool shielded = enforce_is_shielded(a, w);

	if (w->owed == BREAKER_ALERT_OPENED && shielded) {
		w->shielded = true;
		return BREAKER_ALERT_FILTERED;
	}
	if (!w->shielded)
		return w->owed;
	if (w->breaker.state == BREAKER_CLOSED) {
		w->shielded = false;
		return BREAKER_ALERT_NONE;
	}
	/* While a person has decided, and until there is an answer after a restart. */
	if (shielded || a->panic || w->decision || w->scheme == WATCH_SCHEME_UNKNOWN)
		return BREAKER_ALERT_NONE;
	w->shielded = false;
	return BREAKER_ALERT_OPENED;
}

static void alert(struct agent *a, struct watch *w)
{
	enum breaker_alert owed = weigh_shield(a, w);
	char text[WATCH_NAME_LEN], buffer[BLAST_REASON_LEN];
	const char *reason = enforce_reason(a, w, buffer);

	w->owed = BREAKER_ALERT_NONE;
	if (owed == BREAKER_ALERT_NONE)
		return;
	if (owed == BREAKER_ALERT_OPENED && strcmp(enforce_action(a, w), "observe") == 0)
		log_warning("would %s %s (%s)", enforce_means_filter(a, w) ? "filter" : "block",
		            watch_name(w, text),
		            a->conf->rollout.held_back ? "this host is not within enforce_percent"
		                                       : "mode is observe");
	if (owed == BREAKER_ALERT_FILTERED)
		log_info("%s is exposed, behind filter %s", watch_name(w, text),
		         a->conf->breakers[w->rule].name);
	else
		log_warning("%s: breaker %s, %s; action: %s%s%s", watch_name(w, text),
		            a->conf->breakers[w->rule].name, breaker_alert_name(owed),
		            enforce_action(a, w), reason ? ": " : "", reason ? reason : "");
	event_send(a, breaker_alert_name(owed), w, reason, NULL);
}

static void drop_decision(struct watch *w)
{
	if (w->manual_timer)
		event_del(w->manual_timer);
	free(w->decision);
	w->decision = NULL;
	w->decision_is_new = w->decision_untold = false;
}

/* A person's decision goes the same way as a breaker's: block, commit, alert. */
static void settle_decision(struct watch *w)
{
	if (!w->decision || !w->decision_is_new)
		return;
	/* The person is told that it was refused: then nothing of it stays behind. */
	if (w->decision->block && !w->wall.in_kernel) {
		drop_decision(w);
		return;
	}
	w->decision_is_new = false;
	w->decision_untold = true;
}

static void announce_decision(struct agent *a, struct watch *w)
{
	const struct state_manual *d = w->decision;

	if (!w->decision_untold)
		return;
	w->decision_untold = false;
	event_send(a, d->block ? "manual_block" : "manual_unblock", w, d->reason, d->who);
}

void enforce_make_events(struct agent *a, struct watch *w)
{
	announce_decision(a, w);
	alert(a, w);
	w->lifting = false;
}

void enforce_tell(struct agent *a, struct watch *w)
{
	verbs_answer_wall(a, w);
	if (!enforce_find_wanted(a, w).block && !w->wall.in_kernel)
		w->wall.error = NULL;
	enforce_drop_unused(a, w);
}

void enforce_announce(struct agent *a, struct watch *w)
{
	bool is_new = w->decision_is_new;

	settle_decision(w);
	record_save(a, w);
	if (is_new)
		record_tell(a, w);
}

void enforce_settled(struct watch *w, void *arg)
{
	struct agent *a = arg;

	if (w->wall.stale) { /* a reload is half-way: no answer yet */
		w->wall.stale = false;
		enforce_look_again(a, w, RETRY_STALE_MS);
		return;
	}
	local_note_block(a, w);
	verify_note_wall(a, w);
	story_tell_wall(w, enforce_filters(a, w));
	if (!w->in_list)
		settle_decision(w);
	plan_renewal(a, w);
	record_save(a, w);
	if (w->in_list)
		block_list_settled(a, w);
	record_tell(a, w);
}

void enforce_drop_unused(struct agent *a, struct watch *w)
{
	if (w->configured || w->decision || w->wall.in_kernel || w->wall.pending ||
	    w->slot.in_flight || w->in_list || w->record.waiting || w->record.unsaved)
		return;
	schedule_forget(a->schedule, w);
	verify_forget(a, w);
	wall_forget(a->wall, w);
	watch_set_remove(a->watches, w);
}

void enforce_abandon(struct agent *a, struct watch *w)
{
	if (w->breaker.state != BREAKER_CLOSED)
		enforce_owe(w, BREAKER_ALERT_GONE);
	w->configured = false;
	w->scheme = WATCH_SCHEME_UNKNOWN;
	schedule_forget(a->schedule, w);
	breaker_reset(&w->breaker);
	watch_forget_finding(w);
	record_forget_exposure(w);
	w->high_risk = false;
	enforce_apply(a, w);
}

/* What was planned was planned for another state. */
static void probe_soon(struct agent *a, struct watch *w)
{
	if (w->configured)
		schedule_probe_in(a->schedule, w, 0);
}

static void on_decision_over(evutil_socket_t fd, short what, void *arg)
{
	struct watch *w = arg;
	struct agent *a = w->agent;
	char text[ENDPOINT_TEXT_LEN];

	(void)fd;
	(void)what;
	if (!w->decision)
		return;
	log_info("%s: the manual %s is over", endpoint_format(&w->endpoint, text),
	         w->decision->block ? "block" : "unblock");
	drop_decision(w);
	probe_soon(a, w);
	enforce_apply(a, w);
}

void enforce_hold_taken(struct agent *a, struct watch *w, struct state_manual *decision)
{
	int64_t hold_ms = decision->until_ms - clock_wall_ms();

	free(w->decision);
	w->decision = decision;
	w->record.decision_saved = false;
	w->decision_until_ms = clock_monotonic_ms() + hold_ms;
	if (!decision->block)
		breaker_reset(&w->breaker);
	enforce_set_timer(a, w, &w->manual_timer, on_decision_over, hold_ms);
}

bool enforce_hold(struct agent *a, struct watch *w, const struct state_manual *decision)
{
	struct state_manual *copy = malloc(sizeof(*copy));

	if (!copy)
		return false;
	*copy = *decision;
	enforce_hold_taken(a, w, copy);
	return true;
}

void enforce_decide(struct agent *a, struct watch *w, const struct state_manual *decision)
{
	if (!enforce_hold(a, w, decision))
		return;
	w->decision_is_new = true;
	/* Sockets that a block destroys tell nobody any more who was there. */
	impact_consider(a->impact, w);
	probe_soon(a, w);
	enforce_apply(a, w);
}

void enforce_take_back(struct agent *a, struct watch *w, const struct state_manual *previous)
{
	w->decision_is_new = false;
	/* One that is over meanwhile ends by its timer, at once. */
	if (!previous || !enforce_hold(a, w, previous))
		drop_decision(w);
	enforce_apply(a, w);
}

void enforce_all(struct agent *a)
{
	for (size_t i = watch_set_count(a->watches); i-- > 0;) {
		struct watch *w = watch_set_at(a->watches, i);

		/* A block that only the kernel remembers keeps its time: see enforce_note_block()
		 */
		if (w->configured || w->decision)
			enforce_apply(a, w);
	}
}

void enforce_set_panic(struct agent *a, bool panic, const char *reason)
{
	if (a->panic == panic)
		return;
	a->panic = panic;
	snprintf(a->panic_reason, sizeof(a->panic_reason), "%s", reason);
	if (panic)
		log_warning("panic: nothing is enforced until `pprofwall resume`%s%s",
		            reason[0] ? ": " : "", reason);
	else
		log_warning("resumed: enforcing again");
	impact_tell_again(a->impact);
	for (size_t i = watch_set_count(a->watches); i-- > 0;) {
		struct watch *w = watch_set_at(a->watches, i);

		if (panic) {
			w->wall.in_kernel = false;
			w->wall.packets = w->wall.bytes = 0;
		}
		enforce_apply(a, w);
	}
}
