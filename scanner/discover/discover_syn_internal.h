/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the files of the SYN engine share: run (discover_syn.c), send, judge windows. */
#pragma once

#include "scanner/discover/canary.h"
#include "scanner/discover/discover_syn.h"
#include "scanner/discover/host_pace.h"
#include "scanner/discover/pacer.h"
#include "scanner/discover/rate.h"
#include "scanner/discover/rtt.h"
#include "scanner/discover/syn_link.h"
#include "scanner/discover/syn_socket.h"
#include "scanner/discover/syn_window.h"

#define SYN_MS INT64_C(1000000)

/*
 * Which source port is for what; an answer tells by it what it answers. Only those of the first
 * have a round-trip time, since only for these the time of sending is kept.
 */
enum syn_attempt {
	SYN_ATTEMPT_FIRST = 0,
	SYN_ATTEMPT_AGAIN = 1, /* to 3: rounds and samples, in turns */
	SYN_ATTEMPTS_AGAIN = 3,
	SYN_ATTEMPT_DEFERRED = 4, /* the first, but late */
	SYN_ATTEMPT_CANARY = 5,   /* to 7 */
};

enum { SYN_NOTES_MAX = 6 };

struct discover_syn {
	struct syn_socket *socket;
	struct next_hops *hops;
	struct host_pace *host_pace; /* NULL: no limit */
	struct canaries *canaries;
	struct syn_own_addresses own;
	struct discover_limits limits;

	struct discover_child *child; /* of the run */
	struct discover_stats *stats;
	struct rate rate;
	struct pacer pacer;
	struct rtt rtt;
	int64_t now_ns;
	int64_t hops_turned_ns;
	int64_t blocked_until_ns; /* the device takes no more */
	uint64_t device_full;     /* times it took no more */
	uint64_t all_asked, all_lost;
	unsigned until_canary; /* packets */
	unsigned notes;
	uint64_t serial;
	struct syn_window windows[DISCOVER_WINDOWS];
};

/* Sends what may be sent now. False: there was nothing to do. */
bool discover_syn_send(struct discover_syn *s);
/* When there will be something to send, as far as is known; INT64_MAX: only after an event. */
int64_t discover_syn_next_send_ns(const struct discover_syn *s);
/* An answer for, or a verdict on, an endpoint of a window. */
void discover_syn_know(struct discover_syn *s, struct syn_window *w, uint32_t offset,
                       const struct endpoint *e, enum discover_state state, int64_t rtt_us);

/* Counts what became of canaries, and moves windows on whose time is over. */
void discover_syn_judge(struct discover_syn *s);
int64_t discover_syn_next_judge_ns(const struct discover_syn *s);
void discover_syn_count_canary(struct discover_syn *s, const struct canary_outcome *o);
void discover_syn_take_back_canary(struct discover_syn *s, const struct canary_outcome *o);
