/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Between the parts of inventory.h: polls (inventory.c), and what events ask for. Loop's thread. */
#pragma once

#include "daemon/inventory/dump.h"
#include "daemon/inventory/inventory.h"

struct inventory {
	struct event_base *base;
	struct inventory_handlers handlers;
	struct events *events;
	char why_no_events[EVENTS_WHY_LEN];
	struct dump_places places;
	uint64_t hidden;
	/* Of the last record in this reading: a namespace that ends closes its sockets in a row. */
	pid_t event_task;
	uint64_t event_netns;
	struct table table;
	struct namespaces seen; /* of the last look at /proc */
	uint32_t poll_ms;
	struct event *poll, *slice, *soon, *readable, *read_again;
	struct event *addresses_changed;
	int addresses_sock;
	/* Of the full poll under way: where it is, NULL when none is. */
	struct table_netns *cursor;
	bool polling, again, check_owners, said_full, said_truncated;
	bool lacking; /* owners, that are looked for when anew_due_ms has come */
	int64_t anew_due_ms;
	int64_t owners_due_ns;
	int64_t poll_began_ns, poll_cpu_began_ns, poll_ended_ms;
	struct inventory_status status;
};

/* inventory.c */

int64_t inventory_cpu_ns(void); /* of this process */
/*
 * When to do again what began at that CPU time, so that it takes a tenth of one at most: in ms of
 * CLOCK_MONOTONIC.
 */
int64_t inventory_rest_after(int64_t began_cpu_ns);
void inventory_start_timer(struct event *timer, int64_t in_ms);
/* Looks at one namespace, and tells. 0, or -errno: the next poll looks for it, or it is gone. */
int inventory_dump(struct inventory *inv, struct table_netns *ns, int64_t seen_ns);
/* Looks at /proc, for inv->seen. Returns 0, or -errno and leaves what was seen last. */
int inventory_look_around(struct inventory *inv);
/* Something has happened, and we cannot say where: a full poll, when that is not too often. */
void inventory_poll_soon(struct inventory *inv);

/* inventory_events.c: libevent's callbacks; `arg` is the inventory */

void inventory_on_soon(evutil_socket_t fd, short what, void *arg);
void inventory_on_readable(evutil_socket_t fd, short what, void *arg);
void inventory_on_read_again(evutil_socket_t fd, short what, void *arg);
void inventory_on_addresses_changed(evutil_socket_t fd, short what, void *arg);
