/* SPDX-License-Identifier: GPL-2.0-or-later */
/* From findings to decisions: which rule, what the breaker says, when to look again. */
#include "common/clock.h"
#include "common/log.h"
#include "daemon/agent/agent.h"

#include <string.h>

struct breaker_conf observe_breaker_conf(const struct conf *conf, const struct watch *w)
{
	const struct conf_breaker *rule = &conf->breakers[w->rule];

	return (struct breaker_conf){
	    .trip_after = rule->trip_after,
	    .trip_window = rule->trip_window,
	    .close_after = rule->close_after,
	    .confirm_interval_ms = rule->confirm_interval_ms,
	    .interval_ms = conf->scan.interval_ms,
	    .open_for_ms = rule->open_for_ms,
	    .remind_every_ms = rule->remind_every_ms,
	    .unknown_after_ms = rule->unknown_after_ms,
	};
}

void observe_begin(struct watch *w, void *arg)
{
	(void)arg;
	if (w->netns == WATCH_OUTSIDE)
		return;
	breaker_begin_probe(&w->breaker, clock_monotonic_ms());
}

static bool is_busy(const struct watch *w)
{
	return w->breaker.state != BREAKER_CLOSED || w->breaker.history;
}

struct match_facts observe_facts(const struct watch *w)
{
	const struct listener *l = w->listener;

	return (struct match_facts){
	    .endpoint = &w->endpoint,
	    .owner = l ? l->owner : NULL,
	    .loopback_only = l ? listener_is_loopback_only(l) : endpoint_is_loopback(&w->endpoint),
	    .finding = w->last,
	};
}

/* After a restart, the inventory has not said yet whose it is: the rule that it had holds. */
static bool awaits_owner(const struct agent *a, const struct watch *w)
{
	return (is_busy(w) || enforce_filters(a, w)) && a->conf->scan.listeners &&
	       LIST_EMPTY(&w->claims) && (!a->synced_ms || !w->targeted);
}

static void set_rule(const struct agent *a, struct watch *w, unsigned rule)
{
	if (w->rule == rule)
		return;
	w->rule = rule;
	story_add(w, "breaker %s is its winner now", a->conf->breakers[rule].name);
}

/* May the rule that it has go on? One that stands in front of all others comes in at once. */
static bool keeps_rule(const struct agent *a, const struct watch *w,
                       const struct match_facts *facts)
{
	unsigned standing = rules_find_standing(a->rules, facts);

	return rules_fits_owner(a->rules, w->rule, facts) &&
	       (standing == a->conf->n_breakers || standing >= w->rule);
}

/*
 * A rule once counting or open keeps its endpoint while the listener fits it, so that a server
 * cannot slip from rule to rule by answering differently.
 */
static void choose_rule(const struct agent *a, struct watch *w, const struct finding *f)
{
	struct match_facts facts = observe_facts(w);

	if (awaits_owner(a, w) || (is_busy(w) && keeps_rule(a, w, &facts)))
		return;
	facts.finding = f;
	set_rule(a, w, rules_choose(a->rules, &facts));
}

void observe_reconsider(struct agent *a, struct watch *w)
{
	struct match_facts facts = observe_facts(w);
	unsigned before = w->rule;

	if (awaits_owner(a, w))
		return;
	/* After a restart there is no finding yet that could say more. */
	if (is_busy(w) && !facts.finding && w->rule < a->conf->n_breakers &&
	    keeps_rule(a, w, &facts))
		return;
	set_rule(a, w, rules_choose(a->rules, &facts));
	if (w->rule != before && a->adopted &&
	    (w->breaker.state != BREAKER_CLOSED || enforce_is_due(a, w)))
		enforce_apply(a, w);
}

