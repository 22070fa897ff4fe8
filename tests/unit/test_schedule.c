/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The schedule against a prober that the test plays itself. */
#include "common/clock.h"
#include "common/frame.h"
#include "daemon/agent/schedule.h"

#include <errno.h>
#include <event2/event.h>
#include <poll.h>
#include <string.h>
#include <unistd.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

enum { N_WATCHES = 24 };

struct bench {
	struct event_base *base;
	struct schedule *schedule;
	struct watch_set *set;
	struct watch *watches[N_WATCHES];
	int prober; /* the test's end */
	unsigned begun, done, done_without, died, died_alone, released, gone, pongs, blind, again;
	unsigned asked; /* for sockets */
	struct frame frame;
};

static void on_begin(struct watch *w, void *arg)
{
	(void)w;
	((struct bench *)arg)->begun++;
}

static void on_done(struct watch *w, struct finding *finding, void *arg)
{
	struct bench *b = arg;

	b->done++;
	if (!finding)
		b->done_without++;
	schedule_probe_in(b->schedule, w, 3600 * 1000);
}

static void on_died(struct watch *w, bool alone, void *arg)
{
	struct bench *b = arg;

	(void)w;
	b->died++;
	if (alone)
		b->died_alone++;
}

static void on_released(struct watch *w, void *arg)
{
	(void)w;
	((struct bench *)arg)->released++;
}

static void on_gone(int error, void *arg)
{
	(void)error;
	((struct bench *)arg)->gone++;
}

static void on_pong(void *arg)
{
	((struct bench *)arg)->pongs++;
}

static void on_blind(unsigned probes, bool again, void *arg)
{
	struct bench *b = arg;

	b->blind += probes;
	b->again += again;
}

static void on_ask_socket(struct watch *w, uint64_t probe, void *arg)
{
	struct bench *b = arg;

	assert_int_equal(w->slot.seq, probe);
	b->asked++;
}

static void give_prober(struct bench *b)
{
	int pair[2];

	assert_int_equal(frame_socketpair(pair), 0);
	b->prober = pair[0];
	assert_int_equal(schedule_set_prober(b->schedule, pair[1]), 0);
}

static int set_up(void **state)
{
	struct bench *b = calloc(1, sizeof(*b));
	const struct schedule_handlers handlers = {.begin = on_begin,
	                                           .done = on_done,
	                                           .died = on_died,
	                                           .released = on_released,
	                                           .ask_socket = on_ask_socket,
	                                           .prober_gone = on_gone,
	                                           .pong = on_pong,
	                                           .blind = on_blind,
	                                           .arg = b};

	assert_non_null(b);
	b->base = event_base_new();
	b->set = watch_set_new();
	assert_int_equal(schedule_new(b->base, &handlers, &b->schedule), 0);
	schedule_configure(b->schedule, 4, 1000);
	for (unsigned i = 0; i < N_WATCHES; i++) {
		struct endpoint e;
		char text[32];

		snprintf(text, sizeof(text), "192.0.2.%u:6060", i + 1);
		assert_int_equal(endpoint_parse(text, &e), 0);
		b->watches[i] = watch_set_get(b->set, &e);
		assert_non_null(b->watches[i]);
	}
	give_prober(b);
	*state = b;
	return 0;
}

static int tear_down(void **state)
{
	struct bench *b = *state;

	watch_set_free(b->set);
	schedule_free(b->schedule);
	close(b->prober);
	event_base_free(b->base);
	free(b);
	return 0;
}

/* Lets the loop handle what is due. */
static void turn(struct bench *b)
{
	for (int i = 0; i < 3; i++)
		event_base_loop(b->base, EVLOOP_NONBLOCK);
}

/* The next probe that was asked for, or false. */
static bool next_probe(struct bench *b, struct ipc_probe *out, uint64_t *seq)
{
	turn(b);
	if (frame_recv(b->prober, &b->frame) != 1)
		return false;
	assert_int_equal(b->frame.type, IPC_PROBE_START);
	assert_int_equal(b->frame.length, sizeof(*out));
	memcpy(out, b->frame.body, sizeof(*out));
	*seq = b->frame.seq;
	return true;
}

