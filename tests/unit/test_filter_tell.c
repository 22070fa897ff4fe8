/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the filter tells of itself: counters, refusals, its own answers; and what may be opaque. */
#include "daemon/filter/addresses.h"
#include "daemon/filter/denials.h"
#include "daemon/filter/opaque.h"
#include "daemon/filter/reply.h"
#include "daemon/filter/stats.h"

#include "common/cleanup.h"

#include <string.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

AUTO_CLEANUP(denials, struct denials *, denials_free)
#define auto_denials __attribute__((cleanup(cleanup_denials)))

struct told {
	unsigned n;
	struct filter_denied last;
};

static void on_told(const struct filter_denied *denied, void *arg)
{
	struct told *told = arg;

	told->n++;
	told->last = *denied;
}

static struct filter_denied denied_of(const char *client, const char *path)
{
	struct filter_denied denied = {.reason = FILTER_DENIED_PATH, .rule = "r"};

	assert_int_equal(endpoint_parse("192.0.2.1:9100", &denied.endpoint), 0);
	assert_int_equal(endpoint_parse(client, &denied.client), 0);
	stats_write_path(path, strlen(path), denied.path);
	return denied;
}

static void the_first_is_told_at_once_and_then_their_number(void **state)
{
	struct told told = {0};
	auto_denials struct denials *d = denials_new(on_told, &told);
	struct filter_denied one = denied_of("198.51.100.1:1000", "/debug/pprof/");
	struct filter_denied again = denied_of("198.51.100.1:2000", "/debug/vars");

	(void)state;
	assert_true(denials_note(d, &one, 1000));
	assert_int_equal(told.n, 1);
	assert_int_equal(told.last.count, 1);
	for (int i = 0; i < 5; i++)
		assert_false(denials_note(d, &again, 2000));
	assert_true(denials_tick(d, 1000 + DENIALS_EVERY_MS - 1));
	assert_int_equal(told.n, 1);
	assert_false(denials_tick(d, 1000 + DENIALS_EVERY_MS));
	assert_int_equal(told.n, 2);
	assert_int_equal(told.last.count, 5);
	assert_int_equal(told.last.client.port, 2000);
	assert_string_equal(told.last.path, "/debug/vars");
	/* Nothing since: nothing to tell. */
	assert_false(denials_tick(d, 1000 + 3 * DENIALS_EVERY_MS));
	assert_int_equal(told.n, 2);
	again.reason = FILTER_DENIED_SYNTAX;
	assert_true(denials_note(d, &again, 1001 + DENIALS_EVERY_MS));
}

/* However many clients there are. */
static void all_together_have_a_limit(void **state)
{
	struct told told = {0};
	auto_denials struct denials *d = denials_new(on_told, &told);

	(void)state;
	for (unsigned i = 0; i < 10 * DENIALS_MAX; i++) {
		struct filter_denied one = denied_of("198.51.100.1:1000", "/debug/pprof/");

		memcpy(one.client.address + 2, &i, 2);
		denials_note(d, &one, 5000);
	}
	assert_int_equal(told.n, DENIALS_PER_SECOND);
	assert_true(denials_tick(d, 5999));
	assert_int_equal(told.n, DENIALS_PER_SECOND);
	assert_true(denials_tick(d, 6000));
	assert_int_equal(told.n, 2 * DENIALS_PER_SECOND);
}

static void latency_is_counted_as_prometheus_does(void **state)
{
	struct filter_stats stats = {0};

	(void)state;
	stats_note_latency(&stats, 400 * 1000);
	stats_note_latency(&stats, 500 * 1000);
	stats_note_latency(&stats, 600 * 1000);
	stats_note_latency(&stats, 60LL * 1000 * 1000 * 1000);
	stats_note_latency(&stats, -1);
	assert_int_equal(stats.latency[0], 3);
	assert_int_equal(stats.latency[1], 4);
	assert_int_equal(stats.latency[FILTER_LATENCY_BUCKETS - 2], 4);
	assert_int_equal(stats.latency[FILTER_LATENCY_BUCKETS - 1], 5);
	assert_int_equal(stats.latency_sum_us, 60001500);
}

static void paths_are_harmless(void **state)
{
	char out[FILTER_PATH_LEN], longer[2 * FILTER_PATH_LEN];

	(void)state;
	stats_write_path("/a b\n\"<%\0\xc3\xa9.-_", 14, out);
	assert_string_equal(out, "/a?b???????.-_");
	memset(longer, 'x', sizeof(longer));
	stats_write_path(longer, sizeof(longer), out);
	assert_int_equal(strlen(out), FILTER_PATH_LEN - 1);
}

static void require_reply(enum reply reply, unsigned minor, bool to_head, bool keep_alive,
                          const char *begins, const char *connection, const char *body)
{
	char text[REPLY_MAX_BYTES];
	size_t length = reply_write(reply, minor, to_head, keep_alive, text);
	char *end;

	assert_true(length < sizeof(text));
	assert_int_equal(strlen(text), length);
	assert_memory_equal(text, begins, strlen(begins));
	end = strstr(text, "\r\n\r\n");
	assert_non_null(end);
	assert_string_equal(end + 4, body);
	if (connection)
		assert_non_null(strstr(text, connection));
	else
		assert_null(strstr(text, "Connection:"));
}

