/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The filter process at the other end of a socket that the parent has made: it is told of its
 * listeners, and asked whether it answers while anything is led to it. Single-threaded.
 */
#pragma once

#include "daemon/firewall/firewall.h"
#include "daemon/firewall/heartbeat.h"
#include "daemon/firewall/peer.h"

struct filter_link {
	struct firewall *fw;
	struct peer peer; /* its fd is ours */
	struct heartbeat beat;
};

void filter_link_init(struct filter_link *link, struct firewall *fw);
void filter_link_fini(struct filter_link *link);

/* Another process, or -1 for none; it gets its listeners. */
void filter_link_set(struct filter_link *link, int fd);
/* Sends it what there is news of: after a new configuration. */
void filter_link_tell(struct filter_link *link);

/* Asks it, or sees that it does not answer. True: it should be restarted; said once. */
bool filter_link_beat(struct filter_link *link);
/* When that is to be called again, in CLOCK_MONOTONIC; INT64_MAX for never. */
int64_t filter_link_wake_ms(const struct filter_link *link);
/* A PONG. */
void filter_link_hear(struct filter_link *link, uint64_t seq);
