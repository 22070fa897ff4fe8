/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A wall is believed only when a stranger has been refused: after each block the inventory helper
 * connects to the endpoint from a network namespace of its own (INVENTORY_CONNECT), and again every
 * now and then. Somebody answers: the packets take a way that nftables does not see, the block is
 * there and does nothing. That is told, and stands in status, metrics and readiness until a later
 * connection is refused. A filter answers everybody: it is believed when the prober, on sockets of
 * that namespace, is shown no profiling there. Loop's thread.
 */
#pragma once

#include "daemon/agent/watch.h"

#include <event2/buffer.h>
#include <jansson.h>

struct agent;

enum {
	VERIFY_AT_ONCE = 8,   /* connections under way */
	VERIFY_PER_TICK = 16, /* new ones with each tick */
	VERIFY_TIMEOUT_MS =
	    2500, /* silence for so long is refusal enough; a SYN is repeated after 1 s */
	VERIFY_TWICE_MS = 300, /* after somebody has answered: once more */
	VERIFY_AGAIN_MS =
	    10 * 60 * 1000,           /* of a wall that stood, or about which nothing is known */
	VERIFY_BROKEN_MS = 30 * 1000, /* of one that did not */
	VERIFY_BUSY_MS = 2 * 1000,    /* the helper was busy, or is being restarted */
};

const char *verify_state_name(enum verify_state state);

/* The block of this endpoint has gone in, was renewed, or is gone: w->wall.in_kernel says. */
void verify_note_wall(struct agent *a, struct watch *w);
/* Nobody wants to know any more; it may be freed. */
void verify_forget(struct agent *a, struct watch *w);
/* Handler of the schedule, for what verify_probe() has asked. Frees the probe's own watch. */
void verify_take_probe(struct agent *a, struct watch *probe, const struct finding *finding);
/* With every tick of the agent's. */
void verify_tick(struct agent *a, int64_t now_ms);
/* For people: state, why, when; null without a block. */
json_t *verify_to_json(const struct watch *w);
/* A line for each wall that does not hold; false if there is one. */
bool verify_is_ready(const struct agent *a, struct evbuffer *out);
/* How many walls are in this state. */
size_t verify_count(const struct agent *a, enum verify_state state);
