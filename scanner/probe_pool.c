/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A request travels in a job: into a thread's inbox, through its engine (as the token of the
 * engine's request), with its finding into the outbox of all threads, and back to be used again.
 * Both sides gather jobs over one turn of their loop, so that lock and eventfd are paid once for
 * many of them.
 */
#include "scanner/probe_pool.h"

#include "common/clock.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/queue.h>
#include <unistd.h>

struct job {
	struct probe_request request;
	struct finding finding; /* initialised only on the way back */
	struct worker *worker;
	STAILQ_ENTRY(job) link;
};

STAILQ_HEAD(job_list, job);

/* What wakes the loop at the other end. */
struct bell {
	int fd;
	struct event *event;
};

struct worker {
	struct probe_pool *pool;
	pthread_t thread;
	bool runs;

	/* the caller's */
	struct job_list to_send;
	unsigned in_flight, concurrency;

	/* under the pool's lock */
	struct job_list inbox;
	bool stop;
	struct probe_stats stats; /* as of its last findings */

	/* the thread's, from its start to its end */
	struct event_base *base;
	struct probe_engine *engine;
	struct bell mail;
	struct event *hand_in; /* at the end of a turn of the loop */
	struct job_list finished;
};

struct probe_pool {
	struct event_base *base;
	probe_done_cb *done;
	void *arg;
	struct probe_engine *engine; /* of the only thread, the caller's; else NULL */
	unsigned concurrency;        /* of that engine */

	struct bell mail;
	struct event *send;      /* at the end of a turn of the loop */
	struct job_list arrived; /* not told yet */
	struct job_list unused;
	bool telling;
	uint64_t started, finished;

	pthread_mutex_t lock;
	struct job_list outbox;

	unsigned n_workers;
	struct worker workers[PROBE_POOL_MAX_THREADS];
};

static void ring(const struct bell *bell)
{
	const uint64_t one = 1;

	/* It can fail only when it is ringing already. */
	(void)!write(bell->fd, &one, sizeof(one));
}

static void silence(const struct bell *bell)
{
	uint64_t rings;

	(void)!read(bell->fd, &rings, sizeof(rings));
}

static int bell_init(struct bell *bell, struct event_base *base, event_callback_fn heard, void *arg)
{
	bell->fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	if (bell->fd < 0)
		return -errno;
	bell->event = event_new(base, bell->fd, EV_READ | EV_PERSIST, heard, arg);
	return bell->event && event_add(bell->event, NULL) == 0 ? 0 : -ENOMEM;
}

static void bell_fini(struct bell *bell)
{
	if (bell->event)
		event_free(bell->event);
	if (bell->fd >= 0)
		close(bell->fd);
}

/* The thread's side */

/* This turn's findings, together. */
static void on_hand_in(evutil_socket_t fd, short what, void *arg)
{
	struct worker *w = arg;
	struct probe_pool *pool = w->pool;
	bool was_empty;

	(void)fd;
	(void)what;
	pthread_mutex_lock(&pool->lock);
	was_empty = STAILQ_EMPTY(&pool->outbox);
	STAILQ_CONCAT(&pool->outbox, &w->finished);
	probe_get_stats(w->engine, &w->stats);
	pthread_mutex_unlock(&pool->lock);
	if (was_empty)
		ring(&pool->mail);
}

static void finish_job(struct worker *w, struct job *job)
{
	if (STAILQ_EMPTY(&w->finished))
		event_active(w->hand_in, EV_TIMEOUT, 0);
	STAILQ_INSERT_TAIL(&w->finished, job, link);
}

static void on_probed(const struct probe_request *request, struct finding *finding, void *arg)
{
	struct job *job = (struct job *)(uintptr_t)request->token;

	job->finding = *finding;
	finding_init(finding); /* what it owned has moved */
	finish_job(arg, job);
}