void observe_renumber(struct agent *a, const struct conf *old)
{
	for (size_t i = 0; i < watch_set_count(a->watches); i++) {
		struct watch *w = watch_set_at(a->watches, i);
		const char *name = old->breakers[w->rule].name;
		struct match_facts facts = observe_facts(w);
		unsigned rule = 0;

		while (rule < a->conf->n_breakers &&
		       strcmp(a->conf->breakers[rule].name, name) != 0)
			rule++;
		w->rule = rule;
		if (rule < a->conf->n_breakers && awaits_owner(a, w))
			continue;
		if (!is_busy(w) || rule == a->conf->n_breakers || facts.finding ||
		    !keeps_rule(a, w, &facts))
			set_rule(a, w, rules_choose(a->rules, &facts));
	}
}

/* By what it answers: that decides whether a filter can stand in front of it. */
static void note_scheme(struct agent *a, struct watch *w, const struct finding *f)
{
	enum watch_scheme before = w->scheme;
	char text[WATCH_NAME_LEN];

	if (!f->scheme)
		return;
	w->scheme = strcmp(f->scheme, "https") == 0 ? WATCH_SCHEME_TLS : WATCH_SCHEME_PLAIN;
	if (w->scheme == before || a->conf->breakers[w->rule].action != CONF_ACTION_FILTER)
		return;
	story_tell(w, "it speaks %s", w->scheme == WATCH_SCHEME_TLS ? "TLS" : "plain HTTP");
	if (w->scheme == WATCH_SCHEME_TLS)
		log_warning("%s speaks TLS and is not filtered: breaker %s falls back to %s",
		            watch_name(w, text), a->conf->breakers[w->rule].name,
		            a->conf->breakers[w->rule].filter.fallback == CONF_ACTION_DROP
		                ? "drop"
		                : "alert");
	if (before != WATCH_SCHEME_UNKNOWN && w->breaker.state != BREAKER_CLOSED &&
	    w->owed == BREAKER_ALERT_NONE)
		w->owed = BREAKER_ALERT_REMINDER;
}

static void remember(struct agent *a, struct watch *w, struct finding *f,
                     enum breaker_observation seen)
{
	w->seen = true;
	w->verdict = f->verdict;
	w->seen_wall_ms = clock_wall_ms();
	a->probes[f->verdict]++;
	if (f->latency_ms >= 0)
		metrics_observe(&a->probe_duration, (double)f->latency_ms / 1000.0);
	if (seen == BREAKER_EXPOSED)
		record_note_exposure(w, f);
	/* No evidence: what was known of the endpoint stays. */
	if (seen == BREAKER_NO_VERDICT)
		return;
	if (f->verdict == VERDICT_CLEAR || f->verdict == VERDICT_CLOSED)
		watch_forget_finding(w);
	else
		watch_keep_finding(w, f);
}

/* Told at the first probe, before the breaker has counted it. */
static void tell_risk(struct agent *a, struct watch *w, bool high_risk)
{
	if (!high_risk || w->high_risk)
		return;
	w->high_risk = true;
	/* To us, and to nobody else. */
	if (enforce_is_shielded(a, w))
		return;
	record_event(a, w, "high_risk",
	             "goroutine?debug=2 is readable: every stack, with file names and arguments",
	             NULL);
}

/*
 * It stands until the breaker has nothing against the endpoint any more, or workers that share a
 * port and alternate their answers would be told of every minute.
 */
static void forget_risk(struct watch *w, bool high_risk, enum breaker_observation seen)
{
	bool clean = seen == BREAKER_CLEAN || seen == BREAKER_GONE;

	if (!high_risk && clean && w->breaker.state == BREAKER_CLOSED && !w->breaker.history)
		w->high_risk = false;
}

/*
 * What the port was seen to serve counts until it is clean: a probe that was too slow to see it
 * again must not close the port.
 */
static void note_serves(const struct agent *a, struct watch *w, const struct finding *f,
                        enum breaker_observation seen)
{
	char text[BLAST_SERVES_LEN];
	bool blocked = w->wall.in_kernel && !w->decision && w->configured;

