/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What one sink still has to deliver, in order. Bounded by its owner, who asks for victims. */
#pragma once

#include "daemon/sender/parcel.h"

#include <sys/queue.h>

struct delivery {
	TAILQ_ENTRY(delivery) link;
	struct parcel *parcel;
	bool tried; /* part of an attempt, or of one before */
};

TAILQ_HEAD(delivery_list, delivery);

struct queue {
	struct delivery_list list;
	size_t length;
	size_t urgent; /* of these */
};

void queue_init(struct queue *q);
/* Holds the parcel from now on. Returns 0 or -ENOMEM. */
int queue_append(struct queue *q, struct parcel *p);
/* Frees `d`; its parcel is still held. Returns that. */
struct parcel *queue_remove(struct queue *q, struct delivery *d);

static inline struct delivery *queue_first(const struct queue *q)
{
	return TAILQ_FIRST(&q->list);
}

/* When the first urgent one came; INT64_MAX: none. */
int64_t queue_urgent_ms(const struct queue *q);
/* How many of the first `limit` have, together, at most so many bytes; at least 1 of a full one. */
size_t queue_fitting(const struct queue *q, size_t limit, size_t max_bytes);
/* The first that was never tried and is replaced by `p`; NULL: none. */
struct delivery *queue_replaced_by(const struct queue *q, const struct parcel *p);
/* Who has to go for one more: the oldest that was never tried. Or NULL. */
struct delivery *queue_oldest_untried(const struct queue *q);
