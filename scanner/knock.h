/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Knocks: TCP connections that say nothing. They tell whether a port is open and, if asked to wait,
 * whether its server speaks first. No byte is ever sent. One thread: that of the event loop.
 *
 * A knock hangs up with an RST (SO_LINGER of zero), so that TIME_WAIT is left at neither end: not
 * here, where it would hold a local port for a minute, and not at the server, where it would hold
 * a slot that a small device has few of. To a printer it is a job that was called off before its
 * first byte, where a FIN would be an empty one.
 */
#pragma once

#include "scanner/probe.h"

enum {
	KNOCK_MAX = 256,             /* of one knocker, at once */
	KNOCK_BANNER_MAX_BYTES = 64, /* are read, no more */
};

enum knock_result {
	KNOCK_OPEN = 1,
	KNOCK_BANNER,      /* open, and the server spoke first */
	KNOCK_CLOSED,      /* RST, or a socket that met itself: nobody listens */
	KNOCK_SILENT,      /* nothing within the time */
	KNOCK_UNREACHABLE, /* ICMP, or no route */
	KNOCK_UNTOLD,      /* never asked: no descriptor or local port all the time; a proxy */
};

/*
 * Called from the event loop, never from within a call of the owner's. `banner` is gone when it
 * returns. It may call knock_start(), but not knocker_free().
 */
typedef void knock_cb(const struct endpoint *e, enum knock_result result, const uint8_t *banner,
                      size_t length, void *arg);

struct knocker;

/*
 * `route` gives source and interface, must outlive the knocker, and may be NULL. With a proxy in
 * it every knock is KNOCK_UNTOLD: what is knocked at directly is not what the proxy would reach.
 * Returns 0 or -ENOMEM.
 */
int knocker_new(struct event_base *base, const struct probe_route *route, struct knocker **out);
/*
 * Each connection takes a token of it, and waits for one; that time does not count. It must outlive
 * the knocker; NULL, as at first: no limit.
 */
struct pacer;
void knocker_set_pacer(struct knocker *k, struct pacer *pacer);
/* Knocks under way are forgotten, their callbacks not called. NULL is allowed. */
void knocker_free(struct knocker *k);

/*
 * The connection must stand within connect_ms (more than one second has the kernel send a lost SYN
 * again); then up to banner_ms for the first bytes, 0: none are read. Returns 0, or -EAGAIN when
 * KNOCK_MAX are under way: wait for a callback.
 */
int knock_start(struct knocker *k, const struct endpoint *e, int64_t connect_ms, int64_t banner_ms,
                knock_cb *done, void *arg);
unsigned knock_room(const struct knocker *k);