	if (seen != BREAKER_EXPOSED) {
		if (seen != BREAKER_NO_VERDICT && w->breaker.state == BREAKER_CLOSED &&
		    !w->breaker.history)
			w->serves_known = false;
		return;
	}
	blast_describe(&f->serves, text);
	if (!w->serves_known || text[0])
		memcpy(w->serves, text, sizeof(text));
	w->serves_known = true;
	/* A block goes that was made before this was known: that is told once it is gone. */
	if (blocked && !enforce_filters(a, w) &&
	    !blast_may_block(&a->conf->breakers[w->rule], w->serves, true) &&
	    w->owed == BREAKER_ALERT_NONE)
		w->owed = BREAKER_ALERT_REMINDER;
}

/* One line for what is news: evidence, and what was seen through the wall. */
static void tell_probe(struct watch *w, const struct finding *f, enum breaker_observation seen)
{
	char evidence[160] = "";
	size_t n = 0;

	if (seen != BREAKER_EXPOSED) {
		if (is_busy(w) && w->seen && w->verdict == f->verdict && seen == BREAKER_NO_VERDICT)
			return;
		if (is_busy(w))
			story_add(w, "probe: %s%s", finding_verdict_name(f->verdict),
			          seen == BREAKER_NO_VERDICT ? ", which says nothing" : "");
		return;
	}
	for (size_t i = 0; i < f->evidence.count && n < sizeof(evidence); i++)
		n += (size_t)snprintf(evidence + n, sizeof(evidence) - n, "%s%s", i ? ", " : "",
		                      f->evidence.items[i]);
	story_tell(w, "probe: %s, %s%s%s%s", finding_verdict_name(f->verdict),
	           finding_severity_name(f->severity), f->high_risk ? ", HIGH_RISK" : "",
	           n ? ": " : "", evidence);
}

static void tell_transition(const struct agent *a, struct watch *w, enum breaker_state before)
{
	const struct conf_breaker *rule = &a->conf->breakers[w->rule];

	if (w->breaker.state == before)
		return;
	story_add(w, "breaker %s: %s, was %s", rule->name, breaker_state_name(w->breaker.state),
	          breaker_state_name(before));
}

/*
 * Servers listen before they serve: some register their handlers later, or answer 503 for a while.
 * What has just begun to listen is asked again after as long as it has listened, from a second on.
 */
static int64_t next_probe_in(const struct agent *a, struct watch *w,
                             const struct breaker_conf *conf,
                             const struct breaker_decision *decision, int64_t now)
{
	bool filters = a->conf->breakers[w->rule].action == CONF_ACTION_FILTER;
	int64_t in_ms = decision->next_probe_ms - now;
	int64_t age_ms = w->young_since_ms ? now - w->young_since_ms : INT64_MAX;

	/* Open or not: a server that speaks TLS from now on is not to be filtered for long. */
	if (filters && in_ms > conf->interval_ms)
		in_ms = conf->interval_ms;
	if (w->breaker.state != BREAKER_CLOSED || age_ms >= conf->interval_ms)
		return local_stretch(w, in_ms);
	if (age_ms < 1000)
		age_ms = 1000;
	return in_ms < age_ms ? in_ms : age_ms;
}

/* Of what is filtered, whether it speaks TLS is asked for while its breaker waits, too. */
static bool is_early(const struct agent *a, const struct watch *w, int64_t now)
{
	return a->conf->breakers[w->rule].action == CONF_ACTION_FILTER &&
	       w->breaker.state == BREAKER_OPEN && w->breaker.open_until_ms > now;
}

/* That counts for nothing else. */
static void take_early(struct agent *a, struct watch *w, const struct finding *f, int64_t now)
{
	const struct breaker_conf conf = observe_breaker_conf(a->conf, w);
	const struct breaker_decision wait = {.next_probe_ms = w->breaker.open_until_ms};

	a->probes[f->verdict]++;
	w->seen_wall_ms = clock_wall_ms();
	note_scheme(a, w, f);
	schedule_probe_in(a->schedule, w, next_probe_in(a, w, &conf, &wait, now));
	if (enforce_is_due(a, w))
		enforce_apply(a, w);
	else if (w->owed != BREAKER_ALERT_NONE && !w->wall.pending)
		enforce_settled(w, a);
}

