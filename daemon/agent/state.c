/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/agent/state.h"

#include "common/cleanup.h"
#include "daemon/agent/state_deadline.h"
#include "daemon/agent/state_internal.h"

#include <errno.h>
#include <pthread.h>
#include <search.h>
#include <signal.h>
#include <string.h>
#include <sys/eventfd.h>

enum { BATCH_MAX = 512, RETRY_AFTER_MS = 1000, CLOSE_WITHIN_MS = 2000 };

struct state {
	struct state_db *db; /* the writer's, while it runs */
	pthread_t writer;

	pthread_mutex_t lock; /* of what follows; never held while SQLite works */
	pthread_cond_t changed;
	struct state_items queue;
	/* tsearch(3) of the queue by what names a row: of each, what was said last */
	void *index;
	size_t n_queued, n_writing;
	uint64_t last_ticket, written_ticket;
	int notify_fd;
	bool stopping;
	struct state_health health;

	/* from state_begin() to state_end(); the caller's thread */
	bool begun;
	struct state_items staged;
	size_t n_staged;
};

static int compare_sources(const char *a, const char *b)
{
	size_t left = strcspn(a, "\n"), right = strcspn(b, "\n");
	int order = strncmp(a, b, left < right ? left : right);

	return order ? order : (left > right) - (left < right);
}

static int compare_numbers(uint64_t a, uint64_t b)
{
	return (a > b) - (a < b);
}

static int compare_items(const void *left, const void *right)
{
	const struct state_item *a = left, *b = right;

	if (a->kind != b->kind)
		return a->kind < b->kind ? -1 : 1;
	switch (a->kind) {
	case STATE_KIND_SOURCE: return compare_sources(a->text, b->text);
	case STATE_KIND_EVENT: return compare_numbers(a->event.seq, b->event.seq);
	case STATE_KIND_LOSS: return strcmp(a->text, b->text);
	case STATE_KIND_DELIVERY:
		if (a->delivery_seq != b->delivery_seq)
			return compare_numbers(a->delivery_seq, b->delivery_seq);
		return strcmp(a->text, b->text);
	case STATE_KIND_BREAKER:
	case STATE_KIND_MANUAL:
	case STATE_KIND_ACK:
	case STATE_KIND_LEDGER: break;
	}
	return endpoint_compare(&a->endpoint, &b->endpoint);
}

void state_item_free(struct state_item *item)
{
	if (item && item->kind == STATE_KIND_EVENT)
		free(item->event.deliveries);
	free(item);
}

static void unindex(struct state *st, const struct state_item *item)
{
	struct state_item *const *found = tfind(item, &st->index, compare_items);

	if (found && *found == item)
		tdelete(item, &st->index, compare_items);
}

static void take_batch(struct state *st, struct state_items *batch)
{
	struct state_item *item;
	uint64_t group = 0;

	while ((item = TAILQ_FIRST(&st->queue)) &&
	       (st->n_writing < BATCH_MAX || (group && item->group == group))) {
		group = item->group;
		unindex(st, item);
		TAILQ_REMOVE(&st->queue, item, entry);
		TAILQ_INSERT_TAIL(batch, item, entry);
		st->n_queued--;
		st->n_writing++;
	}
}

static void free_items(struct state_items *items)
{
	struct state_item *item;

	while ((item = TAILQ_FIRST(items))) {
		TAILQ_REMOVE(items, item, entry);
		state_item_free(item);
	}
}

/*
 * Back to the front of the queue, unless something newer was said about the same row; what belongs
 * to a group stays in it.
 */
static void put_back(struct state *st, struct state_items *batch)
{
	struct state_item *item;

	while ((item = TAILQ_LAST(batch, state_items))) {
		struct state_item **slot;

		TAILQ_REMOVE(batch, item, entry);
		slot = tsearch(item, &st->index, compare_items);
		if (slot && *slot != item && !item->group) {
			state_item_free(item);
			continue;
		}
		TAILQ_INSERT_HEAD(&st->queue, item, entry);
		st->n_queued++;
	}
}

