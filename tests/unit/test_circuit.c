/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/sender/circuit.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
/* cmocka.h wants the above */
#include <cmocka.h>

enum { NOW = 1000 * 1000 };

static const int64_t never_ms = INT64_MAX / 2;

static int64_t fail_once(struct circuit *c, uint32_t random)
{
	unsigned before = c->failures;

	assert_int_equal(circuit_note_failure(c), before + 1 == CIRCUIT_FAILURES);
	circuit_put_off(c, NOW, random, 0, never_ms);
	return c->not_before_ms - NOW;
}

/* Backoff while it may be a hiccup; then a rest, which is longer after each probe that failed. */
static void test_opens(void **state)
{
	static const int64_t longest_ms[] = {1000, 2000, 4000, 8000, 30000, 60000, 60000};
	struct circuit c = {0};

	(void)state;
	assert_int_equal(c.not_before_ms, 0);
	for (unsigned i = 0; i < sizeof(longest_ms) / sizeof(longest_ms[0]); i++) {
		assert_int_equal(circuit_is_open(&c), i >= CIRCUIT_FAILURES);
		assert_int_equal(fail_once(&c, UINT32_MAX), longest_ms[i]);
	}
	assert_int_equal(fail_once(&c, 0), 30000);
	c.failures = UINT32_MAX;
	assert_int_equal(fail_once(&c, UINT32_MAX / 2), 44999);
	assert_true(circuit_is_open(&c));
}

static void test_an_answer_closes(void **state)
{
	struct circuit c = {0};

	(void)state;
	assert_false(circuit_note_answer(&c));
	for (unsigned i = 1; i < CIRCUIT_FAILURES; i++)
		fail_once(&c, UINT32_MAX);
	assert_false(circuit_note_answer(&c));
	assert_int_equal(c.not_before_ms, 0);
	for (unsigned i = 0; i < CIRCUIT_FAILURES; i++)
		fail_once(&c, UINT32_MAX);
	assert_true(circuit_is_open(&c));
	assert_true(circuit_note_answer(&c));
	assert_false(circuit_is_open(&c));
	assert_int_equal(c.not_before_ms, 0);
	assert_int_equal(fail_once(&c, UINT32_MAX), 1000);
}

static void test_retry_after(void **state)
{
	struct circuit c = {.failures = 1};

	(void)state;
	circuit_put_off(&c, NOW, 0, 45000, never_ms);
	assert_int_equal(c.not_before_ms, NOW + 45000);
	c.failures = 20;
	circuit_put_off(&c, NOW, 0, 45000, never_ms);
	assert_int_equal(c.not_before_ms, NOW + 45000);
	circuit_put_off(&c, NOW, UINT32_MAX, 45000, never_ms);
	assert_int_equal(c.not_before_ms, NOW + 60000);
	/* Nobody puts us off for longer than ten minutes. */
	circuit_put_off(&c, NOW, 0, INT64_MAX, never_ms);
	assert_int_equal(c.not_before_ms, NOW + 600000);
	/* Nor do we come sooner, since an event's time is over. */
	circuit_put_off(&c, NOW, 0, 45000, NOW + 300);
	assert_int_equal(c.not_before_ms, NOW + 45000);
}

/* The last attempt for an event is made when its time is over, not some time before. */
static void test_the_end_of_an_event(void **state)
{
	struct circuit c = {.failures = 1};

	(void)state;
	circuit_put_off(&c, NOW, UINT32_MAX, 0, NOW + 300);
	assert_int_equal(c.not_before_ms, NOW + 300);
	circuit_put_off(&c, NOW, UINT32_MAX, 0, NOW - 300);
	assert_int_equal(c.not_before_ms, NOW);
	/* Of many that end one after the other, a dead sink is not asked for each. */
	c.failures = 20;
	circuit_put_off(&c, NOW, UINT32_MAX, 0, NOW + 300);
	assert_int_equal(c.not_before_ms, NOW + CIRCUIT_LEAST_OPEN_MS);
	circuit_put_off(&c, NOW, UINT32_MAX, 0, NOW - 300);
	assert_int_equal(c.not_before_ms, NOW + CIRCUIT_LEAST_OPEN_MS);
	circuit_put_off(&c, NOW, UINT32_MAX, 0, NOW + 20000);
	assert_int_equal(c.not_before_ms, NOW + 20000);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_opens),
	    cmocka_unit_test(test_an_answer_closes),
	    cmocka_unit_test(test_retry_after),
	    cmocka_unit_test(test_the_end_of_an_event),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
