/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/firewall/heartbeat.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

static void test_asks_one_question_at_a_time(void **state)
{
	struct heartbeat h = {0};

	(void)state;
	assert_int_equal(heartbeat_step(&h, 5000), HEARTBEAT_ASK);
	assert_int_equal(h.seq, 1);
	assert_int_equal(heartbeat_step(&h, 5000), HEARTBEAT_WAIT);
	assert_int_equal(heartbeat_wake_ms(&h), 5000 + HEARTBEAT_DEAF_MS);
	assert_false(heartbeat_hear(&h, 1, 5010));
	assert_int_equal(heartbeat_step(&h, 5010), HEARTBEAT_WAIT);
	assert_int_equal(heartbeat_wake_ms(&h), 5010 + HEARTBEAT_EVERY_MS);
	assert_int_equal(heartbeat_step(&h, 5010 + HEARTBEAT_EVERY_MS), HEARTBEAT_ASK);
	assert_int_equal(h.seq, 2);
}

static void test_silence_is_told_once_and_ends_with_an_answer(void **state)
{
	struct heartbeat h = {0};

	(void)state;
	assert_int_equal(heartbeat_step(&h, 1), HEARTBEAT_ASK);
	assert_int_equal(heartbeat_step(&h, HEARTBEAT_DEAF_MS), HEARTBEAT_WAIT);
	assert_int_equal(heartbeat_step(&h, 1 + HEARTBEAT_DEAF_MS), HEARTBEAT_DEAF);
	assert_int_equal(heartbeat_step(&h, 1 + HEARTBEAT_DEAF_MS), HEARTBEAT_WAIT);
	assert_int_equal(heartbeat_wake_ms(&h), 1 + HEARTBEAT_RESTART_MS);
	assert_int_equal(heartbeat_step(&h, 1 + HEARTBEAT_RESTART_MS), HEARTBEAT_RESTART);
	assert_int_equal(heartbeat_step(&h, 1 + HEARTBEAT_RESTART_MS), HEARTBEAT_WAIT);
	assert_true(heartbeat_wake_ms(&h) == INT64_MAX);
	assert_true(heartbeat_hear(&h, 1, 20000));
	assert_false(h.deaf);
	assert_int_equal(heartbeat_step(&h, 20000), HEARTBEAT_WAIT);
	assert_int_equal(heartbeat_step(&h, 20000 + HEARTBEAT_EVERY_MS), HEARTBEAT_ASK);
}

static void test_answers_to_nothing_are_none(void **state)
{
	struct heartbeat h = {0};

	(void)state;
	assert_false(heartbeat_hear(&h, 0, 1));
	assert_int_equal(heartbeat_step(&h, 1), HEARTBEAT_ASK);
	assert_false(heartbeat_hear(&h, 2, 2));
	assert_int_equal(heartbeat_step(&h, 1 + HEARTBEAT_DEAF_MS), HEARTBEAT_DEAF);
	assert_false(heartbeat_hear(&h, 0, 3000));
	assert_true(h.deaf);
}

/* Stopped at the worst moment, it is found within two seconds. */
static void test_two_seconds_are_enough(void **state)
{
	(void)state;
	assert_true(HEARTBEAT_EVERY_MS + HEARTBEAT_DEAF_MS < 2000);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_asks_one_question_at_a_time),
	    cmocka_unit_test(test_silence_is_told_once_and_ends_with_an_answer),
	    cmocka_unit_test(test_answers_to_nothing_are_none),
	    cmocka_unit_test(test_two_seconds_are_enough),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
