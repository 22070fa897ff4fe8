/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "scanner/discover/discover_syn_internal.h"
#include "scanner/discover/syn_plan.h"

enum {
	TOP_UPS_MAX = 8,
	FIRST_ANSWERS_NS = 10 * 1000000, /* some have come by then, mostly */
	SLOT_MASK = DISCOVER_WINDOWS - 1,
};
_Static_assert(DISCOVER_WINDOWS == 8, "a tag has three bits for the slot");

static int64_t wait_ns(const struct discover_syn *s)
{
	return rtt_wait_ns(&s->rtt, s->limits.timeout_ms * SYN_MS);
}

static struct syn_window *window_of(struct discover_syn *s, uint32_t tag)
{
	struct syn_window *w = &s->windows[tag & SLOT_MASK];

	return w->w && (uint32_t)w->serial << 3 == (tag & ~(uint32_t)SLOT_MASK) ? w : NULL;
}

void discover_syn_count_canary(struct discover_syn *s, const struct canary_outcome *o)
{
	struct syn_window *w = window_of(s, o->tag);

	s->all_asked++;
	s->all_lost += o->lost;
	s->stats->canaries_lost += o->lost;
	if (w) {
		w->asked++;
		w->lost += o->lost;
	}
	rate_learn(&s->rate, o->asked_ns, o->lost);
}

/* It was late, not lost. */
void discover_syn_take_back_canary(struct discover_syn *s, const struct canary_outcome *o)
{
	struct syn_window *w = window_of(s, o->tag);

	s->all_lost -= s->all_lost > 0;
	s->stats->canaries_lost -= s->stats->canaries_lost > 0;
	if (w)
		w->lost -= w->lost > 0;
}

static void close_window(struct discover_syn *s, struct syn_window *w)
{
	for (uint32_t i = 0; s->limits.want_all && i < w->w->count; i++) {
		struct endpoint e;

		if (!syn_window_is_known(w, i) && discover_window_at(s->child, w->w, i, &e))
			discover_syn_know(s, w, i, &e, DISCOVER_FILTERED, -1);
	}
	if (!s->limits.want_all)
		discover_child_count(s->child, DISCOVER_FILTERED, syn_window_silent(w));
	discover_child_close(s->child, w->w);
	w->w = NULL;
}

static struct syn_evidence evidence_of(const struct discover_syn *s, const struct syn_window *w)
{
	return (struct syn_evidence){
	    .retries = s->limits.retries,
	    .rounds = w->rounds,
	    .silent = syn_window_silent(w),
	    .open = w->open,
	    .known = w->known,
	    .sampled = w->sampled,
	    .sample_answers = w->sample_answers,
	    .asked = w->asked,
	    .lost = w->lost,
	    .all_asked = s->all_asked,
	    .all_lost = s->all_lost,
	    .drops = s->stats->dropped - w->drops,
	    .canaries_left = w->topped_up < TOP_UPS_MAX && !w->canaries_out,
	};
}

static uint64_t seed_of(const struct discover_syn *s, const struct syn_window *w)
{
	uint64_t what[2] = {w->serial, w->rounds};

	return siphash_compute(&syn_socket_identity(s->socket)->key, what, sizeof(what));
}

static void begin_sample(struct discover_syn *s, struct syn_window *w, uint32_t end)
{
	syn_window_begin_sample(w, syn_plan_sample(syn_window_silent(w)), end, seed_of(s, w));
}

/* Those that are sent begin another wait; if there are none, nothing is waited for. */
static void want_canaries(const struct discover_syn *s, struct syn_window *w)
{
	w->topped_up++;
	w->canaries_wanted = (uint32_t)(SYN_PLAN_CANARIES - s->all_asked);
	w->canary_sent = false;
}

/* Every answer to what was sent is there, or lost. */
static void decide(struct discover_syn *s, struct syn_window *w)
{
	struct syn_evidence e = evidence_of(s, w);

	switch (syn_plan_next(&e)) {
	case SYN_STEP_CLOSE: close_window(s, w); return;
	case SYN_STEP_SAMPLE: begin_sample(s, w, w->w->count); return;
	case SYN_STEP_ROUND: syn_window_begin_round(w); return;
	case SYN_STEP_CANARIES: want_canaries(s, w); return;
	}
}

/*
 * While the last answers are awaited, a sample of those whose time is over already can be asked:
 * it spares a second wait.
 */
static void sample_early(struct discover_syn *s, struct syn_window *w)
{
	struct syn_evidence e = evidence_of(s, w);
	uint32_t end = syn_window_sent_before(w, s->now_ns - wait_ns(s));

	if (s->rtt.total > 0 && end > w->w->count / 2 && syn_plan_next(&e) == SYN_STEP_SAMPLE)
		begin_sample(s, w, end);
}

/* Few canaries were met: they are asked while answers are awaited, not after. */
static bool wants_canaries_early(const struct discover_syn *s, const struct syn_window *w)
{
	return s->limits.retries < 0 && w->topped_up == 0 && s->all_asked < SYN_PLAN_CANARIES;
}

/* What is silent is told endpoint by endpoint, megabytes of a window: those of one wait at most. */
static bool is_held(const struct discover_syn *s)
{
	return s->limits.want_all && discover_child_is_behind(s->child);
}

void discover_syn_judge(struct discover_syn *s)
{
	int64_t wait = wait_ns(s);
	struct canary_outcome o;

	while (canary_judge(s->canaries, s->now_ns, wait, &o))
		discover_syn_count_canary(s, &o);
	for (unsigned i = 0; i < DISCOVER_WINDOWS && !is_held(s); i++) {
		struct syn_window *w = &s->windows[i];

		if (!w->w || w->phase != SYN_PHASE_WAITING)
			continue;
		if (syn_window_silent(w) == 0)
			close_window(s, w);
		else if (wants_canaries_early(s, w) && s->now_ns - w->sent_ns >= FIRST_ANSWERS_NS)
			want_canaries(s, w);
		else if (s->now_ns - w->sent_ns >= wait && w->canaries_wanted == 0)
			decide(s, w);
		else if (!w->sampled && w->rounds == 1)
			sample_early(s, w);
	}
}

int64_t discover_syn_next_judge_ns(const struct discover_syn *s)
{
	int64_t oldest = canary_oldest_ns(s->canaries), wait = wait_ns(s);
	int64_t next = oldest < 0 ? INT64_MAX : oldest + wait;

	for (unsigned i = 0; i < DISCOVER_WINDOWS && !is_held(s); i++) {
		const struct syn_window *w = &s->windows[i];
		int64_t at;

		if (!w->w || w->phase != SYN_PHASE_WAITING)
			continue;
		at = w->sent_ns + (wants_canaries_early(s, w) ? FIRST_ANSWERS_NS : wait);
		if (at < next)
			next = at;
	}
	return next;
}
