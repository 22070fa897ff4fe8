/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/sender/queue.h"

#include <errno.h>
#include <stdlib.h>

void queue_init(struct queue *q)
{
	*q = (struct queue){0};
	TAILQ_INIT(&q->list);
}

int queue_append(struct queue *q, struct parcel *p)
{
	struct delivery *d = calloc(1, sizeof(*d));

	if (!d)
		return -ENOMEM;
	d->parcel = p;
	p->holders++;
	TAILQ_INSERT_TAIL(&q->list, d, link);
	q->length++;
	q->urgent += p->urgent;
	return 0;
}

struct parcel *queue_remove(struct queue *q, struct delivery *d)
{
	struct parcel *p = d->parcel;

	TAILQ_REMOVE(&q->list, d, link);
	q->length--;
	q->urgent -= p->urgent;
	free(d);
	return p;
}

int64_t queue_urgent_ms(const struct queue *q)
{
	const struct delivery *d;

	if (q->urgent)
		TAILQ_FOREACH (d, &q->list, link)
			if (d->parcel->urgent)
				return d->parcel->came_ms;
	return INT64_MAX;
}

size_t queue_fitting(const struct queue *q, size_t limit, size_t max_bytes)
{
	const struct delivery *d;
	size_t n = 0, bytes = 0;

	TAILQ_FOREACH (d, &q->list, link) {
		bytes += d->parcel->bytes;
		if (n == limit || (n && bytes > max_bytes))
			break;
		n++;
	}
	return n;
}

struct delivery *queue_replaced_by(const struct queue *q, const struct parcel *p)
{
	struct delivery *d;

	if (p->best_effort)
		TAILQ_FOREACH (d, &q->list, link)
			if (!d->tried && parcel_replaces(p, d->parcel))
				return d;
	return NULL;
}

struct delivery *queue_oldest_untried(const struct queue *q)
{
	struct delivery *d;

	TAILQ_FOREACH (d, &q->list, link)
		if (!d->tried)
			return d;
	return NULL;
}
