/* SPDX-License-Identifier: GPL-2.0-or-later */
/* When a packet may go: the bucket, the hosts, what is put off. */
#include "scanner/discover/defer.h"
#include "scanner/discover/host_pace.h"
#include "scanner/discover/pacer.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
/* after what it needs */
#include <cmocka.h>

#define MS INT64_C(1000000)
#define S  INT64_C(1000000000)

static void test_pacer_without_limit(void **state)
{
	struct pacer p;

	(void)state;
	pacer_init(&p, 0, 5);
	assert_int_equal(pacer_take(&p, 5, 1000000), 1000000);
	assert_int_equal(pacer_wait_ns(&p), 0);
}

static void test_pacer_burst(void **state)
{
	const struct {
		uint64_t rate;
		unsigned burst;
	} cases[] = {{1, 1}, {99, 1}, {100, 1}, {2000, 20}, {102400, 1024}, {UINT64_MAX, 1024}};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct pacer p;

		pacer_init(&p, cases[i].rate, -7);
		assert_int_equal(pacer_take(&p, -7, 100000), cases[i].burst);
		assert_int_equal(pacer_take(&p, -7, 1), 0);
		assert_true(pacer_wait_ns(&p) > 0);
		/* A pause of a year is worth one burst, too. */
		assert_int_equal(pacer_take(&p, 365 * 86400 * S, 100000), cases[i].burst);
	}
}

/* Whoever waits as long as it says gets one token each time, and no rate drifts. */
static void test_pacer_is_exact(void **state)
{
	const uint64_t rates[] = {1, 3, 7, 2000, 333333, 1000000};

	(void)state;
	for (size_t i = 0; i < sizeof(rates) / sizeof(rates[0]); i++) {
		struct pacer p;
		int64_t now = 0;

		pacer_init(&p, rates[i], now);
		while (pacer_take(&p, now, 1))
			;
		for (unsigned n = 0; n < 1000; n++) {
			assert_int_equal(pacer_take(&p, now, 1), 0);
			now += pacer_wait_ns(&p);
			assert_int_equal(pacer_take(&p, now, 1), 1);
		}
		/* 1,000 tokens, within the last one's rounding */
		assert_true(now >= (int64_t)(1000 * (uint64_t)S / rates[i]));
		assert_true(now <= (int64_t)((1000 * (uint64_t)S + rates[i]) / rates[i] + 2));
	}
}

static void test_pacer_bound_holds_at_random_times(void **state)
{
	struct pacer p;
	int64_t now = 0;
	uint64_t given = 0;

	(void)state;
	srandom(1);
	pacer_init(&p, 12345, 0);
	for (unsigned n = 0; n < 100000; n++) {
		now += random() % 300000;
		given += pacer_take(&p, now, (unsigned)random() % 8);
		assert_true((double)given <= 12345.0 * (double)now / 1e9 + 123.0);
	}
	assert_true((double)given > 12345.0 * (double)now / 1e9 * 0.99);
}

static void test_pacer_clock_does_not_go_back(void **state)
{
	struct pacer p;

	(void)state;
	pacer_init(&p, 1000, 10 * S);
	assert_int_equal(pacer_take(&p, 10 * S, 100), 10);
	assert_int_equal(pacer_take(&p, 9 * S, 100), 0);
	assert_int_equal(pacer_take(&p, 10 * S + MS, 100), 1);
}

static void test_pacer_set_rate_and_return(void **state)
{
	struct pacer p;

	(void)state;
	pacer_init(&p, 10000, 0);
	pacer_set_rate(&p, 1000, 0);
	assert_int_equal(pacer_take(&p, 0, 1000), 10);
	pacer_return(&p, 4);
	assert_int_equal(pacer_take(&p, 0, 1000), 4);
	pacer_return(&p, 100000);
	assert_int_equal(pacer_take(&p, 0, 1000), 10);
	/* What came in at the old rate stays. */
	pacer_set_rate(&p, 1, 5 * MS);
	assert_int_equal(pacer_take(&p, 5 * MS, 1000), 1);
}

static struct endpoint host(uint32_t n, uint16_t port)
{
	struct endpoint e = {.family = AF_INET, .port = port};

	memcpy(e.address, &n, sizeof(n));
	return e;
}

static struct host_pace *hosts_new(uint64_t rate)
{
	struct host_pace *h = NULL;

	assert_int_equal(host_pace_new(rate, 42, &h), 0);
	return h;
}

