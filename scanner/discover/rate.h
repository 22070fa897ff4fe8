/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * How fast a SYN sweep may send. Pure: the time (CLOCK_MONOTONIC nanoseconds) is passed in.
 *
 * It begins fast and doubles every few milliseconds until something says stop: the user's ceiling,
 * drops at our own sockets, or canaries (endpoints known to answer) that do not answer. Lost
 * canaries alone say little: a link may lose 2% at any rate, and then slowing down only takes
 * longer. So the rate is halved for a moment as an experiment. If the loss stays, it is the
 * link's: the old rate comes back, and such loss is left to retransmission from then on. If it
 * goes, it was ours: the rate is set below what got through before, and rises again slowly.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

enum { RATE_FLOOR_PER_SEC = 1000 };

enum rate_event {
	RATE_SAME = 0,
	RATE_LOWERED_DROPS, /* our own sockets or the device could not keep up */
	RATE_TRYING,        /* canaries were lost: half of it, for a moment */
	RATE_LINK_LOSES,    /* as many at half of it: back to where it was */
	RATE_LOWERED_LOSS,  /* fewer at half of it: it stays there */
};

struct rate {
	double allowed_per_sec;
	double ceiling_per_sec; /* of the user; RATE_UNLIMITED without */
	double floor_per_sec;
	double link_loss; /* believed to be there at any rate */
	double seen_loss; /* measured last */
	bool starting;    /* doubling */
	bool trying;
	bool congested;                      /* a rate was too high once: rise slowly */
	double before_per_sec;               /* allowed before the trial */
	double before_loss, before_achieved; /* then: what was lost, at what was really sent */

	int64_t changed_ns; /* canaries asked before say nothing of this rate */
	int64_t turned_ns;
	uint64_t asked, lost; /* since then */
	uint64_t sent, drops; /* at the last turn */
	uint64_t sent_before; /* when it was changed */
};

#define RATE_UNLIMITED 1e9

/* `ceiling_per_sec` 0: none. */
void rate_init(struct rate *r, uint64_t ceiling_per_sec, int64_t now_ns);
/* What became of a canary. */
void rate_learn(struct rate *r, int64_t asked_ns, bool lost);
/* Every few milliseconds, with running totals of what was sent and of what was dropped by us. */
enum rate_event rate_turn(struct rate *r, int64_t now_ns, uint64_t sent, uint64_t drops);
/* For a pacer: 0 is no limit. */
uint64_t rate_get(const struct rate *r);
