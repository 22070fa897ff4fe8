/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "scanner/sweep/order.h"

#include "common/cleanup.h"
#include "scanner/sweep/space.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#define POWER(n) (UINT64_C(1) << (n))

/* Any generator does; a fixed seed makes failures repeat. */
static uint64_t next_random(uint64_t *state)
{
	*state ^= *state << 13;
	*state ^= *state >> 7;
	*state ^= *state << 17;
	return *state;
}

static void assert_bijection(uint64_t size, uint64_t seed)
{
	auto_free uint8_t *seen = calloc(size, 1);
	struct sweep_order o;

	assert_non_null(seen);
	sweep_order_init(&o, size, seed);
	for (uint64_t p = 0; p < size; p++) {
		uint64_t index = sweep_order_at(&o, p);

		if (index >= size || seen[index] || sweep_order_position(&o, index) != p)
			fail_msg("size %ju seed %ju position %ju: index %ju", (uintmax_t)size,
			         (uintmax_t)seed, (uintmax_t)p, (uintmax_t)index);
		seen[index] = 1;
	}
	for (uint64_t p = size; p < size + 5; p++) {
		assert_int_equal(sweep_order_at(&o, p), p);
		assert_int_equal(sweep_order_position(&o, p), p);
	}
}

static void test_is_a_bijection(void **state)
{
	static const uint64_t sizes[] = {65535,  65536,  65537,   655360,  999979,
	                                 999983, 999999, 1000003, 1000033, 1048577};

	(void)state;
	for (uint64_t size = 1; size <= 1100; size++)
		assert_bijection(size, size);
	for (uint64_t seed = 0; seed < 300; seed++) {
		for (uint64_t size = 1; size <= 5; size++)
			assert_bijection(size, seed);
	}
	for (size_t i = 0; i < ARRAY_LEN(sizes); i++) {
		assert_bijection(sizes[i], 0);
		assert_bijection(sizes[i], UINT64_MAX);
	}
}

static void test_inverts_at_large_sizes(void **state)
{
	static const uint64_t sizes[] = {
	    POWER(24) * 30, POWER(29) * 30, POWER(32) * 65535, POWER(32) - 1,    POWER(32),
	    POWER(32) + 1,  POWER(40),      POWER(61) + 1,     POWER(62) - 1,    POWER(62),
	    POWER(62) + 1,  POWER(63) - 1,  POWER(63),         999999999999989U,
	};
	uint64_t random = 88172645463325252U;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(sizes); i++) {
		struct sweep_order o;

		sweep_order_init(&o, sizes[i], i);
		for (unsigned n = 0; n < 50000; n++) {
			uint64_t place = n < 100   ? n
			                 : n < 200 ? sizes[i] - (n - 99)
			                           : next_random(&random) % sizes[i];
			uint64_t index = sweep_order_at(&o, place);
			uint64_t position = sweep_order_position(&o, place);

			assert_true(index < sizes[i] && position < sizes[i]);
			assert_true(sweep_order_position(&o, index) == place);
			assert_true(sweep_order_at(&o, position) == place);
		}
	}
}

static void test_size_zero_is_one(void **state)
{
	struct sweep_order o;

	(void)state;
	sweep_order_init(&o, 0, 7);
	assert_int_equal(sweep_order_at(&o, 0), 0);
	assert_int_equal(sweep_order_position(&o, 0), 0);
}

/* Shards on other machines and files to resume from have these numbers in them. */
static void test_stays_the_same(void **state)
{
	static const struct {
		uint64_t size, seed, position, index;
	} known[] = {
	    {5U, 1U, 0U, 0U},
	    {655360U, 0U, 0U, 546175U},
	    {655360U, 1U, 1U, 233274U},
	    {655360U, 20260U, 655359U, 67104U},
	    {1000003U, 42U, 500000U, 514536U},
	    {503316480U, 42U, 7U, 494618704U},
	    {1099511627776U, 42U, 1U, 50412751166U},
	    {4611686018427387904U, 18446744073709551615U, 4611686018427387903U,
	     3279193047839486102U},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(known); i++) {
		struct sweep_order o;

		sweep_order_init(&o, known[i].size, known[i].seed);
		assert_int_equal(sweep_order_at(&o, known[i].position), known[i].index);
	}
}

