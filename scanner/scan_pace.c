/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "scanner/scan_pace.h"

#include "scanner/discover/defer.h"
#include "scanner/discover/host_pace.h"
#include "scanner/discover/pacer.h"

#include <errno.h>
#include <stdlib.h>

struct scan_pace {
	struct pacer pacer;
	bool starved; /* the last scan_pace_take() was refused */
	struct host_pace *hosts;
	struct defer defer; /* `slot` is an index of `items` */
	void *items[DEFER_MAX];
	uint32_t idle[DEFER_MAX]; /* indexes that are free */
	uint32_t n_idle;
};

int scan_pace_new(uint64_t rate_per_sec, uint64_t per_host_per_sec, uint64_t seed, int64_t now_ns,
                  struct scan_pace **out)
{
	struct scan_pace *p = calloc(1, sizeof(*p));
	int err = 0;

	if (!p)
		return -ENOMEM;
	pacer_init(&p->pacer, rate_per_sec, now_ns);
	for (uint32_t i = 0; i < DEFER_MAX; i++)
		p->idle[p->n_idle++] = i;
	if (per_host_per_sec > 0)
		err = host_pace_new(per_host_per_sec, seed, &p->hosts);
	if (err) {
		scan_pace_free(p);
		return err;
	}
	*out = p;
	return 0;
}

void scan_pace_free(struct scan_pace *p)
{
	if (!p)
		return;
	host_pace_free(p->hosts);
	free(p);
}

struct pacer *scan_pace_bucket(struct scan_pace *p)
{
	return &p->pacer;
}

bool scan_pace_take(struct scan_pace *p, int64_t now_ns)
{
	p->starved = pacer_take(&p->pacer, now_ns, 1) == 0;
	return !p->starved;
}

void scan_pace_return(struct scan_pace *p)
{
	pacer_return(&p->pacer, 1);
}

bool scan_pace_allows(struct scan_pace *p, const struct endpoint *e, void *item, int64_t now_ns)
{
	int64_t wait_ns = p->hosts ? host_pace_ready(p->hosts, e, now_ns) : 0;
	struct defer_item deferred;

	/* Who takes nothing when it is full is never refused here. */
	if (wait_ns == 0 || p->n_idle == 0)
		return true;
	deferred = (struct defer_item){.due_ns = now_ns + wait_ns, .slot = p->idle[--p->n_idle]};
	p->items[deferred.slot] = item;
	defer_push(&p->defer, &deferred);
	return false;
}

void *scan_pace_due(struct scan_pace *p, int64_t now_ns)
{
	struct defer_item deferred;

	if (!defer_pop(&p->defer, now_ns, &deferred))
		return NULL;
	p->idle[p->n_idle++] = deferred.slot;
	return p->items[deferred.slot];
}

bool scan_pace_is_full(const struct scan_pace *p)
{
	return p->n_idle == 0;
}

int64_t scan_pace_wait_ns(const struct scan_pace *p, int64_t now_ns)
{
	int64_t due_ns = defer_due_ns(&p->defer);

	if (p->starved)
		return pacer_wait_ns(&p->pacer);
	if (due_ns == INT64_MAX)
		return -1;
	return due_ns > now_ns ? due_ns - now_ns : 0;
}
