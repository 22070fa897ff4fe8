/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The prober's side of daemon/ipc.h: probes asked for by the agent go to the engine, findings go
 * back. It holds no state, no secrets and no privileges, since it is the process that reads what
 * servers send. One thread: that of the event loop.
 */
#pragma once

#include <event2/event.h>

struct signatures;

enum {
	PROBER_CONCURRENCY = 1024, /* endpoints at once; the agent asks for fewer */
	PROBER_QUEUE_MAX = 4096,   /* probes that wait for their turn */
	PROBER_TIMEOUT_MAX_MS = 600000,
};

struct prober;

/*
 * Takes over both sockets. The signatures outlive the prober, or are NULL. Returns 0, or -errno
 * when the engine cannot be set up.
 */
int prober_new(struct event_base *base, int parent_sock, int agent_sock,
               const struct signatures *signatures, struct prober **out);
void prober_free(struct prober *prober);

/* Says that it serves. Returns 0 or -errno. */
int prober_announce(struct prober *prober);
/* After the loop: 0 for an orderly end, 1 when a peer broke the protocol (it has been logged). */
int prober_exit_status(const struct prober *prober);