static void answer(struct bench *b, const struct endpoint *e, uint64_t seq)
{
	struct finding f;
	char *line;

	finding_init(&f);
	f.endpoint = *e;
	f.verdict = VERDICT_CLEAR;
	f.time_ms = 1;
	line = finding_to_line(&f);
	assert_non_null(line);
	assert_int_equal(frame_send(b->prober, IPC_PROBE_DONE, seq, line, strlen(line), -1), 0);
	free(line);
	finding_fini(&f);
	turn(b);
}

/* One that waits for a place; timers of one instant fire in no particular order. */
static struct watch *find_waiting(struct bench *b)
{
	for (unsigned i = 0; i < N_WATCHES; i++) {
		if (!b->watches[i]->slot.in_flight)
			return b->watches[i];
	}
	fail_msg("all are in flight");
	return NULL;
}

static void test_never_more_than_concurrency(void **state)
{
	struct bench *b = *state;
	struct schedule_stats stats;
	struct ipc_probe probe;
	uint64_t seq;
	unsigned asked = 0;

	for (unsigned i = 0; i < N_WATCHES; i++)
		schedule_probe_in(b->schedule, b->watches[i], 0);
	while (next_probe(b, &probe, &seq))
		asked++;
	assert_int_equal(asked, 4);
	schedule_get_stats(b->schedule, &stats);
	assert_int_equal(stats.in_flight, 4);
	assert_int_equal(stats.waiting, N_WATCHES - 4);
	answer(b, &probe.endpoint, seq);
	assert_true(next_probe(b, &probe, &seq));
	assert_false(next_probe(b, &probe, &seq));
	assert_int_equal(b->done, 1);
}

static void ask_socket(struct bench *b, uint64_t seq)
{
	assert_int_equal(frame_send(b->prober, IPC_PROBE_ASK_SOCKET, seq, NULL, 0, -1), 0);
	turn(b);
}

/* The next answer, and whether a socket came with it. */
static int next_socket(struct bench *b, uint64_t seq, int *error)
{
	struct ipc_socket answer;
	int fd;

	turn(b);
	assert_int_equal(frame_recv(b->prober, &b->frame), 1);
	assert_int_equal(b->frame.type, IPC_PROBE_SOCKET);
	assert_int_equal(b->frame.seq, seq);
	assert_int_equal(b->frame.length, sizeof(answer));
	memcpy(&answer, b->frame.body, sizeof(answer));
	*error = answer.error;
	fd = b->frame.fd;
	b->frame.fd = -1;
	return fd;
}

static void test_sockets_for_probes_from_inside(void **state)
{
	struct bench *b = *state;
	const struct watch_key key = {.endpoint = b->watches[0]->endpoint, .netns = 7};
	struct watch *inside = watch_set_get_key(b->set, &key);
	struct ipc_probe probe;
	uint64_t seq;
	int fd, error;

	/* Not for what is asked from the host, nor for what is not under way. */
	schedule_probe_in(b->schedule, b->watches[0], 0);
	assert_true(next_probe(b, &probe, &seq));
	assert_int_equal(probe.from_inside, 0);
	ask_socket(b, seq);
	ask_socket(b, seq + 1);
	assert_int_equal(b->asked, 0);
	answer(b, &probe.endpoint, seq);
	schedule_probe_in(b->schedule, inside, 0);
	assert_true(next_probe(b, &probe, &seq));
	assert_int_equal(probe.from_inside, 1);
	for (unsigned i = 1; i <= SCHEDULE_MAX_SOCKETS; i++) {
		ask_socket(b, seq);
		assert_int_equal(b->asked, i);
		schedule_give_socket(b->schedule, seq, STDERR_FILENO, 0);
		fd = next_socket(b, seq, &error);
		assert_true(fd >= 0);
		assert_int_equal(error, 0);
		close(fd);
	}
	/* Nor without end. */
	ask_socket(b, seq);
	assert_int_equal(b->asked, SCHEDULE_MAX_SOCKETS);
	assert_int_equal(next_socket(b, seq, &error), -1);
	assert_int_equal(error, -EDQUOT);
	schedule_give_socket(b->schedule, seq, -1, -ENOENT);
	assert_int_equal(next_socket(b, seq, &error), -1);
	assert_int_equal(error, -ENOENT);
	/* One that comes too late goes nowhere. */
	answer(b, &probe.endpoint, seq);
	schedule_give_socket(b->schedule, seq, STDERR_FILENO, 0);
	turn(b);
	assert_int_equal(frame_recv(b->prober, &b->frame), -EAGAIN);
	assert_int_equal(b->done, 2);
}

