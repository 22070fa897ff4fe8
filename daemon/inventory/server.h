/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The inventory process as parent and agent see it: answers requests, tells what the table has to
 * tell as fast as the agent reads it. A request that is malformed in itself is answered and changes
 * nothing; a frame that is not for us ends the process. Loop's thread.
 */
#pragma once

#include "daemon/inventory/events.h"
#include "daemon/inventory/vantage.h"

#include <event2/event.h>

struct server;

/*
 * Takes over both sockets, `events` (may be NULL) and `vantage` (may be NULL). Returns 0 or -errno.
 */
int server_new(struct event_base *base, int parent_sock, int agent_sock, struct events *events,
               const char *why_no_events, struct vantage *vantage, struct server **out);
void server_free(struct server *s);
/* Tells the parent that requests are served; hands it the vantage point, for our successor. */
int server_announce(struct server *s);
/* When the loop has ended: why. */
int server_exit_status(const struct server *s);
