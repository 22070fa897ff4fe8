/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What a SYN sweep keeps of an open window: a bit per endpoint for "known", one for "to be sent in
 * this pass", and when each run of 64 was sent first. All of constant size.
 */
#pragma once

#include "scanner/discover/child.h"

enum {
	SYN_WINDOW_WORDS = DISCOVER_WINDOW_MAX / 64,
};
#define SYN_WINDOW_END UINT32_MAX /* no offset */

enum syn_phase {
	SYN_PHASE_SENDING,
	SYN_PHASE_WAITING, /* for the last answers */
};

struct syn_window {
	struct discover_window *w; /* NULL: free */
	uint64_t serial;           /* windows in the order of opening */
	enum syn_phase phase;
	unsigned rounds; /* begun, in which all silent ones are asked; samples are none */
	bool again;      /* not the first pass of the first round: no round-trip times */
	bool sampled;
	uint32_t known, open, sample_answers;
	uint32_t deferred; /* in this pass */
	uint32_t cursor;
	int64_t opened_ns, sent_ns /* last */, retry_ns;
	unsigned topped_up;                     /* times that canaries were waited for */
	uint32_t canaries_wanted;               /* to be sent for it alone */
	bool canary_sent;                       /* one of those */
	bool canaries_out;                      /* there are none left to ask */
	uint64_t asked, lost;                   /* canaries */
	uint64_t drops;                         /* the total when it was opened */
	uint32_t sent_us[SYN_WINDOW_WORDS + 1]; /* since opened_ns, of a run's first */
	uint64_t known_bits[SYN_WINDOW_WORDS];
	uint64_t todo_bits[SYN_WINDOW_WORDS];
};

void syn_window_begin(struct syn_window *s, struct discover_window *w, uint64_t serial,
                      int64_t now_ns);
/* Everything that is silent is to be asked again. */
void syn_window_begin_round(struct syn_window *s);
/* About `count` of the silent ones are, at random, but only of the first `end` offsets. */
void syn_window_begin_sample(struct syn_window *s, uint32_t count, uint32_t end, uint64_t seed);

/* The next offset that is to be sent in this pass; SYN_WINDOW_END: the pass is through. */
uint32_t syn_window_next(struct syn_window *s);
/* It was sent, or is not to be. */
void syn_window_done(struct syn_window *s, uint32_t offset);
/* It cannot be sent yet: the next pass has it. */
void syn_window_defer(struct syn_window *s, uint32_t offset);
/* What was deferred is next, from `retry_ns` on. */
void syn_window_restart(struct syn_window *s, int64_t retry_ns);

/* True when it was not known before. */
bool syn_window_know(struct syn_window *s, uint32_t offset);
bool syn_window_is_known(const struct syn_window *s, uint32_t offset);
static inline uint32_t syn_window_silent(const struct syn_window *s)
{
	return s->w->count - s->known;
}

/* Of the first round's first pass: notes that an offset goes out now. */
void syn_window_stamp(struct syn_window *s, uint32_t offset, int64_t now_ns);
/* How long ago an offset was sent in it (us); between stamps it is interpolated. */
int64_t syn_window_age_us(const struct syn_window *s, uint32_t offset, int64_t now_ns);
/* Offsets below were sent before a time. */
uint32_t syn_window_sent_before(const struct syn_window *s, int64_t then_ns);
