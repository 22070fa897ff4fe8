/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "scanner/sweep/space.h"

#include "common/cleanup.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#define POWER(n) (UINT64_C(1) << (n))

static const uint16_t ports[] = {6060, 80, 443};

static struct sweep_span span_of(const char *text, uint16_t port, uint32_t token)
{
	struct sweep_span span = {.port = port, .token = token};

	if (prefix_parse(text, &span.prefix) != PREFIX_OK)
		fail_msg("%s is no prefix", text);
	return span;
}

static struct endpoint endpoint_of(const char *text)
{
	struct endpoint e;

	if (endpoint_parse(text, &e) < 0)
		fail_msg("%s is no endpoint", text);
	return e;
}

static struct sweep_space *space_of(const struct sweep_span *spans, size_t n)
{
	struct sweep_space *space = NULL;
	int err = sweep_space_new(spans, n, ports, ARRAY_LEN(ports), &space);

	if (err < 0)
		fail_msg("sweep_space_new: %s", strerror(-err));
	return space;
}

static void assert_refused(int expected, const struct sweep_span *spans, size_t n_spans,
                           const uint16_t *list, size_t n_ports)
{
	struct sweep_space *space = (struct sweep_space *)&space;

	assert_int_equal(sweep_space_new(spans, n_spans, list, n_ports, &space), expected);
	assert_ptr_equal(space, &space);
}

/* Every index that gives an endpoint is what is found for it. Returns how many do. */
static uint64_t assert_inverse(const struct sweep_space *space)
{
	uint64_t given = 0;

	for (uint64_t i = 0; i < sweep_space_size(space); i++) {
		struct endpoint e;
		uint32_t token;
		uint64_t found = UINT64_MAX;

		if (!sweep_space_at(space, i, &e, &token))
			continue;
		given++;
		if (!sweep_space_find(space, &e, &found) || found != i)
			fail_msg("index %ju is found as %ju", (uintmax_t)i, (uintmax_t)found);
	}
	return given;
}

static void assert_found(const struct sweep_space *space, const char *text, uint32_t expected)
{
	const struct endpoint e = endpoint_of(text);
	struct endpoint back;
	uint32_t token = ~expected;
	uint64_t index;

	if (!sweep_space_find(space, &e, &index))
		fail_msg("%s is not found", text);
	assert_true(sweep_space_at(space, index, &back, &token));
	assert_int_equal(endpoint_compare(&back, &e), 0);
	assert_int_equal(token, expected);
}

static void assert_absent(const struct sweep_space *space, const char *text)
{
	const struct endpoint e = endpoint_of(text);
	uint64_t index = 42;

	if (sweep_space_find(space, &e, &index))
		fail_msg("%s is found", text);
	assert_int_equal(index, 42);
}

static void test_one_prefix(void **state)
{
	const struct sweep_span span = span_of("192.0.2.0/24", 0, 7);
	struct sweep_space *space = space_of(&span, 1);
	struct endpoint e = {.port = 9};
	uint32_t token = 9;

	(void)state;
	assert_int_equal(sweep_space_size(space), 768);
	assert_int_equal(assert_inverse(space), 768);
	assert_found(space, "192.0.2.0:6060", 7);
	assert_found(space, "192.0.2.255:443", 7);
	assert_absent(space, "192.0.1.255:443");
	assert_absent(space, "192.0.3.0:443");
	assert_absent(space, "192.0.2.1:444");
	assert_absent(space, "[2001:db8::1]:443");
	assert_false(sweep_space_at(space, 768, &e, &token));
	assert_false(sweep_space_at(space, UINT64_MAX, &e, &token));
	assert_int_equal(e.port, 9);
	assert_int_equal(token, 9);
	sweep_space_free(space);
}

