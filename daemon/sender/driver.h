/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What carries a message to a sink: one driver for each type. A driver makes one attempt and says
 * what came of it; queues, retries and limits are those of sink.h. Loop's thread only.
 */
#pragma once

#include "daemon/sender/message.h"
#include "daemon/sender/transport.h"

enum { ATTEMPT_TEXT_LEN = 128 };

/* What drivers stand on; all of it outlives every attempt. */
struct drivers {
	struct event_base *base;
	struct resolver *resolver;
	struct dialer *dialer;
	json_t
	    *firing; /* an object: what the sinks by these names were told; driver_alertmanager.c */
	struct programs *programs;
	struct syslog_links *syslog;
};

/* All that it points to stays until the attempt is over. */
struct attempt_spec {
	const struct conf_alert *conf; /* with its secrets: see sink_conf.h */
	const struct message *message;
	int64_t timeout_ms; /* for the attempt in all */
};

enum attempt_verdict {
	ATTEMPT_DELIVERED = 0,
	ATTEMPT_RETRY,   /* the same may succeed later */
	ATTEMPT_REFUSED, /* it never will */
};

struct attempt_result {
	enum attempt_verdict verdict;
	int status;                  /* of HTTP; 0: none */
	int64_t retry_after_ms;      /* what the receiver asked for; 0: nothing */
	char text[ATTEMPT_TEXT_LEN]; /* in words; never names host, URL or secret */
};

/* The attempt is gone when this is called; it may start another one. */
typedef void attempt_done_cb(const struct attempt_result *result, void *arg);

struct driver {
	bool groups;        /* takes messages of several events... */
	bool always_groups; /* ...also where the configuration does not ask for it */
	/*
	 * The callback comes from the loop, never from within this call. Returns 0 or -errno; then
	 * there is no attempt, and -EINVAL means that none will ever succeed.
	 */
	int (*start)(struct drivers *d, const struct attempt_spec *spec, attempt_done_cb *done,
	             void *arg, void **attempt);
	/* No callback after this. */
	void (*cancel)(void *attempt);
};

/* NULL for a type that the schema does not take. */
const struct driver *driver_of(const struct conf_alert *conf);
