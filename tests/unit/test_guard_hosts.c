/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "scanner/guard_hosts.h"

#include "common/cleanup.h"

#include <string.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

AUTO_CLEANUP(hosts, struct guard_hosts *, guard_hosts_free)
#define auto_hosts __attribute__((cleanup(cleanup_hosts)))

static const struct siphash_key key = {0x0706050403020100, 0x0f0e0d0c0b0a0908};
static const uint16_t ten[] = {6060, 8080, 8000, 3000, 9000, 9090, 9100, 2379, 8086, 8500};

static struct endpoint at(const char *text)
{
	struct endpoint e;

	assert_int_equal(endpoint_parse(text, &e), 0);
	return e;
}

static struct endpoint nth(const char *network, unsigned i)
{
	char text[ENDPOINT_TEXT_LEN];

	snprintf(text, sizeof(text), "%s.%u:80", network, i);
	return at(text);
}

static struct guard_hosts *with_ten(void)
{
	struct guard_hosts *h = guard_hosts_new(&key, ten, ARRAY_LEN(ten));

	assert_non_null(h);
	return h;
}

static void test_threshold(void **state)
{
	static const unsigned wanted[] = {3, 3, 3, 3, 3, 3, 4, 4, 5, 5, 5, 5};

	(void)state;
	for (size_t n = 0; n < ARRAY_LEN(wanted); n++)
		assert_int_equal(guard_hosts_threshold(n), wanted[n]);
	assert_int_equal(guard_hosts_threshold(65535), 5);
}

static void test_the_fifth_open_port_asks_for_a_look(void **state)
{
	auto_hosts struct guard_hosts *h = with_ten();
	struct endpoint host = at("10.0.0.1:80"), other = at("10.0.0.2:80");

	(void)state;
	for (int i = 0; i < 4; i++) {
		assert_int_equal(guard_hosts_see(h, &host), GUARD_SEEN_PASS);
		assert_int_equal(guard_hosts_see(h, &other), GUARD_SEEN_PASS);
	}
	assert_int_equal(guard_hosts_see(h, &host), GUARD_SEEN_CHECK);
	/* Nobody looked: so the next one asks again. */
	assert_int_equal(guard_hosts_see(h, &host), GUARD_SEEN_CHECK);
	assert_false(guard_hosts_judge(h, &host, true));
	assert_true(guard_hosts_is_aside(h, &host));
	assert_false(guard_hosts_is_aside(h, &other));
	host.port = 81;
	assert_int_equal(guard_hosts_see(h, &host), GUARD_SEEN_HOST_ASIDE);
	assert_int_equal(guard_hosts_see(h, &other), GUARD_SEEN_CHECK);
}

static void test_an_honest_host_is_seldom_looked_at(void **state)
{
	auto_hosts struct guard_hosts *h = with_ten();
	struct endpoint host = at("[2001:db8::1]:80");
	unsigned checks = 0;

	(void)state;
	for (int i = 0; i < 1000; i++) {
		if (guard_hosts_see(h, &host) != GUARD_SEEN_CHECK)
			continue;
		checks++;
		assert_false(guard_hosts_judge(h, &host, false));
	}
	assert_int_equal(checks, 4); /* 5, 20, 80, 320 */
}

static void test_eight_hosts_make_a_network(void **state)
{
	auto_hosts struct guard_hosts *h = with_ten();
	struct endpoint neighbour = at("10.1.0.200:80"), stranger = at("10.1.1.1:80");

	(void)state;
	for (unsigned i = 1; i <= 16; i++) {
		struct endpoint host = nth("10.1.0", i);

		/* The same host twice is one host. */
		assert_true(guard_hosts_judge(h, &host, true) == (i == 8 || i == 16));
		assert_false(guard_hosts_judge(h, &host, true));
		if (i == 8)
			guard_hosts_judge_network(h, &host, false);
	}
	/* Where a neighbour accepts every port, two open ones are enough. */
	assert_int_equal(guard_hosts_see(h, &neighbour), GUARD_SEEN_PASS);
	assert_int_equal(guard_hosts_see(h, &neighbour), GUARD_SEEN_CHECK);
	guard_hosts_judge_network(h, &neighbour, true);
	assert_int_equal(guard_hosts_see(h, &neighbour), GUARD_SEEN_NETWORK_ASIDE);
	assert_int_equal(guard_hosts_see(h, &stranger), GUARD_SEEN_PASS);
	assert_int_equal(guard_hosts_see(h, &stranger), GUARD_SEEN_PASS);
}

