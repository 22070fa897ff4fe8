/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "scanner/discover/syn_plan.h"

#include <math.h>

#define UNFOUND_MAX 0.001 /* open ports of a window that may be left, by expectation */
#define LOSS_MAX    0.9

enum { WINDOW_CANARIES = 300 }; /* of its own: it judges by them alone */

/* With one standard deviation on top, since few canaries tell little. */
static double canary_loss(uint64_t asked, uint64_t lost)
{
	if (lost == 0)
		return 0;
	return fmin(((double)lost + sqrt((double)lost)) / (double)asked, LOSS_MAX);
}

double syn_plan_loss(const struct syn_evidence *e)
{
	if (e->asked >= WINDOW_CANARIES)
		return canary_loss(e->asked, e->lost);
	return e->all_asked ? canary_loss(e->all_asked, e->all_lost) : -1;
}

uint32_t syn_plan_sample(uint32_t silent)
{
	uint32_t part = silent / SYN_PLAN_SAMPLE_PART;

	if (part < SYN_PLAN_SAMPLE_MIN)
		part = SYN_PLAN_SAMPLE_MIN;
	return part < silent ? part : silent;
}

static bool is_enough(double loss, unsigned rounds, uint32_t open)
{
	return pow(loss, rounds) * fmax(open, 1) < UNFOUND_MAX;
}

/* Whether rounds were enough, when something was lost. */
static enum syn_step next_of_lossy(const struct syn_evidence *e, double loss)
{
	/* The first round's burst, or whatever a sample tells of, asks for one more at least. */
	unsigned rounds_min = e->sample_answers > 0 || e->drops > 0 ? 2 : 1;

	if (e->rounds < rounds_min || !is_enough(loss, e->rounds, e->open))
		return SYN_STEP_ROUND;
	return SYN_STEP_CLOSE;
}

static enum syn_step next_of_lossless(const struct syn_evidence *e)
{
	bool told = e->all_asked >= SYN_PLAN_CANARIES;

	if (e->rounds > 1)
		return SYN_STEP_CLOSE;
	if (!told && e->canaries_left)
		return SYN_STEP_CANARIES;
	/* Where hardly anybody answers, nobody tells: ask everyone twice. */
	if (!told || e->silent <= SYN_PLAN_SAMPLE_MIN)
		return SYN_STEP_ROUND;
	return e->sampled ? SYN_STEP_CLOSE : SYN_STEP_SAMPLE;
}

enum syn_step syn_plan_next(const struct syn_evidence *e)
{
	double loss = syn_plan_loss(e);

	if (e->silent == 0 || e->rounds >= SYN_PLAN_ROUNDS_MAX)
		return SYN_STEP_CLOSE;
	if (e->retries >= 0)
		return e->rounds > (unsigned)e->retries ? SYN_STEP_CLOSE : SYN_STEP_ROUND;
	if (loss > 0 || e->sample_answers > 0 || e->drops > 0)
		return next_of_lossy(e, fmax(loss, 0));
	return next_of_lossless(e);
}
