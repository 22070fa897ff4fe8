/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "scanner/scan_walk.h"

#include "common/cleanup.h"
#include "scanner/guard_printer.h"

#include <errno.h>
#include <string.h>

enum {
	/* A batch's parts, before the discoverer is told to wait: what it finds comes in bursts. */
	READY_MAX = 2048,
	READY_LOW = 512,
	WALK_STEP = 65536, /* endpoints left out in one go before other events have their turn */
};

struct scan_walk {
	struct scan_walk_conf conf;
	struct scan_feed *feed;
	bool feed_ended;
	struct scan_batch_list batches; /* in the input's order */
	unsigned n_batches;
	unsigned n_started; /* parts that the discoverer has */
	uint32_t last_id;
	struct scan_item_list ready, probing, idle;
	struct scan_item_list waiting; /* for a guard's answer */
	struct scan_item_list held;    /* for room in a guard */
	unsigned n_ready, n_probing;
	unsigned n_waiting; /* in both */
	bool paused, discover_ended;
	struct guard_printer *printer;
	struct guard_accept_all *accept_all;
	struct event *later;
	uint64_t visited;
	/* Direct: the endpoint that several particular targets share. */
	struct {
		struct scan_part *part; /* NULL: none */
		struct endpoint endpoint;
		uint64_t position;
		size_t at;
	} shared;
};

static void fail(struct scan_walk *walk, int err, const char *what)
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
		fail(walk, -ENOMEM, "an endpoint");
	return item;
}

static void make_ready(struct scan_walk *walk, struct scan_item *item)
{
	TAILQ_INSERT_TAIL(&walk->ready, item, link);
	walk->n_ready++;
}

/* The item is in no list. */
static void release(struct scan_walk *walk, struct scan_item *item)
{
	item->part->batch->in_flight--;
	TAILQ_INSERT_HEAD(&walk->idle, item, link);
}

/* What is done is forgotten; batches end in any order, but go from the front. */
static void drop_batches(struct scan_walk *walk)
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

/* What waits for guards counts, too: they let none pass sometimes, and then nothing gets ready. */
static void set_pause(struct scan_walk *walk)
{
	unsigned backlog = walk->n_ready + walk->n_waiting;
	bool pause = walk->paused ? backlog > READY_LOW : backlog > READY_MAX;

	if (!walk->conf.discover || pause == walk->paused)
		return;
	walk->paused = pause;
	discover_pause(walk->conf.discover, pause);
}

/* Guards */

static void refuse(struct scan_walk *walk, struct scan_item *item, const char *why)
{
	walk->conf.set_aside(&item->endpoint, why, walk->conf.arg);
	release(walk, item);
}

static void put_in_line(struct scan_walk *walk, struct scan_item_list *list, struct scan_item *item)
{
	TAILQ_INSERT_TAIL(list, item, link);
	walk->n_waiting++;
}

static void on_guard(const struct endpoint *e, bool allowed, const char *why, void *arg);

/* Asks the guards that the item has not passed yet. It is in no list. */
static void ask_guards(struct scan_walk *walk, struct scan_item *item)
{
	while (item->stage < SCAN_ITEM_PASSED) {
		const char *why = "";
		enum guard_answer answer = GUARD_ALLOWED;

		if (item->stage == SCAN_ITEM_ACCEPT_ALL && walk->accept_all)
			answer = guard_accept_all_seen(walk->accept_all, &item->endpoint, &why,
			                               on_guard, item);
		else if (item->stage == SCAN_ITEM_PRINTER && walk->printer &&
		         guard_printer_concerns(&item->endpoint))
			answer =
			    guard_printer_ask(walk->printer, &item->endpoint, &why, on_guard, item);
		switch (answer) {
		case GUARD_ALLOWED: item->stage++; break;
		case GUARD_REFUSED: refuse(walk, item, why); return;
		case GUARD_PENDING: put_in_line(walk, &walk->waiting, item); return;
		case GUARD_FULL: put_in_line(walk, &walk->held, item); return;
		}
	}
	make_ready(walk, item);
}

