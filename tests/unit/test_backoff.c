/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/sender/backoff.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka.h wants the above */
#include <cmocka.h>

/* The span doubles from a second to the cap, and stays there however often it failed. */
static void test_span(void **state)
{
	static const int64_t spans_ms[] = {1000, 2000, 4000, 8000, 16000, 32000, 60000, 60000};

	(void)state;
	for (unsigned i = 0; i < sizeof(spans_ms) / sizeof(spans_ms[0]); i++) {
		assert_int_equal(backoff_next_ms(i + 1, UINT32_MAX, 0), spans_ms[i]);
		assert_int_equal(backoff_next_ms(i + 1, 0, 0), 0);
	}
	assert_int_equal(backoff_next_ms(1000000, UINT32_MAX, 0), 60000);
	assert_int_equal(backoff_next_ms(UINT32_MAX, UINT32_MAX, 0), 60000);
}

static void test_full_jitter(void **state)
{
	int64_t last_ms = -1;

	(void)state;
	for (uint64_t random = 0; random <= UINT32_MAX; random += UINT32_MAX / 8) {
		int64_t wait_ms = backoff_next_ms(4, (uint32_t)random, 0);

		assert_true(wait_ms > last_ms && wait_ms <= 8000);
		last_ms = wait_ms;
	}
	assert_int_equal(backoff_next_ms(4, UINT32_MAX / 2, 0), 3999);
}

static void test_retry_after(void **state)
{
	(void)state;
	assert_int_equal(backoff_next_ms(1, 0, 30000), 30000);
	assert_int_equal(backoff_next_ms(1, UINT32_MAX, 30000), 30000);
	/* A shorter one does not make us faster. */
	assert_int_equal(backoff_next_ms(4, UINT32_MAX, 2000), 8000);
	assert_int_equal(backoff_next_ms(1, UINT32_MAX, -5), 1000);
	/* Nobody puts us off for longer than ten minutes. */
	assert_int_equal(backoff_next_ms(1, 0, INT64_MAX), 600000);
}

static void test_statuses(void **state)
{
	static const int retried[] = {0, 100, 199, 408, 425, 429, 500, 502, 503, 504, 599, 999};
	static const int refused[] = {300, 301, 302, 307, 308, 400, 401, 403, 404, 410, 413, 422};

	(void)state;
	for (int status = 200; status < 300; status++)
		assert_int_equal(backoff_judge_status(status), BACKOFF_DELIVERED);
	for (unsigned i = 0; i < sizeof(retried) / sizeof(retried[0]); i++)
		assert_int_equal(backoff_judge_status(retried[i]), BACKOFF_RETRY);
	for (unsigned i = 0; i < sizeof(refused) / sizeof(refused[0]); i++)
		assert_int_equal(backoff_judge_status(refused[i]), BACKOFF_REFUSED);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_span),
	    cmocka_unit_test(test_full_jitter),
	    cmocka_unit_test(test_retry_after),
	    cmocka_unit_test(test_statuses),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