static void test_host_pace_spaces_ports_of_a_host(void **state)
{
	struct host_pace *h = hosts_new(10);
	struct endpoint a = host(1, 80), b = host(1, 443), c = host(2, 80);

	(void)state;
	assert_int_equal(host_pace_ready(h, &a, S), 0);
	assert_int_equal(host_pace_ready(h, &b, S), 100 * MS);
	assert_int_equal(host_pace_ready(h, &b, S + 40 * MS), 60 * MS);
	assert_int_equal(host_pace_ready(h, &c, S + 40 * MS), 0);
	assert_int_equal(host_pace_ready(h, &b, S + 100 * MS), 0);
	assert_int_equal(host_pace_ready(h, &a, S + 100 * MS), 100 * MS);
	host_pace_free(h);
}

static void test_host_pace_knows_families_and_zones(void **state)
{
	struct host_pace *h = hosts_new(1);
	struct endpoint v4 = host(1, 80), v6 = v4, zone;

	(void)state;
	v6.family = AF_INET6;
	zone = v6;
	zone.scope_id = 3;
	assert_int_equal(host_pace_ready(h, &v4, 0), 0);
	assert_int_equal(host_pace_ready(h, &v6, 0), 0);
	assert_int_equal(host_pace_ready(h, &zone, 0), 0);
	assert_int_equal(host_pace_ready(h, &zone, 0), S);
	host_pace_free(h);
}

/* Never too early, and with the table half full, (almost) never too late either. */
static void test_host_pace_in_numbers(void **state)
{
	enum { HOSTS = 32768 };
	struct host_pace *h = hosts_new(1);
	unsigned waits = 0;

	(void)state;
	for (uint32_t n = 0; n < HOSTS; n++) {
		struct endpoint e = host(n, 80);

		waits += host_pace_ready(h, &e, 0) != 0;
	}
	assert_in_range(waits, 0, HOSTS / 50);
	for (uint32_t n = 0; n < HOSTS; n++) {
		struct endpoint e = host(n, 81);

		assert_true(host_pace_ready(h, &e, S - 1) > 0);
	}
	host_pace_free(h);
}

static void test_host_pace_refuses_no_rate(void **state)
{
	struct host_pace *h = NULL;

	(void)state;
	assert_int_equal(host_pace_new(0, 1, &h), -EINVAL);
	assert_null(h);
	h = hosts_new(UINT64_MAX);
	assert_int_equal(host_pace_ready(h, &(struct endpoint){.family = AF_INET}, 0), 0);
	host_pace_free(h);
}

static struct defer queue; /* 64 KB: not on the stack */

static void test_defer_gives_by_due_time(void **state)
{
	struct defer_item item = {0};
	int64_t last = 0;
	uint64_t sum = 0;

	(void)state;
	queue.count = 0;
	srandom(7);
	assert_int_equal(defer_due_ns(&queue), INT64_MAX);
	for (uint32_t n = 0; n < DEFER_MAX; n++) {
		item = (struct defer_item){.due_ns = random() % 1000, .slot = n % 8, .offset = n};
		assert_true(defer_push(&queue, &item));
	}
	assert_false(defer_push(&queue, &item));
	for (int64_t now = 0; now < 1000; now += 10) {
		while (defer_pop(&queue, now, &item)) {
			assert_true(item.due_ns <= now && item.due_ns >= last);
			assert_int_equal(item.slot, item.offset % 8);
			last = item.due_ns;
			sum += item.offset;
		}
		assert_true(defer_due_ns(&queue) > now);
	}
	while (defer_pop(&queue, 1000, &item))
		sum += item.offset;
	assert_int_equal(queue.count, 0);
	assert_int_equal(sum, (uint64_t)DEFER_MAX * (DEFER_MAX - 1) / 2);
}

static void test_defer_takes_again_what_came_out(void **state)
{
	struct defer_item item = {0};

	(void)state;
	queue.count = 0;
	for (int64_t n = 0; n < 100; n++) {
		item.due_ns = n;
		assert_true(defer_push(&queue, &item));
	}
	for (int64_t n = 0; n < 1000; n++) {
		assert_int_equal(defer_due_ns(&queue), n);
		assert_false(defer_pop(&queue, n - 1, &item));
		assert_true(defer_pop(&queue, n, &item));
		item.due_ns = n + 100;
		assert_true(defer_push(&queue, &item));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_pacer_without_limit),
	    cmocka_unit_test(test_pacer_burst),
	    cmocka_unit_test(test_pacer_is_exact),
	    cmocka_unit_test(test_pacer_bound_holds_at_random_times),
	    cmocka_unit_test(test_pacer_clock_does_not_go_back),
	    cmocka_unit_test(test_pacer_set_rate_and_return),
	    cmocka_unit_test(test_host_pace_spaces_ports_of_a_host),
	    cmocka_unit_test(test_host_pace_knows_families_and_zones),
	    cmocka_unit_test(test_host_pace_in_numbers),
	    cmocka_unit_test(test_host_pace_refuses_no_rate),
	    cmocka_unit_test(test_defer_gives_by_due_time),
	    cmocka_unit_test(test_defer_takes_again_what_came_out),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
