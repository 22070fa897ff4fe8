/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What was given up: counted, remembered for each sink, and told to that sink when it takes
 * something again. Where nothing is left to take, the telling itself is what it is tried with.
 */
#include "common/clock.h"
#include "common/log.h"
#include "daemon/agent/outbox_internal.h"

#include <string.h>
#include <time.h>

enum { TELL_AGAIN_MS = 10 * 60 * 1000, LOG_EVERY_MS = 60 * 1000 };

static const char *const names[OUTBOX_LOSS_COUNT] = {
    [OUTBOX_TOO_MANY] = "too_many",
    [OUTBOX_TOO_OLD] = "too_old",
    [OUTBOX_GAVE_UP] = "gave_up",
};

const char *outbox_loss_name(enum outbox_loss loss)
{
	return names[loss];
}

static void add_loss(struct sink_queue *sink, const struct state_loss *more)
{
	struct state_loss *loss = &sink->loss;

	if (!loss->count || more->since_ms < loss->since_ms)
		loss->since_ms = more->since_ms;
	if (!loss->count || more->until_ms > loss->until_ms)
		loss->until_ms = more->until_ms;
	loss->count += more->count;
	sink->loss_unsaved = true;
}

static int64_t read_time(const json_t *lost, const char *key, int64_t otherwise_ms)
{
	const char *text = json_string_value(json_object_get(lost, key));
	struct tm tm = {0};

	return text && strptime(text, "%Y-%m-%dT%H:%M:%SZ", &tm) ? (int64_t)timegm(&tm) * 1000
	                                                         : otherwise_ms;
}

/* An `alerts_lost` stands for those that it tells of. */
static struct state_loss loss_of(const struct event_row *row)
{
	struct state_loss loss = {.count = 1, .since_ms = row->made_ms, .until_ms = row->made_ms};
	json_t *event =
	    strstr(row->text, "\"alerts_lost\"") ? json_loads(row->text, 0, NULL) : NULL;
	const json_t *lost = json_object_get(event, "lost");
	json_int_t count = json_integer_value(json_object_get(lost, "count"));

	if (count > 0) {
		loss.count = (uint64_t)count;
		loss.since_ms = read_time(lost, "since", row->made_ms);
		loss.until_ms = read_time(lost, "until", row->made_ms);
	}
	json_decref(event);
	return loss;
}

static void log_loss(struct sink_queue *sink, enum outbox_loss why)
{
	int64_t now = clock_monotonic_ms();

	sink->unlogged++;
	if (sink->logged_ms && now - sink->logged_ms < LOG_EVERY_MS)
		return;
	log_warning("alert %s: %llu event%s given up (%s)", sink->public.name,
	            (unsigned long long)sink->unlogged, sink->unlogged == 1 ? "" : "s", names[why]);
	sink->logged_ms = now;
	sink->unlogged = 0;
}

void outbox_lose(struct outbox *box, struct delivery *d, enum outbox_loss why)
{
	struct sink_queue *sink = d->sink;
	const struct state_loss loss = loss_of(d->row);

	sink->public.lost[why]++;
	sink->lost_ms = clock_monotonic_ms();
	add_loss(sink, &loss);
	log_loss(sink, why);
	outbox_end_delivery(box, d);
}

void outbox_restore_loss(struct outbox *box, const struct state_loss *loss)
{
	struct sink_queue *sink = outbox_find_sink(box, loss->sink);

	if (!sink) {
		(void)state_delete_loss(box->state, loss->sink);
		return;
	}
	add_loss(sink, loss);
	sink->loss_unsaved = false;
}

void outbox_tell_loss(struct outbox *box, struct sink_queue *sink)
{
	const struct outbox_target target = {.sink = outbox_index_of(box, sink)};
	json_t *event =
	    sink->loss.count ? box->handlers.describe_loss(&sink->loss, box->handlers.arg) : NULL;

	if (!event)
		return;
	sink->lost_ms = clock_monotonic_ms();
	sink->loss.count = 0;
	/* In one transaction with the event: it is told once. */
	state_begin(box->state);
	sink->loss_unsaved = state_delete_loss(box->state, sink->loss.sink) != 0;
	outbox_add(box,
	           &(struct outbox_message){.event = event, .targets = &target, .n_targets = 1});
	outbox_end(box, state_end(box->state));
}

static int64_t next_telling(const struct sink_queue *sink)
{
	if (!sink->loss.count || sink->public.queued)
		return INT64_MAX;
	return sink->lost_ms ? sink->lost_ms + TELL_AGAIN_MS : 0;
}

void outbox_tell_losses(struct outbox *box)
{
	int64_t now = clock_monotonic_ms();

	for (size_t i = 0; i < box->n_sinks; i++) {
		if (next_telling(box->sinks[i]) <= now)
			outbox_tell_loss(box, box->sinks[i]);
	}
}

int64_t outbox_next_telling(const struct outbox *box)
{
	int64_t next = INT64_MAX;

	for (size_t i = 0; i < box->n_sinks; i++) {
		if (next_telling(box->sinks[i]) < next)
			next = next_telling(box->sinks[i]);
	}
	return next;
}
