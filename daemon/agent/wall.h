/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The agent's side of the firewall helper: asks for blocks, knows which ones are in the kernel,
 * and what the kernel or the helper's own policy said. For one endpoint one request is under way
 * at a time; of what is wanted meanwhile only the last counts. Loop's thread.
 */
#pragma once

#include "daemon/agent/watch.h"
#include "daemon/firewall/wire.h"

struct wall;

struct wall_handlers {
	/*
	 * The kernel has answered for `w`, and nothing more is under way for it: w->wall is true
	 * again, w->wall.error says why a block was refused (NULL: it was not).
	 */
	void (*settled)(struct watch *w, void *arg);
	/* One block of a list, in the kernel now; then the end of the list. */
	void (*found)(const struct firewall_reply *block, void *arg);
	void (*list_ended)(void *arg);
	/* The helper had to restore the ruleset. */
	void (*restored)(void *arg);
	void (*pong)(void *arg);
	/* An answer to wall_panic() or wall_resume(). */
	void (*panic_answered)(bool panicked, void *arg);
	void *arg;
};

int wall_new(struct event_base *base, const struct wall_handlers *handlers, struct wall **out);
void wall_free(struct wall *wall);
/* Takes over `sock`; there is one helper for the agent's whole life. */
int wall_set_firewall(struct wall *wall, int sock);
/* Of the configuration that rules are numbered by. */
void wall_set_generation(struct wall *wall, uint64_t generation);

/* Inserts, or makes the timeout count from now. `rule` as on the wire. */
void wall_block(struct wall *wall, struct watch *w, uint32_t rule, int64_t timeout_ms);
void wall_unblock(struct wall *wall, struct watch *w);
/* The watch is about to be freed. */
void wall_forget(struct wall *wall, struct watch *w);

void wall_list(struct wall *wall);
void wall_panic(struct wall *wall);
void wall_resume(struct wall *wall);
void wall_ping(struct wall *wall);

struct wall_stats {
	uint32_t blocks, reconciliations;
	bool persist, panicked, connected;
	uint64_t
	    dropped_packets; /* since the agent began; counters of blocks that are gone included */
};
void wall_get_stats(const struct wall *wall, struct wall_stats *out);
/* Notes what a list said of a watch's block. */
void wall_note_counters(struct wall *wall, struct watch *w, const struct firewall_reply *block);
