/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/agent/outbox.h"

#include "common/clock.h"
#include "common/log.h"
#include "daemon/agent/outbox_internal.h"

#include <errno.h>
#include <string.h>

enum {
	AGAIN_MS = 1000,         /* what the state had no room for */
	CONGESTED_MS = 100,      /* what the sender did not read */
	LEFTOVERS_AT_ONCE = 256, /* in one transaction */
	ENVELOPE_BYTES = 256 + CONF_MAX_ALERTS * (CONF_NAME_MAX_LEN + 3),
	EVENT_MAX_BYTES = FRAME_BODY_MAX_BYTES - ENVELOPE_BYTES,
};
#define CHECK_AT_LEAST_MS (INT64_C(60) * 60 * 1000) /* clocks are set */

_Static_assert((int)STATE_SINK_LEN == (int)CONF_NAME_MAX_LEN + 1, "the same names");

struct sink_queue *outbox_find_sink(const struct outbox *box, const char *name)
{
	for (size_t i = 0; i < box->n_sinks; i++) {
		if (strcmp(box->sinks[i]->public.name, name) == 0)
			return box->sinks[i];
	}
	return NULL;
}

unsigned outbox_index_of(const struct outbox *box, const struct sink_queue *sink)
{
	unsigned i = 0;

	while (box->sinks[i] != sink)
		i++;
	return i;
}

/* What the state has */

static int save_row(struct outbox *box, struct event_row *row)
{
	struct state_delivery deliveries[CONF_MAX_ALERTS];
	struct state_event event = {.seq = row->seq,
	                            .made_ms = row->made_ms,
	                            .endpoint = row->endpoint,
	                            .json = row->text,
	                            .deliveries = deliveries};

	memcpy(event.id, row->id, sizeof(event.id));
	for (size_t i = 0; i < row->n_deliveries; i++) {
		struct state_delivery *d = &deliveries[event.n_deliveries];

		if (row->deliveries[i].place == OVER)
			continue;
		memcpy(d->sink, row->deliveries[i].sink->public.name, sizeof(d->sink));
		d->not_before_ms = row->deliveries[i].not_before_ms;
		event.n_deliveries++;
	}
	return state_save_event(box->state, &event);
}

/* In a transaction. */
static void stage(struct outbox *box, struct event_row *row)
{
	if (row->saving != UNSAVED || save_row(box, row) < 0)
		return;
	row->saving = STAGED;
	box->n_staged++;
}

void outbox_end(struct outbox *box, int error)
{
	struct event_row *row;

	if (!box->n_staged && TAILQ_EMPTY(&box->waiting))
		return;
	if (error)
		box->has_unsaved = box->state != NULL;
	/* Most are at the end. */
	TAILQ_FOREACH_REVERSE(row, &box->rows, event_rows, link)
	{
		if (!box->n_staged)
			break;
		if (row->saving != STAGED)
			continue;
		box->n_staged--;
		row->saving = error ? UNSAVED : SAVED;
		row->ticket = state_last_ticket(box->state);
	}
	outbox_settle(box);
}

void outbox_save_again(struct outbox *box, const struct endpoint *e)
{
	struct event_row *row;

	if (!box->has_unsaved)
		return;
	TAILQ_FOREACH (row, &box->rows, link) {
		if (row->endpoint.family && endpoint_compare(&row->endpoint, e) == 0)
			stage(box, row);
	}
}

void outbox_save_rest(struct outbox *box)
{
	struct event_row *row, *next;

	if (!box->has_unsaved)
		return;
	box->has_unsaved = false;
	for (row = TAILQ_FIRST(&box->rows); row && !box->has_unsaved; row = next) {
		next = TAILQ_NEXT(row, link);
		if (row->saving != UNSAVED)
			continue;
		state_begin(box->state);
		stage(box, row);
		outbox_end(box, state_end(box->state));
	}
}

static bool has_losses(const struct outbox *box)
{
	for (size_t i = 0; i < box->n_sinks; i++) {
		if (box->sinks[i]->loss_unsaved)
			return true;
	}
	return false;
}

static void save_losses(struct outbox *box)
{
	for (size_t i = 0; i < box->n_sinks; i++) {
		const struct sink_queue *sink = box->sinks[i];

		if (sink->loss_unsaved && sink->loss.count)
			(void)state_save_loss(box->state, &sink->loss);
		else if (sink->loss_unsaved)
			(void)state_delete_loss(box->state, sink->loss.sink);
	}
}