static void test_mixed_families_and_zones(void **state)
{
	struct sweep_span spans[] = {
	    span_of("fe80::1", 0, 1),         span_of("2001:db8::/120", 0, 2),
	    span_of("10.0.0.0/30", 8080, 3),  span_of("fe80::1", 0, 4),
	    span_of("2001:db8::10", 8080, 5), span_of("0.0.0.0", 0, 6),
	};
	struct sweep_space *space;
	struct endpoint e;
	uint64_t index;

	(void)state;
	spans[0].scope_id = 2;
	spans[3].scope_id = 3;
	space = space_of(spans, ARRAY_LEN(spans));
	assert_int_equal(sweep_space_size(space), 3 + 768 + 4 + 3 + 1 + 3);
	assert_int_equal(assert_inverse(space), sweep_space_size(space));
	assert_found(space, "[fe80::1%2]:443", 1);
	assert_found(space, "[fe80::1%3]:443", 4);
	assert_absent(space, "[fe80::1%4]:443");
	assert_absent(space, "[fe80::1]:443");
	assert_found(space, "[2001:db8::10]:8080", 5);
	assert_found(space, "[2001:db8::10]:443", 2);
	assert_absent(space, "[2001:db8::11]:8080");
	assert_found(space, "10.0.0.3:8080", 3);
	assert_found(space, "0.0.0.0:80", 6);
	e = endpoint_of("10.0.0.3:8080");
	e.family = AF_UNIX;
	assert_false(sweep_space_find(space, &e, &index));
	e = endpoint_of("10.0.0.3:8080");
	e.port = 0;
	assert_false(sweep_space_find(space, &e, &index));
	sweep_space_free(space);
}

static void test_what_brings_nothing_is_dropped(void **state)
{
	const struct sweep_span spans[] = {
	    span_of("10.0.0.5", 443, 1),     span_of("10.0.0.0/24", 0, 2),
	    span_of("10.0.0.0/24", 0, 3),    span_of("10.0.0.0/25", 0, 4),
	    span_of("10.0.0.128/25", 80, 5), span_of("10.0.0.5", 8443, 6),
	    span_of("10.0.0.5", 8443, 7),
	};
	struct sweep_space *space = space_of(spans, ARRAY_LEN(spans));

	(void)state;
	assert_int_equal(sweep_space_size(space), 768 + 1);
	assert_int_equal(assert_inverse(space), 769);
	assert_found(space, "10.0.0.5:443", 2);
	assert_found(space, "10.0.0.128:80", 2);
	assert_found(space, "10.0.0.5:8443", 6);
	sweep_space_free(space);
}

/* One port of a network, and every port of a host in it: the host's one port comes once. */
static void test_partial_overlap(void **state)
{
	const struct sweep_span spans[] = {
	    span_of("10.0.0.9", 0, 1),
	    span_of("10.0.0.0/24", 80, 2),
	    span_of("10.0.0.8/30", 443, 3),
	    span_of("10.0.0.0/24", 8080, 4),
	};
	struct sweep_space *space = space_of(spans, ARRAY_LEN(spans));

	(void)state;
	assert_int_equal(sweep_space_size(space), 256 + 256 + 4 + 3);
	assert_int_equal(assert_inverse(space), 256 + 256 + 4 + 1);
	assert_found(space, "10.0.0.9:80", 2);
	assert_found(space, "10.0.0.9:443", 3);
	assert_found(space, "10.0.0.9:6060", 1);
	assert_found(space, "10.0.0.9:8080", 4);
	assert_absent(space, "10.0.0.10:6060");
	sweep_space_free(space);
}