static void end_batch(struct state *st, struct state_items *batch, int error, const char *why)
{
	st->health.failing = error != 0;
	if (error) {
		st->health.failures++;
		snprintf(st->health.error, sizeof(st->health.error), "%s", why);
		put_back(st, batch);
	} else {
		st->health.writes++;
		free_items(batch);
		/* Tickets stand in the queue in their order. */
		st->written_ticket =
		    TAILQ_EMPTY(&st->queue) ? st->last_ticket : TAILQ_FIRST(&st->queue)->ticket - 1;
	}
	st->n_writing = 0;
}

static void *write_loop(void *arg)
{
	struct state *st = arg;
	struct state_items batch = TAILQ_HEAD_INITIALIZER(batch);
	char why[STATE_ERROR_LEN];

	pthread_mutex_lock(&st->lock);
	while (!(st->stopping && (TAILQ_EMPTY(&st->queue) || st->health.failing))) {
		int error;

		if (TAILQ_EMPTY(&st->queue)) {
			pthread_cond_wait(&st->changed, &st->lock);
			continue;
		}
		take_batch(st, &batch);
		pthread_mutex_unlock(&st->lock);
		error = state_db_write(st->db, &batch, why);
		pthread_mutex_lock(&st->lock);
		end_batch(st, &batch, error, why);
		(void)eventfd_write(st->notify_fd, 1);
		if (error) {
			struct timespec until = state_deadline(RETRY_AFTER_MS);

			while (!st->stopping &&
			       pthread_cond_timedwait(&st->changed, &st->lock, &until) != ETIMEDOUT)
				;
		}
	}
	pthread_mutex_unlock(&st->lock);
	return NULL;
}

static int start_writer(struct state *st)
{
	sigset_t all, before;
	int error;

	/* Signals are the loop's. */
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	error = pthread_create(&st->writer, NULL, write_loop, st);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	return -error;
}

static void init_locks(struct state *st)
{
	pthread_condattr_t attributes;

	pthread_condattr_init(&attributes);
	pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
	pthread_cond_init(&st->changed, &attributes);
	pthread_condattr_destroy(&attributes);
	pthread_mutex_init(&st->lock, NULL);
}

static void free_state(struct state *st)
{
	struct state_item *item;

	TAILQ_FOREACH (item, &st->queue, entry)
		unindex(st, item);
	free_items(&st->queue);
	free_items(&st->staged);
	state_db_close(st->db);
	cleanup_close(&st->notify_fd);
	pthread_cond_destroy(&st->changed);
	pthread_mutex_destroy(&st->lock);
	free(st);
}

int state_open(const char *directory, struct state **out, struct state_snapshot *snapshot,
               char why[static STATE_ERROR_LEN])
{
	struct state_snapshot found = {0};
	struct state *st = calloc(1, sizeof(*st));
	int error;

	why[0] = '\0';
	if (!st)
		return -ENOMEM;
	TAILQ_INIT(&st->queue);
	TAILQ_INIT(&st->staged);
	init_locks(st);
	st->notify_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	error = st->notify_fd < 0 ? -errno : state_db_open(directory, &st->db, &found, why);
	if (!error)
		error = start_writer(st);
	if (error) {
		if (!why[0])
			snprintf(why, STATE_ERROR_LEN, "%s", strerror(-error));
		state_snapshot_free(&found);
		free_state(st);
		return error;
	}
	*snapshot = found;
	*out = st;
	return 0;
}

void state_snapshot_free(struct state_snapshot *snapshot)
{
	free(snapshot->breakers);
	for (size_t i = 0; i < snapshot->n_manuals; i++)
		free(snapshot->manuals[i]);
	free(snapshot->manuals);
	free(snapshot->acks);
	for (size_t i = 0; i < snapshot->n_ledgers; i++)
		free(snapshot->ledgers[i].peers);
	free(snapshot->ledgers);
	for (size_t i = 0; i < snapshot->n_sources; i++) {
		free(snapshot->sources[i].text);
		free(snapshot->sources[i].prefixes);
	}
	free(snapshot->sources);
	for (size_t i = 0; i < snapshot->n_events; i++) {
		free(snapshot->events[i].json);
		free(snapshot->events[i].deliveries);
	}
	free(snapshot->events);
	free(snapshot->losses);
	memset(snapshot, 0, sizeof(*snapshot));
}