/* Two random orders of n agree at one position on average, whatever n is. */
static void test_seeds_differ(void **state)
{
	const uint64_t size = 65536;
	unsigned agreements = 0, pairs = 0;

	(void)state;
	for (uint64_t a = 0; a < 8; a++) {
		for (uint64_t b = a + 1; b <= 8; b++, pairs++) {
			struct sweep_order left, right;

			sweep_order_init(&left, size, a);
			sweep_order_init(&right, size, b);
			for (uint64_t p = 0; p < size; p++)
				agreements += sweep_order_at(&left, p) == sweep_order_at(&right, p);
		}
	}
	assert_int_equal(pairs, 36);
	assert_in_range(agreements, 36 - 24, 36 + 24); /* four sigma of a Poisson */
}

/* All six orders of three come up, none of them rarely. */
static void test_small_orders_vary(void **state)
{
	unsigned counts[27] = {0}, found = 0;

	(void)state;
	for (uint64_t seed = 0; seed < 6000; seed++) {
		struct sweep_order o;

		sweep_order_init(&o, 3, seed);
		counts[sweep_order_at(&o, 0) * 9 + sweep_order_at(&o, 1) * 3 +
		       sweep_order_at(&o, 2)]++;
	}
	for (size_t i = 0; i < ARRAY_LEN(counts); i++) {
		if (counts[i] == 0)
			continue;
		assert_in_range(counts[i], 500, 1500);
		found++;
	}
	assert_int_equal(found, 6);
}

static double chi_square(const unsigned *counts, size_t n, double expected)
{
	double sum = 0;

	for (size_t i = 0; i < n; i++)
		sum += ((double)counts[i] - expected) * ((double)counts[i] - expected) / expected;
	return sum;
}

/*
 * Of 255 degrees of freedom: mean 255, sigma 22.6; six sigma either way. The values are those of
 * fixed seeds, so that this fails when the order gets worse and not by chance.
 */
static void assert_even(const unsigned counts[static 256], double expected)
{
	double chi = chi_square(counts, 256, expected);

	if (chi > 255 + 136 || chi < 255 - 136)
		fail_msg("chi square of 256 classes is %.0f", chi);
}

/* Where the first part of an order lies, and how far its steps go, is even. */
static void test_spreads_evenly(void **state)
{
	static const uint64_t sizes[] = {655360, 1000003, POWER(29), POWER(24) * 30, POWER(62)};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(sizes); i++) {
		for (uint64_t seed = 1; seed <= 3; seed++) {
			unsigned places[256] = {0}, steps[256] = {0};
			const uint64_t width = sizes[i] / 256 + 1;
			struct sweep_order o;
			uint64_t before;

			sweep_order_init(&o, sizes[i], seed);
			before = sweep_order_at(&o, 0);
			for (uint64_t p = 1; p <= 25600; p++) {
				uint64_t index = sweep_order_at(&o, p);
				uint64_t step =
				    index >= before ? index - before : index + sizes[i] - before;

				places[index / width]++;
				steps[step / width]++;
				before = index;
			}
			assert_even(places, 100);
			assert_even(steps, 100);
		}
	}
}

/* What the target side sees of a /16 on ten ports. */
struct load {
	unsigned of_network[256];
	unsigned of_host[65536];
};

