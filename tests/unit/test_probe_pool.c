/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What holds for a pool, with threads and without; for ThreadSanitizer, too. */
#include "scanner/probe_pool.h"

#include "common/cleanup.h"
#include "tests/unit/loopback.h"

#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

enum { CONCURRENCY = 7, MANY = 500 };

struct fixture {
	struct event_base *base;
	struct probe_pool *pool;
	struct endpoint silent; /* accepts connections, and says nothing */
	struct endpoint closed;
	int listener;
	pthread_t thread;
	uint64_t next;        /* token of the next request */
	unsigned to_submit;   /* from within the callback */
	unsigned break_after; /* findings; 0: when nothing is under way */
	unsigned n_done;
	uint8_t seen[MANY];
};

static unsigned in_flight(struct fixture *f)
{
	struct probe_stats stats;

	probe_pool_get_stats(f->pool, &stats);
	return stats.in_flight;
}

static int submit(struct fixture *f, const struct endpoint *to)
{
	const struct probe_request request = {.endpoint = *to, .token = f->next};
	int err = probe_pool_submit(f->pool, &request);

	f->next += err == 0;
	return err;
}

static void on_done(const struct probe_request *request, const struct finding *finding, void *arg)
{
	struct fixture *f = arg;

	assert_true(pthread_equal(pthread_self(), f->thread));
	assert_in_range(request->token, 0, MANY - 1);
	f->seen[request->token]++;
	f->n_done++;
	assert_int_equal(endpoint_compare(&request->endpoint, &finding->endpoint), 0);
	assert_int_equal(finding->verdict, VERDICT_CLOSED);
	if (f->to_submit > 0) {
		f->to_submit--;
		/* The one that has just ended makes room for it. */
		assert_int_equal(submit(f, &f->closed), 0);
	}
	if (f->break_after ? f->n_done >= f->break_after : in_flight(f) == 0)
		event_base_loopbreak(f->base);
}

static void start(struct fixture *f, unsigned threads)
{
	struct probe_limits limits = probe_limits_default;
	const struct probe_pool_conf conf = {
	    .base = f->base,
	    .limits = &limits,
	    .user_agent = probe_user_agent,
	    .threads = threads,
	    .done = on_done,
	    .arg = f,
	};

	limits.concurrency = CONCURRENCY;
	limits.request_timeout_ms = 60000;
	assert_int_equal(probe_pool_new(&conf, &f->pool), 0);
	assert_int_equal(probe_pool_threads(f->pool), threads);
}

static int set_up(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	assert_non_null(f);
	signal(SIGPIPE, SIG_IGN);
	f->thread = pthread_self();
	f->listener = listen_on_loopback(&f->silent);
	close(listen_on_loopback(&f->closed));
	f->base = event_base_new();
	assert_non_null(f->base);
	*state = f;
	return 0;
}

static int tear_down(void **state)
{
	struct fixture *f = *state;

	probe_pool_free(f->pool);
	event_base_free(f->base);
	close(f->listener);
	free(f);
	return 0;
}

/* Every request comes back once, in this thread, and `concurrency` bounds their sum. */
static void check_all_come_back(struct fixture *f, unsigned threads)
{
	struct probe_stats stats;

	start(f, threads);
	for (unsigned i = 0; i < CONCURRENCY; i++)
		assert_int_equal(submit(f, &f->closed), 0);
	assert_int_equal(submit(f, &f->closed), -EAGAIN);
	assert_int_equal(in_flight(f), CONCURRENCY);
	assert_int_equal(f->n_done, 0);
	f->to_submit = MANY - CONCURRENCY;
	event_base_dispatch(f->base);
	assert_int_equal(f->n_done, MANY);
	for (unsigned i = 0; i < MANY; i++)
		assert_int_equal(f->seen[i], 1);
	probe_pool_get_stats(f->pool, &stats);
	assert_int_equal(stats.started, MANY);
	assert_int_equal(stats.finished, MANY);
	assert_int_equal(stats.requests, MANY);
	assert_int_equal(stats.in_flight, 0);
}

