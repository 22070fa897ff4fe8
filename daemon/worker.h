/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * main() of the processes that read hostile bytes from the network, prober and filter: sockets to
 * the parent and to the agent on descriptors 3 and 4, the signatures on 5, no privileges, no files.
 */
#pragma once

#include "common/sandbox.h"
#include "scanner/signatures.h"

#include <event2/event.h>

struct worker {
	const char *name; /* of the program */
	enum sandbox_filter filter;
	/*
	 * Takes over the sockets IPC_PARENT_FD and IPC_PEER_FD, also on failure; the signatures,
	 * which may be NULL, stay. `descriptors`: how many there can be. Returns 0 or -errno.
	 */
	int (*create)(struct event_base *base, const struct signatures *signatures,
	              unsigned descriptors, void **out);
	/* The last thing before the loop, behind the filter of system calls; or NULL. Likewise. */
	int (*announce)(void *worker);
	int (*exit_status)(const void *worker);
	void (*destroy)(void *worker);
};

/* Returns what main() is to return. */
int worker_main(const struct worker *worker, int argc, char **argv);
