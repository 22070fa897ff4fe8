/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The walk's way through the discoverer: parts go in, open endpoints come out. */
#include "scanner/scan_walk_internal.h"

enum {
	/* Endpoints that wait here, before the discoverer is told to wait: they come in bursts. */
	READY_MAX = 2048,
	READY_LOW = 512,
};

/* What waits for guards counts, too: they let none pass sometimes, and then nothing gets ready. */
void scan_walk_pace_discover(struct scan_walk *walk)
{
	unsigned backlog = walk->n_ready + scan_gate_waiting(walk->gate);
	bool pause = walk->paused ? backlog > READY_LOW : backlog > READY_MAX;

	if (!walk->conf.discover || pause == walk->paused)
		return;
	walk->paused = pause;
	discover_pause(walk->conf.discover, pause);
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
			scan_walk_add(walk, part, e, position, target);
		else if (!scan_walk_leaves_out(walk, e, target))
			walk->conf.discovered(e, target, state, walk->conf.arg);
	}
	scan_walk_pace_discover(walk);
	walk->conf.changed(walk->conf.arg);
}

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
		scan_walk_drop_batches(walk);
		scan_walk_start_parts(walk);
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
	scan_walk_fail(arg, err, "the discoverer has ended");
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

void scan_walk_start_parts(struct scan_walk *walk)
{
	struct scan_batch *batch;
	bool all = true;

	scan_walk_take_batches(walk);
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
				scan_walk_fail(walk, err, "the discoverer takes no targets");
				return;
			}
		}
	}
	if (all && walk->feed_ended)
		discover_finish(walk->conf.discover);
}

int scan_walk_attach(struct scan_walk *walk)
{
	static const struct discover_callbacks callbacks = {.result = on_discovered,
	                                                    .progress = on_discover_progress,
	                                                    .note = on_discover_note,
	                                                    .ended = on_discover_ended,
	                                                    .failed = on_discover_failed};

	return discover_attach(walk->conf.discover, walk->conf.feed.base, &callbacks, walk);
}
