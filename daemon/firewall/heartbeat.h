/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Does the filter process answer? It is asked every so often while anything is led to it, once the
 * last question was answered. Pure: times are CLOCK_MONOTONIC, passed in.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

enum {
	HEARTBEAT_EVERY_MS = 400,
	HEARTBEAT_DEAF_MS = 1200,    /* without an answer: nothing is led to it any more */
	HEARTBEAT_RESTART_MS = 3000, /* and then it is to be restarted */
};

struct heartbeat {
	int64_t next_ms;  /* when to ask; 0: at once */
	int64_t asked_ms; /* and no answer yet; 0: no question either */
	uint64_t seq;     /* of the last question */
	bool deaf, told;
};

enum heartbeat_step {
	HEARTBEAT_WAIT,
	HEARTBEAT_ASK,     /* with h->seq */
	HEARTBEAT_DEAF,    /* it does not answer; said once */
	HEARTBEAT_RESTART, /* the same */
};

/* What to do now: to be called until it says WAIT, and then at heartbeat_wake_ms(). */
enum heartbeat_step heartbeat_step(struct heartbeat *h, int64_t now_ms);
int64_t heartbeat_wake_ms(const struct heartbeat *h);
/* An answer; true: it was deaf. One to another question than the last is none. */
bool heartbeat_hear(struct heartbeat *h, uint64_t seq, int64_t now_ms);