void state_close(struct state *st)
{
	struct timespec until;

	if (!st)
		return;
	pthread_mutex_lock(&st->lock);
	st->stopping = true;
	st->health.failing = false; /* one last try */
	pthread_cond_signal(&st->changed);
	pthread_mutex_unlock(&st->lock);
	until = state_deadline(CLOSE_WITHIN_MS);
	if (pthread_clockjoin_np(st->writer, NULL, CLOCK_MONOTONIC, &until) != 0)
		return; /* it hangs in the kernel and still uses all of this */
	free_state(st);
}

/* Under the lock. What stands in a group stays there; other words for the same row are replaced. */
static void enqueue(struct state *st, struct state_item *item)
{
	struct state_item *const *found = tfind(item, &st->index, compare_items);
	struct state_item *old = found ? *found : NULL;

	if (old) {
		tdelete(old, &st->index, compare_items);
		if (!old->group) {
			TAILQ_REMOVE(&st->queue, old, entry);
			state_item_free(old);
			st->n_queued--;
		}
	}
	/* Out of memory: it is written all the same, but cannot be replaced. */
	(void)tsearch(item, &st->index, compare_items);
	item->ticket = ++st->last_ticket;
	TAILQ_INSERT_TAIL(&st->queue, item, entry);
	st->n_queued++;
}

static bool has_room(const struct state *st, size_t count)
{
	return st->n_queued + st->n_writing + count <= STATE_QUEUE_MAX;
}

static int enqueue_one(struct state *st, struct state_item *item)
{
	struct state_item *const *old;
	int error = 0;

	pthread_mutex_lock(&st->lock);
	old = tfind(item, &st->index, compare_items);
	if (has_room(st, 1) || (old && !(*old)->group)) {
		enqueue(st, item);
		pthread_cond_signal(&st->changed);
	} else {
		st->health.dropped++;
		error = -ENOSPC;
	}
	pthread_mutex_unlock(&st->lock);
	return error;
}

void state_begin(struct state *st)
{
	if (st)
		st->begun = true;
}

bool state_is_begun(const struct state *st)
{
	return st && st->begun;
}

static void enqueue_staged(struct state *st)
{
	struct state_item *item;
	uint64_t group = st->n_staged > 1 ? st->last_ticket + 1 : 0;

	while ((item = TAILQ_FIRST(&st->staged))) {
		TAILQ_REMOVE(&st->staged, item, entry);
		item->group = group;
		enqueue(st, item);
	}
}

int state_end(struct state *st)
{
	int error = 0;

	if (!st)
		return -ENODEV;
	st->begun = false;
	if (!st->n_staged)
		return 0;
	pthread_mutex_lock(&st->lock);
	if (has_room(st, st->n_staged)) {
		enqueue_staged(st);
		pthread_cond_signal(&st->changed);
	} else {
		st->health.dropped++;
		error = -ENOSPC;
	}
	pthread_mutex_unlock(&st->lock);
	free_items(&st->staged);
	st->n_staged = 0;
	return error;
}

int state_queue_item(struct state *st, struct state_item *item)
{
	int error;

	state_db_stamp(item);
	if (st->begun) {
		TAILQ_INSERT_TAIL(&st->staged, item, entry);
		st->n_staged++;
		return 0;
	}
	error = enqueue_one(st, item);
	if (error)
		state_item_free(item);
	return error;
}

static uint64_t read_ticket(struct state *st, const uint64_t *ticket)
{
	uint64_t value;

	pthread_mutex_lock(&st->lock);
	value = *ticket;
	pthread_mutex_unlock(&st->lock);
	return value;
}

uint64_t state_last_ticket(struct state *st)
{
	return st ? read_ticket(st, &st->last_ticket) : 0;
}

uint64_t state_written_ticket(struct state *st)
{
	return st ? read_ticket(st, &st->written_ticket) : 0;
}

int state_notify_fd(const struct state *st)
{
	return st->notify_fd;
}

void state_get_health(struct state *st, struct state_health *out)
{
	if (!st) {
		*out = (struct state_health){.failing = true, .error = "no database is open"};
		return;
	}
	pthread_mutex_lock(&st->lock);
	*out = st->health;
	out->queued = st->n_queued + st->n_writing;
	pthread_mutex_unlock(&st->lock);
}
