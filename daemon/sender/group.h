/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * When a sink's next message may leave, and how many of the events that wait go into it. Pure: no
 * clock, no I/O. Times are CLOCK_MONOTONIC.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
	GROUP_MAX_EVENTS = 256,
	GROUP_MAX_BYTES = 512 * 1024, /* of the events' JSON; one event alone may have more */
};

struct group_conf {
	bool together;       /* a message may hold several events */
	int64_t wait_ms;     /* to collect, from the first that waits */
	unsigned per_minute; /* messages; at most as many at once; 0: no limit */
};

struct group_facts {
	int64_t first_ms;  /* when the first of those that wait came */
	int64_t urgent_ms; /* when the first that is urgent came; INT64_MAX: none is */
};

/* A bucket of `per_minute` tokens, kept as the time at which it is full again. */
struct group_pace {
	int64_t full_ms;
};

/*
 * The time from which on the message may leave. Without a token it waits, and all that comes
 * meanwhile goes along; what is urgent waits for no token.
 */
int64_t group_due_ms(const struct group_conf *conf, const struct group_pace *pace,
                     const struct group_facts *facts);

/* A message leaves. One too many, since urgent, is paid for by those that come after it. */
void group_take(const struct group_conf *conf, struct group_pace *pace, int64_t now_ms);

/* What a refusal says of the events of a group. */
struct group_split {
	size_t left;  /* events, from the front of the queue, that were refused together */
	size_t limit; /* as many of them go into one message */
};

/* How many events may go into the next message, of `waiting`. */
size_t group_size(const struct group_conf *conf, const struct group_split *split, size_t waiting);

/*
 * A message of `n` events was refused, with this status of HTTP, or 0. True: they stay, and go in
 * halves, since it was too large (413), or one of them may spoil the others (400, 422). False: it
 * is the answer to each of them.
 */
bool group_refused(struct group_split *split, size_t n, int status);

/* So many, of the front of the queue, are over: taken, or refused for good. */
void group_over(struct group_split *split, size_t n, bool taken);
