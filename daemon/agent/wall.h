/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The agent's side of the firewall helper: asks for blocks, knows which ones are in the kernel,
 * and what the kernel or the helper's own policy said. For one endpoint one request is under way
 * at a time; of what is wanted meanwhile only the last counts. Loop's thread.
 */
#pragma once

#include "daemon/agent/watch.h"
#include "daemon/firewall/wire.h"

/* An answer that takes longer is not waited for; less than the clients of the control socket. */
enum { WALL_ANSWER_MS = 3500 };

/*
 * Beside the number of a rule that filters: not its filter, but that the port is cut, as it says
 * for endpoints that no filter can read.
 */
#define WALL_FALLBACK UINT32_C(0x40000000)
/* The rule of a request or a reply, with that. */
static inline uint32_t wall_rule(uint32_t rule, uint8_t fallback)
{
	return fallback ? rule | WALL_FALLBACK : rule;
}

struct wall;

struct wall_handlers {
	/*
	 * The kernel has answered for `w`, and nothing more is under way for it: w->wall is true
	 * again, w->wall.error says why a block was refused (NULL: it was not). Or the answer is
	 * late (wall_check_deadlines()): w->wall.pending is still true, and this comes again.
	 */
	void (*settled)(struct watch *w, void *arg);
	/*
	 * One block of a list, in the kernel now; then the end of the list. `complete`: the kernel
	 * could be read, so that what was not in the list is not in the kernel.
	 */
	void (*found)(const struct firewall_reply *block, void *arg);
	void (*list_ended)(bool complete, void *arg);
	/* The helper had to restore the ruleset. */
	void (*restored)(void *arg);
	void (*pong)(void *arg);
	/* The answer to wall_ask_status(): the counts of now. */
	void (*status)(const struct firewall_reply *reply, void *arg);
	/*
	 * The answer to PANIC or RESUME; with verb STATUS it came unasked: the helper was sent a
	 * signal. What is in force is reply->panicked.
	 */
	void (*panic_answered)(enum firewall_verb verb, const struct firewall_reply *reply,
	                       void *arg);
	/* The answer to wall_allow(). NULL here: nobody asks. The same for the next two. */
	void (*allow_answered)(uint32_t rule, const struct firewall_reply *reply, void *arg);
	/* Some of whom wall_ledger_list() asked for; then the end. `complete` as for list_ended. */
	void (*peers)(const struct firewall_peer *peers, size_t count, void *arg);
	void (*peers_ended)(bool complete, void *arg);
	/* The helper's socket is closed; all that was under way is settled as refused. */
	void (*gone)(void *arg);
	void *arg;
};

int wall_new(struct event_base *base, const struct wall_handlers *handlers, struct wall **out);
void wall_free(struct wall *wall);
/* Takes over `sock`; there is one helper for the agent's whole life. */
int wall_set_firewall(struct wall *wall, int sock);
/* Of the configuration that rules are numbered by. */
void wall_set_generation(struct wall *wall, uint64_t generation);

/* Inserts, or makes the timeout count from now. `rule` as on the wire, or with WALL_FALLBACK. */
void wall_block(struct wall *wall, struct watch *w, uint32_t rule, int64_t timeout_ms);
void wall_unblock(struct wall *wall, struct watch *w);
/* Settles what has waited for WALL_ANSWER_MS; to be called every now and then. */
void wall_check_deadlines(struct wall *wall);
/* Is there anything to settle? */
bool wall_is_waiting(const struct wall *wall);
/* The watch is about to be freed. */
void wall_forget(struct wall *wall, struct watch *w);

void wall_list(struct wall *wall);
/* Counts blocks, at once and of the last minute; -ENOTCONN: there is no helper. */
int wall_ask_status(struct wall *wall);
void wall_panic(struct wall *wall);
void wall_resume(struct wall *wall);
void wall_ping(struct wall *wall);

/*
 * Says whom the files and names in the rule's allow_from stand for, all of them, and replaces what
 * was said before. Returns 0, -E2BIG for more than FIREWALL_ALLOW_MAX, -ENOMEM, or -ENOTCONN.
 */
int wall_allow(struct wall *wall, uint32_t rule, const struct prefix *items, size_t count);
/* Has who connects to an endpoint counted, or no longer. Not answered: the list shows it. */
void wall_ledger_add(struct wall *wall, const struct endpoint *e);
void wall_ledger_remove(struct wall *wall, const struct endpoint *e);
/* NULL: of all endpoints. */
void wall_ledger_list(struct wall *wall, const struct endpoint *e);

struct wall_stats {
	uint32_t blocks, reconciliations;
	bool persist, panicked, connected;
	uint64_t
	    dropped_packets; /* since the agent began; counters of blocks that are gone included */
};
void wall_get_stats(const struct wall *wall, struct wall_stats *out);
/* Notes what a list said of a watch's block; packets that go to a filter are not `dropped`. */
void wall_note_counters(struct wall *wall, struct watch *w, const struct firewall_reply *block,
                        bool dropped);
