/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The engine's contract; what servers do to it is tested in tests/integration/test_scan.py. */
#include "scanner/probe.h"

#include "common/cleanup.h"
#include "tests/unit/loopback.h"

#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

struct fixture {
	struct event_base *base;
	struct probe_engine *engine;
	struct endpoint silent; /* accepts connections, and says nothing */
	struct endpoint closed;
	int listener;
	unsigned n_done;
	unsigned to_submit; /* from within the callback */
	uint64_t last_token;
	enum finding_verdict last_verdict;
};

static void on_done(const struct probe_request *request, const struct finding *finding, void *arg)
{
	struct fixture *f = arg;

	f->n_done++;
	f->last_token = request->token;
	f->last_verdict = finding->verdict;
	assert_int_equal(endpoint_compare(&request->endpoint, &finding->endpoint), 0);
	if (f->to_submit > 0) {
		const struct probe_request next = {.endpoint = f->closed, .token = 100};

		f->to_submit--;
		/* The one that has just ended makes room for it. */
		assert_int_equal(probe_submit(f->engine, &next), 0);
	} else {
		event_base_loopbreak(f->base);
	}
}

static int set_up(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	struct probe_limits limits = probe_limits_default;

	assert_non_null(f);
	signal(SIGPIPE, SIG_IGN);
	f->listener = listen_on_loopback(&f->silent);
	close(listen_on_loopback(&f->closed));
	f->base = event_base_new();
	assert_non_null(f->base);
	limits.concurrency = 2;
	limits.request_timeout_ms = 60000;
	assert_int_equal(
	    probe_new(f->base, &limits, probe_user_agent, false, on_done, f, &f->engine), 0);
	*state = f;
	return 0;
}

static int tear_down(void **state)
{
	struct fixture *f = *state;

	probe_free(f->engine);
	event_base_free(f->base);
	close(f->listener);
	free(f);
	return 0;
}

static void test_closed_port(void **state)
{
	struct fixture *f = *state;
	const struct probe_request request = {.endpoint = f->closed, .token = 7};
	struct probe_stats stats;

	assert_int_equal(probe_submit(f->engine, &request), 0);
	assert_int_equal(f->n_done, 0);
	event_base_dispatch(f->base);
	assert_int_equal(f->n_done, 1);
	assert_int_equal(f->last_token, 7);
	assert_int_equal(f->last_verdict, VERDICT_CLOSED);
	probe_get_stats(f->engine, &stats);
	assert_int_equal(stats.started, 1);
	assert_int_equal(stats.finished, 1);
	assert_int_equal(stats.in_flight, 0);
}

static void test_concurrency(void **state)
{
	struct fixture *f = *state;
	const struct probe_request request = {.endpoint = f->silent};

	assert_int_equal(probe_submit(f->engine, &request), 0);
	assert_int_equal(probe_submit(f->engine, &request), 0);
	assert_int_equal(probe_submit(f->engine, &request), -EAGAIN);
}

static void test_submit_from_the_callback(void **state)
{
	struct fixture *f = *state;
	const struct probe_request request = {.endpoint = f->closed};

	f->to_submit = 50;
	assert_int_equal(probe_submit(f->engine, &request), 0);
	assert_int_equal(probe_submit(f->engine, &request), 0);
	event_base_dispatch(f->base);
	assert_true(f->n_done >= 51);
	assert_int_equal(f->last_verdict, VERDICT_CLOSED);
}

static void test_what_cannot_stand_in_a_url(void **state)
{
	static const char *const hosts[] = {"a b", "a/b", "a@b",   "a:1",
	                                    "a?b", "a#b", "[::1]", "a\r\nX"};
	static const char *const prefixes[] = {"x/",    "/a b/",       "/a?b/",
	                                       "/a#b/", "/a\r\nX: y/", "/\x7f/"};
	struct fixture *f = *state;

	for (size_t i = 0; i < ARRAY_LEN(hosts); i++) {
		struct probe_request request = {.endpoint = f->closed};

		strcpy(request.host, hosts[i]);
		assert_int_equal(probe_submit(f->engine, &request), -EINVAL);
	}
	for (size_t i = 0; i < ARRAY_LEN(prefixes); i++) {
		struct probe_request request = {.endpoint = f->closed};

		strcpy(request.prefix, prefixes[i]);
		assert_int_equal(probe_submit(f->engine, &request), -EINVAL);
	}
	struct probe_request unterminated = {.endpoint = f->closed};

	memset(unterminated.host, 'a', sizeof(unterminated.host));
	assert_int_equal(probe_submit(f->engine, &unterminated), -EINVAL);
}

/* Under a leak checker: nothing is left behind, and no callback comes. */
static void test_free_with_probes_in_flight(void **state)
{
	struct fixture *f = *state;
	const struct timeval soon = {.tv_usec = 50000};
	struct probe_request request = {.endpoint = f->silent};

	assert_int_equal(probe_submit(f->engine, &request), 0);
	strcpy(request.host, "a.name.example");
	request.tls_only = true;
	assert_int_equal(probe_submit(f->engine, &request), 0);
	event_base_loopexit(f->base, &soon);
	event_base_dispatch(f->base);
	assert_int_equal(f->n_done, 0);
	/* tear_down() frees it. */
}

static void test_free_before_the_loop_runs(void **state)
{
	struct fixture *f = *state;
	const struct probe_request request = {.endpoint = f->silent};

	assert_int_equal(probe_submit(f->engine, &request), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(test_closed_port, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(test_concurrency, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(test_submit_from_the_callback, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(test_what_cannot_stand_in_a_url, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(test_free_with_probes_in_flight, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(test_free_before_the_loop_runs, set_up, tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