static void begin_job(struct worker *w, struct job *job)
{
	struct probe_request request = job->request;

	request.token = (uintptr_t)job;
	if (probe_submit(w->engine, &request) == 0)
		return;
	finding_init(&job->finding);
	job->finding.verdict = VERDICT_ERROR;
	job->finding.endpoint = request.endpoint;
	job->finding.time_ms = clock_wall_ms();
	job->finding.latency_ms = -1;
	finish_job(w, job);
}

static void on_requests(evutil_socket_t fd, short what, void *arg)
{
	struct worker *w = arg;
	struct job_list jobs = STAILQ_HEAD_INITIALIZER(jobs);
	struct job *job;
	bool stop;

	(void)fd;
	(void)what;
	silence(&w->mail);
	pthread_mutex_lock(&w->pool->lock);
	STAILQ_CONCAT(&jobs, &w->inbox);
	stop = w->stop;
	pthread_mutex_unlock(&w->pool->lock);
	while ((job = STAILQ_FIRST(&jobs))) {
		STAILQ_REMOVE_HEAD(&jobs, link);
		if (stop)
			free(job);
		else
			begin_job(w, job);
	}
	if (stop)
		event_base_loopbreak(w->base);
}

static void *run_worker(void *arg)
{
	struct worker *w = arg;

	event_base_dispatch(w->base);
	return NULL;
}

/* The caller's side */

static void tell(struct probe_pool *pool, struct job *job)
{
	job->worker->in_flight--;
	pool->finished++;
	pool->done(&job->request, &job->finding, pool->arg);
	finding_fini(&job->finding);
	STAILQ_INSERT_HEAD(&pool->unused, job, link);
}

static void send_requests(struct probe_pool *pool)
{
	for (unsigned i = 0; i < pool->n_workers; i++) {
		struct worker *w = &pool->workers[i];
		bool was_empty;

		if (STAILQ_EMPTY(&w->to_send))
			continue;
		pthread_mutex_lock(&pool->lock);
		was_empty = STAILQ_EMPTY(&w->inbox);
		STAILQ_CONCAT(&w->inbox, &w->to_send);
		pthread_mutex_unlock(&pool->lock);
		if (was_empty)
			ring(&w->mail);
	}
}

static void on_findings(evutil_socket_t fd, short what, void *arg)
{
	struct probe_pool *pool = arg;
	struct job *job;

	(void)fd;
	(void)what;
	silence(&pool->mail);
	pthread_mutex_lock(&pool->lock);
	STAILQ_CONCAT(&pool->arrived, &pool->outbox);
	pthread_mutex_unlock(&pool->lock);
	pool->telling = true;
	while ((job = STAILQ_FIRST(&pool->arrived))) {
		/* Who leaves the loop wants to hear no more, for now. */
		if (event_base_got_break(pool->base)) {
			event_active(pool->mail.event, EV_READ, 0);
			break;
		}
		STAILQ_REMOVE_HEAD(&pool->arrived, link);
		tell(pool, job);
	}
	pool->telling = false;
	send_requests(pool);
}

static void on_send(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	send_requests(arg);
}

static unsigned count_processors(void)
{
	cpu_set_t set;

	/* Those that we may use: a container or taskset may leave us few of them. */
	return sched_getaffinity(0, sizeof(set), &set) < 0 ? 1 : (unsigned)CPU_COUNT(&set);
}

static unsigned choose_threads(const struct probe_pool_conf *conf)
{
	unsigned n = conf->threads ? conf->threads : count_processors();

	if (conf->trace)
		return 1;
	if (n > PROBE_POOL_MAX_THREADS)
		n = PROBE_POOL_MAX_THREADS;
	return n < conf->limits->concurrency ? n : conf->limits->concurrency;
}

static void configure(struct probe_engine *engine, const struct probe_pool_conf *conf)
{
	if (conf->route)
		probe_set_route(engine, conf->route);
	if (conf->signatures)
		probe_set_signatures(engine, conf->signatures, conf->all_prefixes);
	if (conf->trace)
		probe_set_trace(engine, conf->trace);
}

static struct event_base *new_base(void)
{
	struct event_config *config = event_config_new();
	struct event_base *base;

