/* SPDX-License-Identifier: GPL-2.0-or-later */
/* How a SYN sweep judges: loss and rounds, round-trip times, canaries, the bits of a window. */
#include "scanner/discover/canary.h"
#include "scanner/discover/rtt.h"
#include "scanner/discover/syn_plan.h"
#include "scanner/discover/syn_window.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#define MS INT64_C(1000000)

static struct syn_evidence lossless(void)
{
	return (struct syn_evidence){.retries = -1,
	                             .rounds = 1,
	                             .silent = 65536,
	                             .open = 200,
	                             .known = 65536,
	                             .asked = 1000,
	                             .all_asked = 2000};
}

static void test_a_sample_is_enough_without_loss(void **state)
{
	struct syn_evidence e = lossless();

	(void)state;
	assert_int_equal(syn_plan_next(&e), SYN_STEP_SAMPLE);
	assert_int_equal(syn_plan_sample(e.silent), 1024);
	assert_int_equal(syn_plan_sample(1000), SYN_PLAN_SAMPLE_MIN);
	assert_int_equal(syn_plan_sample(10), 10);
	e.sampled = true;
	assert_int_equal(syn_plan_next(&e), SYN_STEP_CLOSE);
	e.sample_answers = 1;
	assert_int_equal(syn_plan_next(&e), SYN_STEP_ROUND);
	e.rounds = 2;
	assert_int_equal(syn_plan_next(&e), SYN_STEP_CLOSE);
	e = lossless();
	e.silent = 0;
	assert_int_equal(syn_plan_next(&e), SYN_STEP_CLOSE);
	e = lossless();
	e.drops = 1;
	assert_int_equal(syn_plan_next(&e), SYN_STEP_ROUND);
}

/* 4% there and back of 200 open ports: after k rounds 200 * 0.04^k are left. */
static void test_loss_asks_for_rounds(void **state)
{
	struct syn_evidence e = lossless();

	(void)state;
	e.all_asked = 100000;
	e.all_lost = 4000;
	e.asked = 0;
	for (e.rounds = 1; e.rounds < 4; e.rounds++)
		assert_int_equal(syn_plan_next(&e), SYN_STEP_ROUND);
	assert_int_equal(syn_plan_next(&e), SYN_STEP_CLOSE);
	e.all_lost = 50; /* 0.05% */
	e.rounds = 1;
	assert_int_equal(syn_plan_next(&e), SYN_STEP_ROUND);
	e.rounds = 2;
	assert_int_equal(syn_plan_next(&e), SYN_STEP_CLOSE);
	e.all_lost = 90000;
	assert_int_equal(syn_plan_next(&e), SYN_STEP_ROUND);
	e.rounds = SYN_PLAN_ROUNDS_MAX;
	assert_int_equal(syn_plan_next(&e), SYN_STEP_CLOSE);
}

static void test_without_evidence_all_are_asked_twice(void **state)
{
	struct syn_evidence e = {.retries = -1, .rounds = 1, .silent = 1000};

	(void)state;
	assert_true(syn_plan_loss(&e) < 0);
	assert_int_equal(syn_plan_next(&e), SYN_STEP_ROUND);
	e.canaries_left = true;
	assert_int_equal(syn_plan_next(&e), SYN_STEP_CANARIES);
	e.canaries_left = false;
	e.rounds = 2;
	assert_int_equal(syn_plan_next(&e), SYN_STEP_CLOSE);
}

static void test_retries_can_be_fixed(void **state)
{
	struct syn_evidence e = lossless();

	(void)state;
	e.retries = 0;
	e.all_lost = 1000;
	assert_int_equal(syn_plan_next(&e), SYN_STEP_CLOSE);
	e.retries = 2;
	e.all_lost = 0;
	assert_int_equal(syn_plan_next(&e), SYN_STEP_ROUND);
	e.rounds = 3;
	assert_int_equal(syn_plan_next(&e), SYN_STEP_CLOSE);
}

