/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "scanner/scan_pace.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static const int64_t second_ns = 1000000000;

static struct endpoint host(uint8_t last, uint16_t port)
{
	return (struct endpoint){.family = AF_INET, .port = port, .address = {10, 0, 0, last}};
}

static void test_no_limits(void **state)
{
	struct endpoint e = host(1, 80);
	struct scan_pace *p;

	(void)state;
	assert_int_equal(scan_pace_new(0, 0, 1, 0, &p), 0);
	for (int i = 0; i < 10000; i++) {
		assert_true(scan_pace_take(p, 0));
		assert_true(scan_pace_allows(p, &e, &e, 0));
	}
	assert_null(scan_pace_due(p, second_ns));
	assert_int_equal(scan_pace_wait_ns(p, 0), -1);
	scan_pace_free(p);
}

static void test_rate(void **state)
{
	struct scan_pace *p;
	unsigned taken = 0;
	int64_t now_ns = 0;

	(void)state;
	assert_int_equal(scan_pace_new(100, 0, 1, 0, &p), 0);
	while (now_ns < 10 * second_ns) {
		if (scan_pace_take(p, now_ns)) {
			taken++;
			continue;
		}
		assert_in_range(scan_pace_wait_ns(p, now_ns), 1, second_ns / 100);
		now_ns += scan_pace_wait_ns(p, now_ns);
	}
	assert_in_range(taken, 999, 1002);
	/* What was not used is there for the next. */
	now_ns += second_ns / 100;
	assert_true(scan_pace_take(p, now_ns));
	scan_pace_return(p);
	assert_true(scan_pace_take(p, now_ns));
	scan_pace_free(p);
}

/* One host's endpoints wait, another's do not; nobody is lost, nobody comes twice. */
static void test_hosts(void **state)
{
	struct endpoint a[3] = {host(1, 80), host(1, 81), host(1, 82)}, b = host(2, 80);
	struct endpoint *due;
	struct scan_pace *p;
	unsigned seen = 0;
	int64_t now_ns = 0;

	(void)state;
	assert_int_equal(scan_pace_new(0, 10, 1, 0, &p), 0);
	assert_true(scan_pace_allows(p, &a[0], &a[0], 0));
	assert_false(scan_pace_allows(p, &a[1], &a[1], 0));
	assert_false(scan_pace_allows(p, &a[2], &a[2], 0));
	assert_true(scan_pace_allows(p, &b, &b, 0));
	assert_null(scan_pace_due(p, 0));
	assert_int_equal(scan_pace_wait_ns(p, 0), second_ns / 10);
	while (seen < 2) {
		now_ns += second_ns / 100;
		assert_true(now_ns < second_ns);
		while ((due = scan_pace_due(p, now_ns)))
			seen += scan_pace_allows(p, due, due, now_ns);
	}
	assert_in_range(now_ns, 2 * second_ns / 10, 3 * second_ns / 10);
	assert_int_equal(scan_pace_wait_ns(p, now_ns), -1);
	scan_pace_free(p);
}

static void test_full(void **state)
{
	struct endpoint e = host(1, 80);
	unsigned waiting = 0;
	struct scan_pace *p;
	void *due;

	(void)state;
	assert_int_equal(scan_pace_new(0, 1, 1, 0, &p), 0);
	assert_true(scan_pace_allows(p, &e, &e, 0));
	while (!scan_pace_is_full(p)) {
		assert_false(scan_pace_allows(p, &e, &e, 0));
		waiting++;
	}
	while ((due = scan_pace_due(p, 3600 * second_ns))) {
		assert_ptr_equal(due, &e);
		waiting--;
	}
	assert_int_equal(waiting, 0);
	assert_false(scan_pace_is_full(p));
	scan_pace_free(p);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_no_limits),
	    cmocka_unit_test(test_rate),
	    cmocka_unit_test(test_hosts),
	    cmocka_unit_test(test_full),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
