/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Names to addresses for the command line, by libevent's evdns: /etc/hosts and the servers of
 * /etc/resolv.conf, both read once by resolver_new(), so that afterwards no file is needed. One
 * thread: that of the event loop.
 */
#pragma once

#include "common/endpoint.h"

#include <event2/event.h>

enum { RESOLVE_MAX_ADDRESSES = 32, RESOLVE_TIMEOUT_MS = 5000 };

struct resolver;

/*
 * Called once for every lookup. On success `error` is NULL and count > 0; addresses have port 0.
 * Otherwise `error` is one line. May be called from within resolver_lookup().
 */
typedef void resolve_done_cb(const char *error, const struct endpoint *addresses, size_t count,
                             void *arg);

/* Returns 0, -ENOMEM, or -EIO when evdns cannot be set up. */
int resolver_new(struct event_base *base, struct resolver **out);
/* Lookups under way are forgotten; their callbacks are not called. */
void resolver_free(struct resolver *resolver);

/* Asks for A and AAAA; at most RESOLVE_TIMEOUT_MS. Returns 0 or -ENOMEM. */
int resolver_lookup(struct resolver *resolver, const char *name, resolve_done_cb *done, void *arg);
