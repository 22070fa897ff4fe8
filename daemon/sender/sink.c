/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/sender/sink.h"

#include "common/clock.h"
#include "daemon/sender/backoff.h"
#include "daemon/sender/sink_conf.h"

#include <errno.h>
#include <event2/util.h>
#include <inttypes.h>
#include <string.h>
#include <sys/queue.h>

/* One event, shared by the queues that hold it. */
struct queued {
	uint64_t seq;
	unsigned pending; /* queues that hold it */
	int64_t arrived_ms;
	json_t *event;
};

struct delivery {
	TAILQ_ENTRY(delivery) link;
	struct queued *queued;
	unsigned attempts; /* that have failed */
};

struct sink {
	TAILQ_ENTRY(sink) link;
	struct sinks *owner;
	char name[CONF_NAME_MAX_LEN + 1];
	struct conf_alert *conf;
	const struct driver *driver;
	bool kept; /* by the configuration that is being put in force */
	bool gave_up_flushing;
	unsigned queued;
	TAILQ_HEAD(, delivery) queue;
	void *attempt;                   /* for the first in the queue */
	struct attempt_spec spec;        /* of it */
	struct message message;          /* of it */
	struct conf_alert *attempt_conf; /* of it, where a newer one is in force */
	struct event *retry;
};

struct sinks {
	struct drivers drivers;
	struct sinks_handlers handlers;
	bool flushing;
	TAILQ_HEAD(sink_list, sink) list;
};

static void start_next(struct sink *sink);

static uint32_t random_32(void)
{
	uint32_t value;

	evutil_secure_rng_get_bytes(&value, sizeof(value));
	return value;
}

static void report(const struct sink *sink, uint64_t seq, enum ipc_send_outcome outcome, int status,
                   const char *text)
{
	struct ipc_send_result result = {.outcome = outcome, .status = status};

	snprintf(result.sink, sizeof(result.sink), "%s", sink->name);
	snprintf(result.text, sizeof(result.text), "%s", text);
	sink->owner->handlers.result(seq, &result, sink->owner->handlers.arg);
}

static void free_queued(struct queued *m)
{
	json_decref(m->event);
	free(m);
}

/* One holder less; the last one ends the message. */
static void release_queued(struct sinks *s, struct queued *m)
{
	if (--m->pending)
		return;
	s->handlers.done(m->seq, s->handlers.arg);
	free_queued(m);
}

static void end_delivery(struct sink *sink, struct delivery *d, enum ipc_send_outcome outcome,
                         int status, const char *text)
{
	struct queued *m = d->queued;

	TAILQ_REMOVE(&sink->queue, d, link);
	sink->queued--;
	free(d);
	report(sink, m->seq, outcome, status, text);
	release_queued(sink->owner, m);
}

static bool sink_is_busy(const struct sink *sink)
{
	return sink->attempt || (!TAILQ_EMPTY(&sink->queue) && !sink->gave_up_flushing);
}

static void tell_when_idle(struct sinks *s)
{
	struct sink *sink;

	if (!s->flushing)
		return;
	TAILQ_FOREACH (sink, &s->list, link)
		if (sink_is_busy(sink))
			return;
	s->handlers.idle(s->handlers.arg);
}

static void retry_later(struct sink *sink, struct delivery *d, const struct attempt_result *result)
{
	int64_t left_ms =
	    d->queued->arrived_ms + sink->conf->give_up_after_ms - clock_monotonic_ms();
	int64_t wait_ms;
	struct timeval tv;

	d->attempts++;
	if (left_ms <= 0 || result->retry_after_ms > left_ms) {
		end_delivery(sink, d, IPC_SEND_GAVE_UP, result->status, result->text);
		start_next(sink);
		return;
	}
	if (sink->owner->flushing) {
		/* No answer: whoever gave us the event still has it, and sends it again. */
		sink->gave_up_flushing = true;
		return;
	}
	wait_ms = backoff_next_ms(d->attempts, random_32(), result->retry_after_ms);
	/* The last attempt is at the moment of giving up, not somewhere before it. */
	if (wait_ms > left_ms)
		wait_ms = left_ms;
	tv.tv_sec = wait_ms / 1000;
	tv.tv_usec = wait_ms % 1000 * 1000;
	event_add(sink->retry, &tv);
	report(sink, d->queued->seq, IPC_SEND_RETRY, result->status, result->text);
}

