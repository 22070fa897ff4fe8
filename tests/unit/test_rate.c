/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The rate's controller, against simulated networks. */
#include "scanner/discover/rate.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#define MS INT64_C(1000000)

/* What is between us and the canaries. */
struct network {
	double random_loss;
	double capacity_per_sec; /* 0: no limit */
	uint64_t state;
};

struct run {
	struct rate rate;
	struct network network;
	int64_t now_ns;
	uint64_t sent, drops;
	unsigned events[RATE_LOWERED_LOSS + 1];
};

static double next_random(uint64_t *state)
{
	*state = *state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
	return (double)(*state >> 33) / (double)(UINT64_C(1) << 31);
}

static double loss_at(const struct network *n, double rate)
{
	double through = 1 - n->random_loss;

	if (n->capacity_per_sec > 0 && rate > n->capacity_per_sec)
		through *= n->capacity_per_sec / rate;
	return 1 - through;
}

/* A sender that is able to send 400,000/s; one in a hundred packets is a canary. */
static void simulate(struct run *r, int64_t ms)
{
	for (int64_t i = 0; i < ms; i++) {
		double rate = r->rate.allowed_per_sec < 400000 ? r->rate.allowed_per_sec : 400000;
		int64_t asked_ns = r->now_ns;
		enum rate_event event;

		r->now_ns += MS;
		r->sent += (uint64_t)(rate / 1000);
		for (unsigned k = 0; k < (unsigned)(rate / 100000) + 1; k++)
			rate_learn(&r->rate, asked_ns,
			           next_random(&r->network.state) < loss_at(&r->network, rate));
		event = rate_turn(&r->rate, r->now_ns, r->sent, r->drops);
		r->events[event]++;
	}
}

static struct run begin(uint64_t ceiling, double random_loss, double capacity)
{
	struct run r = {.network = {random_loss, capacity, 1}, .now_ns = 1000 * MS};

	rate_init(&r.rate, ceiling, r.now_ns);
	return r;
}

static void test_starts_fast_without_a_ceiling(void **state)
{
	struct run r = begin(0, 0, 0);

	(void)state;
	simulate(&r, 200);
	assert_int_equal(rate_get(&r.rate), 0);
	simulate(&r, 5000);
	assert_int_equal(rate_get(&r.rate), 0);
}

static void test_keeps_below_the_ceiling(void **state)
{
	struct run r = begin(2000, 0, 0);

	(void)state;
	assert_int_equal(rate_get(&r.rate), 2000);
	simulate(&r, 5000);
	assert_int_equal(rate_get(&r.rate), 2000);
	r = begin(10, 0, 0);
	simulate(&r, 1000);
	assert_int_equal(rate_get(&r.rate), 10);
}

static void test_random_loss_does_not_slow_down(void **state)
{
	(void)state;
	for (uint64_t seed = 1; seed <= 20; seed++) {
		struct run r = begin(0, 0.04, 0);

		r.network.state = seed;
		simulate(&r, 10000);
		assert_true(r.events[RATE_LINK_LOSES] > 0);
		/* Chance may mislead it for a moment. */
		assert_true(r.rate.allowed_per_sec > 100000);
		assert_true(r.events[RATE_LOWERED_LOSS] <= 1);
	}
}

static void test_congestion_slows_down(void **state)
{
	static const double capacities[] = {20000, 50000, 150000};

	(void)state;
	for (unsigned i = 0; i < 3; i++) {
		struct run r = begin(0, 0, capacities[i]);

		simulate(&r, 20000);
		assert_true(r.events[RATE_LOWERED_LOSS] > 0);
		assert_true(r.rate.allowed_per_sec < 1.5 * capacities[i]);
		assert_true(r.rate.allowed_per_sec > 0.2 * capacities[i]);
	}
}

static void test_congestion_on_a_lossy_link(void **state)
{
	struct run r = begin(0, 0.02, 50000);

	(void)state;
	simulate(&r, 30000);
	assert_true(r.rate.allowed_per_sec < 100000);
	assert_true(r.rate.allowed_per_sec > 10000);
}

static void test_own_drops_slow_down_at_once(void **state)
{
	struct run r = begin(0, 0, 0);
	uint64_t before;

	(void)state;
	simulate(&r, 300);
	r.drops = 10;
	simulate(&r, 20);
	before = rate_get(&r.rate);
	assert_true(before > 0 && before <= 400000);
	assert_int_equal(r.events[RATE_LOWERED_DROPS], 1);
	simulate(&r, 2000); /* and it rises again */
	assert_true(rate_get(&r.rate) > before);
	for (unsigned i = 0; i < 100; i++) {
		r.drops++;
		simulate(&r, 200);
	}
	assert_true(rate_get(&r.rate) >= RATE_FLOOR_PER_SEC);
	assert_true(rate_get(&r.rate) < 10000);
}

static void test_an_old_canary_says_nothing(void **state)
{
	struct run r = begin(0, 0, 0);

	(void)state;
	simulate(&r, 50);
	for (unsigned i = 0; i < 1000; i++)
		rate_learn(&r.rate, 1, true);
	simulate(&r, 50);
	assert_int_equal(r.events[RATE_TRYING], 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_starts_fast_without_a_ceiling),
	    cmocka_unit_test(test_keeps_below_the_ceiling),
	    cmocka_unit_test(test_random_loss_does_not_slow_down),
	    cmocka_unit_test(test_congestion_slows_down),
	    cmocka_unit_test(test_congestion_on_a_lossy_link),
	    cmocka_unit_test(test_own_drops_slow_down_at_once),
	    cmocka_unit_test(test_an_old_canary_says_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
