/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The discoverer: a child process that finds out which endpoints of a sweep are open, and nothing
 * more about them. This is its shell as its engines see it (discover_syn.c, discover_connect.c):
 * where windows of endpoints come from, and where results go. An engine owns the process's loop:
 *
 *	for (;;) {
 *		discover_child_turn(c)      commands in, results out; <0: end
 *		discover_child_window(c)    something new to send, or NULL
 *		... send, receive, discover_child_result() for each endpoint that is known
 *		discover_child_close(c, w)  when nothing is owed in a window any more
 *		... poll its own sockets and discover_child_descriptor() when there is nothing to do
 *	}
 *
 * One thread. Times are CLOCK_MONOTONIC nanoseconds.
 */
#pragma once

#include "scanner/sweep/exclude.h"
#include "scanner/sweep/order.h"
#include "scanner/sweep/space.h"

enum {
	DISCOVER_WINDOWS = 8,          /* open at once, at most */
	DISCOVER_WINDOW_MAX = 1 << 17, /* endpoints in one, at most: a bit each per state kept */
};

enum discover_state {
	DISCOVER_OPEN = 1,    /* SYN-ACK, or connected */
	DISCOVER_CLOSED,      /* RST */
	DISCOVER_FILTERED,    /* silent */
	DISCOVER_UNREACHABLE, /* the kernel, or an ICMP answer, says that there is no way */
};

/* A run of positions of one space's order, in this shard. */
struct discover_window {
	const struct sweep_space *space;
	struct sweep_order order;
	struct sweep_shard shard;
	uint64_t first; /* of the shard's positions: see sweep_shard_position() */
	uint32_t count;
	unsigned slot; /* 0..DISCOVER_WINDOWS-1, no other open window has it */
	void *engine;  /* the engine's own */
};

struct discover_stats {
	uint64_t sent; /* SYNs or connects, retransmissions included */
	uint64_t retransmitted;
	uint64_t answered;   /* valid answers */
	uint64_t dropped;    /* by our own sockets */
	double rate_per_sec; /* what the controller allows now; 0: no limit */
	double loss;         /* measured, 0..1; negative: not known yet */
	uint64_t canaries_sent, canaries_lost;
	uint64_t hosts_silent; /* on-link hosts that did not answer ARP or NDP */
};

/* What the user wants; plain values, set before the fork. */
struct discover_limits {
	uint64_t rate_per_sec;     /* 0: none but the controller's */
	uint64_t per_host_per_sec; /* 0: none */
	int64_t timeout_ms;        /* for one try's answer */
	int retries;               /* beyond the first try; -1: as the measured loss demands */
	unsigned concurrency;      /* connect: sockets at once */
	struct endpoint source;    /* family 0: the kernel's choice */
	unsigned interface;        /* index; 0: the routing table's choice */
	bool want_all;             /* report closed and silent endpoints too, not only open ones */
};

struct discover_child;

const struct discover_limits *discover_child_limits(const struct discover_child *c);
/*
 * Takes commands, sends results that wait. Never blocks. Returns 0; 1: the parent has no more
 * work and every window is closed: the engine returns 0; -EPIPE: the parent is gone, return it.
 */
int discover_child_turn(struct discover_child *c);
/* A descriptor to poll for POLLIN (and, if `*writable`, POLLOUT) when there is nothing to do. */
int discover_child_descriptor(const struct discover_child *c, bool *writable);
/* The parent does not keep up: send no new SYN until this is false. Turns change it. */
bool discover_child_is_behind(const struct discover_child *c);

/*
 * Opens the next window, of at most `max` endpoints, or returns NULL: none is there now, or
 * DISCOVER_WINDOWS are open.
 */
struct discover_window *discover_child_window(struct discover_child *c, uint32_t max);
/*
 * The endpoint at an offset of a window; false: to be left out (a duplicate, or excluded: this is
 * asked before every send, retransmissions included).
 */
bool discover_window_at(const struct discover_child *c, const struct discover_window *w,
                        uint32_t offset, struct endpoint *out);
/* The open window and offset that an answer belongs to; NULL: to none. */
struct discover_window *discover_child_find(struct discover_child *c, const struct endpoint *e,
                                            uint32_t *offset);
/*
 * Says what an endpoint is, once for each; `rtt_us` < 0: not known. What is not OPEN is dropped
 * here unless it is wanted.
 */
void discover_child_result(struct discover_child *c, const struct discover_window *w,
                           const struct endpoint *e, enum discover_state state, int64_t rtt_us);
/* In its place, for endpoints whose state is not wanted one by one: so many more have it. */
void discover_child_count(struct discover_child *c, enum discover_state state, uint64_t count);
/* All of it is known and nothing more comes for it; *w is gone. */
void discover_child_close(struct discover_child *c, struct discover_window *w);
/* Read by turns, sent to the parent about every 100 ms. The engine writes it at will. */
struct discover_stats *discover_child_stats(struct discover_child *c);
/* One line for the user, by way of the parent ("rate lowered to ... since ..."). printf-like. */
void discover_child_note(struct discover_child *c, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
