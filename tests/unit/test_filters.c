/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the agent takes from a filter process, which may lie: counters and refusals. */
#include "agent_bench.h"

#include "daemon/filter/wire.h"

#include <poll.h>
#include <string.h>

#define ENDPOINT "192.0.2.1:9100"

enum { QUIET_MS = 300 };

static const char config[] =
    "scan: {targets: [\"" ENDPOINT "\"], interval: 1h, listeners: false}\n"
    "filters: [{name: front, match: {ports: [9100]}}]\n"
    "alerts: [{name: " BENCH_SINK ", type: webhook, url: \"http://192.0.2.9/\",\n"
    "          match: {events: [denied]}}]\n";

static int set_up(void **state)
{
	struct bench *b = bench_new();

	*state = b;
	bench_start(b, config);
	bench_find(b, bench_probe(b, NULL), NULL, VERDICT_CLEAR, false);
	bench_new_filter(b);
	return 0;
}

static int tear_down(void **state)
{
	bench_free(*state);
	return 0;
}

static struct filter_denied make_denied(const char *endpoint, const char *client, uint64_t count)
{
	struct filter_denied d = {.version = FILTER_WIRE_VERSION,
	                          .reason = FILTER_DENIED_PATH,
	                          .count = count,
	                          .rule = "front",
	                          .path = "/debug/pprof/"};

	assert_int_equal(endpoint_parse(endpoint, &d.endpoint), 0);
	assert_int_equal(endpoint_parse(client, &d.client), 0);
	return d;
}

static void tell(struct bench *b, const struct filter_denied *d)
{
	bench_send_to_agent(b->filter, FILTER_DENIED, 0, d, sizeof(*d));
}

static void send_stats(struct bench *b, const struct filter_stats *stats)
{
	bench_send_to_agent(b->filter, FILTER_STATS, 0, stats, sizeof(*stats));
}

/* What is sent before this was read before it is answered. */
static json_t *filter_status(struct bench *b)
{
	json_t *status = bench_status(b);
	json_t *filter = json_incref(json_object_get(status, "filter"));

	json_decref(status);
	return filter;
}

/* Until it says so: two sockets, of which neither waits for the other. */
static void wait_count(struct bench *b, const char *key, json_int_t value)
{
	json_int_t last = -1;

	for (int i = 0; i < 800 && last != value; i++) {
		json_t *filter = filter_status(b);

		last = json_integer_value(json_object_get(filter, key));
		json_decref(filter);
	}
	assert_int_equal(last, value);
}

static void test_counters_go_on_over_restarts(void **state)
{
	struct filter_stats stats = {.requests_passed = 7, .connections = 3, .open_connections = 2};
	struct bench *b = *state;

	stats.denied[FILTER_DENIED_OPAQUE] = 4;
	send_stats(b, &stats);
	wait_count(b, "passed", 7);
	wait_count(b, "open", 2);
	bench_new_filter(b);
	wait_count(b, "open", 0);
	wait_count(b, "passed", 7);
	stats.requests_passed = 1;
	send_stats(b, &stats);
	wait_count(b, "passed", 8);
	wait_count(b, "connections", 6);
}

static void test_counters_never_go_back(void **state)
{
	struct filter_stats stats = {.requests_passed = UINT64_MAX, .connections = 3};
	const json_int_t most = INT64_C(1) << 61;
	struct bench *b = *state;

	send_stats(b, &stats);
	wait_count(b, "passed", most);
	stats = (struct filter_stats){.connections = 1, .upstream_failures = 1};
	send_stats(b, &stats);
	wait_count(b, "upstream_failures", 1);
	wait_count(b, "passed", most);
	wait_count(b, "connections", 3);
	bench_new_filter(b);
	stats.requests_passed = UINT64_MAX;
	stats.connections = 2;
	send_stats(b, &stats);
	wait_count(b, "connections", 5);
	wait_count(b, "passed", most);
	/* Too short, too long: nothing. */
	stats.connections = 9;
	bench_send_to_agent(b->filter, FILTER_STATS, 0, &stats, sizeof(stats) - 1);
	stats.upstream_failures = 6;
	stats.connections = 2;
	send_stats(b, &stats);
	wait_count(b, "upstream_failures", 7);
	wait_count(b, "connections", 5);
}

