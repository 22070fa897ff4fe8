/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/agent/state.h"

#include "common/cleanup.h"
#include "common/panic_marker.h"
#include "daemon/agent/state_db.h"

#include <errno.h>
#include <pthread.h>
#include <search.h>
#include <signal.h>
#include <string.h>
#include <sys/eventfd.h>
#include <time.h>

enum { BATCH_MAX = 512, RETRY_AFTER_MS = 1000, CLOSE_WITHIN_MS = 2000, MARKER_WITHIN_MS = 300 };

struct state {
	struct state_db *db; /* the writer's, while it runs */
	pthread_t writer;

	pthread_mutex_t lock; /* of what follows; never held while SQLite works */
	pthread_cond_t changed;
	struct state_items queue;
	void *index; /* tsearch(3) of the queue by kind and endpoint */
	size_t n_queued, n_writing;
	uint64_t last_ticket, written_ticket;
	int notify_fd;
	bool stopping;
	struct state_health health;
};

static int compare_sources(const char *a, const char *b)
{
	size_t left = strcspn(a, "\n"), right = strcspn(b, "\n");
	int order = strncmp(a, b, left < right ? left : right);

	return order ? order : (left > right) - (left < right);
}

static int compare_items(const void *left, const void *right)
{
	const struct state_item *a = left, *b = right;

	if (a->kind != b->kind)
		return a->kind < b->kind ? -1 : 1;
	if (a->kind == STATE_KIND_SOURCE)
		return compare_sources(a->text, b->text);
	return endpoint_compare(&a->endpoint, &b->endpoint);
}

static struct timespec monotonic_after(int64_t ms)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	ts.tv_sec += (time_t)(ms / 1000);
	ts.tv_nsec += (long)(ms % 1000) * 1000000;
	if (ts.tv_nsec >= 1000000000) {
		ts.tv_sec++;
		ts.tv_nsec -= 1000000000;
	}
	return ts;
}

static void take_batch(struct state *st, struct state_items *batch)
{
	struct state_item *item;

	while (st->n_writing < BATCH_MAX && (item = TAILQ_FIRST(&st->queue))) {
		tdelete(item, &st->index, compare_items);
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
		free(item);
	}
}