static void forget_saved(struct outbox *box)
{
	struct leftover *l;

	for (size_t i = 0; i < box->n_sinks; i++)
		box->sinks[i]->loss_unsaved = false;
	for (size_t n = 0; n < LEFTOVERS_AT_ONCE && (l = STAILQ_FIRST(&box->leftovers)); n++) {
		STAILQ_REMOVE_HEAD(&box->leftovers, link);
		free(l);
	}
}

/* What is over goes; when it goes as lost, that is remembered with it. Returns 0 or -ENOSPC. */
static int save_changes(struct outbox *box)
{
	const struct leftover *l;
	size_t n = 0;

	state_begin(box->state);
	save_losses(box);
	STAILQ_FOREACH (l, &box->leftovers, link) {
		if (n++ == LEFTOVERS_AT_ONCE)
			break;
		(void)state_delete_delivery(box->state, l->seq, l->sink);
	}
	if (state_end(box->state) == -ENOSPC)
		return -ENOSPC;
	forget_saved(box);
	return 0;
}

static bool has_changes(const struct outbox *box)
{
	return !STAILQ_EMPTY(&box->leftovers) || has_losses(box);
}

/* Waiting for the disk */

static bool is_due(struct outbox *box, const struct event_row *row)
{
	struct state_health health;

	if (row->saving == STAGED)
		return false;
	if (row->saving == SAVED && state_written_ticket(box->state) >= row->ticket)
		return true;
	state_get_health(box->state, &health); /* without a state it is failing */
	return health.failing || clock_monotonic_ms() - row->since_ms >= OUTBOX_PATIENCE_MS;
}

static void release(struct outbox *box, struct event_row *row)
{
	if (row->waiting)
		TAILQ_REMOVE(&box->waiting, row, wait);
	row->waiting = false;
	for (size_t i = 0; i < row->n_deliveries; i++) {
		if (row->deliveries[i].place == WAITING)
			outbox_place(&row->deliveries[i]);
	}
}

static void release_due(struct outbox *box)
{
	struct event_row *row;

	while ((row = TAILQ_FIRST(&box->waiting)) && is_due(box, row))
		release(box, row);
}

/* The timer */

static int64_t least(int64_t a, int64_t b)
{
	return a < b ? a : b;
}

static void set_timer(struct outbox *box, int64_t in_ms)
{
	struct timeval delay;

	in_ms = in_ms < 1 ? 1 : least(in_ms, CHECK_AT_LEAST_MS);
	delay = (struct timeval){.tv_sec = (time_t)(in_ms / 1000), .tv_usec = in_ms % 1000 * 1000};
	event_add(box->timer, &delay);
}

void outbox_settle(struct outbox *box)
{
	int64_t now = clock_monotonic_ms(), wall_ms = clock_wall_ms(), date_ms, next = INT64_MAX;
	const struct event_row *first;

	if (state_is_begun(box->state)) /* outbox_end() follows */
		return;
	release_due(box);
	outbox_trim(box);
	date_ms = least(outbox_release_held(box), outbox_next_old(box));
	outbox_pump(box);
	while (has_changes(box) && save_changes(box) == 0)
		;
	if (date_ms < INT64_MAX)
		next = now + (date_ms - wall_ms);
	first = TAILQ_FIRST(&box->waiting);
	if (first)
		next = least(next, first->since_ms + OUTBOX_PATIENCE_MS);
	if (has_changes(box))
		next = least(next, now + AGAIN_MS);
	if (box->congested)
		next = least(next, now + CONGESTED_MS);
	next = least(next, outbox_next_telling(box));
	if (next < INT64_MAX)
		set_timer(box, next - now);
}

static void on_timer(evutil_socket_t fd, short what, void *arg)
{
	struct outbox *box = arg;

	(void)fd;
	(void)what;
	outbox_tell_losses(box);
	outbox_settle(box);
}

void outbox_note_written(struct outbox *box)
{
	if (!TAILQ_EMPTY(&box->waiting))
		outbox_settle(box);
}

/* Adding */