static void test_a_refusal_is_an_event_and_a_line_of_the_story(void **state)
{
	struct filter_denied d = make_denied(ENDPOINT, "198.51.100.9:4711", 3);
	struct bench *b = *state;
	json_t *event, *denied, *answer;
	char *text;

	tell(b, &d);
	event = bench_event(b, "denied");
	denied = json_object_get(event, "denied");
	assert_string_equal(json_string_value(json_object_get(denied, "client")), "198.51.100.9");
	assert_string_equal(json_string_value(json_object_get(denied, "reason")), "path");
	assert_string_equal(json_string_value(json_object_get(denied, "path")), "/debug/pprof/");
	assert_int_equal(json_integer_value(json_object_get(denied, "count")), 3);
	assert_non_null(strstr(json_string_value(json_object_get(event, "text")),
	                       "3 requests of 198.51.100.9 refused by the filter (path), the last "
	                       "for /debug/pprof/"));
	json_decref(event);
	/* Once; the others are counted. */
	tell(b, &d);
	bench_no_event(b, QUIET_MS);
	answer = bench_answer(bench_ask(b, "{\"verb\":\"explain\",\"endpoint\":\"" ENDPOINT "\"}"));
	assert_int_equal(
	    json_integer_value(json_object_get(json_object_get(answer, "watch"), "denied")), 6);
	text = json_dumps(json_object_get(answer, "story"), 0);
	assert_non_null(strstr(text, "filter: 3 of 198.51.100.9 refused (path): /debug/pprof/"));
	free(text);
	json_decref(answer);
}

static void test_what_a_filter_may_not_say_is_passed_over(void **state)
{
	struct filter_denied d = make_denied("192.0.2.77:80", "198.51.100.9:1", 1);
	struct bench *b = *state;
	json_t *event;

	tell(b, &d); /* not filtered */
	d = make_denied(ENDPOINT, "169.254.213.2:1", 1);
	tell(b, &d); /* our own question whether the filter holds */
	d = make_denied(ENDPOINT, "198.51.100.9:1", 0);
	tell(b, &d);
	d.count = 1;
	d.reason = FILTER_REASON_COUNT;
	tell(b, &d);
	d.reason = FILTER_DENIED_PATH;
	d.client.family = AF_UNIX;
	tell(b, &d);
	d = make_denied(ENDPOINT, "198.51.100.9:1", 1);
	bench_send_to_agent(b->filter, FILTER_DENIED, 0, &d, sizeof(d) - 1);
	bench_no_event(b, QUIET_MS);
	/* No end, and no text of others. */
	memset(d.path, 'a', sizeof(d.path));
	memcpy(d.path, "/\n\x1b\xff\"", 5);
	tell(b, &d);
	event = bench_event(b, "denied");
	assert_non_null(strstr(json_string_value(json_object_get(event, "text")), "for /????aaa"));
	json_decref(event);
}

static void test_it_is_asked_whether_it_lives(void **state)
{
	struct bench *b = *state;
	json_t *filter;
	bool answering = false;

	for (int i = 0; i < 100 && !answering; i++) {
		struct pollfd wait = {.fd = b->filter, .events = POLLIN};
		static struct frame f;

		assert_int_equal(poll(&wait, 1, 8000), 1);
		assert_int_equal(frame_recv(b->filter, &f), 1);
		assert_int_equal(f.type, IPC_PING);
		assert_int_equal(frame_send(b->filter, IPC_PONG, f.seq, NULL, 0, -1), 0);
		filter = filter_status(b);
		answering = json_is_true(json_object_get(filter, "answering"));
		json_decref(filter);
	}
	assert_true(answering);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
	    TEST(test_counters_go_on_over_restarts),
	    TEST(test_counters_never_go_back),
	    TEST(test_a_refusal_is_an_event_and_a_line_of_the_story),
	    TEST(test_what_a_filter_may_not_say_is_passed_over),
	    TEST(test_it_is_asked_whether_it_lives),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
