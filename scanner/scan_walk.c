/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "scanner/scan_walk.h"

#include "common/cleanup.h"
#include "scanner/scan_walk_internal.h"

#include <errno.h>
#include <string.h>

enum {
	WAITING_MAX = 2048, /* for guards, in a direct scan */
	WALK_STEP = 65536,  /* endpoints left out in one go before other events have their turn */
};

void scan_walk_fail(struct scan_walk *walk, int err, const char *what)
{
	walk->conf.failed(err, what, walk->conf.arg);
}

/* Items */

static struct scan_item *take_idle(struct scan_walk *walk)
{
	struct scan_item *item = TAILQ_FIRST(&walk->idle);

	if (item)
		TAILQ_REMOVE(&walk->idle, item, link);
	else
		item = calloc(1, sizeof(*item));
	if (!item)
		scan_walk_fail(walk, -ENOMEM, "an endpoint");
	return item;
}

static void make_ready(struct scan_item *item, void *arg)
{
	struct scan_walk *walk = arg;

	TAILQ_INSERT_TAIL(&walk->ready, item, link);
	walk->n_ready++;
}

/* The item is in no list. */
static void release(struct scan_walk *walk, struct scan_item *item)
{
	item->part->batch->in_flight--;
	TAILQ_INSERT_HEAD(&walk->idle, item, link);
}

void scan_walk_drop_batches(struct scan_walk *walk)
{
	struct scan_batch *batch;

	while ((batch = TAILQ_FIRST(&walk->batches)) && batch->in_flight == 0 &&
	       walk->shared.part == NULL) {
		for (size_t i = 0; i < batch->n_parts; i++) {
			if (!batch->parts[i].done)
				return;
		}
		TAILQ_REMOVE(&walk->batches, batch, link);
		walk->n_batches--;
		scan_batch_free(batch);
	}
}

/* Guards */

static void on_refused(struct scan_item *item, const char *why, void *arg)
{
	struct scan_walk *walk = arg;

	walk->conf.set_aside(&item->endpoint, why, walk->conf.arg);
	release(walk, item);
}

static void on_gate_note(const char *text, void *arg)
{
	struct scan_walk *walk = arg;

	walk->conf.note(text, walk->conf.arg);
}

static void on_gate_moved(void *arg)
{
	struct scan_walk *walk = arg;

	scan_walk_drop_batches(walk);
	scan_walk_pace_discover(walk);
	walk->conf.changed(walk->conf.arg);
}

/* Of a network's random address: it must be one that this scan was told to ask. */
static bool may_knock(const struct endpoint *e, void *arg)
{
	const struct scan_walk *walk = arg;
	const struct scan_batch *batch;

	if (walk->conf.excludes && exclude_set_contains(walk->conf.excludes, e))
		return false;
	TAILQ_FOREACH (batch, &walk->batches, link) {
		for (size_t i = 0; i < batch->n_parts; i++) {
			for (size_t k = 0; k < batch->parts[i].n_spans; k++) {
				const struct sweep_span *span = &batch->parts[i].spans[k];

				if (span->scope_id == e->scope_id &&
				    prefix_contains(&span->prefix, e))
					return true;
			}
		}
	}
	return false;
}

/* Endpoints */

bool scan_walk_leaves_out(const struct scan_walk *walk, const struct endpoint *e,
                          const struct scan_target *target)
{
	const struct endpoint *told;

	if (walk->conf.excludes && exclude_set_contains(walk->conf.excludes, e))
		return true;
	if (!target || !target->host[0])
		return false;
	told = scan_route_find(&walk->conf.feed.options->route, target->host, e->port);
	return told && endpoint_compare(told, e) != 0;
}

void scan_walk_add(struct scan_walk *walk, struct scan_part *part, const struct endpoint *e,
                   uint64_t position, const struct scan_target *target)
{
	struct scan_item *item;

	if (scan_walk_leaves_out(walk, e, target) || !(item = take_idle(walk)))
		return;
	*item = (struct scan_item){.part = part,
	                           .target = target,
	                           .endpoint = *e,
	                           .position = position,
	                           /* only who asks many knows who accepts all */
	                           .stage = walk->conf.discover ? SCAN_ITEM_ACCEPT_ALL
	                                                        : SCAN_ITEM_PRINTER};
	part->batch->in_flight++;
	scan_gate_enter(walk->gate, item);
}

