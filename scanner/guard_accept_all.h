/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Hosts and middleboxes that accept every port: SYN proxies, tarpits, firewalls that answer for
 * what is behind them. Each such port would hold a probe until its timeout, and shows nothing.
 *
 * A host that has shown many open ports is knocked at on three random high ports. All three open:
 * it is set aside, its further endpoints are refused, and one note says so. A network (/24, /64)
 * with eight such hosts is set aside as a whole, after random other addresses of it accepted a
 * random port, too. Endpoints of a host that is being looked at wait for the verdict.
 *
 * Memory is constant; what does not fit in the tables any more is forgotten, and then found out
 * anew. One thread: that of the event loop.
 */
#pragma once

#include "scanner/guard.h"
#include "scanner/knock.h"

enum { GUARD_ACCEPT_ALL_PENDING = 4096 /* endpoints at once */ };

/* "10.0.0.7 accepts every port: set aside" */
typedef void guard_note_cb(const char *text, void *arg);
/*
 * Whether an address may be knocked at that was not asked about: a random one of a network. False
 * for what the user excluded, and for what no target covers.
 */
typedef bool guard_may_knock_cb(const struct endpoint *e, void *arg);

struct guard_accept_all_conf {
	const uint16_t *ports; /* of the sweep: not knocked at; they outlive the guard */
	size_t n_ports;
	int64_t connect_ms;
	guard_note_cb *note;           /* NULL: none */
	guard_may_knock_cb *may_knock; /* NULL: no network is set aside as a whole */
	void *arg;                     /* of both */
	struct pacer *pacer;           /* of its knocks; outlives it. NULL: no limit */
};

struct guard_accept_all_stats {
	uint64_t hosts, networks; /* set aside */
	uint64_t refused;         /* endpoints */
};

struct guard_accept_all;

/* `route` must outlive it; with a proxy every host passes. Returns 0, -ENOMEM or -EIO. */
int guard_accept_all_new(struct event_base *base, const struct guard_accept_all_conf *conf,
                         const struct probe_route *route, struct guard_accept_all **out);
/* Forgets what is pending. NULL is allowed. */
void guard_accept_all_free(struct guard_accept_all *g);

/*
 * An endpoint is open; may it be probed? Each is asked about once. *why is set with GUARD_REFUSED.
 */
enum guard_answer guard_accept_all_seen(struct guard_accept_all *g, const struct endpoint *open,
                                        const char **why, guard_cb *done, void *arg);
void guard_accept_all_get_stats(const struct guard_accept_all *g,
                                struct guard_accept_all_stats *out);
