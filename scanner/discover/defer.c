/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "scanner/discover/defer.h"

bool defer_push(struct defer *d, const struct defer_item *item)
{
	unsigned at = d->count;

	if (at == DEFER_MAX)
		return false;
	d->count++;
	for (; at && d->item[(at - 1) / 2].due_ns > item->due_ns; at = (at - 1) / 2)
		d->item[at] = d->item[(at - 1) / 2];
	d->item[at] = *item;
	return true;
}

bool defer_pop(struct defer *d, int64_t now_ns, struct defer_item *out)
{
	struct defer_item last;
	unsigned at = 0, child;

	if (!d->count || d->item[0].due_ns > now_ns)
		return false;
	*out = d->item[0];
	last = d->item[--d->count];
	while ((child = 2 * at + 1) < d->count) {
		if (child + 1 < d->count && d->item[child + 1].due_ns < d->item[child].due_ns)
			child++;
		if (d->item[child].due_ns >= last.due_ns)
			break;
		d->item[at] = d->item[child];
		at = child;
	}
	d->item[at] = last;
	return true;
}

int64_t defer_due_ns(const struct defer *d)
{
	return d->count ? d->item[0].due_ns : INT64_MAX;
}
