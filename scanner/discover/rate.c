/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "scanner/discover/rate.h"

#include <math.h>

#define START_PER_SEC 50000.0
#define MS            INT64_C(1000000)
#define SEC           1e9
#define STEP_NS       (10 * MS)  /* between two looks */
#define SETTLE_NS     (100 * MS) /* between two changes downwards */
#define NEVER_MIND    0.005      /* less loss than that is left to retransmission */
#define LINK_LOSS_MAX 0.3        /* no link is believed to lose more: it is tried again */
#define BELOW         0.9        /* what got through */
#define DROPS_FACTOR  0.8
#define RISE_FACTOR   1.002 /* of a rate that was too high once: doubled in some seconds */

enum {
	ENOUGH = 300,        /* canaries for a judgement */
	TRIAL_MIN = 100,     /* during a trial, if they are unanimous */
	TRIAL_ENOUGH = 2000, /* for one between two that are close */
	FORGET_AFTER = 4000,
};

static double limit(double value, double low, double high)
{
	return value < low ? low : value > high ? high : value;
}

static void set(struct rate *r, double per_sec, int64_t now_ns)
{
	r->allowed_per_sec = limit(per_sec, r->floor_per_sec, r->ceiling_per_sec);
	r->changed_ns = now_ns;
	r->sent_before = r->sent;
	r->asked = 0;
	r->lost = 0;
}

void rate_init(struct rate *r, uint64_t ceiling_per_sec, int64_t now_ns)
{
	*r = (struct rate){
	    .ceiling_per_sec = ceiling_per_sec ? (double)ceiling_per_sec : RATE_UNLIMITED,
	    .starting = true,
	    .turned_ns = now_ns,
	};
	r->floor_per_sec = limit(RATE_FLOOR_PER_SEC, 1, r->ceiling_per_sec);
	set(r, START_PER_SEC, now_ns);
}

void rate_learn(struct rate *r, int64_t asked_ns, bool lost)
{
	if (asked_ns < r->changed_ns)
		return;
	r->asked++;
	r->lost += lost;
}

/* What was really sent since the last change: a busy host sends less than it may. */
static double average(const struct rate *r, int64_t now_ns)
{
	int64_t elapsed_ns = now_ns - r->changed_ns;

	return (double)(r->sent - r->sent_before) * SEC /
	       (double)(elapsed_ns > STEP_NS ? elapsed_ns : STEP_NS);
}

static double loss(const struct rate *r)
{
	return r->asked ? (double)r->lost / (double)r->asked : 0;
}

/* More than what the link loses anyway, by more than chance. */
static bool is_excess(const struct rate *r)
{
	double usual = limit(1.5 * r->link_loss, NEVER_MIND, 1);
	double asked = (double)r->asked;

	return (double)r->lost > asked * usual + 3 * sqrt(asked * usual);
}

/* What was lost while the rate was doubling belongs to no rate: it is measured again at one. */
static void stop_starting(struct rate *r, double achieved, int64_t now_ns)
{
	r->starting = false;
	set(r, limit(achieved, 0, r->allowed_per_sec), now_ns);
}

static enum rate_event begin_trial(struct rate *r, int64_t now_ns)
{
	r->before_per_sec = r->allowed_per_sec;
	r->before_achieved = average(r, now_ns);
	r->before_loss = loss(r);
	r->trying = true;
	set(r, limit(r->before_achieved, 0, r->allowed_per_sec) / 2, now_ns);
	return RATE_TRYING;
}

enum verdict {
	VERDICT_NONE, /* not yet */
	VERDICT_LINK,
	VERDICT_OURS,
};

/* What a bottleneck lets through, if that is what loses. */
static double capacity(const struct rate *r)
{
	return r->before_achieved * (1 - r->before_loss);
}

/*
 * A bottleneck would lose at the trial's rate only what exceeds it, most often nothing; a link that
 * just loses goes on as before. The middle between the two is the mark, and chance is allowed for.
 */
static enum verdict judge_trial(const struct rate *r, int64_t now_ns)
{
	double tried = average(r, now_ns);
	double ours = tried > capacity(r) ? 1 - capacity(r) / tried : 0;
	double middle = (r->before_loss + ours) / 2;
	double mark = (double)r->asked * middle;
	double doubt = r->asked < TRIAL_ENOUGH ? 2.5 * sqrt(mark * (1 - middle)) : 0;

	if (r->asked < TRIAL_MIN)
		return VERDICT_NONE;
	if ((double)r->lost >= mark + doubt)
		return VERDICT_LINK;
	return (double)r->lost <= mark - doubt ? VERDICT_OURS : VERDICT_NONE;
}

static enum rate_event end_trial(struct rate *r, int64_t now_ns)
{
	enum verdict verdict = judge_trial(r, now_ns);

	if (verdict == VERDICT_NONE)
		return RATE_SAME;
	r->trying = false;
	r->seen_loss = loss(r);
	if (verdict == VERDICT_LINK) {
		r->link_loss = limit(r->seen_loss, r->link_loss, LINK_LOSS_MAX);
		set(r, r->before_per_sec, now_ns);
		return RATE_LINK_LOSES;
	}
	r->congested = true;
	set(r, BELOW * capacity(r), now_ns);
	return RATE_LOWERED_LOSS;
}

/* A little more than is used is enough: what is allowed must not run away from what is tried. */
static void rise(struct rate *r, double achieved)
{
	double factor = r->congested ? RISE_FACTOR : 2;

	if (r->starting || r->congested) {
		if (r->congested && r->allowed_per_sec > 2 * achieved)
			return;
		r->allowed_per_sec =
		    limit(r->allowed_per_sec * factor, r->floor_per_sec, r->ceiling_per_sec);
	}
	if (r->allowed_per_sec >= r->ceiling_per_sec)
		r->starting = false;
}

enum rate_event rate_turn(struct rate *r, int64_t now_ns, uint64_t sent, uint64_t drops)
{
	int64_t elapsed_ns = now_ns - r->turned_ns;
	enum rate_event event = RATE_SAME;
	double achieved;
	bool dropped;

	if (elapsed_ns < STEP_NS)
		return RATE_SAME;
	achieved = (double)(sent - r->sent) * SEC / (double)elapsed_ns;
	dropped = drops != r->drops;
	r->turned_ns = now_ns;
	r->sent = sent;
	r->drops = drops;
	if (r->asked >= ENOUGH)
		r->seen_loss = loss(r);
	if (dropped && now_ns - r->changed_ns >= SETTLE_NS) {
		r->starting = false;
		r->congested = true;
		r->trying = false;
		set(r, DROPS_FACTOR * limit(achieved, 0, r->allowed_per_sec), now_ns);
		return RATE_LOWERED_DROPS;
	}
	if (r->trying)
		event = end_trial(r, now_ns);
	else if (r->asked >= ENOUGH && is_excess(r) && r->starting)
		stop_starting(r, achieved, now_ns);
	else if (r->asked >= ENOUGH && is_excess(r))
		event = begin_trial(r, now_ns);
	else if (!dropped)
		rise(r, achieved);
	if (r->asked >= FORGET_AFTER) {
		r->asked /= 2;
		r->lost /= 2;
		r->sent_before += (r->sent - r->sent_before) / 2;
		r->changed_ns += (now_ns - r->changed_ns) / 2;
	}
	return event;
}

uint64_t rate_get(const struct rate *r)
{
	return r->allowed_per_sec >= RATE_UNLIMITED ? 0 : (uint64_t)r->allowed_per_sec;
}