/* Back to the front of the queue, unless something newer was said about the same row. */
static void put_back(struct state *st, struct state_items *batch)
{
	struct state_item *item;

	while ((item = TAILQ_LAST(batch, state_items))) {
		struct state_item **slot;

		TAILQ_REMOVE(batch, item, entry);
		slot = tsearch(item, &st->index, compare_items);
		if (!slot || *slot != item) {
			free(item);
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
			struct timespec until = monotonic_after(RETRY_AFTER_MS);

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
		tdelete(item, &st->index, compare_items);
	free_items(&st->queue);
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
	free(snapshot->manuals);
	for (size_t i = 0; i < snapshot->n_ledgers; i++)
		free(snapshot->ledgers[i].peers);
	free(snapshot->ledgers);
	for (size_t i = 0; i < snapshot->n_sources; i++) {
		free(snapshot->sources[i].text);
		free(snapshot->sources[i].prefixes);
	}
	free(snapshot->sources);
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
	until = monotonic_after(CLOSE_WITHIN_MS);
	if (pthread_clockjoin_np(st->writer, NULL, CLOCK_MONOTONIC, &until) != 0)
		return; /* it hangs in the kernel and still uses all of this */
	free_state(st);
}

/* Queued under the lock already? Then the new one takes its place. */
static int enqueue(struct state *st, struct state_item *item)
{
	struct state_item *const *found = tfind(item, &st->index, compare_items);
	struct state_item *old = found ? *found : NULL;

	if (old) {
		tdelete(old, &st->index, compare_items);
		TAILQ_REMOVE(&st->queue, old, entry);
		free(old);
		st->n_queued--;
	} else if (st->n_queued + st->n_writing >= STATE_QUEUE_MAX) {
		st->health.dropped++;
		return -ENOSPC;
	}
	if (!tsearch(item, &st->index, compare_items))
		return -ENOMEM;
	item->ticket = ++st->last_ticket;
	TAILQ_INSERT_TAIL(&st->queue, item, entry);
	st->n_queued++;
	pthread_cond_signal(&st->changed);
	return 0;
}

static int save_with_text(struct state *st, const struct state_item *what, const char *text)
{
	size_t length = strlen(text) + 1;
	auto_free struct state_item *item = NULL;
	int error;

	if (!st)
		return -ENODEV;
	item = malloc(sizeof(*item) + length);
	if (!item)
		return -ENOMEM;
	*item = *what;
	memcpy(item->text, text, length);
	state_db_stamp(item);
	pthread_mutex_lock(&st->lock);
	error = enqueue(st, item);
	pthread_mutex_unlock(&st->lock);
	if (!error)
		(void)steal_ptr(&item);
	return error;
}

static int save(struct state *st, const struct state_item *what)
{
	return save_with_text(st, what, "");
}

int state_save_breaker(struct state *st, const struct state_breaker *b)
{
	return save(st, &(struct state_item){
	                    .kind = STATE_KIND_BREAKER, .endpoint = b->endpoint, .breaker = *b});
}

int state_delete_breaker(struct state *st, const struct endpoint *e)
{
	return save(
	    st, &(struct state_item){.kind = STATE_KIND_BREAKER, .remove = true, .endpoint = *e});
}

int state_save_manual(struct state *st, const struct state_manual *m)
{
	return save(st, &(struct state_item){
	                    .kind = STATE_KIND_MANUAL, .endpoint = m->endpoint, .manual = *m});
}

int state_delete_manual(struct state *st, const struct endpoint *e)
{
	return save(
	    st, &(struct state_item){.kind = STATE_KIND_MANUAL, .remove = true, .endpoint = *e});
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

int state_save_ledger(struct state *st, const struct state_ledger *l)
{
	return save_with_text(
	    st,
	    &(struct state_item){.kind = STATE_KIND_LEDGER, .endpoint = l->endpoint, .ledger = *l},
	    l->peers);
}

int state_delete_ledger(struct state *st, const struct endpoint *e)
{
	return save(
	    st, &(struct state_item){.kind = STATE_KIND_LEDGER, .remove = true, .endpoint = *e});
}

int state_save_source(struct state *st, const char *text, const char *prefixes, int64_t good_ms)
{
	auto_free char *both = NULL;

	if (asprintf(&both, "%s\n%s", text, prefixes) < 0)
		return -ENOMEM;
	return save_with_text(
	    st, &(struct state_item){.kind = STATE_KIND_SOURCE, .source_good_ms = good_ms}, both);
}

int state_delete_source(struct state *st, const char *text)
{
	return save_with_text(st, &(struct state_item){.kind = STATE_KIND_SOURCE, .remove = true},
	                      text);
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

_Static_assert((int)STATE_REASON_LEN == (int)PANIC_MARKER_TEXT_LEN, "one reason, one length");

bool state_panic_exists(const char *directory)
{
	return panic_marker_exists(directory);
}

/* A change of the marker, in a thread of its own: a frozen file system keeps who touches it. */
struct marker_job {
	char *directory, *who, *reason; /* owned; `who` is NULL to clear */
	int result;
};

static void free_job(struct marker_job *job)
{
	if (!job)
		return;
	free(job->directory);
	free(job->who);
	free(job->reason);
	free(job);
}

static void *change_marker(void *arg)
{
	struct marker_job *job = arg;

	job->result = job->who ? panic_marker_set(job->directory, job->who, job->reason)
	                       : panic_marker_clear(job->directory);
	return NULL;
}

/* Takes over the job; of one that hangs, it leaves the few bytes that are still in use. */
static int run_job(struct marker_job *job)
{
	struct timespec until = monotonic_after(MARKER_WITHIN_MS);
	pthread_t thread;
	int result;

	if (!job || pthread_create(&thread, NULL, change_marker, job) != 0) {
		free_job(job);
		return -ENOMEM;
	}
	if (pthread_clockjoin_np(thread, NULL, CLOCK_MONOTONIC, &until) != 0) {
		pthread_detach(thread);
		return -ETIMEDOUT;
	}
	result = job->result;
	free_job(job);
	return result;
}

static struct marker_job *new_job(const char *directory, const char *who, const char *reason)
{
	struct marker_job *job = calloc(1, sizeof(*job));

	if (!job)
		return NULL;
	job->directory = strdup(directory);
	job->who = who ? strdup(who) : NULL;
	job->reason = strdup(reason);
	if (job->directory && job->reason && !who == !job->who)
		return job;
	free_job(job);
	return NULL;
}

int state_panic_set(const char *directory, const char *who, const char *reason)
{
	return run_job(new_job(directory, who, reason));
}

int state_panic_clear(const char *directory)
{
	return run_job(new_job(directory, NULL, ""));
}

int state_panic_read(const char *directory, char reason[static STATE_REASON_LEN])
{
	return panic_marker_read(directory, reason);
}