static void test_waits_by_round_trip_times(void **state)
{
	struct rtt r = {0};

	(void)state;
	assert_int_equal(rtt_wait_ns(&r, 1000 * MS), 1000 * MS);
	for (unsigned i = 0; i < 1000; i++)
		rtt_learn(&r, 200);
	assert_int_equal(rtt_wait_ns(&r, 1000 * MS), 100 * MS);
	for (unsigned i = 0; i < 1000; i++)
		rtt_learn(&r, 150000);
	assert_true(rtt_wait_ns(&r, 10000 * MS) >= 450 * MS);
	assert_true(rtt_wait_ns(&r, 10000 * MS) <= 600 * MS);
	assert_int_equal(rtt_wait_ns(&r, 300 * MS), 300 * MS);
	rtt_learn(&r, -1);
	for (int64_t us = 0; us < INT64_C(1) << 40; us = us * 5 / 4 + 1) {
		struct rtt one = {0};

		rtt_learn(&one, us);
		if (us < 60000000) {
			assert_true(rtt_quantile_us(&one, 990) > us);
			assert_true(rtt_quantile_us(&one, 990) <= us * 5 / 4 + 1);
		}
	}
	for (unsigned i = 0; i < 200000; i++) /* old ones are forgotten */
		rtt_learn(&r, 1000);
	assert_int_equal(rtt_wait_ns(&r, 10000 * MS), 100 * MS);
}

static struct endpoint host(unsigned n, uint16_t port)
{
	return (struct endpoint){
	    .family = AF_INET, .port = port, .address = {10, 0, (uint8_t)(n >> 8), (uint8_t)n}};
}

static void test_canaries_answer_or_are_lost(void **state)
{
	struct siphash_key key = {1, 2};
	struct canaries *c = canary_new(&key);
	struct endpoint a = host(1, 80), b = host(1, 81), e;
	struct canary_outcome o;
	unsigned serial;
	bool late;

	(void)state;
	assert_non_null(c);
	assert_false(canary_ask(c, 0, 7, false, &e, &serial));
	canary_learn(c, &a, false);
	canary_learn(c, &b, true); /* open, and of the same host: it replaces the closed one */
	canary_learn(c, &a, false);
	assert_true(canary_ask(c, 0, 7, false, &e, &serial));
	assert_int_equal(endpoint_compare(&e, &b), 0);
	assert_false(canary_ask(c, 0, 7, false, &e, &serial));
	assert_int_equal(canary_oldest_ns(c), 0);
	assert_int_equal(canary_answer(c, &a, serial, 5, &late, &o), -1);
	assert_int_equal(canary_answer(c, &b, serial + 1, 5, &late, &o), -1);
	assert_int_equal(canary_answer(c, &b, serial, 5, &late, &o), 5);
	assert_false(late);
	assert_int_equal(canary_answer(c, &b, serial, 6, &late, &o), -1); /* a duplicate */
	assert_false(canary_judge(c, 99, 100, &o));
	assert_true(canary_judge(c, 100, 100, &o));
	assert_true(!o.lost && o.tag == 7 && o.asked_ns == 0);
	assert_int_equal(canary_oldest_ns(c), -1);

	assert_true(canary_ask(c, 200, 8, false, &e, &serial));
	assert_true(canary_judge(c, 300, 100, &o));
	assert_true(o.lost && o.tag == 8);
	assert_int_equal(canary_answer(c, &b, serial, 310, &late, &o), 110);
	assert_true(late && !o.lost && o.tag == 8);

	assert_true(canary_ask(c, 400, 9, false, &e, &serial));
	canary_cancel(c);
	assert_false(canary_judge(c, 900, 100, &o));
	canary_free(c);
}