static void test_busy_breakers_come_first(void **state)
{
	struct bench *b = *state;
	struct ipc_probe probe;
	uint64_t seq, last_seq = 0;
	struct endpoint last = {0};
	struct watch *waiting;

	for (unsigned i = 0; i < N_WATCHES; i++)
		schedule_probe_in(b->schedule, b->watches[i], 0);
	while (next_probe(b, &probe, &seq)) {
		last = probe.endpoint;
		last_seq = seq;
	}
	waiting = find_waiting(b);
	waiting->breaker.history = 1;
	schedule_probe_in(b->schedule, waiting, 0);
	turn(b);
	answer(b, &last, last_seq);
	assert_true(next_probe(b, &probe, &seq));
	assert_int_equal(endpoint_compare(&probe.endpoint, &waiting->endpoint), 0);
}

static void test_slow_ones_hold_half_of_the_places(void **state)
{
	struct bench *b = *state;
	struct ipc_probe probe;
	struct watch *waiting;
	unsigned asked = 0;
	uint64_t seq;

	for (unsigned i = 0; i < N_WATCHES; i++) {
		b->watches[i]->slot.slow = true;
		schedule_probe_in(b->schedule, b->watches[i], 0);
	}
	while (next_probe(b, &probe, &seq))
		asked++;
	assert_int_equal(asked, 2);
	waiting = find_waiting(b);
	waiting->slot.slow = false;
	schedule_probe_in(b->schedule, waiting, 0);
	assert_true(next_probe(b, &probe, &seq));
	assert_int_equal(endpoint_compare(&probe.endpoint, &waiting->endpoint), 0);
}

static void test_death_alone_is_proof(void **state)
{
	struct bench *b = *state;
	struct ipc_probe probe;
	int64_t now = clock_monotonic_ms();
	uint64_t seq;

	schedule_probe_in(b->schedule, b->watches[3], 0);
	assert_true(next_probe(b, &probe, &seq));
	close(b->prober);
	turn(b);
	assert_int_equal(b->died, 1);
	assert_int_equal(b->died_alone, 1);
	assert_int_equal(b->gone, 1);
	assert_true(b->watches[3]->slot.quarantined);
	/* Not at once again: that would keep the prober dying. */
	assert_true(b->watches[3]->slot.next_probe_ms >= now + 20 * 1000);
	give_prober(b);
	assert_false(next_probe(b, &probe, &seq));
}

static void test_innocents_are_probed_alone_and_released(void **state)
{
	struct bench *b = *state;
	struct ipc_probe probe;
	struct schedule_stats stats;
	uint64_t seq;

	for (unsigned i = 0; i < 3; i++)
		schedule_probe_in(b->schedule, b->watches[i], 0);
	while (next_probe(b, &probe, &seq))
		;
	close(b->prober);
	turn(b);
	assert_int_equal(b->died, 3);
	assert_int_equal(b->died_alone, 0);
	give_prober(b);
	schedule_probe_in(b->schedule, b->watches[10], 0);
	for (unsigned i = 0; i < 3; i++) {
		struct ipc_probe other;
		uint64_t other_seq;

		assert_true(next_probe(b, &probe, &seq));
		/* Nothing else starts while one is probed alone. */
		assert_false(next_probe(b, &other, &other_seq));
		answer(b, &probe.endpoint, seq);
	}
	assert_int_equal(b->released, 3);
	schedule_get_stats(b->schedule, &stats);
	assert_int_equal(stats.quarantined, 0);
	assert_true(next_probe(b, &probe, &seq));
	assert_int_equal(endpoint_compare(&probe.endpoint, &b->watches[10]->endpoint), 0);
}