static void test_the_whole_of_ipv4(void **state)
{
	const struct sweep_span span = span_of("0.0.0.0/0", 0, 1);
	auto_free uint16_t *all = calloc(65535, sizeof(*all));
	struct sweep_space *space = NULL;
	struct endpoint e;
	uint32_t token;

	(void)state;
	assert_non_null(all);
	for (unsigned i = 0; i < 65535; i++)
		all[i] = (uint16_t)(65535 - i);
	assert_int_equal(sweep_space_new(&span, 1, all, 65535, &space), 0);
	assert_int_equal(sweep_space_size(space), POWER(32) * 65535);
	assert_found(space, "0.0.0.0:1", 1);
	assert_found(space, "255.255.255.255:65535", 1);
	assert_found(space, "127.255.255.255:32768", 1);
	for (uint64_t i = 0; i < POWER(32) * 65535; i += 987654321987U) {
		uint64_t found = 0;

		assert_true(sweep_space_at(space, i, &e, &token));
		assert_true(sweep_space_find(space, &e, &found));
		assert_int_equal(found, i);
	}
	sweep_space_free(space);
}

static void test_sizes_that_just_fit(void **state)
{
	struct sweep_span two[] = {span_of("2001:db8::/66", 80, 1), span_of("192.0.2.1", 80, 2)};
	struct sweep_span wide = span_of("2001:db8::/65", 80, 1);
	struct sweep_span all = span_of("::/0", 80, 1);
	struct sweep_span list = span_of("2001:db8::/68", 0, 1);
	const uint16_t five[] = {1, 2, 3, 4, 5};
	struct sweep_space *space = space_of(two, 1);

	(void)state;
	assert_int_equal(sweep_space_size(space), POWER(62));
	assert_found(space, "[2001:db8::]:80", 1);
	assert_found(space, "[2001:db8::3fff:ffff:ffff:ffff]:80", 1);
	assert_absent(space, "[2001:db8::4000:0:0:0]:80");
	sweep_space_free(space);

	assert_refused(-EOVERFLOW, two, 2, ports, 3);
	assert_refused(-EOVERFLOW, &wide, 1, ports, 3);
	assert_refused(-EOVERFLOW, &all, 1, ports, 3);
	assert_refused(-EOVERFLOW, &list, 1, five, 5);
	assert_int_equal(sweep_space_new(&list, 1, five, 4, &space), 0);
	assert_int_equal(sweep_space_size(space), POWER(62));
	sweep_space_free(space);
}

static void test_what_is_refused(void **state)
{
	static const uint16_t twice[] = {80, 443, 80}, zero[] = {80, 0};
	const struct sweep_span good = span_of("10.0.0.0/8", 0, 0);
	struct sweep_span bad = good;
	auto_free struct sweep_span *many = calloc(SWEEP_MAX_SPANS + 1, sizeof(*many));

	(void)state;
	assert_non_null(many);
	for (size_t i = 0; i <= SWEEP_MAX_SPANS; i++)
		many[i] = good;
	assert_refused(-EOVERFLOW, many, SWEEP_MAX_SPANS + 1, ports, 3);
	assert_refused(-EINVAL, NULL, 0, ports, 3);
	assert_refused(-EINVAL, &good, 1, twice, 3);
	assert_refused(-EINVAL, &good, 1, zero, 2);
	assert_refused(-EINVAL, &good, 1, NULL, 0);
	bad.prefix.address[3] = 1;
	assert_refused(-EINVAL, &bad, 1, ports, 3);
	bad = good;
	bad.prefix.bits = 33;
	assert_refused(-EINVAL, &bad, 1, ports, 3);
	bad = good;
	bad.prefix.family = 0;
	assert_refused(-EINVAL, &bad, 1, ports, 3);
	bad = span_of("::", 80, 0);
	bad.prefix.address[10] = bad.prefix.address[11] = 0xff;
	assert_refused(-EINVAL, &bad, 1, ports, 3);
	sweep_space_free(NULL);
}

static void test_single_ports_need_no_list(void **state)
{
	const struct sweep_span span = span_of("10.0.0.0/30", 80, 3);
	struct sweep_space *space = NULL;

	(void)state;
	assert_int_equal(sweep_space_new(&span, 1, NULL, 0, &space), 0);
	assert_int_equal(assert_inverse(space), 4);
	sweep_space_free(space);
}

