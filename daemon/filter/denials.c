/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/filter/denials.h"

#include <stdlib.h>
#include <string.h>

struct denial {
	struct filter_denied denied; /* the last one; its count is of those not told */
	int64_t told_ms, noted_ms;
	bool ever_told;
};

struct denials {
	denials_tell_cb *tell;
	void *arg;
	struct denial items[DENIALS_MAX];
	size_t n;
	int64_t second_ms; /* in which so many were told: */
	unsigned told;
};

struct denials *denials_new(denials_tell_cb *tell, void *arg)
{
	struct denials *d = calloc(1, sizeof(*d));

	if (d) {
		d->tell = tell;
		d->arg = arg;
	}
	return d;
}

void denials_free(struct denials *d)
{
	free(d);
}

/* The client's port differs with each connection. */
static bool is_same(const struct filter_denied *a, const struct filter_denied *b)
{
	struct endpoint of_a = a->client, of_b = b->client;

	of_a.port = 0;
	of_b.port = 0;
	return a->reason == b->reason && endpoint_compare(&of_a, &of_b) == 0 &&
	       endpoint_compare(&a->endpoint, &b->endpoint) == 0 && strcmp(a->rule, b->rule) == 0;
}

static struct denial *find_place(struct denials *d, const struct filter_denied *denied)
{
	struct denial *oldest = &d->items[0];

	for (size_t i = 0; i < d->n; i++) {
		if (is_same(&d->items[i].denied, denied))
			return &d->items[i];
		if (d->items[i].noted_ms < oldest->noted_ms)
			oldest = &d->items[i];
	}
	if (d->n < DENIALS_MAX)
		oldest = &d->items[d->n++];
	*oldest = (struct denial){.denied = *denied};
	oldest->denied.count = 0;
	return oldest;
}

static bool may_tell(struct denials *d, const struct denial *item, int64_t now_ms)
{
	if (item->ever_told && now_ms - item->told_ms < DENIALS_EVERY_MS)
		return false;
	if (now_ms - d->second_ms >= 1000) {
		d->second_ms = now_ms;
		d->told = 0;
	}
	return d->told < DENIALS_PER_SECOND;
}

static bool tell_if_due(struct denials *d, struct denial *item, int64_t now_ms)
{
	if (!may_tell(d, item, now_ms))
		return false;
	d->told++;
	d->tell(&item->denied, d->arg);
	item->ever_told = true;
	item->told_ms = now_ms;
	item->denied.count = 0;
	return true;
}

bool denials_note(struct denials *d, const struct filter_denied *denied, int64_t now_ms)
{
	struct denial *item = find_place(d, denied);
	uint64_t count = item->denied.count + 1;

	item->denied = *denied;
	item->denied.count = count;
	item->noted_ms = now_ms;
	return tell_if_due(d, item, now_ms);
}

bool denials_tick(struct denials *d, int64_t now_ms)
{
	bool more = false;

	for (size_t i = 0; i < d->n; i++) {
		if (d->items[i].denied.count > 0)
			more |= !tell_if_due(d, &d->items[i], now_ms);
	}
	return more;
}