static void begin_batch(struct scan_walk *walk, struct scan_batch *batch)
{
	TAILQ_INSERT_TAIL(&walk->batches, batch, link);
	walk->n_batches++;
	for (size_t i = 0; i < batch->n_parts; i++) {
		struct scan_part *part = &batch->parts[i];

		part->done = part->first == part->size;
		walk->visited += part->first;
	}
}

void scan_walk_take_batches(struct scan_walk *walk)
{
	while (!walk->feed_ended && walk->n_batches < DISCOVER_BATCHES) {
		struct scan_batch *batch = NULL;
		int got = scan_feed_next(walk->feed, &batch);

		if (got < 0)
			scan_walk_fail(walk, got, "targets cannot be taken");
		if (got != SCAN_FEED_BATCH) {
			walk->feed_ended = got < 0 || got == SCAN_FEED_END;
			break;
		}
		begin_batch(walk, batch);
		scan_walk_drop_batches(walk);
	}
}

/* Directly */

static struct scan_part *current_part(const struct scan_walk *walk)
{
	struct scan_batch *batch;

	TAILQ_FOREACH (batch, &walk->batches, link) {
		for (size_t i = 0; i < batch->n_parts; i++) {
			if (!batch->parts[i].done)
				return &batch->parts[i];
		}
	}
	return NULL;
}

/* The targets that share an endpoint come one after the other. Returns false without one. */
static bool take_shared(struct scan_walk *walk)
{
	const struct scan_target *target;

	if (!walk->shared.part)
		return false;
	if (scan_part_match(walk->shared.part, &walk->shared.endpoint, &walk->shared.at, &target)) {
		scan_walk_add(walk, walk->shared.part, &walk->shared.endpoint,
		              walk->shared.position, target);
		return true;
	}
	walk->shared.part = NULL;
	scan_walk_drop_batches(walk);
	return false;
}

static void visit(struct scan_walk *walk, struct scan_part *part)
{
	uint64_t position = part->known++;
	uint64_t index = sweep_order_at(&part->order, sweep_shard_position(&part->shard, position));
	uint32_t token;

	walk->visited++;
	part->done = part->known == part->size;
	walk->shared.at = 0;
	walk->shared.position = position;
	if (sweep_space_at(part->space, index, &walk->shared.endpoint, &token))
		walk->shared.part = part;
	else
		scan_walk_drop_batches(walk);
}

static void go_on_later(struct scan_walk *walk)
{
	const struct timeval now = {0};

	evtimer_add(walk->later, &now);
}

static void walk_directly(struct scan_walk *walk)
{
	for (unsigned i = 0; walk->n_ready == 0 && scan_gate_waiting(walk->gate) < WAITING_MAX;
	     i++) {
		struct scan_part *part;

		if (i == WALK_STEP) {
			go_on_later(walk);
			return;
		}
		if (take_shared(walk))
			continue;
		part = current_part(walk);
		if (!part) {
			scan_walk_take_batches(walk);
			part = current_part(walk);
		}
		if (!part)
			return;
		visit(walk, part);
	}
}

/* To the outside */

struct scan_item *scan_walk_next(struct scan_walk *walk)
{
	struct scan_item *item;

	if (walk->conf.discover)
		scan_walk_start_parts(walk);
	else
		walk_directly(walk);
	item = TAILQ_FIRST(&walk->ready);
	if (!item)
		return NULL;
	TAILQ_REMOVE(&walk->ready, item, link);
	walk->n_ready--;
	TAILQ_INSERT_TAIL(&walk->probing, item, link);
	walk->n_probing++;
	scan_walk_pace_discover(walk);
	return item;
}

void scan_walk_put_back(struct scan_walk *walk, struct scan_item *item)
{
	TAILQ_REMOVE(&walk->probing, item, link);
	walk->n_probing--;
	TAILQ_INSERT_HEAD(&walk->ready, item, link);
	walk->n_ready++;
}

void scan_walk_done(struct scan_walk *walk, struct scan_item *item)
{
	TAILQ_REMOVE(&walk->probing, item, link);
	walk->n_probing--;
	release(walk, item);
	scan_walk_drop_batches(walk);
}

bool scan_walk_is_over(const struct scan_walk *walk)
{
	return walk->feed_ended && TAILQ_EMPTY(&walk->batches) &&
	       (!walk->conf.discover || walk->discover_ended);
}

struct marking {
	const struct scan_batch *batch;
	struct scan_mark *mark;
};

static void lower(const struct scan_item *item, void *arg)
{
	const struct marking *m = arg;
	size_t part = (size_t)(item->part - m->batch->parts);

	if (item->part->batch == m->batch && item->position < m->mark->parts[part].position)
		m->mark->parts[part].position = item->position;
}

