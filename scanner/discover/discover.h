/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Which endpoints are open: the parent's side of the discoverer, a child process that asks nothing
 * but whether somebody listens (child.h). Batches of targets go in, open endpoints come out; both
 * directions are bounded. One thread, that of the event loop.
 */
#pragma once

#include "scanner/discover/wire.h"

#include <event2/event.h>

enum { DISCOVER_ERROR_LEN = 320 };

enum discover_method {
	DISCOVER_CONNECT = 1, /* connect(2); needs no privilege */
	DISCOVER_SYN,         /* own SYNs below the host's TCP; needs CAP_NET_RAW at the start */
};

struct discover_conf {
	enum discover_method method;
	struct discover_limits limits;
	const struct exclude_set *excludes; /* or NULL */
};

struct discover_callbacks {
	/* `index` is the endpoint's place in the batch's space; verified. */
	void (*result)(uint32_t batch, const struct endpoint *e, uint64_t index,
	               enum discover_state state, int64_t rtt_us, void *arg);
	/* Results for every position below have been given. */
	void (*progress)(uint32_t batch, uint64_t position, bool done, void *arg);
	void (*note)(const char *text, void *arg);
	/* All is done, and the report is the last. */
	void (*ended)(void *arg);
	/* The child has ended before its work was done. -errno */
	void (*failed)(int error, void *arg);
};

struct discover;

/*
 * Forks, before any thread exists and before privileges are dropped, and waits until the child's
 * sockets are open. `conf` is not needed afterwards. Returns 0; -EPERM: not allowed to (then
 * connect may do); or another -errno; and one line in `why`.
 */
int discover_start(const struct discover_conf *conf, struct discover **out,
                   char why[static DISCOVER_ERROR_LEN]);
int discover_attach(struct discover *d, struct event_base *base,
                    const struct discover_callbacks *callbacks, void *arg);
/* Before the base is freed. Of what is left to do, nothing is told any more. */
void discover_detach(struct discover *d);
void discover_free(struct discover *d); /* ends the child too, whatever it is doing */

/* How many batches may be under way; with fewer, it would run dry between them. */
enum { DISCOVER_BATCHES = 8 };

/*
 * `space` is what spans and ports make; it must outlive the batch's last result. Returns 0, -ENOMEM
 * or -EAGAIN (DISCOVER_BATCHES are under way).
 */
int discover_add(struct discover *d, const struct discover_batch *batch,
                 const struct sweep_space *space, const struct sweep_span *spans, size_t n_spans,
                 const uint16_t *ports, size_t n_ports);
/* There will be no more batches. */
void discover_finish(struct discover *d);
/* Results wait in the kernel, and then the child, until they are taken again. */
void discover_pause(struct discover *d, bool pause);
void discover_get_report(const struct discover *d, struct discover_report *out);