static void test_dead_and_spared_canaries(void **state)
{
	struct siphash_key key = {1, 2};
	struct canaries *c = canary_new(&key);
	struct endpoint a = host(1, 80), e;
	struct canary_outcome o;
	unsigned serial, asked = 0;
	bool late;

	(void)state;
	canary_learn(c, &a, true);
	while (canary_ask(c, 0, 1, true, &e, &serial)) {
		asked++;
		canary_answer(c, &a, serial, 0, &late, &o);
		assert_true(canary_judge(c, 1, 1, &o));
	}
	assert_int_equal(asked, CANARY_ASKED_MAX);
	for (asked = 0; canary_ask(c, 0, 1, false, &e, &serial); asked++)
		assert_true(canary_judge(c, 1, 1, &o));
	assert_int_equal(asked, 4);
	for (unsigned i = 0; i < 20000; i++) {
		e = host(i, 80);
		canary_learn(c, &e, true);
	}
	for (asked = 0; canary_ask(c, 0, 1, false, &e, &serial); asked++)
		;
	assert_int_equal(asked, CANARY_MAX);
	canary_free(c);
}

static void test_a_window_sends_each_once(void **state)
{
	struct discover_window w = {.count = 1000};
	struct syn_window *s = calloc(1, sizeof(*s));
	uint32_t n = 0, picked = 0, offset;

	(void)state;
	assert_non_null(s);
	syn_window_begin(s, &w, 1, 0);
	assert_ptr_equal(w.engine, s);
	while ((offset = syn_window_next(s)) != SYN_WINDOW_END) {
		assert_int_equal(offset, n);
		syn_window_stamp(s, offset, n * MS);
		if (n++ % 10 == 3)
			syn_window_defer(s, offset);
		else
			syn_window_done(s, offset);
	}
	assert_int_equal(n, 1000);
	assert_int_equal(s->deferred, 100);
	syn_window_restart(s, 5);
	for (n = 0; (offset = syn_window_next(s)) != SYN_WINDOW_END; n++) {
		assert_int_equal(offset % 10, 3);
		syn_window_done(s, offset);
	}
	assert_int_equal(n, 100);

	for (offset = 0; offset < 1000; offset += 2) {
		assert_true(syn_window_know(s, offset));
		assert_false(syn_window_know(s, offset));
	}
	assert_int_equal(syn_window_silent(s), 500);
	syn_window_begin_sample(s, 100, 500, 12345);
	while ((offset = syn_window_next(s)) != SYN_WINDOW_END) {
		assert_true(offset % 2 == 1 && offset < 512);
		syn_window_done(s, offset);
		picked++;
	}
	assert_in_range(picked, 20, 100);
	syn_window_begin_round(s);
	for (n = 0; (offset = syn_window_next(s)) != SYN_WINDOW_END; n++)
		syn_window_done(s, offset);
	assert_int_equal(n, 500);
	assert_int_equal(s->rounds, 2);
	free(s);
}

static void test_a_window_knows_when_it_sent(void **state)
{
	struct discover_window w = {.count = 1000};
	struct syn_window *s = calloc(1, sizeof(*s));

	(void)state;
	assert_non_null(s);
	syn_window_begin(s, &w, 1, 1000 * MS);
	for (uint32_t i = 0; i < 1000; i++)
		syn_window_stamp(s, i, (1000 + i) * MS);
	for (uint32_t i = 0; i < 960; i += 7) /* the last run's end is not known */
		assert_in_range(syn_window_age_us(s, i, 2000 * MS), (1000 - i) * 1000 - 2000,
		                (1000 - i) * 1000 + 2000);
	assert_int_equal(syn_window_sent_before(s, 1000 * MS), 0);
	assert_in_range(syn_window_sent_before(s, 1500 * MS), 400, 500);
	free(s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_a_sample_is_enough_without_loss),
	    cmocka_unit_test(test_loss_asks_for_rounds),
	    cmocka_unit_test(test_without_evidence_all_are_asked_twice),
	    cmocka_unit_test(test_retries_can_be_fixed),
	    cmocka_unit_test(test_waits_by_round_trip_times),
	    cmocka_unit_test(test_canaries_answer_or_are_lost),
	    cmocka_unit_test(test_dead_and_spared_canaries),
	    cmocka_unit_test(test_a_window_sends_each_once),
	    cmocka_unit_test(test_a_window_knows_when_it_sent),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
