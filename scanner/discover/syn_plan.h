/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What to do about a window's silent endpoints: ask some of them again, all of them, or none. Pure.
 *
 * Nobody asks all of a window twice where nothing gets lost. Whether something does is known from
 * canaries (canary.h), and from a sample of the silent endpoints: one that answers at second
 * asking tells of a loss, also of one in a burst that no canary met. With loss p (there or back)
 * k rounds leave p^k of the open ports unfound: k is the least that makes this negligible.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

enum {
	SYN_PLAN_CANARIES = 300,   /* so many tell what the loss is */
	SYN_PLAN_SAMPLE_MIN = 400, /* silent endpoints in a sample, if there are so many */
	SYN_PLAN_SAMPLE_PART = 64, /* of the silent ones: one in so many */
	SYN_PLAN_ROUNDS_MAX = 10,
};

struct syn_evidence {
	int retries;          /* the user's; -1: as the loss demands */
	unsigned rounds;      /* done, in which all silent ones were asked */
	uint32_t silent;      /* now */
	uint32_t open, known; /* found */
	bool sampled;
	uint32_t sample_answers;
	uint64_t asked, lost;         /* canaries, of this window */
	uint64_t all_asked, all_lost; /* of the sweep */
	uint64_t drops;               /* answers our own socket lost in the window's time */
	bool canaries_left;           /* more could be asked */
};

enum syn_step {
	SYN_STEP_CLOSE,
	SYN_STEP_SAMPLE,   /* ask some of the silent ones again */
	SYN_STEP_ROUND,    /* ask all of them again */
	SYN_STEP_CANARIES, /* ask more canaries, and then decide */
};

enum syn_step syn_plan_next(const struct syn_evidence *e);
/* The loss there and back, 0..1, cautiously; negative: not known. */
double syn_plan_loss(const struct syn_evidence *e);
/* How many of the silent ones make a sample. */
uint32_t syn_plan_sample(uint32_t silent);
