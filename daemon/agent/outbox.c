/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/agent/outbox.h"

#include "daemon/channel.h"

#include <errno.h>
#include <string.h>
#include <sys/queue.h>

struct outbox_event {
	TAILQ_ENTRY(outbox_event) link;
	uint64_t seq;
	char *text;
};

struct outbox {
	struct event_base *base;
	struct outbox_handlers handlers;
	struct channel *sender;
	TAILQ_HEAD(, outbox_event) events;
	size_t count;
	uint64_t dropped, next_seq;
	struct outbox_sink *sinks;
	size_t n_sinks;
};

static void remove_event(struct outbox *box, struct outbox_event *e)
{
	TAILQ_REMOVE(&box->events, e, link);
	box->count--;
	free(e->text);
	free(e);
}

static void send_event(struct outbox *box, const struct outbox_event *e)
{
	/* A full queue or a dead sender: the event stays, and goes to the next sender. */
	if (box->sender)
		channel_send(box->sender, IPC_SEND_EVENT, e->seq, e->text, strlen(e->text));
}

uint64_t outbox_add(struct outbox *box, json_t *event)
{
	struct outbox_event *e = calloc(1, sizeof(*e));
	char *text = event ? json_dumps(event, JSON_COMPACT) : NULL;

	json_decref(event);
	if (!e || !text || strlen(text) > FRAME_BODY_MAX_BYTES) {
		box->dropped++;
		free(text);
		free(e);
		return 0;
	}
	if (box->count >= OUTBOX_MAX_EVENTS) {
		remove_event(box, TAILQ_FIRST(&box->events));
		box->dropped++;
	}
	e->text = text;
	e->seq = ++box->next_seq;
	TAILQ_INSERT_TAIL(&box->events, e, link);
	box->count++;
	send_event(box, e);
	return e->seq;
}

static void take_result(struct outbox *box, const struct ipc_send_result *result)
{
	for (size_t i = 0; i < box->n_sinks; i++) {
		struct outbox_sink *sink = &box->sinks[i];

		if (strcmp(sink->name, result->sink) != 0)
			continue;
		if (result->outcome == IPC_SEND_DELIVERED) {
			sink->delivered++;
			sink->last_error[0] = '\0';
			return;
		}
		if (result->outcome == IPC_SEND_RETRY)
			sink->retries++;
		else
			sink->gave_up++;
		memcpy(sink->last_error, result->text, sizeof(sink->last_error));
		return;
	}
}

static void take_done(struct outbox *box, uint64_t seq)
{
	struct outbox_event *e;

	TAILQ_FOREACH (e, &box->events, link) {
		if (e->seq == seq) {
			remove_event(box, e);
			box->handlers.done(seq, box->handlers.arg);
			return;
		}
	}
}

/*
 * The sender may have been taken over: what is no address would end the prober, and what is none
 * in one form only would be watched twice.
 */
static bool normalize(struct ipc_addresses *a)
{
	if (a->count > IPC_MAX_ADDRESSES)
		return false;
	for (uint32_t i = 0; i < a->count; i++) {
		char text[ENDPOINT_TEXT_LEN];

		if ((a->addresses[i].family != AF_INET && a->addresses[i].family != AF_INET6) ||
		    endpoint_parse_address(endpoint_format_address(&a->addresses[i], text),
		                           &a->addresses[i]) < 0)
			return false;
	}
	return true;
}