	if (!config)
		return NULL;
	event_config_set_flag(config, EVENT_BASE_FLAG_NOLOCK);
	base = event_base_new_with_config(config);
	event_config_free(config);
	return base;
}

/* All that can fail, but for the thread. */
static int worker_init(struct worker *w, const struct probe_pool_conf *conf)
{
	struct probe_limits limits = *conf->limits;
	int err;

	limits.concurrency = w->concurrency;
	w->base = new_base();
	if (!w->base)
		return -ENOMEM;
	err = bell_init(&w->mail, w->base, on_requests, w);
	if (err < 0)
		return err;
	w->hand_in = event_new(w->base, -1, 0, on_hand_in, w);
	if (!w->hand_in)
		return -ENOMEM;
	err =
	    probe_new(w->base, &limits, conf->user_agent, conf->show_secrets, NULL, w, &w->engine);
	if (err < 0)
		return err;
	probe_set_taker(w->engine, on_probed);
	configure(w->engine, conf);
	return 0;
}

static void free_jobs(struct job_list *list, bool with_finding)
{
	struct job *job;

	while ((job = STAILQ_FIRST(list))) {
		STAILQ_REMOVE_HEAD(list, link);
		if (with_finding)
			finding_fini(&job->finding);
		free(job);
	}
}

/* The engine's request is the one that holds the job. */
static void drop_job(const struct probe_request *request, void *arg)
{
	(void)arg;
	free((struct job *)(uintptr_t)request->token);
}

static void worker_fini(struct worker *w)
{
	if (w->runs) {
		pthread_mutex_lock(&w->pool->lock);
		w->stop = true;
		pthread_mutex_unlock(&w->pool->lock);
		ring(&w->mail);
		pthread_join(w->thread, NULL);
	}
	if (w->engine)
		probe_each(w->engine, drop_job, NULL);
	probe_free(w->engine);
	free_jobs(&w->to_send, false);
	free_jobs(&w->inbox, false);
	free_jobs(&w->finished, true);
	if (w->hand_in)
		event_free(w->hand_in);
	bell_fini(&w->mail);
	if (w->base)
		event_base_free(w->base);
}

/* Signals are the caller's. Returns 0 or -errno. */
static int start_threads(struct probe_pool *pool)
{
	sigset_t all, before;
	int err = 0;

	sigfillset(&all);
	pthread_sigmask(SIG_BLOCK, &all, &before);
	for (unsigned i = 0; i < pool->n_workers && !err; i++) {
		struct worker *w = &pool->workers[i];

		err = pthread_create(&w->thread, NULL, run_worker, w);
		w->runs = !err;
	}
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	return -err;
}

static int set_up_workers(struct probe_pool *pool, const struct probe_pool_conf *conf,
                          unsigned threads)
{
	int err = bell_init(&pool->mail, conf->base, on_findings, pool);

	if (err < 0)
		return err;
	pool->send = event_new(conf->base, -1, 0, on_send, pool);
	if (!pool->send)
		return -ENOMEM;
	for (unsigned i = 0; i < threads && !err; i++) {
		struct worker *w = &pool->workers[i];

		w->pool = pool;
		w->mail.fd = -1;
		STAILQ_INIT(&w->to_send);
		STAILQ_INIT(&w->inbox);
		STAILQ_INIT(&w->finished);
		w->concurrency =
		    conf->limits->concurrency / threads + (i < conf->limits->concurrency % threads);
		pool->n_workers++;
		err = worker_init(w, conf);
	}
	return err < 0 ? err : start_threads(pool);
}