static void own_answers(void **state)
{
	static const char blocked[] = "blocked by pprofwall: this path is not served to you\n";

	(void)state;
	require_reply(REPLY_FORBIDDEN, 1, false, true, "HTTP/1.1 403 ", NULL, blocked);
	require_reply(REPLY_FORBIDDEN, 1, true, true, "HTTP/1.1 403 ", "Content-Length: 53\r\n",
	              "");
	require_reply(REPLY_FORBIDDEN, 0, false, true, "HTTP/1.1 403 ",
	              "Connection: keep-alive\r\n", blocked);
	require_reply(REPLY_BAD_REQUEST, 1, false, false, "HTTP/1.1 400 ", "Connection: close\r\n",
	              "refused by pprofwall: not a request in strict HTTP/1.x\n");
	require_reply(REPLY_BAD_GATEWAY, 1, false, false, "HTTP/1.1 502 ", "Connection: close\r\n",
	              "pprofwall: the server behind gives no answer\n");
}

static void what_may_pass_unread(void **state)
{
	static const struct {
		const char *bytes;
		size_t length;
		enum opaque found;
	} cases[] = {
	    {"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 11, OPAQUE_YES},
	    {"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03more", 15, OPAQUE_YES},
	    {"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03", 10, OPAQUE_MORE},
	    {"\x16", 1, OPAQUE_MORE},
	    {"\x16\x03 GET /debug/pprof/", 20, OPAQUE_NO},
	    {"\x16\x03\x01\r\nGET / HTTP/1.1", 19, OPAQUE_NO},
	    {"\x17\x03\x01", 3, OPAQUE_NO},
	    {"\x16\x03\x01\x02\x00\x02", 6, OPAQUE_NO},
	    {"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 24, OPAQUE_YES},
	    {"PRI * HTTP/2.0\r\n\r\n", 18, OPAQUE_MORE},
	    {"PRI * HTTP/2.0\r\n\r\nGET / HTTP/1.1\r\n\r\n", 36, OPAQUE_NO},
	    {"PRI * HTTP/2.0\r\nA: b\r\n\r\n", 24, OPAQUE_NO},
	    {"\r\nGET / HTTP/1.1\r\n\r\n", 20, OPAQUE_NO},
	    {" GET / HTTP/1.1\r\n\r\n", 19, OPAQUE_NO},
	    {"\x85GET / HTTP/1.1\r\n\r\n", 19, OPAQUE_NO},
	    {"SSH-2.0-x\r\n", 11, OPAQUE_NO},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++)
		assert_int_equal(opaque_look(cases[i].bytes, cases[i].length), cases[i].found);
}

static void addresses_are_counted(void **state)
{
	struct addresses a = {0};
	struct endpoint one, other;

	(void)state;
	assert_int_equal(endpoint_parse("192.0.2.1:1", &one), 0);
	assert_int_equal(endpoint_parse("[2001:db8::1]:1", &other), 0);
	assert_int_equal(addresses_add(&a, &one), 1);
	assert_int_equal(addresses_add(&a, &one), 2);
	assert_int_equal(addresses_count(&a, &other), 0);
	addresses_remove(&a, &other);
	addresses_remove(&a, &one);
	assert_int_equal(addresses_count(&a, &one), 1);
	addresses_remove(&a, &one);
	assert_int_equal(addresses_count(&a, &one), 0);
	assert_null(a.root);
	assert_int_equal(addresses_add(&a, &other), 1);
	addresses_fini(&a);
}

static struct endpoint client_of(const char *text)
{
	struct endpoint e;

	assert_int_equal(endpoint_parse(text, &e), 0);
	return addresses_of_client(&e);
}

static void many_addresses_of_one_link_are_one_client(void **state)
{
	const struct endpoint one = client_of("[2001:db8:0:1::1]:40000");
	const struct endpoint same = client_of("[2001:db8:0:1:ffff::2]:40001");
	const struct endpoint other = client_of("[2001:db8:0:2::1]:40000");
	const struct endpoint four = client_of("192.0.2.1:40000");
	const struct endpoint next = client_of("192.0.2.2:40000");

	(void)state;
	assert_int_equal(endpoint_compare(&one, &same), 0);
	assert_int_not_equal(endpoint_compare(&one, &other), 0);
	assert_int_not_equal(endpoint_compare(&four, &next), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(the_first_is_told_at_once_and_then_their_number),
	    cmocka_unit_test(all_together_have_a_limit),
	    cmocka_unit_test(latency_is_counted_as_prometheus_does),
	    cmocka_unit_test(paths_are_harmless),
	    cmocka_unit_test(own_answers),
	    cmocka_unit_test(what_may_pass_unread),
	    cmocka_unit_test(addresses_are_counted),
	    cmocka_unit_test(many_addresses_of_one_link_are_one_client),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