static void on_frame(struct frame *f, void *arg)
{
	struct outbox *box = arg;

	if (f->type == IPC_PONG) {
		box->handlers.pong(box->handlers.arg);
	} else if (f->type == IPC_SEND_DONE) {
		take_done(box, f->seq);
	} else if (f->type == IPC_SEND_RESULT && f->length == sizeof(struct ipc_send_result)) {
		struct ipc_send_result result;

		memcpy(&result, f->body, sizeof(result));
		result.sink[sizeof(result.sink) - 1] = '\0';
		result.text[sizeof(result.text) - 1] = '\0';
		take_result(box, &result);
	} else if (f->type == IPC_RESOLVE_RESULT && f->length == sizeof(struct ipc_addresses)) {
		struct ipc_addresses addresses;

		memcpy(&addresses, f->body, sizeof(addresses));
		addresses.text[sizeof(addresses.text) - 1] = '\0';
		if (normalize(&addresses))
			box->handlers.resolved(&addresses, f->seq, box->handlers.arg);
	} else if (f->type == IPC_REVERSE_RESULT && f->length == sizeof(struct ipc_name)) {
		struct ipc_name name;

		memcpy(&name, f->body, sizeof(name));
		name.name[sizeof(name.name) - 1] = '\0';
		box->handlers.named(ipc_is_host_name(name.name) ? name.name : NULL, f->seq,
		                    box->handlers.arg);
	}
}

static void on_end(int error, void *arg)
{
	struct outbox *box = arg;

	(void)error; /* the parent says how it ended, and starts another */
	channel_free(box->sender);
	box->sender = NULL;
}

int outbox_new(struct event_base *base, const struct outbox_handlers *handlers, struct outbox **out)
{
	struct outbox *box = calloc(1, sizeof(*box));

	if (!box)
		return -ENOMEM;
	box->base = base;
	box->handlers = *handlers;
	TAILQ_INIT(&box->events);
	*out = box;
	return 0;
}

void outbox_free(struct outbox *box)
{
	struct outbox_event *e;

	if (!box)
		return;
	while ((e = TAILQ_FIRST(&box->events)))
		remove_event(box, e);
	channel_free(box->sender);
	free(box->sinks);
	free(box);
}

void outbox_configure(struct outbox *box, const struct conf *conf)
{
	struct outbox_sink *sinks = calloc(conf->n_alerts ? conf->n_alerts : 1, sizeof(*sinks));

	if (!sinks)
		return; /* counters of new sinks are missed, nothing else */
	for (size_t i = 0; i < conf->n_alerts; i++) {
		snprintf(sinks[i].name, sizeof(sinks[i].name), "%s", conf->alerts[i].name);
		for (size_t old = 0; old < box->n_sinks; old++) {
			if (strcmp(box->sinks[old].name, sinks[i].name) == 0)
				sinks[i] = box->sinks[old];
		}
	}
	free(box->sinks);
	box->sinks = sinks;
	box->n_sinks = conf->n_alerts;
}

int outbox_set_sender(struct outbox *box, int sock)
{
	struct channel_handlers handlers = {.frame = on_frame, .end = on_end, .arg = box};
	const struct outbox_event *e;
	int err;

	channel_free(box->sender);
	box->sender = NULL;
	err = channel_new(box->base, sock, &handlers, &box->sender);
	if (err < 0)
		return err;
	TAILQ_FOREACH (e, &box->events, link)
		send_event(box, e);
	return 0;
}

int outbox_resolve(struct outbox *box, const char *name, uint64_t token)
{
	struct ipc_name question = {0};

	if (!box->sender)
		return -ENOTCONN;
	snprintf(question.name, sizeof(question.name), "%s", name);
	return channel_send(box->sender, IPC_RESOLVE_NAME, token, &question, sizeof(question));
}

int outbox_ask_name(struct outbox *box, const struct endpoint *address, uint64_t token)
{
	struct endpoint question = *address;

	if (!box->sender)
		return -ENOTCONN;
	return channel_send(box->sender, IPC_REVERSE_ASK, token, &question, sizeof(question));
}

void outbox_ping(struct outbox *box)
{
	/* One that does not read is not heaped with questions. */
	if (box->sender && channel_queued(box->sender) == 0)
		channel_send(box->sender, IPC_PING, 0, NULL, 0);
}

size_t outbox_length(const struct outbox *box)
{
	return box->count;
}

uint64_t outbox_dropped(const struct outbox *box)
{
	return box->dropped;
}

size_t outbox_sink_count(const struct outbox *box)
{
	return box->n_sinks;
}

const struct outbox_sink *outbox_sink_at(const struct outbox *box, size_t i)
{
	return &box->sinks[i];
}
