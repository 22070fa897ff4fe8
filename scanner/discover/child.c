/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "scanner/discover/child.h"

#include "common/cleanup.h"
#include "common/frame.h"
#include "scanner/discover/child_internal.h"

#include <errno.h>
#include <stdarg.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum {
	FRAMES_AT_ONCE = 16,    /* taken in one turn */
	BEHIND_FRAMES = 16,     /* about a megabyte that the parent has not read */
	RESULTS_AT_ONCE = 1024, /* in one frame */
	FLUSH_NS = 2000 * 1000, /* a result waits for company no longer than that */
	REPORT_NS = 100 * 1000 * 1000,
	NOTE_MAX_LEN = 300,
};
_Static_assert(RESULTS_AT_ONCE * sizeof(struct discover_result) <= FRAME_BODY_MAX_BYTES, "fits");

struct batch {
	struct discover_batch wire;
	struct sweep_space *space; /* NULL: this one is free */
	struct sweep_order order;
	uint64_t size; /* positions of our shard */
	uint64_t next; /* the first that is in no window yet */
	uint64_t told; /* the parent knows of those before */
	uint64_t serial;
};

struct window {
	struct discover_window w; /* first: discover_child_close() gets its address */
	struct batch *batch;      /* NULL: this one is free */
};

struct discover_child {
	const struct discover_conf *conf;
	int sock;
	struct batch batches[DISCOVER_BATCHES];
	struct window windows[DISCOVER_WINDOWS];
	uint64_t serial; /* of the last batch */
	bool ended;      /* there will be no more */

	/* The batch that is coming in. */
	struct sweep_span *spans;
	size_t n_spans;
	uint16_t *ports;
	size_t n_ports;

	struct frame_queue out;
	struct discover_result results[RESULTS_AT_ONCE];
	size_t n_results;
	int64_t flushed_ns, reported_ns;
	struct discover_report report;
	int error; /* of a send or an allocation; told by the next turn */
	struct frame in;
};

static int64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * INT64_C(1000000000) + t.tv_nsec;
}

int discover_child_new(const struct discover_conf *conf, int sock, struct discover_child **out)
{
	struct discover_child *c = calloc(1, sizeof(*c));

	if (!c)
		return -ENOMEM;
	c->conf = conf;
	c->sock = sock;
	frame_queue_init(&c->out);
	*out = c;
	return 0;
}

void discover_child_free(struct discover_child *c)
{
	if (!c)
		return;
	for (size_t i = 0; i < DISCOVER_BATCHES; i++)
		sweep_space_free(c->batches[i].space);
	free(c->spans);
	free(c->ports);
	frame_queue_fini(&c->out);
	free(c);
}

const struct discover_limits *discover_child_limits(const struct discover_child *c)
{
	return &c->conf->limits;
}

struct discover_stats *discover_child_stats(struct discover_child *c)
{
	return &c->report.stats;
}

/* Commands */

static int append(void **list, size_t *count, size_t max, size_t size, const struct frame *f)
{
	size_t n = f->length / size;
	void *grown;

	if (f->length % size != 0 || n == 0 || n > max - *count)
		return -EPROTO;
	grown = reallocarray(*list, *count + n, size);
	if (!grown)
		return -ENOMEM;
	memcpy((char *)grown + *count * size, f->body, f->length);
	*list = grown;
	*count += n;
	return 0;
}

static int take_batch(struct discover_child *c, const struct frame *f)
{
	struct batch *b = NULL;
	int err;

	for (size_t i = 0; i < DISCOVER_BATCHES && !b; i++) {
		if (!c->batches[i].space)
			b = &c->batches[i];
	}
	if (f->length != sizeof(b->wire) || !b)
		return -EPROTO;
	memcpy(&b->wire, f->body, sizeof(b->wire));
	if (b->wire.shard.count == 0 || b->wire.shard.index >= b->wire.shard.count)
		return -EPROTO;
	err = sweep_space_new(c->spans, c->n_spans, c->ports, c->n_ports, &b->space);
	if (err)
		return err;
	c->n_spans = 0;
	c->n_ports = 0;
	sweep_order_init(&b->order, sweep_space_size(b->space), b->wire.seed);
	b->size = sweep_shard_size(&b->wire.shard, sweep_space_size(b->space));
	b->next = b->wire.first < b->size ? b->wire.first : b->size;
	b->told = b->next;
	b->serial = ++c->serial;
	return 0;
}

