/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The sinks of the configuration and what each still has to deliver. Every sink has its own queue
 * and one request at a time, so events arrive in order and a sink that hangs delays no other. An
 * event is over when every sink has delivered it or given up. Loop's thread only.
 */
#pragma once

#include "conf/conf.h"
#include "daemon/ipc.h"
#include "daemon/sender/driver.h"

enum { SINK_QUEUE_MAX_EVENTS = 1000 };

struct sinks;

struct sinks_handlers {
	void (*result)(uint64_t seq, const struct ipc_send_result *result, void *arg);
	void (*done)(uint64_t seq, void *arg); /* after the last result of this seq */
	void (*idle)(void *arg);               /* after sinks_flush(): nothing is under way */
	void *arg;
};

/* No sinks until sinks_configure(). Copies *drivers. Returns 0 or -ENOMEM. */
int sinks_new(const struct drivers *drivers, const struct sinks_handlers *handlers,
              struct sinks **out);
/* Drops what is queued, without callbacks. */
void sinks_free(struct sinks *s);

/*
 * Puts the alerts in force, and takes over what it needs of them. A sink that keeps its name keeps
 * its queue and tries again at once if its connection changed; one that is gone gives up what it
 * had. Returns 0, or -ENOMEM with nothing changed but the alerts given.
 */
int sinks_configure(struct sinks *s, struct conf_alert *alerts, size_t n_alerts);

/*
 * Queues an event (a JSON object) for every sink; copies it. Without sinks it is done at once.
 * Returns 0, -EINVAL when it is no JSON object, -ENOMEM.
 */
int sinks_send(struct sinks *s, uint64_t seq, const char *json, size_t length);

/* From now on an attempt that fails is the sink's last; those waiting try once more, now. */
void sinks_flush(struct sinks *s);