static void forget_attempt(struct sink *sink)
{
	sink->attempt = NULL;
	sink_conf_free(sink->attempt_conf);
	sink->attempt_conf = NULL;
}

static void cancel_attempt(struct sink *sink)
{
	if (sink->attempt)
		sink->driver->cancel(sink->attempt);
	forget_attempt(sink);
}

static void on_attempt_done(const struct attempt_result *result, void *arg)
{
	struct sink *sink = arg;
	struct delivery *d = TAILQ_FIRST(&sink->queue);

	forget_attempt(sink);
	switch (result->verdict) {
	case ATTEMPT_DELIVERED:
		end_delivery(sink, d, IPC_SEND_DELIVERED, result->status, "");
		start_next(sink);
		break;
	case ATTEMPT_REFUSED:
		end_delivery(sink, d, IPC_SEND_GAVE_UP, result->status, result->text);
		start_next(sink);
		break;
	case ATTEMPT_RETRY: retry_later(sink, d, result); break;
	}
	tell_when_idle(sink->owner);
}

/* Starts the first of the queue, unless one is under way or waits for its next attempt. */
static void start_next(struct sink *sink)
{
	struct delivery *d = TAILQ_FIRST(&sink->queue);
	struct attempt_result failed = {0};
	int rc;

	if (!d || sink->attempt || event_pending(sink->retry, EV_TIMEOUT, NULL) ||
	    sink->gave_up_flushing)
		return;
	sink->message = (struct message){&d->queued->event, 1};
	sink->spec = (struct attempt_spec){sink->conf, &sink->message, sink->conf->timeout_ms};
	rc = sink->driver->start(&sink->owner->drivers, &sink->spec, on_attempt_done, sink,
	                         &sink->attempt);
	if (rc < 0) {
		snprintf(failed.text, sizeof(failed.text), "%s",
		         rc == -EINVAL ? "the URL is not usable" : strerror(-rc));
		retry_later(sink, d, &failed);
	}
}

static void on_retry(evutil_socket_t fd, short what, void *arg)
{
	struct sink *sink = arg;

	(void)fd;
	(void)what;
	start_next(sink);
	tell_when_idle(sink->owner);
}

/* Not the one under way, and not the one that waits for its next attempt. */
static void make_room(struct sink *sink)
{
	struct delivery *d = TAILQ_FIRST(&sink->queue);

	if (sink->queued < SINK_QUEUE_MAX_EVENTS)
		return;
	if (sink->attempt || d->attempts)
		d = TAILQ_NEXT(d, link);
	end_delivery(sink, d, IPC_SEND_GAVE_UP, 0, "queue full");
}

static int enqueue(struct sink *sink, struct queued *m)
{
	struct delivery *d = calloc(1, sizeof(*d));

	if (!d)
		return -ENOMEM;
	make_room(sink);
	d->queued = m;
	m->pending++;
	TAILQ_INSERT_TAIL(&sink->queue, d, link);
	sink->queued++;
	return 0;
}

int sinks_send(struct sinks *s, uint64_t seq, const char *json, size_t length)
{
	struct queued *m = calloc(1, sizeof(*m));
	struct sink *sink;
	json_error_t unused;

	if (!m)
		return -ENOMEM;
	*m = (struct queued){
	    .seq = seq,
	    .pending = 1,
	    .arrived_ms = clock_monotonic_ms(),
	    .event = json_loadb(json, length, 0, &unused),
	};
	if (!json_is_object(m->event)) {
		free_queued(m);
		return -EINVAL;
	}
	TAILQ_FOREACH (sink, &s->list, link) {
		if (enqueue(sink, m) < 0)
			report(sink, seq, IPC_SEND_GAVE_UP, 0, "out of memory");
	}
	TAILQ_FOREACH (sink, &s->list, link)
		start_next(sink);
	release_queued(s, m); /* our own hold, since a sink may end it at once */
	return 0;
}

void sinks_flush(struct sinks *s)
{
	struct sink *sink;

	s->flushing = true;
	TAILQ_FOREACH (sink, &s->list, link) {
		event_del(sink->retry);
		start_next(sink);
	}
	tell_when_idle(s);
}

static struct sink *find_sink(struct sinks *s, const char *name)
{
	struct sink *sink;

