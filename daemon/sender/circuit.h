/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Whether a sink is worth an attempt. A few failures in a row only put off the next attempt
 * (backoff.h). From CIRCUIT_FAILURES on the sink is taken for dead: its circuit is open, and costs
 * one attempt now and then (it is half-open), until one of them is answered. Pure: no clock, no
 * I/O, the random number passed in. All zero is a closed circuit.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

enum {
	CIRCUIT_FAILURES = 5,              /* in a row, of whichever events */
	CIRCUIT_FIRST_OPEN_MS = 30 * 1000, /* the longest wait after it opened... */
	CIRCUIT_OPEN_MS = 60 * 1000,       /* ...and after each probe that failed */
	CIRCUIT_LEAST_OPEN_MS = 5 * 1000,  /* however soon an event's time is over */
};

struct circuit {
	unsigned failures;     /* in a row */
	int64_t not_before_ms; /* the next attempt */
};

/* Dead, as far as we know: when its time has come, one event alone is tried. */
bool circuit_is_open(const struct circuit *c);

/* An attempt failed. Returns whether that opened the circuit. Then circuit_put_off(). */
bool circuit_note_failure(struct circuit *c);

/*
 * Until the next attempt: partly random, and no longer than until `last_ms`, the end of the time of
 * the event that is tried next, whose last attempt is made then. But CIRCUIT_LEAST_OPEN_MS, if it
 * is open; and as long as the receiver asked for, `retry_after_ms`, up to ten minutes.
 */
void circuit_put_off(struct circuit *c, int64_t now_ms, uint32_t random, int64_t retry_after_ms,
                     int64_t last_ms);

/* The sink answered: it took the event, or refused it. Returns whether the circuit was open. */
bool circuit_note_answer(struct circuit *c);
