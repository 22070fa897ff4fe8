/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The talk with the sender: events to it, results and names from it. */
#include "common/clock.h"
#include "daemon/agent/outbox_internal.h"

#include <errno.h>
#include <string.h>

int outbox_send_frame(struct outbox *box, uint64_t seq, struct sink_queue *const *sinks,
                      size_t n_sinks, int64_t queued_ms, const char *flag, const char *event)
{
	char names[CONF_MAX_ALERTS * (CONF_NAME_MAX_LEN + 3) + 1];
	auto_free char *body = NULL;
	size_t used = 0;
	int length;

	if (!box->sender)
		return -ENOTCONN;
	for (size_t i = 0; i < n_sinks; i++)
		used += (size_t)snprintf(names + used, sizeof(names) - used, "%s\"%s\"",
		                         i ? "," : "", sinks[i]->public.name);
	length = asprintf(&body, "{\"sinks\":[%s],\"queued_ms\":%lld,%s%s%s\"event\":%s}", names,
	                  (long long)queued_ms, flag ? "\"" : "", flag ? flag : "",
	                  flag ? "\":true," : "", event);
	if (length < 0)
		return -ENOMEM;
	return channel_send(box->sender, IPC_SEND_EVENT, seq, body, (size_t)length);
}

/* The next that may go to this sink now, or NULL. */
static struct delivery *find_next(const struct sink_queue *sink)
{
	return sink->n_under_way < OUTBOX_WINDOW ? TAILQ_FIRST(&sink->lists[READY]) : NULL;
}

/* One frame to all whose next it is. Returns 0 or -errno. */
static int send_row(struct outbox *box, const struct event_row *row)
{
	struct sink_queue *sinks[CONF_MAX_ALERTS] = {0};
	int64_t queued_ms = row->made_ms;
	size_t n = 0;
	int err;

	for (size_t i = 0; i < box->n_sinks; i++) {
		const struct delivery *d = find_next(box->sinks[i]);

		if (!d || d->row != row)
			continue;
		sinks[n++] = box->sinks[i];
		/* The time that it was held does not count as one of failing. */
		if (queued_ms < d->not_before_ms)
			queued_ms = d->not_before_ms;
	}
	err = outbox_send_frame(box, row->seq, sinks, n, queued_ms, NULL, row->text);
	for (size_t i = 0; err == 0 && i < n; i++)
		outbox_move(find_next(sinks[i]), UNDER_WAY);
	return err;
}

void outbox_pump(struct outbox *box)
{
	box->congested = false;
	for (size_t i = 0; i < box->n_sinks && !box->congested; i++) {
		const struct delivery *d;

		while (box->sender && (d = find_next(box->sinks[i])) && !box->congested)
			box->congested = send_row(box, d->row) < 0;
	}
}

void outbox_send_now(struct outbox *box, json_t *event, const unsigned *sinks, size_t n_sinks)
{
	struct sink_queue *ready[CONF_MAX_ALERTS] = {0};
	auto_free char *text = event ? json_dumps(event, JSON_COMPACT) : NULL;
	size_t n = 0;

	json_decref(event);
	for (size_t i = 0; i < n_sinks; i++) {
		struct sink_queue *sink = box->sinks[sinks[i]];

		if (TAILQ_EMPTY(&sink->lists[READY]) && sink->n_under_way < OUTBOX_WINDOW)
			ready[n++] = sink;
	}
	if (text && n)
		(void)outbox_send_frame(box, box->next_seq++, ready, n, clock_wall_ms(),
		                        "best_effort", text);
}

static struct delivery *find_under_way(const struct sink_queue *sink, uint64_t seq)
{
	struct delivery *d;

	TAILQ_FOREACH (d, &sink->lists[UNDER_WAY], link) {
		if (d->row->seq == seq)
			return d;
	}
	return NULL;
}

static void take_result(struct outbox *box, uint64_t seq, const struct ipc_send_result *result)
{
	struct sink_queue *sink = outbox_find_sink(box, result->sink);
	struct delivery *d;

	if (!sink)
		return;
	d = find_under_way(sink, seq);
	sink->public.circuit_open = result->circuit_open != 0;
	if (result->outcome == IPC_SEND_DELIVERED) {
		sink->public.delivered++;
		sink->public.last_error[0] = '\0';
		/* Of what was sent alone: one that was taken over could else go on for ever. */
		if (d) {
			outbox_end_delivery(box, d);
			outbox_tell_loss(box, sink);
		}
		return;
	}
	memcpy(sink->public.last_error, result->text, sizeof(sink->public.last_error));
	if (result->outcome == IPC_SEND_RETRY) {
		sink->public.retries++;
		return;
	}
	sink->public.gave_up++;
	if (d)
		outbox_lose(box, d, OUTBOX_GAVE_UP);
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
	} else if (f->type == IPC_SEND_RESULT && f->length == sizeof(struct ipc_send_result)) {
		struct ipc_send_result result;

		memcpy(&result, f->body, sizeof(result));
		result.sink[sizeof(result.sink) - 1] = '\0';
		result.text[sizeof(result.text) - 1] = '\0';
		if (!outbox_take_test_result(box, f->seq, &result))
			take_result(box, f->seq, &result);
		outbox_settle(box);
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

static void drop_sender(struct outbox *box)
{
	channel_free(box->sender);
	box->sender = NULL;
	outbox_fail_tests(box);
}

static void on_end(int error, void *arg)
{
	(void)error; /* the parent says how it ended, and starts another */
	drop_sender(arg);
}

int outbox_set_sender(struct outbox *box, int sock)
{
	struct channel_handlers handlers = {.frame = on_frame, .end = on_end, .arg = box};
	int err;

	drop_sender(box);
	err = channel_new(box->base, sock, &handlers, &box->sender);
	if (err < 0)
		return err;
	for (size_t i = 0; i < box->n_sinks; i++)
		outbox_take_back(box->sinks[i]);
	outbox_settle(box);
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