	TAILQ_FOREACH (sink, &s->list, link)
		if (!strcmp(sink->name, name))
			return sink;
	return NULL;
}

static void free_sink(struct sink *sink)
{
	cancel_attempt(sink);
	if (sink->retry)
		event_free(sink->retry);
	sink_conf_free(sink->conf);
	free(sink);
}

static struct sink *new_sink(struct sinks *s, struct conf_alert *alert)
{
	struct sink *sink = calloc(1, sizeof(*sink));

	if (!sink)
		return NULL;
	sink->owner = s;
	TAILQ_INIT(&sink->queue);
	snprintf(sink->name, sizeof(sink->name), "%s", alert->name);
	sink->driver = driver_of(alert->type);
	sink->conf = sink_conf_take(alert);
	sink->retry = evtimer_new(s->drivers.base, on_retry, sink);
	if (!sink->conf || !sink->retry) {
		free_sink(sink);
		return NULL;
	}
	return sink;
}

/*
 * The sink that had this name before keeps its queue; an attempt under way goes on, if it is one
 * of the new type.
 */
static void update_sink(struct sink *old, struct sink *new)
{
	struct conf_alert *before = old->conf;
	bool moved = !sink_conf_is_same_connection(before, new->conf);

	if (old->driver != new->driver)
		cancel_attempt(old);
	old->driver = new->driver;
	old->conf = new->conf;
	new->conf = NULL;
	if (old->attempt && !old->attempt_conf)
		old->attempt_conf = before;
	else
		sink_conf_free(before);
	old->kept = true;
	free_sink(new);
	if (moved) {
		event_del(old->retry);
		start_next(old);
	}
}

static void remove_sink(struct sinks *s, struct sink *sink)
{
	struct delivery *d;

	TAILQ_REMOVE(&s->list, sink, link);
	cancel_attempt(sink);
	while ((d = TAILQ_FIRST(&sink->queue)))
		end_delivery(sink, d, IPC_SEND_GAVE_UP, 0, "no longer configured");
	free_sink(sink);
}

int sinks_configure(struct sinks *s, struct conf_alert *alerts, size_t n_alerts)
{
	struct sink_list fresh = TAILQ_HEAD_INITIALIZER(fresh);
	struct sink *sink, *old, *next;

	/* All memory first, so that there is nothing to undo. */
	for (size_t i = 0; i < n_alerts; i++) {
		sink = new_sink(s, &alerts[i]);
		if (!sink) {
			while ((sink = TAILQ_FIRST(&fresh))) {
				TAILQ_REMOVE(&fresh, sink, link);
				free_sink(sink);
			}
			return -ENOMEM;
		}
		TAILQ_INSERT_TAIL(&fresh, sink, link);
	}
	TAILQ_FOREACH (sink, &s->list, link)
		sink->kept = false;
	while ((sink = TAILQ_FIRST(&fresh))) {
		TAILQ_REMOVE(&fresh, sink, link);
		old = find_sink(s, sink->name);
		if (old) {
			update_sink(old, sink);
			continue;
		}
		sink->kept = true;
		TAILQ_INSERT_TAIL(&s->list, sink, link);
	}
	for (sink = TAILQ_FIRST(&s->list); sink; sink = next) {
		next = TAILQ_NEXT(sink, link);
		if (!sink->kept)
			remove_sink(s, sink);
	}
	return 0;
}

int sinks_new(const struct drivers *drivers, const struct sinks_handlers *handlers,
              struct sinks **out)
{
	struct sinks *s = calloc(1, sizeof(*s));

	if (!s)
		return -ENOMEM;
	s->drivers = *drivers;
	s->handlers = *handlers;
	TAILQ_INIT(&s->list);
	*out = s;
	return 0;
}

void sinks_free(struct sinks *s)
{
	struct sink *sink;

	if (!s)
		return;
	while ((sink = TAILQ_FIRST(&s->list))) {
		struct delivery *d;

		TAILQ_REMOVE(&s->list, sink, link);
		while ((d = TAILQ_FIRST(&sink->queue))) {
			TAILQ_REMOVE(&sink->queue, d, link);
			if (--d->queued->pending == 0)
				free_queued(d->queued);
			free(d);
		}
		free_sink(sink);
	}
	free(s);
}