static void lower_by_list(struct marking *m, const struct scan_item_list *list)
{
	const struct scan_item *item;

	TAILQ_FOREACH (item, list, link)
		lower(item, m);
}

void scan_walk_mark(const struct scan_walk *walk, struct scan_mark *out)
{
	const struct scan_batch *batch = TAILQ_FIRST(&walk->batches);
	struct marking m;

	memset(out, 0, sizeof(*out));
	if (!batch) {
		out->first_target = scan_feed_position(walk->feed);
		return;
	}
	out->first_target = batch->first_target;
	out->n_taken = batch->n_taken;
	out->n_parts = batch->n_parts;
	if (out->n_parts > ARRAY_LEN(out->parts))
		out->n_parts = ARRAY_LEN(out->parts);
	for (size_t i = 0; i < out->n_parts; i++) {
		out->parts[i].digest = batch->parts[i].digest;
		out->parts[i].position = batch->parts[i].known;
	}
	m = (struct marking){.batch = batch, .mark = out};
	lower_by_list(&m, &walk->ready);
	lower_by_list(&m, &walk->probing);
	scan_gate_each(walk->gate, lower, &m);
	if (walk->shared.part && walk->shared.part->batch == batch) {
		size_t part = (size_t)(walk->shared.part - batch->parts);

		if (walk->shared.position < out->parts[part].position)
			out->parts[part].position = walk->shared.position;
	}
}

uint64_t scan_walk_visited(const struct scan_walk *walk)
{
	uint64_t under_way = walk->n_ready + scan_gate_waiting(walk->gate) + walk->n_probing;

	/* An endpoint of several targets is under way several times. */
	return walk->visited > under_way ? walk->visited - under_way : 0;
}

void scan_walk_get_guard_stats(const struct scan_walk *walk, struct guard_accept_all_stats *out)
{
	scan_gate_get_stats(walk->gate, out);
}

static void on_later(evutil_socket_t fd, short what, void *arg)
{
	struct scan_walk *walk = arg;

	(void)fd;
	(void)what;
	walk->conf.changed(walk->conf.arg);
}

static int make_gate(struct scan_walk *walk)
{
	const struct scan_gate_conf gate = {
	    .base = walk->conf.feed.base,
	    .options = walk->conf.feed.options,
	    .printer = walk->conf.printer_guard,
	    .accept_all = walk->conf.accept_all_guard && walk->conf.discover,
	    .found_open = walk->conf.discover != NULL,
	    .pacer = walk->conf.pacer,
	    .may_knock = may_knock,
	    .note = on_gate_note,
	    .passed = make_ready,
	    .refused = on_refused,
	    .moved = on_gate_moved,
	    .arg = walk,
	};

	return scan_gate_new(&gate, &walk->gate);
}

static int set_up(struct scan_walk *walk)
{
	int err = scan_feed_new(&walk->conf.feed, &walk->feed);

	walk->later = evtimer_new(walk->conf.feed.base, on_later, walk);
	if (!err && !walk->later)
		err = -ENOMEM;
	if (!err)
		err = make_gate(walk);
	if (!err && walk->conf.discover)
		err = scan_walk_attach(walk);
	return err;
}

int scan_walk_new(const struct scan_walk_conf *conf, struct scan_walk **out)
{
	struct scan_walk *walk = calloc(1, sizeof(*walk));
	int err;

	if (!walk)
		return -ENOMEM;
	walk->conf = *conf;
	walk->conf.feed.changed = conf->changed;
	walk->conf.feed.arg = conf->arg;
	TAILQ_INIT(&walk->batches);
	TAILQ_INIT(&walk->ready);
	TAILQ_INIT(&walk->probing);
	TAILQ_INIT(&walk->idle);
	err = set_up(walk);
	if (err) {
		scan_walk_free(walk);
		return err;
	}
	*out = walk;
	return 0;
}

void scan_walk_free(struct scan_walk *walk)
{
	struct scan_batch *batch;

	if (!walk)
		return;
	if (walk->conf.discover)
		discover_detach(walk->conf.discover);
	scan_gate_free(walk->gate);
	scan_feed_free(walk->feed);
	if (walk->later)
		event_free(walk->later);
	scan_item_list_free(&walk->ready);
	scan_item_list_free(&walk->probing);
	scan_item_list_free(&walk->idle);
	while ((batch = TAILQ_FIRST(&walk->batches))) {
		TAILQ_REMOVE(&walk->batches, batch, link);
		scan_batch_free(batch);
	}
	free(walk);
}