void observe_done(struct watch *w, struct finding *finding, void *arg)
{
	struct agent *a = arg;
	int64_t now = clock_monotonic_ms();
	enum breaker_observation seen = BREAKER_NO_VERDICT;
	enum breaker_state before = w->breaker.state;
	bool high_risk = finding && finding->high_risk;
	struct breaker_conf conf;
	struct breaker_decision decision;

	if (w->netns == WATCH_OUTSIDE) {
		verify_take_probe(a, w, finding);
		return;
	}
	if (finding) {
		inside_note_finding(a, w, finding);
		choose_rule(a, w, finding);
		if (is_early(a, w, now)) {
			take_early(a, w, finding, now);
			return;
		}
		note_scheme(a, w, finding);
		seen = breaker_classify(finding, a->conf->breakers[w->rule].severity);
		/* The inventory knows better who is gone; a server may be restarting. */
		if (seen == BREAKER_GONE && w->listener && listeners_is_synced(a->listeners))
			seen = BREAKER_NO_VERDICT;
		tell_probe(w, finding, seen);
		if (seen == BREAKER_EXPOSED && w->breaker.state == BREAKER_CLOSED)
			local_alarm_others(a, w);
		remember(a, w, finding, seen);
	} else {
		a->probes[VERDICT_ERROR]++;
	}
	/* While a person holds it open, it is watched, but its breaker does not count. */
	if (w->decision && !w->decision->block) {
		tell_risk(a, w, high_risk);
		forget_risk(w, high_risk, seen);
		schedule_probe_in(a->schedule, w, a->conf->scan.interval_ms);
		return;
	}
	tell_risk(a, w, high_risk);
	conf = observe_breaker_conf(a->conf, w);
	decision = breaker_record_probe(&w->breaker, &conf, seen, now);
	tell_transition(a, w, before);
	forget_risk(w, high_risk, seen);
	note_serves(a, w, finding, seen);
	schedule_probe_in(a->schedule, w, next_probe_in(a, w, &conf, &decision, now));
	if (w->breaker.state == BREAKER_CLOSED && !w->breaker.history && !decision.unblock)
		record_forget_exposure(w);
	/* Whoever has taken it on needs none. */
	if (decision.alert == BREAKER_ALERT_REMINDER && follow_is_acknowledged(w))
		decision.alert = BREAKER_ALERT_NONE;
	enforce_owe(w, decision.alert);
	/* Before anything is blocked. */
	impact_consider(a->impact, w);
	if (decision.block || decision.unblock || enforce_is_due(a, w))
		enforce_apply(a, w);
	else if (w->owed != BREAKER_ALERT_NONE && !w->wall.pending)
		enforce_settled(w, a);
}

void observe_died(struct watch *w, bool alone, void *arg)
{
	struct agent *a = arg;
	struct breaker_conf conf = observe_breaker_conf(a->conf, w);
	struct breaker_decision decision;
	char text[WATCH_NAME_LEN];

	if (w->netns == WATCH_OUTSIDE) {
		verify_take_probe(a, w, NULL);
		return;
	}
	decision =
	    breaker_record_probe(&w->breaker, &conf, BREAKER_NO_VERDICT, clock_monotonic_ms());
	log_warning("a prober died while it probed %s%s: under quarantine", watch_name(w, text),
	            alone ? ", alone" : ", among others");
	story_tell(w, "a prober died while it probed this%s: under quarantine",
	           alone ? " and nothing else" : ", among others");
	event_send(a, "quarantined", w,
	           alone ? "a prober died while it probed this endpoint and no other"
	                 : "a prober died while it probed this endpoint and others; each is now "
	                   "probed alone",
	           NULL);
	enforce_owe(w, decision.alert);
	if (decision.block)
		enforce_apply(a, w);
}

void observe_released(struct watch *w, void *arg)
{
	char text[WATCH_NAME_LEN];

	(void)arg;
	if (w->netns == WATCH_OUTSIDE)
		return;
	log_info("%s was probed alone and the prober lives: out of quarantine",
	         watch_name(w, text));
}
