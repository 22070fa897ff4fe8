/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The two halves of wall.h: wall.c, and wall_queue.c, which decides what is asked when. */
#pragma once

#include "daemon/agent/wall.h"

#include <event2/event.h>
#include <sys/queue.h>

struct wall_request {
	TAILQ_ENTRY(wall_request) link;
	uint64_t seq;
	struct watch *watch; /* NULL: the watch is gone */
	enum firewall_verb verb;
	uint32_t rule;
	int64_t sent_ms;
	bool late; /* its deadline has passed, and was told */
};

/* For wall_request.verb: not a verb of the wire, but a frame of its own. */
#define WALL_ALLOW ((enum firewall_verb)0)

TAILQ_HEAD(wall_requests, wall_request);

struct wall {
	struct event_base *base;
	struct watch_queue urgent, renewals;
	struct event *gathered; /* renewals have waited for one another */
	struct event *together; /* urgent ones have waited for the end of what is being done */
	bool flushing;          /* renewals go until there are none */
	size_t n_out;           /* BLOCK and UNBLOCK that are under way */
	struct wall_handlers handlers;
	struct channel *firewall;
	struct wall_requests pending; /* answers come in the order of the questions */
	uint64_t generation, next_seq;
	struct wall_stats stats;
};

extern const char wall_not_there[];

/*
 * Sends a frame of `count` questions. Returns 0, or -errno and nothing is under way; `about` are
 * their entries of wall->pending, without what this sets.
 */
int wall_send_frame(struct wall *wall, uint16_t type, const void *body, size_t length,
                    const struct wall_request *about, size_t count);
void wall_set_address(struct firewall_request *request, const struct endpoint *e);
/* What it asks for is under way for `w`, if there is one; else w->wall.error says why not. */
void wall_send_request(struct wall *wall, struct firewall_request *request, struct watch *w);

/* Returns 0 or -ENOMEM. */
int wall_queue_init(struct wall *wall);
void wall_queue_fini(struct wall *wall);
void wall_queue_leave(struct wall *wall, struct watch *w);
/* Sends what has room; urgent ones first. */
void wall_queue_pump(struct wall *wall);