static void test_as_many_spans_as_may_be(void **state)
{
	auto_free struct sweep_span *spans = calloc(SWEEP_MAX_SPANS, sizeof(*spans));
	struct sweep_space *space;

	(void)state;
	assert_non_null(spans);
	/* Ports of one host. */
	for (uint32_t i = 0; i < SWEEP_MAX_SPANS; i++)
		spans[i] = span_of("2001:db8::1", (uint16_t)(65535 - i), i);
	space = space_of(spans, SWEEP_MAX_SPANS);
	assert_int_equal(assert_inverse(space), SWEEP_MAX_SPANS);
	assert_found(space, "[2001:db8::1]:65535", 0);
	assert_found(space, "[2001:db8::1]:61440", 4095);
	assert_absent(space, "[2001:db8::1]:61439");
	sweep_space_free(space);
	/* Hosts, from last to first. */
	for (uint32_t i = 0; i < SWEEP_MAX_SPANS; i++) {
		spans[i] = span_of("10.0.0.0", 0, i);
		spans[i].prefix.address[2] = (uint8_t)((4095 - i) >> 8);
		spans[i].prefix.address[3] = (uint8_t)(4095 - i);
	}
	space = space_of(spans, SWEEP_MAX_SPANS);
	assert_int_equal(assert_inverse(space), SWEEP_MAX_SPANS * 3);
	assert_found(space, "10.0.0.0:80", 4095);
	assert_found(space, "10.0.15.255:80", 0);
	sweep_space_free(space);
}

static void test_nested_to_the_bottom(void **state)
{
	struct sweep_span spans[62];
	struct sweep_space *space;
	struct endpoint e;

	(void)state;
	/* From a /68 to a /128, each on a port of its own, and all ports of the narrowest. */
	for (unsigned i = 0; i < 61; i++) {
		spans[i] = span_of("2001:db8::", (uint16_t)(i + 1), i);
		spans[i].prefix.bits = (uint8_t)(68 + i);
	}
	spans[61] = span_of("2001:db8::", 0, 61);
	space = space_of(spans, 62);
	assert_int_equal(sweep_space_size(space), POWER(61) - 1 + 3);
	for (unsigned i = 0; i < 61; i++) {
		uint64_t index;

		e = spans[i].prefix.bits == 128 ? endpoint_of("[2001:db8::]:1")
		                                : endpoint_of("[2001:db8::1]:1");
		e.port = (uint16_t)(i + 1);
		assert_true(sweep_space_find(space, &e, &index));
	}
	assert_found(space, "[2001:db8::]:443", 61);
	assert_absent(space, "[2001:db8::1]:443");
	sweep_space_free(space);
}

static uint32_t random_below(uint64_t *state, uint32_t limit)
{
	*state = *state * 6364136223846793005U + 1442695040888963407U;
	return (uint32_t)(*state >> 33) % limit;
}

/* A prefix somewhere among 64 addresses of IPv4, or of IPv6, or of two zones of link-local. */
static struct sweep_span random_span(uint64_t *random, uint32_t token)
{
	static const uint16_t choice[] = {0, 0, 80, 443, 8080, 8081};
	static const char *const base[] = {"10.0.0.0", "2001:db8::", "fe80::", "fe80::"};
	uint32_t kind = random_below(random, 4);
	struct sweep_span span =
	    span_of(base[kind], choice[random_below(random, ARRAY_LEN(choice))], token);
	unsigned width = span.prefix.bits;
	unsigned host_bits = random_below(random, 7);
	uint8_t host = (uint8_t)(random_below(random, 64) >> host_bits << host_bits);

	span.prefix.bits = (uint8_t)(width - host_bits);
	span.prefix.address[width / 8 - 1] = host;
	span.scope_id = kind < 2 ? 0 : kind;
	return span;
}

static bool span_has(const struct sweep_span *span, const struct endpoint *e)
{
	bool listed = e->port == 6060 || e->port == 80 || e->port == 443;

	return prefix_contains(&span->prefix, e) && span->scope_id == e->scope_id &&
	       (span->port ? span->port == e->port : listed);
}