int probe_pool_new(const struct probe_pool_conf *conf, struct probe_pool **out)
{
	struct probe_pool *pool;
	unsigned threads = choose_threads(conf);
	int err;

	if (threads == 0)
		return -EINVAL;
	pool = calloc(1, sizeof(*pool));
	if (!pool)
		return -ENOMEM;
	pool->base = conf->base;
	pool->done = conf->done;
	pool->arg = conf->arg;
	pool->mail.fd = -1;
	STAILQ_INIT(&pool->arrived);
	STAILQ_INIT(&pool->unused);
	STAILQ_INIT(&pool->outbox);
	pthread_mutex_init(&pool->lock, NULL);
	if (threads == 1) {
		pool->concurrency = conf->limits->concurrency;
		err = probe_new(conf->base, conf->limits, conf->user_agent, conf->show_secrets,
		                conf->done, conf->arg, &pool->engine);
		if (!err)
			configure(pool->engine, conf);
	} else {
		err = set_up_workers(pool, conf, threads);
	}
	if (err < 0) {
		probe_pool_free(pool);
		return err;
	}
	*out = pool;
	return 0;
}

void probe_pool_free(struct probe_pool *pool)
{
	if (!pool)
		return;
	for (unsigned i = 0; i < pool->n_workers; i++)
		worker_fini(&pool->workers[i]);
	probe_free(pool->engine);
	free_jobs(&pool->outbox, true);
	free_jobs(&pool->arrived, true);
	free_jobs(&pool->unused, false);
	if (pool->send)
		event_free(pool->send);
	bell_fini(&pool->mail);
	pthread_mutex_destroy(&pool->lock);
	free(pool);
}

/* The least busy one; NULL when all are full. */
static struct worker *choose_worker(struct probe_pool *pool)
{
	struct worker *best = NULL;

	for (unsigned i = 0; i < pool->n_workers; i++) {
		struct worker *w = &pool->workers[i];

		if (w->in_flight < w->concurrency && (!best || w->in_flight < best->in_flight))
			best = w;
	}
	return best;
}

bool probe_pool_has_room(struct probe_pool *pool)
{
	struct probe_stats stats;

	if (!pool->engine)
		return choose_worker(pool) != NULL;
	probe_get_stats(pool->engine, &stats);
	return stats.in_flight < pool->concurrency;
}

static struct job *take_job(struct probe_pool *pool)
{
	struct job *job = STAILQ_FIRST(&pool->unused);

	if (!job)
		return malloc(sizeof(*job));
	STAILQ_REMOVE_HEAD(&pool->unused, link);
	return job;
}

int probe_pool_submit(struct probe_pool *pool, const struct probe_request *request)
{
	struct worker *w;
	struct job *job;

	if (pool->engine)
		return probe_submit(pool->engine, request);
	if (!probe_request_is_valid(request))
		return -EINVAL;
	w = choose_worker(pool);
	if (!w)
		return -EAGAIN;
	job = take_job(pool);
	if (!job)
		return -ENOMEM;
	job->request = *request;
	job->worker = w;
	STAILQ_INSERT_TAIL(&w->to_send, job, link);
	w->in_flight++;
	pool->started++;
	if (!pool->telling && !event_pending(pool->send, EV_TIMEOUT, NULL))
		event_active(pool->send, EV_TIMEOUT, 0);
	return 0;
}

void probe_pool_get_stats(struct probe_pool *pool, struct probe_stats *out)
{
	struct probe_stats sum = {.started = pool->started, .finished = pool->finished};

	if (pool->engine) {
		probe_get_stats(pool->engine, out);
		return;
	}
	pthread_mutex_lock(&pool->lock);
	for (unsigned i = 0; i < pool->n_workers; i++) {
		const struct worker *w = &pool->workers[i];

		sum.requests += w->stats.requests;
		sum.bytes += w->stats.bytes;
		sum.starved += w->stats.starved;
		sum.no_route += w->stats.no_route;
		sum.no_family += w->stats.no_family;
		sum.behind_proxy += w->stats.behind_proxy;
		sum.proxy_failure += w->stats.proxy_failure;
		sum.in_flight += w->in_flight;
	}
	pthread_mutex_unlock(&pool->lock);
	*out = sum;
}

unsigned probe_pool_threads(const struct probe_pool *pool)
{
	return pool->engine ? 1 : pool->n_workers;
}
