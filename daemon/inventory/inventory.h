/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * When to look where: at everything every so often, and at one namespace when an event says that
 * something began or ceased to listen there. Loop's thread; a look at everything is done in pieces,
 * so that requests are answered meanwhile.
 */
#pragma once

#include "daemon/inventory/events.h"
#include "daemon/inventory/table.h"

#include <event2/event.h>

struct inventory;

struct inventory_handlers {
	void (*news)(void *arg);   /* there may be something in the table to tell */
	void (*synced)(void *arg); /* a full poll is over */
	void *arg;
};

/*
 * `events` may be NULL: then `why_no_events` says why; else it is taken over. `hidden` is the inode
 * number of a namespace that is nobody's business (our own vantage point), or 0. Returns 0 or
 * -errno.
 */
int inventory_new(struct event_base *base, struct events *events, const char *why_no_events,
                  uint64_t hidden, const struct inventory_handlers *handlers,
                  struct inventory **out);
void inventory_free(struct inventory *inv);

/* Begins, or goes on with another interval; a full poll follows at once. */
void inventory_watch(struct inventory *inv, uint32_t poll_ms);
void inventory_unwatch(struct inventory *inv);

struct table *inventory_table(struct inventory *inv);
void inventory_fill_status(const struct inventory *inv, struct inventory_status *out);

/*
 * Enters a namespace, calls `act` there and comes back. Returns what `act` returned, -ENOENT when
 * the namespace is not known or gone, or -errno. Does not return if there is no way back.
 */
int inventory_act_inside(struct inventory *inv, uint64_t netns, int (*act)(void *arg), void *arg);