static void test_one_thread(void **state)
{
	check_all_come_back(*state, 1);
}

static void test_two_threads(void **state)
{
	check_all_come_back(*state, 2);
}

static void test_most_threads(void **state)
{
	check_all_come_back(*state, PROBE_POOL_MAX_THREADS);
}

/* Who breaks the loop is not called again before it runs again. */
static void test_break(void **state)
{
	struct fixture *f = *state;

	start(f, 2);
	f->break_after = 1;
	for (unsigned i = 0; i < CONCURRENCY; i++)
		assert_int_equal(submit(f, &f->closed), 0);
	for (unsigned i = 1; i <= CONCURRENCY; i++) {
		event_base_dispatch(f->base);
		assert_int_equal(f->n_done, i);
	}
}

static void test_what_is_refused(void **state)
{
	struct fixture *f = *state;
	struct probe_request request = {.endpoint = f->closed, .host = "a/b"};

	start(f, 2);
	assert_int_equal(probe_pool_submit(f->pool, &request), -EINVAL);
	assert_int_equal(in_flight(f), 0);
}

/* Under a leak checker: nothing is left behind, nobody is called, and nothing is waited for. */
static void test_free_under_way(void **state)
{
	struct fixture *f = *state;
	const struct timeval soon = {.tv_usec = 50000};

	start(f, 2);
	for (unsigned i = 0; i < 3; i++)
		assert_int_equal(submit(f, &f->silent), 0);
	event_base_loopexit(f->base, &soon);
	event_base_dispatch(f->base);
	for (unsigned i = 3; i < CONCURRENCY; i++)
		assert_int_equal(submit(f, &f->closed), 0); /* never sent */
	assert_int_equal(f->n_done, 0);
	/* tear_down() frees it. */
}

static void test_free_with_findings_untold(void **state)
{
	struct fixture *f = *state;

	start(f, 2);
	f->break_after = 1;
	for (unsigned i = 0; i < CONCURRENCY; i++)
		assert_int_equal(submit(f, &f->closed), 0);
	event_base_dispatch(f->base);
	assert_int_equal(f->n_done, 1);
}

/* A handler that a thread may not run: the process's signals stay with the caller's. */
static void on_signal(int number)
{
	(void)number;
}

static void *count_deliverable(void *arg)
{
	sigset_t blocked;

	pthread_sigmask(SIG_BLOCK, NULL, &blocked);
	*(int *)arg = sigismember(&blocked, SIGTERM);
	return NULL;
}

static void test_signals_are_given_back(void **state)
{
	struct fixture *f = *state;
	pthread_t other;
	int blocked = -1;

	signal(SIGTERM, on_signal);
	start(f, 2);
	assert_int_equal(pthread_create(&other, NULL, count_deliverable, &blocked), 0);
	pthread_join(other, NULL);
	assert_int_equal(blocked, 0);
	signal(SIGTERM, SIG_DFL);
}

static void on_trace(const struct probe_request *request, const struct probe_exchange *exchange,
                     void *arg)
{
	(void)request;
	(void)exchange;
	(void)arg;
}

static void test_trace_takes_one_thread(void **state)
{
	struct fixture *f = *state;
	const struct probe_pool_conf conf = {.base = f->base,
	                                     .limits = &probe_limits_default,
	                                     .user_agent = probe_user_agent,
	                                     .threads = 2,
	                                     .trace = on_trace,
	                                     .done = on_done,
	                                     .arg = f};

	assert_int_equal(probe_pool_new(&conf, &f->pool), 0);
	assert_int_equal(probe_pool_threads(f->pool), 1);
}

#define T(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    T(test_one_thread),
	    T(test_two_threads),
	    T(test_most_threads),
	    T(test_break),
	    T(test_what_is_refused),
	    T(test_free_under_way),
	    T(test_free_with_findings_untold),
	    T(test_signals_are_given_back),
	    T(test_trace_takes_one_thread),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