/* What makes an event long goes, if it must: that there is one matters more. */
static char *print_event(json_t *event)
{
	static const char *const dispensable[] = {"finding", "impact", "listener"};
	char *text = json_dumps(event, JSON_COMPACT);

	for (size_t i = 0; i < ARRAY_LEN(dispensable) && text && strlen(text) > EVENT_MAX_BYTES;
	     i++) {
		free(text);
		json_object_set_new(event, dispensable[i], json_null());
		text = json_dumps(event, JSON_COMPACT);
	}
	return text;
}

/* Takes over the text. */
static struct event_row *add_row(struct outbox *box, char *text, size_t n_deliveries)
{
	struct event_row *row =
	    text ? calloc(1, sizeof(*row) + n_deliveries * sizeof(row->deliveries[0])) : NULL;

	if (!row || strlen(text) > EVENT_MAX_BYTES) {
		log_error("an event is lost: %s", row ? "it is too long" : "out of memory");
		free(row);
		free(text);
		return NULL;
	}
	row->text = text;
	row->length = strlen(text);
	box->count++;
	box->bytes += row->length;
	TAILQ_INSERT_TAIL(&box->rows, row, link);
	return row;
}

static void add_delivery(struct event_row *row, struct sink_queue *sink, int64_t not_before_ms)
{
	struct delivery *d = &row->deliveries[row->n_deliveries++];

	*d = (struct delivery){
	    .place = WAITING, .row = row, .sink = sink, .not_before_ms = not_before_ms};
	TAILQ_INSERT_TAIL(&sink->lists[WAITING], d, link);
	sink->public.queued++;
	row->pending++;
}

void outbox_add(struct outbox *box, const struct outbox_message *message)
{
	bool alone = !state_is_begun(box->state);
	json_t *event = message->event;
	const char *id = json_string_value(json_object_get(event, "id"));
	struct event_row *row = NULL;

	if (message->n_targets && event)
		row = add_row(box, print_event(event), message->n_targets);
	if (!row) {
		json_decref(event);
		return;
	}
	row->seq = box->next_seq++;
	row->made_ms = clock_wall_ms();
	row->since_ms = clock_monotonic_ms();
	snprintf(row->id, sizeof(row->id), "%s", id ? id : "");
	if (message->endpoint)
		row->endpoint = *message->endpoint;
	for (size_t i = 0; i < message->n_targets; i++)
		add_delivery(row, box->sinks[message->targets[i].sink],
		             message->targets[i].not_before_ms);
	json_decref(event);
	row->waiting = true;
	TAILQ_INSERT_TAIL(&box->waiting, row, wait);
	if (alone)
		state_begin(box->state);
	stage(box, row);
	if (alone)
		outbox_end(box, state_end(box->state));
}

static void restore_event(struct outbox *box, const struct state_event *e)
{
	struct event_row *row = add_row(box, strdup(e->json), e->n_deliveries);

	if (e->seq >= box->next_seq)
		box->next_seq = e->seq + 1;
	if (!row)
		return;
	row->seq = e->seq;
	row->made_ms = e->made_ms;
	row->endpoint = e->endpoint;
	row->saving = SAVED;
	for (size_t i = 0; i < e->n_deliveries; i++) {
		struct sink_queue *sink = outbox_find_sink(box, e->deliveries[i].sink);

		if (sink) {
			add_delivery(row, sink, e->deliveries[i].not_before_ms);
			continue;
		}
		box->removed++;
		(void)state_delete_delivery(box->state, e->seq, e->deliveries[i].sink);
	}
	if (row->pending)
		release(box, row);
	else
		outbox_free_row(box, row);
}

void outbox_restore(struct outbox *box, struct state *state, const struct state_snapshot *snapshot)
{
	box->state = state;
	for (size_t i = 0; i < snapshot->n_events; i++)
		restore_event(box, &snapshot->events[i]);
	for (size_t i = 0; i < snapshot->n_losses; i++)
		outbox_restore_loss(box, &snapshot->losses[i]);
	if (box->removed)
		log_warning("%llu alerts are given up: their sinks are not configured any more",
		            (unsigned long long)box->removed);
	outbox_tell_losses(box);
	outbox_settle(box);
}

/* Sinks */

static struct sink_queue *new_sink(const char *name)
{
	struct sink_queue *sink = calloc(1, sizeof(*sink));

