/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Probing engines on several processors: threads, each with an event loop and an engine of its own
 * (scanner/probe.h). Requests go in and findings come back in batches; the callbacks run in the
 * caller's thread and loop, and only there. The threads share nothing but the pool's two
 * mailboxes, and what the configuration points to, which nobody may change any more.
 *
 * With one thread there is none: the engine then runs in the caller's loop.
 */
#pragma once

#include "scanner/probe.h"

enum { PROBE_POOL_MAX_THREADS = 4 };

struct probe_pool_conf {
	struct event_base *base; /* the caller's; outlives the pool */
	const struct probe_limits
	    *limits;            /* copied; `concurrency` is that of all threads together */
	const char *user_agent; /* copied */
	bool show_secrets;
	unsigned threads; /* 0: one for each processor, at most PROBE_POOL_MAX_THREADS */
	const struct probe_route *route;     /* or NULL; outlives the pool, likewise below */
	const struct signatures *signatures; /* or NULL */
	bool all_prefixes;
	probe_trace_cb *trace; /* or NULL; not NULL means one thread */
	probe_done_cb *done;   /* may call probe_pool_submit(), but not probe_pool_free() */
	void *arg;             /* of both */
};

struct probe_pool;

/*
 * Starts the threads, which block all signals and end only in probe_pool_free(). They are to be
 * started before a system call filter is loaded, and it must be loaded for all threads. Returns 0,
 * -EINVAL for a concurrency of 0, -ENOMEM, -EIO, or what pthread_create() says.
 */
int probe_pool_new(const struct probe_pool_conf *conf, struct probe_pool **out);
/* Also with probes under way: they are cut off, nobody is called. NULL is allowed. */
void probe_pool_free(struct probe_pool *pool);

/*
 * As probe_submit(): 0, -EAGAIN when `concurrency` probes are under way (wait for a callback),
 * -EINVAL, -ENOMEM. What an engine refuses later comes back as a finding with VERDICT_ERROR.
 */
int probe_pool_submit(struct probe_pool *pool, const struct probe_request *request);
/* Whether probe_pool_submit() would not say -EAGAIN. */
bool probe_pool_has_room(struct probe_pool *pool);
/* The sum of all engines; `in_flight` counts until the callback is called. */
void probe_pool_get_stats(struct probe_pool *pool, struct probe_stats *out);
unsigned probe_pool_threads(const struct probe_pool *pool);
