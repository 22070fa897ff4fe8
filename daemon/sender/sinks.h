/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The sinks of the configuration, and the way of an event to those that it is for. An event is
 * over when each of them has delivered it or given up. Loop's thread only.
 */
#pragma once

#include "conf/conf.h"
#include "daemon/ipc.h"
#include "daemon/sender/driver.h"

struct sinks;

struct sinks_handlers {
	void (*result)(uint64_t seq, const struct ipc_send_result *result, void *arg);
	void (*done)(uint64_t seq, void *arg); /* after the last result of this seq */
	void (*idle)(void *arg);               /* after sinks_flush(): nothing is under way */
	void *arg;
};

/* No sinks until sinks_configure(). Returns 0 or -ENOMEM. */
int sinks_new(const struct drivers *drivers, const struct sinks_handlers *handlers,
              struct sinks **out);
/* Drops what is queued, without callbacks. */
void sinks_free(struct sinks *s);

/*
 * Puts the alerts in force, and takes over what is in them (see sink_conf.h). A sink that keeps its
 * name keeps its queue and tries again at once if its connection changed; one that is gone gives up
 * what it had. Returns 0, or -ENOMEM with nothing changed.
 */
int sinks_configure(struct sinks *s, struct conf_alert *alerts, size_t n_alerts);

/*
 * Queues what IPC_SEND_EVENT brought for its sinks. Without any it is done at once. Returns 0,
 * -EINVAL when it is no event, -ENOMEM.
 */
int sinks_send(struct sinks *s, uint64_t seq, const char *body, size_t length);

/* From now on an attempt that fails is the sink's last; those waiting try once more, now. */
void sinks_flush(struct sinks *s);
