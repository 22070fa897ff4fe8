/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The circuit breaker of one endpoint: pure code, the time passed in. It decides; the caller acts,
 * in the order block, then commit, then alert (docs/design.md).
 *
 * Times are CLOCK_MONOTONIC milliseconds of the caller's choosing. Any thread, one breaker at a
 * time in one thread.
 *
 * What the state table leaves open, and what holds here:
 *
 * - The window slides over exposed and clean probes; the others say nothing and are not in it. With
 *   trip_window == trip_after a clean probe therefore starts the counting anew; with a longer
 *   window it is one probe among others, or workers that share a port and alternate their answers
 *   would never trip it.
 * - Clean (and gone) must be consecutive: an exposed probe, one without a verdict, and each of the
 *   other starts the count anew. Otherwise a pool of one clean and one stalling worker would open
 *   the wall. It costs only time.
 * - While open no probe is due. One that ends nevertheless (it was under way when the breaker
 *   opened) does not count as clean; exposed or without a verdict, it renews the block.
 * - Half-open, every probe that does not close renews the block, and the next one is due at most
 *   open_for later, whatever the intervals: the block's expiry in the kernel is longer than that,
 *   so that it never lapses between two probes.
 * - Without a verdict the next probe comes after confirm_interval, doubled each time, up to
 *   interval.
 * - `unknown` is alerted once until there is a verdict again; a reminder only with fresh evidence.
 * - A closed breaker that loses its listener forgets its counts: nothing was blocked or alerted, so
 *   there is nothing to unblock or alert.
 *
 * With a rule that only alerts, the same breaker runs; the caller ignores block and unblock.
 */
#pragma once

#include "common/finding.h"

enum breaker_state { BREAKER_CLOSED = 0, BREAKER_OPEN, BREAKER_HALF_OPEN, BREAKER_STATE_COUNT };

/* What one probe means to a breaker. */
enum breaker_observation {
	BREAKER_EXPOSED,
	BREAKER_CLEAN, /* it answered, and showed no profiling to us: clear, protected, unknown */
	BREAKER_GONE,  /* connection refused: nobody listens */
	BREAKER_NO_VERDICT, /* filtered, error, quarantined: no evidence either way */
};

/* The part of a rule that a breaker needs. */
struct breaker_conf {
	unsigned trip_after;  /* 1..64 */
	unsigned trip_window; /* trip_after..64 */
	unsigned close_after; /* >= 1 */
	int64_t confirm_interval_ms;
	int64_t interval_ms; /* between probes when nothing is going on */
	int64_t open_for_ms;
	int64_t remind_every_ms;  /* 0: never */
	int64_t unknown_after_ms; /* 0: never */
};

enum breaker_alert {
	BREAKER_ALERT_NONE = 0,
	BREAKER_ALERT_OPENED,
	BREAKER_ALERT_CLOSED,
	BREAKER_ALERT_GONE,
	BREAKER_ALERT_UNKNOWN,
	BREAKER_ALERT_REMINDER,
	BREAKER_ALERT_FILTERED, /* no breaker's own: opened, behind a standing filter */
};

/* What to do now. A plain value. */
struct breaker_decision {
	bool block;   /* put the block in, or renew it */
	bool unblock; /* take it out; never together with block */
	enum breaker_alert alert;
	int64_t next_probe_ms; /* when to probe again */
};

struct breaker {
	enum breaker_state state;
	uint64_t history; /* the last trip_window probes, newest in bit 0; 1 is exposed */
	unsigned history_length;
	unsigned consecutive_clean;
	unsigned consecutive_gone;
	unsigned consecutive_no_verdict;
	int64_t opened_ms;       /* of this opening */
	int64_t open_until_ms;   /* open -> half-open */
	int64_t last_verdict_ms; /* last probe that had a verdict; of the opening at first */
	int64_t last_alert_ms;   /* opened or reminder */
	bool unknown_alerted;
};

void breaker_init(struct breaker *b);
/*
 * Starts open, as when a block is found in the kernel after a restart; its time is over, so the
 * next breaker_begin_probe() makes it half-open. No alert: there was one before the restart.
 */
void breaker_adopt(struct breaker *b, const struct breaker_conf *conf, int64_t now_ms);
/* Closed, nothing counted: a manual decision ends or begins. The caller blocks or unblocks. */
void breaker_reset(struct breaker *b);

/*
 * Exposed below the floor is clean: the rule does not mind it. 429 and 5xx are no verdict: a server
 * that is overloaded, or its proxy, would otherwise lift its own wall.
 */
enum breaker_observation breaker_classify(const struct finding *f, enum finding_severity floor);

/* A probe is about to start: an open breaker whose time is over becomes half-open. */
void breaker_begin_probe(struct breaker *b, int64_t now_ms);
struct breaker_decision breaker_record_probe(struct breaker *b, const struct breaker_conf *conf,
                                             enum breaker_observation seen, int64_t now_ms);

const char *breaker_state_name(enum breaker_state state);
const char *breaker_alert_name(enum breaker_alert alert);