static int take(struct discover_child *c, const struct frame *f)
{
	switch (f->type) {
	case DISCOVER_PORTS:
		return append((void **)&c->ports, &c->n_ports, UINT16_MAX, sizeof(*c->ports), f);
	case DISCOVER_SPANS:
		return append((void **)&c->spans, &c->n_spans, SWEEP_MAX_SPANS, sizeof(*c->spans),
		              f);
	case DISCOVER_BATCH: return take_batch(c, f);
	case DISCOVER_END: c->ended = true; return f->length ? -EPROTO : 0;
	default: return -EPROTO;
	}
}

/* Results */

static void put(struct discover_child *c, uint16_t type, const void *body, size_t length)
{
	int err = frame_queue_put(&c->out, type, body, length);

	if (err && !c->error)
		c->error = err;
}

static void flush_results(struct discover_child *c)
{
	if (c->n_results > 0)
		put(c, DISCOVER_RESULTS, c->results, c->n_results * sizeof(c->results[0]));
	c->n_results = 0;
}

/* What is below has no open window any more; results go before it. */
static void tell_progress(struct discover_child *c, struct batch *b)
{
	struct discover_progress progress = {.batch = b->wire.id, .position = b->next};

	for (size_t i = 0; i < DISCOVER_WINDOWS; i++) {
		const struct window *w = &c->windows[i];

		if (w->batch == b && w->w.first < progress.position)
			progress.position = w->w.first;
	}
	progress.done = progress.position == b->size;
	if (progress.position == b->told && !progress.done)
		return;
	b->told = progress.position;
	flush_results(c);
	put(c, DISCOVER_PROGRESS, &progress, sizeof(progress));
	if (progress.done) {
		sweep_space_free(b->space);
		b->space = NULL;
	}
}

/* A batch of which nothing was left has no window to close. */
static void end_empty_batches(struct discover_child *c)
{
	for (size_t i = 0; i < DISCOVER_BATCHES; i++) {
		struct batch *b = &c->batches[i];

		if (b->space && b->told == b->size)
			tell_progress(c, b);
	}
}

static void send_report(struct discover_child *c, int64_t now)
{
	c->reported_ns = now;
	put(c, DISCOVER_REPORT, &c->report, sizeof(c->report));
}

static bool is_idle(const struct discover_child *c)
{
	for (size_t i = 0; i < DISCOVER_BATCHES; i++) {
		if (c->batches[i].space)
			return false;
	}
	return true;
}

int discover_child_turn(struct discover_child *c)
{
	int64_t now = now_ns();
	int err = 0;

	for (int i = 0; i < FRAMES_AT_ONCE && !c->ended; i++) {
		int got = frame_recv(c->sock, &c->in);

		if (got == -EAGAIN)
			break;
		if (got <= 0)
			return got ? got : -EPIPE;
		if (c->in.fd >= 0) { /* none is to come */
			close(c->in.fd);
			return -EPROTO;
		}
		err = take(c, &c->in);
		if (err)
			return err;
	}
	end_empty_batches(c);
	if (c->n_results > 0 && now - c->flushed_ns >= FLUSH_NS) {
		flush_results(c);
		c->flushed_ns = now;
	}
	if (now - c->reported_ns >= REPORT_NS && c->out.count < BEHIND_FRAMES)
		send_report(c, now);
	err = c->error ? c->error : frame_queue_flush(&c->out, c->sock);
	if (err)
		return err;
	return c->ended && is_idle(c) ? 1 : 0;
}

int discover_child_descriptor(const struct discover_child *c, bool *writable)
{
	*writable = c->out.count > 0;
	return c->sock;
}

bool discover_child_is_behind(const struct discover_child *c)
{
	return c->out.count >= BEHIND_FRAMES;
}

