/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The filter process: takes its configuration from the parent, its listening sockets from the
 * firewall, and tells the agent what it does. Loop's thread only.
 */
#pragma once

#include "scanner/signatures.h"

#include <event2/event.h>

struct filter;

/*
 * Takes over both sockets, also on failure; the signatures stay the caller's, and may be NULL.
 * `descriptors`: how many there can be. Returns 0 or -errno.
 */
int filter_new(struct event_base *base, int parent_sock, int agent_sock,
               const struct signatures *signatures, unsigned descriptors, struct filter **out);
void filter_free(struct filter *f);
/* What main() returns when the loop is over. */
int filter_exit_status(const struct filter *f);