static void test_hammers_no_host_or_network(void **state)
{
	static const uint16_t ports[] = {6060, 8080, 8000, 3000, 9000,
	                                 9090, 9100, 2379, 8086, 8500};
	struct sweep_span span = {.prefix = {AF_INET, 16, {10, 77}}};
	auto_free struct load *load = calloc(1, sizeof(*load));
	unsigned same_network = 0, same_host = 0, worst_network = 0, worst_host = 0;
	struct sweep_space *space = NULL;
	struct endpoint e, before = {0};
	struct sweep_order o;
	uint32_t token;

	(void)state;
	assert_non_null(load);
	assert_int_equal(sweep_space_new(&span, 1, ports, ARRAY_LEN(ports), &space), 0);
	assert_int_equal(sweep_space_size(space), 655360);
	sweep_order_init(&o, 655360, 20260);
	for (uint64_t p = 0; p < 655360; p++) {
		unsigned host;

		if (p % 256 == 0)
			memset(load, 0, sizeof(*load));
		assert_true(sweep_space_at(space, sweep_order_at(&o, p), &e, &token));
		same_network += memcmp(e.address, before.address, 3) == 0;
		same_host += memcmp(e.address, before.address, 4) == 0;
		before = e;
		host = e.address[2] * 256U + e.address[3];
		if (++load->of_network[e.address[2]] > worst_network)
			worst_network = load->of_network[e.address[2]];
		if (++load->of_host[host] > worst_host)
			worst_host = load->of_host[host];
	}
	sweep_space_free(space);
	/* One in 256 by chance, 2,560: 50 is a sigma. One in 65,536: 10. */
	assert_in_range(same_network, 2360, 2760);
	assert_in_range(same_host, 0, 25);
	/* Of any 256 packets that follow each other, to one /24 and to one host. */
	assert_in_range(worst_network, 2, 11);
	assert_in_range(worst_host, 1, 4);
}

static void assert_shards(uint64_t size, uint32_t count)
{
	auto_free uint8_t *seen = calloc(size, 1);
	uint64_t total = 0;

	assert_non_null(seen);
	for (uint32_t index = 0; index < count; index++) {
		const struct sweep_shard shard = {index, count};
		uint64_t own = sweep_shard_size(&shard, size);

		assert_in_range(own, size / count, size / count + 1);
		total += own;
		for (uint64_t i = 0; i < own; i++) {
			uint64_t p = sweep_shard_position(&shard, i);
			uint64_t back = UINT64_MAX;

			assert_true(p < size && !seen[p]);
			seen[p] = 1;
			assert_true(sweep_shard_find(&shard, p, &back) && back == i);
			for (uint32_t other = 0; other < count; other++)
				assert_int_equal(
				    sweep_shard_find(&(struct sweep_shard){other, count}, p, &back),
				    other == index);
		}
		assert_true(sweep_shard_position(&shard, own) >= size);
	}
	assert_int_equal(total, size);
	assert_null(memchr(seen, 0, size));
}

static void test_shards_are_disjoint_and_complete(void **state)
{
	static const uint64_t sizes[] = {1,  2,   3,   5,   7,   15,   16,  17,
	                                 18, 255, 256, 257, 289, 1009, 4099};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(sizes); i++) {
		for (uint32_t count = 1; count <= 17; count++)
			assert_shards(sizes[i], count);
	}
	assert_shards(65537, 17);
	assert_shards(65535, 16);
}

static void test_shards_at_the_limits(void **state)
{
	const struct sweep_shard last = {UINT32_MAX - 1, UINT32_MAX};
	const struct sweep_shard none = {0, 0};
	uint64_t i, size = sweep_shard_size(&last, POWER(63));

	(void)state;
	assert_true(sweep_shard_position(&last, size - 1) < POWER(63));
	assert_true(sweep_shard_position(&last, size) >= POWER(63));
	assert_int_equal(sweep_shard_size(&last, 5), 0);
	assert_int_equal(sweep_shard_size(&last, 0), 0);

	assert_int_equal(sweep_shard_size(&none, 12345), 12345);
	assert_int_equal(sweep_shard_position(&none, 12344), 12344);
	assert_true(sweep_shard_find(&none, 77, &i));
	assert_int_equal(i, 77);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_is_a_bijection),
	    cmocka_unit_test(test_inverts_at_large_sizes),
	    cmocka_unit_test(test_size_zero_is_one),
	    cmocka_unit_test(test_stays_the_same),
	    cmocka_unit_test(test_seeds_differ),
	    cmocka_unit_test(test_small_orders_vary),
	    cmocka_unit_test(test_spreads_evenly),
	    cmocka_unit_test(test_hammers_no_host_or_network),
	    cmocka_unit_test(test_shards_are_disjoint_and_complete),
	    cmocka_unit_test(test_shards_at_the_limits),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
