/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Who gets what next: each sink's deliveries by where they are, and what is too much of them. */
#include "common/clock.h"
#include "daemon/agent/outbox_internal.h"

#include <string.h>

void outbox_move(struct delivery *d, enum place place)
{
	struct sink_queue *sink = d->sink;

	TAILQ_REMOVE(&sink->lists[d->place], d, link);
	sink->n_under_way -= d->place == UNDER_WAY;
	d->place = place;
	if (place == OVER) {
		sink->public.queued--;
		return;
	}
	TAILQ_INSERT_TAIL(&sink->lists[place], d, link);
	sink->n_under_way += place == UNDER_WAY;
}

static bool is_of(const struct delivery *d, const struct endpoint *e)
{
	return e->family && d->row->endpoint.family && endpoint_compare(&d->row->endpoint, e) == 0;
}

/*
 * What goes out now, or earlier, takes along what its sink has still to get of the endpoint: not
 * before now, since how long it was held does not count.
 */
static void hurry_earlier(const struct delivery *d, int64_t now_ms)
{
	int64_t date_ms = d->not_before_ms > now_ms ? d->not_before_ms : now_ms;
	struct delivery *held, *next;

	for (held = TAILQ_FIRST(&d->sink->lists[HELD]); held; held = next) {
		next = TAILQ_NEXT(held, link);
		if (held == d || !is_of(held, &d->row->endpoint))
			continue;
		if (held->not_before_ms > date_ms)
			held->not_before_ms = date_ms;
		if (held->not_before_ms <= now_ms)
			outbox_move(held, READY);
	}
}

void outbox_place(struct delivery *d)
{
	int64_t now_ms = clock_wall_ms();

	hurry_earlier(d, now_ms);
	outbox_move(d, d->not_before_ms > now_ms ? HELD : READY);
}

void outbox_take_back(struct sink_queue *sink)
{
	struct delivery *d;

	while ((d = TAILQ_LAST(&sink->lists[UNDER_WAY], delivery_list))) {
		outbox_move(d, READY);
		TAILQ_REMOVE(&sink->lists[READY], d, link);
		TAILQ_INSERT_HEAD(&sink->lists[READY], d, link);
	}
}

int64_t outbox_release_held(struct outbox *box)
{
	int64_t now_ms = clock_wall_ms(), next_ms = INT64_MAX;

	for (size_t i = 0; i < box->n_sinks; i++) {
		struct delivery *d, *next;

		for (d = TAILQ_FIRST(&box->sinks[i]->lists[HELD]); d; d = next) {
			next = TAILQ_NEXT(d, link);
			if (d->not_before_ms <= now_ms)
				outbox_move(d, READY);
			else if (d->not_before_ms < next_ms)
				next_ms = d->not_before_ms;
		}
	}
	return next_ms;
}

void outbox_free_row(struct outbox *box, struct event_row *row)
{
	TAILQ_REMOVE(&box->rows, row, link);
	if (row->waiting)
		TAILQ_REMOVE(&box->waiting, row, wait);
	box->n_staged -= row->saving == STAGED;
	box->count--;
	box->bytes -= row->length;
	free(row->text);
	free(row);
}

void outbox_end_delivery(struct outbox *box, struct delivery *d)
{
	struct event_row *row = d->row;

	if (row->saving != UNSAVED) {
		struct leftover *l = malloc(sizeof(*l));

		/* Out of memory: it is told again after the next start. */
		if (l) {
			l->seq = row->seq;
			memcpy(l->sink, d->sink->public.name, sizeof(l->sink));
			STAILQ_INSERT_TAIL(&box->leftovers, l, link);
		}
	}
	outbox_move(d, OVER);
	if (--row->pending == 0)
		outbox_free_row(box, row);
}

static void give_up_row(struct outbox *box, struct event_row *row, enum outbox_loss why)
{
	/* The last one frees the row. */
	for (size_t i = 0, left = row->pending; left; i++) {
		if (row->deliveries[i].place == OVER)
			continue;
		left--;
		outbox_lose(box, &row->deliveries[i], why);
	}
}

static bool is_under_way(const struct event_row *row)
{
	for (size_t i = 0; i < row->n_deliveries; i++) {
		if (row->deliveries[i].place == UNDER_WAY)
			return true;
	}
	return false;
}

/* Of those that the sender has, some will arrive yet. */
static struct event_row *find_victim(const struct outbox *box)
{
	struct event_row *row;

	TAILQ_FOREACH (row, &box->rows, link) {
		if (!is_under_way(row))
			return row;
	}
	return TAILQ_FIRST(&box->rows);
}

int64_t outbox_next_old(const struct outbox *box)
{
	const struct event_row *oldest = TAILQ_FIRST(&box->rows);

	return oldest ? oldest->made_ms + box->max_age_ms : INT64_MAX;
}

void outbox_trim(struct outbox *box)
{
	int64_t now_ms = clock_wall_ms();

	while (box->count > box->max_events || box->bytes > OUTBOX_MAX_BYTES)
		give_up_row(box, find_victim(box), OUTBOX_TOO_MANY);
	while (outbox_next_old(box) <= now_ms)
		give_up_row(box, TAILQ_FIRST(&box->rows), OUTBOX_TOO_OLD);
}