int discover_child_finish(struct discover_child *c)
{
	flush_results(c);
	send_report(c, now_ns());
	return c->error;
}

struct frame_queue *discover_child_queue(struct discover_child *c)
{
	return &c->out;
}

/* Windows */

/* The oldest batch that has something left. */
static struct batch *next_batch(struct discover_child *c)
{
	struct batch *oldest = NULL;

	for (size_t i = 0; i < DISCOVER_BATCHES; i++) {
		struct batch *b = &c->batches[i];

		if (b->space && b->next < b->size && (!oldest || b->serial < oldest->serial))
			oldest = b;
	}
	return oldest;
}

struct discover_window *discover_child_window(struct discover_child *c, uint32_t max)
{
	struct batch *b = next_batch(c);
	uint64_t left;

	if (!b)
		return NULL;
	if (max > DISCOVER_WINDOW_MAX)
		max = DISCOVER_WINDOW_MAX;
	left = b->size - b->next;
	for (unsigned slot = 0; slot < DISCOVER_WINDOWS; slot++) {
		struct window *w = &c->windows[slot];

		if (w->batch)
			continue;
		w->batch = b;
		w->w = (struct discover_window){
		    .space = b->space,
		    .order = b->order,
		    .shard = b->wire.shard,
		    .first = b->next,
		    .count = left < max ? (uint32_t)left : max,
		    .slot = slot,
		};
		b->next += w->w.count;
		return &w->w;
	}
	return NULL;
}

bool discover_window_at(const struct discover_child *c, const struct discover_window *w,
                        uint32_t offset, struct endpoint *out)
{
	uint64_t position = sweep_shard_position(&w->shard, w->first + offset);
	uint64_t index = sweep_order_at(&w->order, position);
	uint32_t token;

	return sweep_space_at(w->space, index, out, &token) &&
	       !(c->conf->excludes && exclude_set_contains(c->conf->excludes, out));
}

struct discover_window *discover_child_find(struct discover_child *c, const struct endpoint *e,
                                            uint32_t *offset)
{
	const struct sweep_space *looked_in = NULL;
	uint64_t position = 0;
	bool found = false;

	for (size_t i = 0; i < DISCOVER_WINDOWS; i++) {
		struct window *w = &c->windows[i];
		uint64_t index, at;

		if (!w->batch)
			continue;
		if (w->w.space != looked_in) {
			looked_in = w->w.space;
			found = sweep_space_find(looked_in, e, &index);
			if (found)
				position = sweep_order_position(&w->w.order, index);
		}
		if (!found || position % w->w.shard.count != w->w.shard.index)
			continue;
		at = position / w->w.shard.count;
		if (at < w->w.first || at - w->w.first >= w->w.count)
			continue;
		*offset = (uint32_t)(at - w->w.first);
		return &w->w;
	}
	return NULL;
}

void discover_child_result(struct discover_child *c, const struct discover_window *w,
                           const struct endpoint *e, enum discover_state state, int64_t rtt_us)
{
	const struct window *window = &c->windows[w->slot];
	struct discover_result *r;

	c->report.results[state]++;
	if (state != DISCOVER_OPEN && !c->conf->limits.want_all)
		return;
	r = &c->results[c->n_results++];
	*r = (struct discover_result){
	    .endpoint = *e, .batch = window->batch->wire.id, .state = state, .rtt_us = rtt_us};
	if (c->n_results == RESULTS_AT_ONCE)
		flush_results(c);
}

void discover_child_count(struct discover_child *c, enum discover_state state, uint64_t count)
{
	c->report.results[state] += count;
}

void discover_child_close(struct discover_child *c, struct discover_window *w)
{
	struct window *window = &c->windows[w->slot];
	struct batch *b = window->batch;

	window->batch = NULL;
	tell_progress(c, b);
}

void discover_child_note(struct discover_child *c, const char *format, ...)
{
	char text[NOTE_MAX_LEN];
	va_list args;
	int n;

	va_start(args, format);
	n = vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	if (n > 0)
		put(c, DISCOVER_NOTE, text, strnlen(text, sizeof(text)));
}
