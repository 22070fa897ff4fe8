/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What discover_connect_open.c sets up and discover_connect.c runs. */
#pragma once

#include <sys/queue.h>

#include "scanner/discover/connect_socket.h"
#include "scanner/discover/conntrack.h"
#include "scanner/discover/defer.h"
#include "scanner/discover/discover_connect.h"
#include "scanner/discover/host_pace.h"
#include "scanner/discover/pacer.h"

#define SECOND_NS INT64_C(1000000000)

/* One endpoint under way, or a socket that waits for the next. */
struct slot {
	TAILQ_ENTRY(slot) link;
	struct connect_socket socket;
	bool is_busy;
	unsigned window;
	int64_t begun_ns;
	struct endpoint endpoint;
};
TAILQ_HEAD(slot_list, slot);

struct open_window {
	struct discover_window *window; /* NULL: none has this number */
	uint32_t next;                  /* the offset to begin with next */
	uint32_t pending;               /* under way, deferred or held */
};

/* An endpoint that is next, whatever windows and deferred ones there are. */
struct held {
	bool is_set;
	struct defer_item item;
};

struct discover_connect {
	struct discover_child *child;
	int64_t timeout_ns;
	uint32_t window_max;
	unsigned concurrency;
	struct connect_options options;
	struct pacer pacer;
	struct conntrack conntrack;
	struct host_pace *host_pace; /* NULL: no limit */
	struct defer deferred;
	struct held held;
	int64_t starved_until_ns;
	bool starved, said_starved, said_conntrack;
	struct open_window windows[DISCOVER_WINDOWS];
	struct open_window *current; /* where endpoints come from; NULL: none */
	int child_fd;
	bool child_writable;
	uint64_t late; /* answers to a SYN that had to be sent again */
	/* Every deadline is as far away as the others when it is set: the busy ones are in order.
	 */
	struct slot_list idle, busy;
	struct slot slot[];
};