static void test_finding_about_another_endpoint_is_none(void **state)
{
	struct bench *b = *state;
	struct ipc_probe probe;
	uint64_t seq;

	schedule_probe_in(b->schedule, b->watches[0], 0);
	assert_true(next_probe(b, &probe, &seq));
	answer(b, &b->watches[1]->endpoint, seq);
	assert_int_equal(b->done, 1);
	assert_int_equal(b->done_without, 1);
}

static void test_garbage_from_the_prober_is_no_finding(void **state)
{
	struct bench *b = *state;
	struct ipc_probe probe;
	uint64_t seq;

	schedule_probe_in(b->schedule, b->watches[0], 0);
	assert_true(next_probe(b, &probe, &seq));
	assert_int_equal(frame_send(b->prober, IPC_PROBE_DONE, seq + 77, "{}", 2, -1), 0);
	assert_int_equal(frame_send(b->prober, 9999, seq, "x", 1, -1), 0);
	turn(b);
	assert_int_equal(b->done, 0);
	assert_int_equal(frame_send(b->prober, IPC_PROBE_DONE, seq, "{\"a\":", 5, -1), 0);
	turn(b);
	assert_int_equal(b->done_without, 1);
}

static void test_forgotten_watch_is_not_answered(void **state)
{
	struct bench *b = *state;
	struct ipc_probe probe;
	struct schedule_stats stats;
	uint64_t seq;

	schedule_probe_in(b->schedule, b->watches[0], 0);
	assert_true(next_probe(b, &probe, &seq));
	schedule_forget(b->schedule, b->watches[0]);
	answer(b, &probe.endpoint, seq);
	assert_int_equal(b->done, 0);
	schedule_get_stats(b->schedule, &stats);
	assert_int_equal(stats.in_flight, 0);
}

/* Answers every PING and no probe, until it is given up; false when it is not within a while. */
static bool answer_pings_only(struct bench *b)
{
	int64_t deadline = clock_monotonic_ms() + 15 * 1000;
	unsigned gone = b->gone;

	while (b->gone == gone && clock_monotonic_ms() < deadline) {
		struct pollfd wait = {.fd = b->prober, .events = POLLIN};

		schedule_ping(b->schedule);
		turn(b);
		poll(&wait, 1, 20);
		while (frame_recv(b->prober, &b->frame) == 1) {
			if (b->frame.type == IPC_PING)
				(void)frame_send(b->prober, IPC_PONG, b->frame.seq, NULL, 0, -1);
		}
	}
	return b->gone > gone;
}

static void test_prober_that_only_says_pong_is_given_up(void **state)
{
	struct bench *b = *state;
	struct schedule_stats stats;
	struct ipc_probe probe;
	uint64_t seq;

	schedule_configure(b->schedule, 4, 1);
	for (unsigned i = 0; i < 2; i++)
		schedule_probe_in(b->schedule, b->watches[i], 0);
	assert_true(answer_pings_only(b));
	assert_int_equal(b->blind, 2);
	assert_int_equal(b->again, 0);
	assert_int_equal(b->died, 2);
	schedule_get_stats(b->schedule, &stats);
	assert_true(stats.blind);
	assert_int_equal(stats.lost, 2);
	/* Another one that answers: all is well. */
	close(b->prober);
	give_prober(b);
	assert_true(next_probe(b, &probe, &seq));
	answer(b, &probe.endpoint, seq);
	schedule_get_stats(b->schedule, &stats);
	assert_false(stats.blind);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(test_never_more_than_concurrency, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(test_sockets_for_probes_from_inside, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(test_busy_breakers_come_first, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(test_slow_ones_hold_half_of_the_places, set_up,
	                                    tear_down),
	    cmocka_unit_test_setup_teardown(test_death_alone_is_proof, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(test_innocents_are_probed_alone_and_released, set_up,
	                                    tear_down),
	    cmocka_unit_test_setup_teardown(test_finding_about_another_endpoint_is_none, set_up,
	                                    tear_down),
	    cmocka_unit_test_setup_teardown(test_garbage_from_the_prober_is_no_finding, set_up,
	                                    tear_down),
	    cmocka_unit_test_setup_teardown(test_prober_that_only_says_pong_is_given_up, set_up,
	                                    tear_down),
	    cmocka_unit_test_setup_teardown(test_forgotten_watch_is_not_answered, set_up,
	                                    tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
