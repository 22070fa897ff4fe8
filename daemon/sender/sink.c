/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/sender/sink.h"

#include "common/clock.h"
#include "daemon/sender/backoff.h"

#include <errno.h>
#include <event2/util.h>
#include <inttypes.h>
#include <string.h>
#include <sys/queue.h>

/* One event, shared by the queues that hold it. */
struct message {
	uint64_t seq;
	unsigned pending; /* queues that hold it */
	int64_t arrived_ms;
	char id[TRANSPORT_EVENT_ID_MAX_LEN + 1];
	size_t length;
	char json[];
};

struct delivery {
	TAILQ_ENTRY(delivery) link;
	struct message *message;
	unsigned attempts; /* that have failed */
};

struct sink {
	TAILQ_ENTRY(sink) link;
	struct sinks *owner;
	char name[CONF_NAME_MAX_LEN + 1];
	char *url;
	int64_t timeout_ms, give_up_after_ms;
	bool kept; /* by the configuration that is being put in force */
	bool gave_up_flushing;
	unsigned queued;
	TAILQ_HEAD(, delivery) queue;
	struct transfer *transfer; /* for the first in the queue */
	struct event *retry;
};

struct sinks {
	struct event_base *base;
	struct transport *transport;
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

static void forget_url(char *url)
{
	if (url)
		explicit_bzero(url, strlen(url));
	free(url);
}

static void report(const struct sink *sink, uint64_t seq, enum ipc_send_outcome outcome, int status,
                   const char *text)
{
	struct ipc_send_result result = {.outcome = outcome, .status = status};

	snprintf(result.sink, sizeof(result.sink), "%s", sink->name);
	snprintf(result.text, sizeof(result.text), "%s", text);
	sink->owner->handlers.result(seq, &result, sink->owner->handlers.arg);
}

/* One holder less; the last one ends the message. */
static void release_message(struct sinks *s, struct message *m)
{
	if (--m->pending)
		return;
	s->handlers.done(m->seq, s->handlers.arg);
	free(m);
}

static void end_delivery(struct sink *sink, struct delivery *d, enum ipc_send_outcome outcome,
                         int status, const char *text)
{
	struct message *m = d->message;

	TAILQ_REMOVE(&sink->queue, d, link);
	sink->queued--;
	free(d);
	report(sink, m->seq, outcome, status, text);
	release_message(sink->owner, m);
}

static bool sink_is_busy(const struct sink *sink)
{
	return sink->transfer || (!TAILQ_EMPTY(&sink->queue) && !sink->gave_up_flushing);
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

static void retry_later(struct sink *sink, struct delivery *d,
                        const struct transport_result *result)
{
	int64_t left_ms = d->message->arrived_ms + sink->give_up_after_ms - clock_monotonic_ms();
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
	report(sink, d->message->seq, IPC_SEND_RETRY, result->status, result->text);
}

static void on_attempt_done(const struct transport_result *result, void *arg)
{
	struct sink *sink = arg;
	struct delivery *d = TAILQ_FIRST(&sink->queue);

	sink->transfer = NULL;
	switch (backoff_judge_status(result->status)) {
	case BACKOFF_DELIVERED:
		end_delivery(sink, d, IPC_SEND_DELIVERED, result->status, "");
		start_next(sink);
		break;
	case BACKOFF_REFUSED:
		end_delivery(sink, d, IPC_SEND_GAVE_UP, result->status, result->text);
		start_next(sink);
		break;
	case BACKOFF_RETRY: retry_later(sink, d, result); break;
	}
	tell_when_idle(sink->owner);
}

/* Starts the first of the queue, unless one is under way or waits for its next attempt. */
static void start_next(struct sink *sink)
{
	struct delivery *d = TAILQ_FIRST(&sink->queue);
	struct transport_result failed = {0};
	struct transport_request request;
	int rc;

	if (!d || sink->transfer || event_pending(sink->retry, EV_TIMEOUT, NULL) ||
	    sink->gave_up_flushing)
		return;
	request = (struct transport_request){
	    .url = sink->url,
	    .timeout_ms = sink->timeout_ms,
	    .body = d->message->json,
	    .length = d->message->length,
	    .event_id = d->message->id,
	};
	rc = transport_post(sink->owner->transport, &request, on_attempt_done, sink,
	                    &sink->transfer);
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
	if (sink->transfer || d->attempts)
		d = TAILQ_NEXT(d, link);
	end_delivery(sink, d, IPC_SEND_GAVE_UP, 0, "queue full");
}

/* The event's "id", where it can stand in a header. */
static int read_id(const char *json, size_t length, char id[static TRANSPORT_EVENT_ID_MAX_LEN + 1])
{
	static const char allowed[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
	                              "0123456789._-";
	json_error_t unused;
	json_t *event = json_loadb(json, length, 0, &unused);
	const char *text = json_string_value(json_object_get(event, "id"));
	bool is_object = json_is_object(event);

	id[0] = '\0';
	if (text && strlen(text) <= TRANSPORT_EVENT_ID_MAX_LEN &&
	    strspn(text, allowed) == strlen(text))
		memcpy(id, text, strlen(text) + 1);
	json_decref(event);
	return is_object ? 0 : -EINVAL;
}

static int enqueue(struct sink *sink, struct message *m)
{
	struct delivery *d = calloc(1, sizeof(*d));

	if (!d)
		return -ENOMEM;
	make_room(sink);
	d->message = m;
	m->pending++;
	TAILQ_INSERT_TAIL(&sink->queue, d, link);
	sink->queued++;
	return 0;
}

int sinks_send(struct sinks *s, uint64_t seq, const char *json, size_t length)
{
	struct message *m = malloc(sizeof(*m) + length);
	struct sink *sink;

	if (!m)
		return -ENOMEM;
	*m = (struct message){
	    .seq = seq, .pending = 1, .arrived_ms = clock_monotonic_ms(), .length = length};
	memcpy(m->json, json, length);
	if (read_id(json, length, m->id) < 0) {
		free(m);
		return -EINVAL;
	}
	TAILQ_FOREACH (sink, &s->list, link) {
		if (enqueue(sink, m) < 0)
			report(sink, seq, IPC_SEND_GAVE_UP, 0, "out of memory");
	}
	TAILQ_FOREACH (sink, &s->list, link)
		start_next(sink);
	release_message(s, m); /* our own hold, since a sink may end it at once */
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
	transport_cancel(sink->transfer);
	if (sink->retry)
		event_free(sink->retry);
	forget_url(sink->url);
	free(sink);
}

static struct sink *new_sink(struct sinks *s, const struct conf_alert *alert)
{
	struct sink *sink = calloc(1, sizeof(*sink));

	if (!sink)
		return NULL;
	sink->owner = s;
	TAILQ_INIT(&sink->queue);
	snprintf(sink->name, sizeof(sink->name), "%s", alert->name);
	sink->timeout_ms = alert->timeout_ms;
	sink->give_up_after_ms = alert->give_up_after_ms;
	sink->url = strdup(alert->url);
	sink->retry = evtimer_new(s->base, on_retry, sink);
	if (!sink->url || !sink->retry) {
		free_sink(sink);
		return NULL;
	}
	return sink;
}

/* Moves the queue of the sink that had this name before; an attempt under way goes on. */
static void update_sink(struct sink *old, struct sink *new)
{
	char *url = old->url;
	bool moved = strcmp(old->url, new->url) != 0;

	old->url = new->url;
	new->url = url;
	old->timeout_ms = new->timeout_ms;
	old->give_up_after_ms = new->give_up_after_ms;
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
	transport_cancel(sink->transfer);
	sink->transfer = NULL;
	while ((d = TAILQ_FIRST(&sink->queue)))
		end_delivery(sink, d, IPC_SEND_GAVE_UP, 0, "no longer configured");
	free_sink(sink);
}

int sinks_configure(struct sinks *s, const struct conf_alert *alerts, size_t n_alerts)
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

int sinks_new(struct event_base *base, struct transport *transport,
              const struct sinks_handlers *handlers, struct sinks **out)
{
	struct sinks *s = calloc(1, sizeof(*s));

	if (!s)
		return -ENOMEM;
	s->base = base;
	s->transport = transport;
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
			if (--d->message->pending == 0)
				free(d->message);
			free(d);
		}
		free_sink(sink);
	}
	free(s);
}