/*
 * A guard has room again. The first that does not get in ends it: there may be thousands behind it
 * each time, and its guard owes an answer that brings us here again.
 */
static void ask_for_held(struct scan_walk *walk)
{
	struct scan_item *item;

	while ((item = TAILQ_FIRST(&walk->held))) {
		TAILQ_REMOVE(&walk->held, item, link);
		walk->n_waiting--;
		ask_guards(walk, item);
		if (TAILQ_LAST(&walk->held, scan_item_list) == item)
			return;
	}
}

static void on_guard(const struct endpoint *e, bool allowed, const char *why, void *arg)
{
	struct scan_item *item = arg;
	struct scan_walk *walk = item->walk;

	(void)e;
	TAILQ_REMOVE(&walk->waiting, item, link);
	walk->n_waiting--;
	item->stage++;
	if (allowed)
		ask_guards(walk, item);
	else
		refuse(walk, item, why);
	ask_for_held(walk);
	drop_batches(walk);
	set_pause(walk);
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

/* Excluded, or another address of a name than the user has given for this port. */
static bool is_left_out(const struct scan_walk *walk, const struct endpoint *e,
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

static void add_item(struct scan_walk *walk, struct scan_part *part, const struct endpoint *e,
                     uint64_t position, const struct scan_target *target)
{
	struct scan_item *item;

	if (is_left_out(walk, e, target) || !(item = take_idle(walk)))
		return;
	*item = (struct scan_item){.part = part,
	                           .target = target,
	                           .endpoint = *e,
	                           .position = position,
	                           .walk = walk,
	                           /* only who asks many knows who accepts all */
	                           .stage = walk->conf.discover ? SCAN_ITEM_ACCEPT_ALL
	                                                        : SCAN_ITEM_PRINTER};
	part->batch->in_flight++;
	ask_guards(walk, item);
}

static struct scan_part *find_part(const struct scan_walk *walk, uint32_t id)
{
	struct scan_batch *batch;

	TAILQ_FOREACH (batch, &walk->batches, link) {
		for (size_t i = 0; i < batch->n_parts; i++) {
			if (batch->parts[i].started && batch->parts[i].id == id)
				return &batch->parts[i];
		}
	}
	return NULL;
}

/* The discoverer */

static void on_discovered(uint32_t id, const struct endpoint *e, uint64_t index,
                          enum discover_state state, int64_t rtt_us, void *arg)
{
	struct scan_walk *walk = arg;
	struct scan_part *part = find_part(walk, id);
	const struct scan_target *target;
	uint64_t position;
	size_t at = 0;

	(void)rtt_us;
	if (!part ||
	    !sweep_shard_find(&part->shard, sweep_order_position(&part->order, index), &position))
		return;
	while (scan_part_match(part, e, &at, &target)) {
		if (state == DISCOVER_OPEN)
			add_item(walk, part, e, position, target);
		else if (!is_left_out(walk, e, target))
			walk->conf.discovered(e, target, state, walk->conf.arg);
	}
	set_pause(walk);
	walk->conf.changed(walk->conf.arg);
}

static void start_parts(struct scan_walk *walk);

static void on_discover_progress(uint32_t id, uint64_t position, bool done, void *arg)
{
	struct scan_walk *walk = arg;
	struct scan_part *part = find_part(walk, id);

	if (!part || position < part->known || position > part->size)
		return;
	walk->visited += position - part->known;
	part->known = position;
	part->done = done;
	if (done) {
		walk->n_started--;
		drop_batches(walk);
		start_parts(walk);
	}
	walk->conf.changed(walk->conf.arg);
}

static void on_discover_note(const char *text, void *arg)
{
	struct scan_walk *walk = arg;

	walk->conf.note(text, walk->conf.arg);
}

static void on_discover_ended(void *arg)
{
	struct scan_walk *walk = arg;

	walk->discover_ended = true;
	walk->conf.changed(walk->conf.arg);
}

static void on_discover_failed(int err, void *arg)
{
	fail(arg, err, "the discoverer has ended");
}

static int start_part(struct scan_walk *walk, struct scan_part *part)
{
	const struct port_list *ports = &walk->conf.feed.options->ports;
	const struct discover_batch batch = {.id = walk->last_id + 1,
	                                     .shard = part->shard,
	                                     .seed = part->seed,
	                                     .first = part->first};
	int err = discover_add(walk->conf.discover, &batch, part->space, part->spans, part->n_spans,
	                       ports->ports, ports->count);

	if (err)
		return err;
	part->id = ++walk->last_id;
	part->started = true;
	walk->n_started++;
	return 0;
}

static bool is_begun(const struct scan_part *part)
{
	return part->started || part->done;
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

/* More batches are wanted as long as the discoverer could take a part of them. */
static void take_batches(struct scan_walk *walk)
{
	while (!walk->feed_ended && walk->n_batches < DISCOVER_BATCHES) {
		struct scan_batch *batch = NULL;
		int got = scan_feed_next(walk->feed, &batch);

		if (got < 0)
			fail(walk, got, "targets cannot be taken");
		if (got != SCAN_FEED_BATCH) {
			walk->feed_ended = got < 0 || got == SCAN_FEED_END;
			break;
		}
		begin_batch(walk, batch);
		drop_batches(walk);
	}
}

static void start_parts(struct scan_walk *walk)
{
	struct scan_batch *batch;
	bool all = true;

	take_batches(walk);
	if (!walk->conf.discover)
		return;
	TAILQ_FOREACH (batch, &walk->batches, link) {
		for (size_t i = 0; i < batch->n_parts; i++) {
			struct scan_part *part = &batch->parts[i];
			int err;

			if (is_begun(part))
				continue;
			if (walk->n_started == DISCOVER_BATCHES) {
				all = false;
				break;
			}
			err = start_part(walk, part);
			if (err) {
				fail(walk, err, "the discoverer takes no targets");
				return;
			}
		}
	}
	if (all && walk->feed_ended)
		discover_finish(walk->conf.discover);
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
		add_item(walk, walk->shared.part, &walk->shared.endpoint, walk->shared.position,
		         target);
		return true;
	}
	walk->shared.part = NULL;
	drop_batches(walk);
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
		drop_batches(walk);
}

static void go_on_later(struct scan_walk *walk)
{
	const struct timeval now = {0};

	evtimer_add(walk->later, &now);
}

static void walk_directly(struct scan_walk *walk)
{
	for (unsigned i = 0; walk->n_ready == 0 && walk->n_waiting < READY_MAX; i++) {
		struct scan_part *part;

		if (i == WALK_STEP) {
			go_on_later(walk);
			return;
		}
		if (take_shared(walk))
			continue;
		part = current_part(walk);
		if (!part) {
			take_batches(walk);
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
		start_parts(walk);
	else
		walk_directly(walk);
	item = TAILQ_FIRST(&walk->ready);
	if (!item)
		return NULL;
	TAILQ_REMOVE(&walk->ready, item, link);
	walk->n_ready--;
	TAILQ_INSERT_TAIL(&walk->probing, item, link);
	walk->n_probing++;
	set_pause(walk);
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
	drop_batches(walk);
}

bool scan_walk_is_over(const struct scan_walk *walk)
{
	return walk->feed_ended && TAILQ_EMPTY(&walk->batches) &&
	       (!walk->conf.discover || walk->discover_ended);
}

static void lower(struct scan_mark *mark, const struct scan_batch *batch,
                  const struct scan_item_list *list)
{
	const struct scan_item *item;

	TAILQ_FOREACH (item, list, link) {
		size_t part = (size_t)(item->part - batch->parts);

		if (item->part->batch == batch && item->position < mark->parts[part].position)
			mark->parts[part].position = item->position;
	}
}

void scan_walk_mark(const struct scan_walk *walk, struct scan_mark *out)
{
	const struct scan_batch *batch = TAILQ_FIRST(&walk->batches);

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
	lower(out, batch, &walk->ready);
	lower(out, batch, &walk->waiting);
	lower(out, batch, &walk->held);
	lower(out, batch, &walk->probing);
	if (walk->shared.part && walk->shared.part->batch == batch) {
		size_t part = (size_t)(walk->shared.part - batch->parts);

		if (walk->shared.position < out->parts[part].position)
			out->parts[part].position = walk->shared.position;
	}
}

uint64_t scan_walk_visited(const struct scan_walk *walk)
{
	uint64_t under_way = walk->n_ready + walk->n_waiting + walk->n_probing;

	/* An endpoint of several targets is under way several times. */
	return walk->visited > under_way ? walk->visited - under_way : 0;
}

void scan_walk_get_guard_stats(const struct scan_walk *walk, struct guard_accept_all_stats *out)
{
	*out = (struct guard_accept_all_stats){0};
	if (walk->accept_all)
		guard_accept_all_get_stats(walk->accept_all, out);
}

static void on_later(evutil_socket_t fd, short what, void *arg)
{
	struct scan_walk *walk = arg;

	(void)fd;
	(void)what;
	walk->conf.changed(walk->conf.arg);
}

static int make_guards(struct scan_walk *walk)
{
	const struct scan_options *o = walk->conf.feed.options;
	struct guard_printer_conf printer = guard_printer_conf_default;
	struct guard_accept_all_conf accept_all = {.ports = o->ports.ports,
	                                           .n_ports = o->ports.count,
	                                           .connect_ms = o->timeout_ms,
	                                           .note = on_discover_note,
	                                           .may_knock = may_knock,
	                                           .arg = walk};
	int err = 0;

	printer.found_open = walk->conf.discover != NULL;
	if (walk->conf.printer_guard)
		err = guard_printer_new(walk->conf.feed.base, &printer, &o->route.probe,
		                        &walk->printer);
	if (!err && walk->conf.accept_all_guard && walk->conf.discover)
		err = guard_accept_all_new(walk->conf.feed.base, &accept_all, &o->route.probe,
		                           &walk->accept_all);
	return err;
}

static int set_up(struct scan_walk *walk)
{
	static const struct discover_callbacks callbacks = {.result = on_discovered,
	                                                    .progress = on_discover_progress,
	                                                    .note = on_discover_note,
	                                                    .ended = on_discover_ended,
	                                                    .failed = on_discover_failed};
	int err = scan_feed_new(&walk->conf.feed, &walk->feed);

	walk->later = evtimer_new(walk->conf.feed.base, on_later, walk);
	if (!err && !walk->later)
		err = -ENOMEM;
	if (!err)
		err = make_guards(walk);
	if (!err && walk->conf.discover)
		err = discover_attach(walk->conf.discover, walk->conf.feed.base, &callbacks, walk);
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
	TAILQ_INIT(&walk->waiting);
	TAILQ_INIT(&walk->held);
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

static void free_items(struct scan_item_list *list)
{
	struct scan_item *item;

	while ((item = TAILQ_FIRST(list))) {
		TAILQ_REMOVE(list, item, link);
		free(item);
	}
}

void scan_walk_free(struct scan_walk *walk)
{
	struct scan_batch *batch;

	if (!walk)
		return;
	if (walk->conf.discover)
		discover_detach(walk->conf.discover);
	guard_printer_free(walk->printer);
	guard_accept_all_free(walk->accept_all);
	scan_feed_free(walk->feed);
	if (walk->later)
		event_free(walk->later);
	free_items(&walk->ready);
	free_items(&walk->waiting);
	free_items(&walk->held);
	free_items(&walk->probing);
	free_items(&walk->idle);
	while ((batch = TAILQ_FIRST(&walk->batches))) {
		TAILQ_REMOVE(&walk->batches, batch, link);
		scan_batch_free(batch);
	}
	free(walk);
}