/* The widest; of one prefix, that of every port; of the same, the first. */
static const struct sweep_span *expected_span(const struct sweep_span *spans, size_t n,
                                              const struct endpoint *e)
{
	const struct sweep_span *best = NULL;

	for (size_t i = 0; i < n; i++) {
		if (!span_has(&spans[i], e))
			continue;
		if (!best || spans[i].prefix.bits < best->prefix.bits ||
		    (spans[i].prefix.bits == best->prefix.bits && spans[i].port < best->port))
			best = &spans[i];
	}
	return best;
}

/* The space against the definition, over every endpoint there may be. Returns how many it has. */
static uint64_t assert_as_defined(const struct sweep_space *space, const struct sweep_span *spans,
                                  size_t n)
{
	static const uint16_t asked[] = {80, 443, 6060, 8080, 8081, 9999};
	static const char *const base[] = {"10.0.0.0:1", "[2001:db8::]:1", "[fe80::%2]:1",
	                                   "[fe80::%3]:1"};
	uint64_t count = 0;

	for (size_t k = 0; k < ARRAY_LEN(base); k++) {
		struct endpoint e = endpoint_of(base[k]);

		for (size_t i = 0; i < 64 * ARRAY_LEN(asked); i++) {
			const struct sweep_span *expected;
			struct endpoint back;
			uint64_t index;
			uint32_t token;

			e.port = asked[i / 64];
			e.address[e.family == AF_INET ? 3 : 15] = (uint8_t)(i % 64);
			expected = expected_span(spans, n, &e);
			assert_int_equal(sweep_space_find(space, &e, &index), expected != NULL);
			if (!expected)
				continue;
			count++;
			assert_true(sweep_space_at(space, index, &back, &token));
			assert_int_equal(endpoint_compare(&back, &e), 0);
			assert_int_equal(token, expected->token);
		}
	}
	return count;
}

static void test_any_spans_are_as_defined(void **state)
{
	uint64_t random = 1;

	(void)state;
	for (unsigned round = 0; round < 400; round++) {
		struct sweep_span spans[24];
		size_t n = 1 + random_below(&random, ARRAY_LEN(spans));
		struct sweep_space *space, *turned;

		for (size_t i = 0; i < n; i++)
			spans[i] = random_span(&random, (uint32_t)i);
		space = space_of(spans, n);
		assert_int_equal(assert_inverse(space), assert_as_defined(space, spans, n));
		for (size_t i = 0; i < n / 2; i++) {
			struct sweep_span other = spans[i];

			spans[i] = spans[n - 1 - i];
			spans[n - 1 - i] = other;
		}
		/* Given in another order, each number is the same endpoint. */
		turned = space_of(spans, n);
		assert_int_equal(sweep_space_size(turned), sweep_space_size(space));
		for (uint64_t i = 0; i < sweep_space_size(space); i++) {
			struct endpoint a = {0}, b = {0};
			uint32_t token;

			assert_int_equal(sweep_space_at(space, i, &a, &token),
			                 sweep_space_at(turned, i, &b, &token));
			assert_int_equal(endpoint_compare(&a, &b), 0);
		}
		sweep_space_free(space);
		sweep_space_free(turned);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_one_prefix),
	    cmocka_unit_test(test_mixed_families_and_zones),
	    cmocka_unit_test(test_what_brings_nothing_is_dropped),
	    cmocka_unit_test(test_partial_overlap),
	    cmocka_unit_test(test_the_whole_of_ipv4),
	    cmocka_unit_test(test_sizes_that_just_fit),
	    cmocka_unit_test(test_what_is_refused),
	    cmocka_unit_test(test_single_ports_need_no_list),
	    cmocka_unit_test(test_as_many_spans_as_may_be),
	    cmocka_unit_test(test_nested_to_the_bottom),
	    cmocka_unit_test(test_any_spans_are_as_defined),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