	if (!sink)
		return NULL;
	snprintf(sink->public.name, sizeof(sink->public.name), "%s", name);
	memcpy(sink->loss.sink, sink->public.name, sizeof(sink->loss.sink));
	for (int place = 0; place < PLACE_COUNT; place++)
		TAILQ_INIT(&sink->lists[place]);
	return sink;
}

static void remove_sink(struct outbox *box, struct sink_queue *sink)
{
	/* With what it was still to be told of: on a reload, the sender gives up first. */
	size_t n = sink->public.queued + (size_t)sink->loss.count;

	for (int place = WAITING; place < PLACE_COUNT; place++) {
		struct delivery *d;

		while ((d = TAILQ_FIRST(&sink->lists[place])))
			outbox_end_delivery(box, d);
	}
	if (sink->loss.count)
		(void)state_delete_loss(box->state, sink->loss.sink);
	box->removed += n;
	if (n)
		log_warning("alert %s: %zu event%s given up: it is not configured any more",
		            sink->public.name, n, n == 1 ? "" : "s");
	free(sink);
}

void outbox_configure(struct outbox *box, const struct conf *conf)
{
	struct sink_queue **sinks = calloc(conf->n_alerts + 1, sizeof(struct sink_queue *));
	size_t n = 0;

	box->max_events = conf->outbox.max_events;
	box->max_age_ms = conf->outbox.max_age_ms;
	for (size_t i = 0; i < box->n_sinks; i++)
		box->sinks[i]->kept = false;
	for (size_t i = 0; sinks && i < conf->n_alerts; i++) {
		sinks[n] = outbox_find_sink(box, conf->alerts[i].name);
		if (!sinks[n])
			sinks[n] = new_sink(conf->alerts[i].name);
		if (!sinks[n])
			break;
		sinks[n++]->kept = true;
	}
	if (!sinks || n < conf->n_alerts)
		log_error("out of memory: not every sink is told of events");
	for (size_t i = 0; i < box->n_sinks; i++) {
		if (!box->sinks[i]->kept)
			remove_sink(box, box->sinks[i]);
	}
	free(box->sinks);
	box->sinks = sinks;
	box->n_sinks = n;
	outbox_settle(box);
}

int outbox_new(struct event_base *base, const struct outbox_handlers *handlers, struct outbox **out)
{
	struct outbox *box = calloc(1, sizeof(*box));

	if (!box)
		return -ENOMEM;
	box->base = base;
	box->handlers = *handlers;
	box->next_seq = 1;
	TAILQ_INIT(&box->rows);
	TAILQ_INIT(&box->waiting);
	STAILQ_INIT(&box->leftovers);
	LIST_INIT(&box->trials);
	box->timer = evtimer_new(base, on_timer, box);
	if (!box->timer) {
		free(box);
		return -ENOMEM;
	}
	*out = box;
	return 0;
}

void outbox_free(struct outbox *box)
{
	struct event_row *row;
	struct leftover *l;

	if (!box)
		return;
	outbox_fail_tests(box);
	channel_free(box->sender);
	while ((row = TAILQ_FIRST(&box->rows)))
		outbox_free_row(box, row);
	while ((l = STAILQ_FIRST(&box->leftovers))) {
		STAILQ_REMOVE_HEAD(&box->leftovers, link);
		free(l);
	}
	for (size_t i = 0; i < box->n_sinks; i++)
		free(box->sinks[i]);
	free(box->sinks);
	event_free(box->timer);
	free(box);
}

size_t outbox_length(const struct outbox *box)
{
	return box->count;
}

uint64_t outbox_removed(const struct outbox *box)
{
	return box->removed;
}

size_t outbox_sink_count(const struct outbox *box)
{
	return box->n_sinks;
}

void outbox_get_sink(const struct outbox *box, size_t i, struct outbox_sink *out)
{
	const struct sink_queue *sink = box->sinks[i];

	*out = sink->public;
	out->untold_loss = sink->loss.count;
	for (int place = WAITING; place < PLACE_COUNT; place++) {
		const struct delivery *d = TAILQ_FIRST(&sink->lists[place]);

		if (d && (!out->oldest_ms || d->row->made_ms < out->oldest_ms))
			out->oldest_ms = d->row->made_ms;
	}
}