static void test_full_tables_forget_the_least_known(void **state)
{
	auto_hosts struct guard_hosts *h = with_ten();
	struct endpoint aside = at("10.0.0.1:80"), passer = at("172.16.0.0:80");

	(void)state;
	guard_hosts_judge(h, &aside, true);
	for (unsigned i = 0; i < 8 * GUARD_HOSTS; i++) {
		passer.address[1] = (uint8_t)(i >> 16);
		passer.address[2] = (uint8_t)(i >> 8);
		passer.address[3] = (uint8_t)i;
		assert_int_equal(guard_hosts_see(h, &passer), GUARD_SEEN_PASS);
	}
	assert_int_equal(guard_hosts_see(h, &aside), GUARD_SEEN_HOST_ASIDE);
}

static void test_random_ports(void **state)
{
	struct siphash_key other = {1, 2};
	uint16_t swept[20000];
	struct guard_hosts *h[2];
	unsigned same = 0;

	(void)state;
	for (unsigned i = 0; i < ARRAY_LEN(swept); i++)
		swept[i] = (uint16_t)(40000 + i);
	h[0] = guard_hosts_new(&key, swept, ARRAY_LEN(swept));
	h[1] = guard_hosts_new(&other, swept, ARRAY_LEN(swept));
	for (unsigned i = 0; i < 200; i++) {
		struct endpoint host = nth("10.0.0", i);
		uint16_t p[3];

		for (unsigned j = 0; j < 3; j++) {
			p[j] = guard_hosts_random_port(h[0], &host, j);
			assert_in_range(p[j], 60000, 60999);
		}
		assert_true(p[0] != p[1] && p[1] != p[2] && p[0] != p[2]);
		same += p[0] == guard_hosts_random_port(h[1], &host, 0);
	}
	assert_true(same < 20);
	guard_hosts_free(h[0]);
	guard_hosts_free(h[1]);
}

/* When a sweep asks for every port, any will do. */
static void test_random_ports_of_a_full_sweep(void **state)
{
	auto_free uint16_t *all = calloc(65535, sizeof(*all));
	auto_hosts struct guard_hosts *h = NULL;
	struct endpoint host = at("10.0.0.1:80");

	(void)state;
	assert_non_null(all);
	for (unsigned i = 0; i < 65535; i++)
		all[i] = (uint16_t)(i + 1);
	h = guard_hosts_new(&key, all, 65535);
	assert_non_null(h);
	assert_in_range(guard_hosts_random_port(h, &host, 2), 40000, 60999);
}

static void test_random_addresses(void **state)
{
	static const char *const hosts[] = {"10.2.3.77:80", "[2001:db8:0:7::1]:80"};
	auto_hosts struct guard_hosts *h = with_ten();

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(hosts); i++) {
		struct endpoint host = at(hosts[i]), e, last = {0};
		struct prefix network = guard_hosts_network(&host);
		unsigned repeated = 0;

		for (unsigned j = 0; j < 1000; j++) {
			guard_hosts_random_address(h, &host, j, &e);
			assert_true(prefix_contains(&network, &e));
			if (e.family == AF_INET)
				assert_in_range(e.address[3], 1, 254);
			repeated += endpoint_compare(&e, &last) == 0;
			last = e;
		}
		assert_true(repeated < 50);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_threshold),
	    cmocka_unit_test(test_the_fifth_open_port_asks_for_a_look),
	    cmocka_unit_test(test_an_honest_host_is_seldom_looked_at),
	    cmocka_unit_test(test_eight_hosts_make_a_network),
	    cmocka_unit_test(test_full_tables_forget_the_least_known),
	    cmocka_unit_test(test_random_ports),
	    cmocka_unit_test(test_random_ports_of_a_full_sweep),
	    cmocka_unit_test(test_random_addresses),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
