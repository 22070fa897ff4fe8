/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Canaries: endpoints that answered once and are asked again now and then, since only who is known
 * to answer can tell silence from loss. One for each of up to CANARY_MAX hosts, an open port
 * rather than a closed one. Pure: the time (CLOCK_MONOTONIC nanoseconds) is passed in.
 *
 * Each asking has its outcome when its time is over, whether it was answered or not: counting
 * answers at once and losses later would flatter every rate that has just begun.
 */
#pragma once

#include "common/endpoint.h"
#include "common/siphash.h"

enum {
	CANARY_MAX = 1024,
	CANARY_ASKED_MAX = 16, /* times one is asked to get to a number that says something */
};

struct canaries;

/* NULL: no memory. */
struct canaries *canary_new(const struct siphash_key *key);
void canary_free(struct canaries *c);

/* An endpoint has answered. */
void canary_learn(struct canaries *c, const struct endpoint *e, bool open);
/*
 * The next one to ask, or false: there is none that is not being asked already. `sparing`: none
 * that was asked CANARY_ASKED_MAX times. `tag` comes back with the outcome. *serial is different
 * from asking to asking of one endpoint.
 */
bool canary_ask(struct canaries *c, int64_t now_ns, uint32_t tag, bool sparing,
                struct endpoint *out, unsigned *serial);
/* The one asked last was not sent after all. */
void canary_cancel(struct canaries *c);

struct canary_outcome {
	int64_t asked_ns;
	uint32_t tag;
	bool lost;
};

/*
 * It has answered. Returns how long it took (ns), or -1: nothing was asked. An answer that comes
 * after its outcome takes that back: `*late` is true, and *out is as it was, but not lost.
 */
int64_t canary_answer(struct canaries *c, const struct endpoint *e, unsigned serial, int64_t now_ns,
                      bool *late, struct canary_outcome *out);
/* The outcome of an asking that is `wait_ns` ago; false: none (more) is due. */
bool canary_judge(struct canaries *c, int64_t now_ns, int64_t wait_ns, struct canary_outcome *out);
/* When the oldest was asked; -1: none is being asked. */
int64_t canary_oldest_ns(const struct canaries *c);
