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
	breaker_begin_probe(&w->breaker, clock_monotonic_ms());
}

/*
 * The first rule whose severity the finding reaches; a rule once counting or open keeps its
 * endpoint, so that a server cannot slip from rule to rule by answering differently.
 */
static void choose_rule(const struct agent *a, struct watch *w, const struct finding *f)
{
	if (w->breaker.state != BREAKER_CLOSED || w->breaker.history)
		return;
	for (unsigned i = 0; i < a->conf->n_breakers; i++) {
		if (finding_is_exposed(f, a->conf->breakers[i].severity)) {
			w->rule = i;
			return;
		}
	}
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

/*
 * Told at the first probe; it stands until the breaker has nothing against the endpoint any more,
 * or workers that share a port and alternate their answers would be told of every minute.
 */
static void note_risk(struct agent *a, struct watch *w, bool high_risk,
                      enum breaker_observation seen)
{
	bool clean = seen == BREAKER_CLEAN || seen == BREAKER_GONE;

	if (high_risk && !w->high_risk) {
		w->high_risk = true;
		event_send(a, "high_risk", w,
		           "goroutine?debug=2 is readable: every stack, with file names and "
		           "arguments",
		           NULL);
	} else if (!high_risk && clean && w->breaker.state == BREAKER_CLOSED &&
	           !w->breaker.history) {
		w->high_risk = false;
	}
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
	if (blocked && !blast_may_block(&a->conf->breakers[w->rule], w->serves, true) &&
	    w->owed == BREAKER_ALERT_NONE)
		w->owed = BREAKER_ALERT_REMINDER;
}

void observe_done(struct watch *w, struct finding *finding, void *arg)
{
	struct agent *a = arg;
	int64_t now = clock_monotonic_ms();
	enum breaker_observation seen = BREAKER_NO_VERDICT;
	bool high_risk = finding && finding->high_risk;
	struct breaker_conf conf;
	struct breaker_decision decision;

	if (finding) {
		choose_rule(a, w, finding);
		seen = breaker_classify(finding, a->conf->breakers[w->rule].severity);
		remember(a, w, finding, seen);
	} else {
		a->probes[VERDICT_ERROR]++;
	}
	/* While a person holds it open, it is watched, but its breaker does not count. */
	if (w->decision && !w->decision->block) {
		note_risk(a, w, high_risk, seen);
		schedule_probe_in(a->schedule, w, a->conf->scan.interval_ms);
		return;
	}
	conf = observe_breaker_conf(a->conf, w);
	decision = breaker_record_probe(&w->breaker, &conf, seen, now);
	note_risk(a, w, high_risk, seen);
	note_serves(a, w, finding, seen);
	schedule_probe_in(a->schedule, w, decision.next_probe_ms - now);
	if (w->breaker.state == BREAKER_CLOSED && !w->breaker.history && !decision.unblock)
		record_forget_exposure(w);
	enforce_owe(a, w, decision.alert);
	if (decision.block || decision.unblock)
		enforce_apply(a, w);
	else if (w->owed != BREAKER_ALERT_NONE && !w->wall.pending)
		enforce_settled(w, a);
}

void observe_died(struct watch *w, bool alone, void *arg)
{
	struct agent *a = arg;
	struct breaker_conf conf = observe_breaker_conf(a->conf, w);
	struct breaker_decision decision =
	    breaker_record_probe(&w->breaker, &conf, BREAKER_NO_VERDICT, clock_monotonic_ms());
	char text[ENDPOINT_TEXT_LEN];

	log_warning("a prober died while it probed %s%s: under quarantine",
	            endpoint_format(&w->endpoint, text), alone ? ", alone" : ", among others");
	event_send(a, "quarantined", w,
	           alone ? "a prober died while it probed this endpoint and no other"
	                 : "a prober died while it probed this endpoint and others; each is now "
	                   "probed alone",
	           NULL);
	enforce_owe(a, w, decision.alert);
	if (decision.block)
		enforce_apply(a, w);
}

void observe_released(struct watch *w, void *arg)
{
	char text[ENDPOINT_TEXT_LEN];

	(void)arg;
	log_info("%s was probed alone and the prober lives: out of quarantine",
	         endpoint_format(&w->endpoint, text));
}
