/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * One sink: its queue, and when the next message goes to its driver. One attempt at a time, so
 * events arrive in order; what a sink does, or does not do, concerns no other. Loop's thread only.
 */
#pragma once

#include "daemon/ipc.h"
#include "daemon/sender/driver.h"
#include "daemon/sender/parcel.h"

#include <sys/queue.h>

enum {
	SINK_QUEUE_MAX_EVENTS = 1000,
	SINK_QUEUE_MAX_TESTS = 16,
};

/* What the sinks have in common; outlives them. */
struct sink_env {
	struct drivers *drivers;
	bool flushing; /* an attempt that fails is the sink's last */
	void (*result)(uint64_t seq, const struct ipc_send_result *result, void *arg);
	void (*done)(uint64_t seq, void *arg); /* no sink holds it any more */
	void (*settled)(void *arg);            /* after an attempt */
	void *arg;
};

struct sink;

/* Takes over what is in `alert` (sink_conf_take()). NULL: out of memory. */
struct sink *sink_new(const struct sink_env *env, struct conf_alert *alert);
/* Cancels an attempt under way, and drops what is queued, without results. NULL is allowed. */
void sink_free(struct sink *sink);
const char *sink_name(const struct sink *sink);

/*
 * Goes on with the configuration of `fresh`, which has the same name, and frees that. An attempt
 * under way goes on as it began. If the connection is another one, what waits is tried at once.
 */
void sink_replace_conf(struct sink *sink, struct sink *fresh);

/*
 * Queues the parcel, and holds it until it is delivered or given up. Makes room first: the oldest
 * that was never tried is given up.
 */
void sink_add(struct sink *sink, struct parcel *p);
/* Starts what is due, unless something is under way. */
void sink_run(struct sink *sink);
/* Everything ends, and is reported as given up. */
void sink_give_up(struct sink *sink, const char *why);
/* While env->flushing: something is under way, or still to be tried. */
bool sink_is_busy(const struct sink *sink);

/* For a sink that is not there. */
void sink_report_missing(const struct sink_env *env, const char *name, uint64_t seq);
/* One holder less; says so when it was the last. */
void sink_env_release(const struct sink_env *env, struct parcel *p);
