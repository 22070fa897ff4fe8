/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Rules that filter, and standing filters: when they are asked for, and who is told of what. */
#include "agent_bench.h"

#include <string.h>

#define ENDPOINT "192.0.2.1:9100"
#define TARGETS  "scan: {targets: [\"" ENDPOINT "\"], interval: 100ms, listeners: false}\n"
#define SCAN     TARGETS "firewall: {verify: false}\n"
#define KEYS     "trip_after: 1, open_for: 1s, confirm_interval: 10ms"
#define BREAKER(more)                                                                              \
	"mode: enforce\n" SCAN "breakers: [{name: web, action: filter, " KEYS more "}]\n"
#define STANDING(more)                                                                             \
	SCAN "filters: [{name: front, match: {ports: [9100]}" more "}]\n"                          \
	     "breakers: [{name: web, " KEYS "}]\n"

enum { QUIET_MS = 300 };

static const char enforce[] = "mode: enforce\n";

static const char *text_of(const json_t *object, const char *key)
{
	const char *text = json_string_value(json_object_get(object, key));

	return text ? text : "(null)";
}

static void expect_event(struct bench *b, const char *kind, const char *action, const char *says)
{
	json_t *event = bench_event(b, kind);

	assert_string_equal(text_of(event, "action"), action);
	if (!strstr(text_of(event, "text"), says))
		fail_msg("%s", text_of(event, "text"));
	json_decref(event);
}

/* An exporter: it serves metrics, too. */
static void find(struct bench *b, enum finding_verdict verdict, const char *scheme)
{
	uint64_t seq = bench_probe(b, NULL);
	struct finding f;

	finding_init(&f);
	assert_int_equal(endpoint_parse(ENDPOINT, &f.endpoint), 0);
	f.verdict = verdict;
	assert_int_equal(finding_set(&f.scheme, scheme), 0);
	assert_int_equal(finding_list_add(&f.serves, "metrics", 7), 0);
	if (verdict == VERDICT_CONFIRMED) {
		f.severity = SEVERITY_HIGH;
		f.high_risk = true;
	}
	bench_answer_probe(b, seq, &f);
	finding_fini(&f);
}

static void expect_block(struct bench *b, uint32_t rule, bool fallback)
{
	uint64_t seq;
	struct firewall_request request = bench_request(b, FIREWALL_BLOCK, &seq);

	assert_int_equal(request.rule, rule);
	assert_int_equal(request.fallback, fallback);
	bench_reply(b, seq, FIREWALL_OK);
}

static void expect_status(struct bench *b, const char *action, const char *reason)
{
	json_t *status = bench_status(b);
	json_t *e = bench_endpoint(status, ENDPOINT);

	assert_string_equal(text_of(e, "action"), action);
	if (!strstr(text_of(e, "action_reason"), reason))
		fail_msg("%s", text_of(e, "action_reason"));
	json_decref(status);
}

/* Rules */

static void test_an_exposed_endpoint_is_filtered_whatever_else_it_serves(void **state)
{
	struct bench *b = *state;

	bench_start(b, BREAKER(""));
	find(b, VERDICT_CONFIRMED, "http");
	expect_block(b, 1, false);
	json_decref(bench_event(b, "high_risk"));
	expect_event(b, "opened", "filter", "/metrics, goes on");
	expect_status(b, "filter", "(null)");
}

static void test_an_allow_list_is_no_promise_of_metrics(void **state)
{
	struct bench *b = *state;

	bench_start(b, BREAKER(", allow: [\"/-/healthy\"]"));
	find(b, VERDICT_CONFIRMED, "http");
	expect_block(b, 1, false);
	json_decref(bench_event(b, "high_risk"));
	expect_event(b, "opened", "filter", "only what the rule allows is served");
}

static void test_tls_is_never_filtered(void **state)
{
	struct bench *b = *state;

	bench_start(b, BREAKER(""));
	find(b, VERDICT_CONFIRMED, "https");
	json_decref(bench_event(b, "high_risk"));
	expect_event(b, "opened", "alert", "not blocked: it speaks TLS");
	expect_status(b, "alert", "it speaks TLS");
	/* Plain HTTP is; and TLS again is not. */
	find(b, VERDICT_CONFIRMED, "http");
	expect_block(b, 1, false);
	expect_event(b, "reminder", "filter", "/metrics, goes on");
	find(b, VERDICT_CONFIRMED, "https");
	bench_grant(b, FIREWALL_UNBLOCK, 0);
	expect_event(b, "reminder", "alert", "it speaks TLS");
}

static void test_tls_falls_back_to_what_the_rule_says(void **state)
{
	struct bench *b = *state;

	bench_start(b, BREAKER(", fallback: drop, allow_from: [10.0.0.0/8]"));
	find(b, VERDICT_CONFIRMED, "https");
	expect_block(b, 1, true);
	json_decref(bench_event(b, "high_risk"));
	expect_event(b, "opened", "drop", "the port is blocked");
	expect_status(b, "drop", "it speaks TLS");
	find(b, VERDICT_CONFIRMED, "http");
	expect_block(b, 1, false);
	expect_event(b, "reminder", "filter", "is filtered");
}

static void test_observing_says_what_it_would_do(void **state)
{
	struct bench *b = *state;

	bench_start(b, SCAN "breakers: [{name: web, action: filter, " KEYS "}]\n");
	find(b, VERDICT_CONFIRMED, "http");
	json_decref(bench_event(b, "high_risk"));
	expect_event(b, "opened", "observe", "nothing is filtered (it would be)");
	bench_no_request(b, QUIET_MS);
}

/* Standing filters */

static void start_standing(struct bench *b, const char *extra)
{
	char conf[1024];

	snprintf(conf, sizeof(conf), "%s%s", enforce, extra);
	bench_start(b, conf);
}

/* It stands since the first answer, and is renewed by what opens the breaker. */
static void open_behind(struct bench *b)
{
	find(b, VERDICT_CONFIRMED, "http");
	expect_block(b, 1, false);
	find(b, VERDICT_CONFIRMED, "http");
	find(b, VERDICT_CONFIRMED, "http");
	expect_block(b, 1, false);
}

static void test_a_standing_filter_waits_for_one_answer_and_no_finding(void **state)
{
	struct bench *b = *state;

	start_standing(b, STANDING(""));
	bench_no_request(b, QUIET_MS);
	bench_find(b, bench_probe(b, NULL), NULL, VERDICT_ERROR, false);
	bench_no_request(b, QUIET_MS);
	find(b, VERDICT_CLEAR, "http");
	expect_block(b, 1, false);
	bench_no_event(b, QUIET_MS);
	expect_status(b, "filter", "(null)");
}

static void test_what_shows_behind_it_alarms_nobody(void **state)
{
	struct bench *b = *state;
	json_t *status;

	start_standing(b, STANDING(""));
	open_behind(b);
	bench_no_event(b, QUIET_MS);
	status = bench_status(b);
	assert_string_equal(text_of(bench_endpoint(status, ENDPOINT), "state"), "open");
	assert_string_equal(text_of(bench_endpoint(status, ENDPOINT), "risk"), "HIGH_RISK");
	json_decref(status);
}

static void test_who_asks_is_told_once(void **state)
{
	struct bench *b = *state;

	start_standing(b, STANDING("") "alerts: [{name: " BENCH_SINK ", type: webhook, url: "
	                               "\"http://192.0.2.9/\","
	                               " match: {events: [filtered, "
	                               "opened, high_risk]}}]\n");
	open_behind(b);
	expect_event(b, "filtered", "filter", "/metrics, goes on");
	bench_no_event(b, QUIET_MS);
}

static void test_what_comes_out_from_behind_it_does(void **state)
{
	struct bench *b = *state;

	start_standing(b, STANDING(""));
	open_behind(b);
	bench_no_event(b, QUIET_MS);
	bench_reload(b, STANDING(""));
	bench_grant(b, FIREWALL_UNBLOCK, 0);
	expect_event(b, "opened", "observe", "nothing is filtered (it would be)");
}

static void test_looks_for_tls_renew_nothing(void **state)
{
	struct bench *b = *state;

	start_standing(b, STANDING(""));
	open_behind(b);
	b->blocks[b->n_blocks++] = bench_block(ENDPOINT, 1, 3600 * 1000);
	for (int i = 0; i < 3; i++)
		find(b, VERDICT_CONFIRMED, "http");
	bench_no_request(b, QUIET_MS);
	find(b, VERDICT_CONFIRMED, "https");
	bench_grant(b, FIREWALL_UNBLOCK, 0);
	expect_event(b, "opened", "alert", "it speaks TLS");
	find(b, VERDICT_CONFIRMED, "http");
	expect_block(b, 1, false);
}

static void test_a_refused_one_is_no_shield(void **state)
{
	struct bench *b = *state;
	uint64_t seq;

	start_standing(b, STANDING(""));
	for (int i = 0; i < 3; i++) {
		find(b, VERDICT_CONFIRMED, "http");
		(void)bench_request(b, FIREWALL_BLOCK, &seq);
		bench_reply(b, seq, FIREWALL_TOO_MANY);
	}
	expect_event(b, "opened", "refused", "not blocked");
}

static void test_tls_has_no_standing_filter(void **state)
{
	struct bench *b = *state;

	start_standing(b, STANDING(""));
	find(b, VERDICT_CLEAR, "https");
	bench_no_request(b, QUIET_MS);
	expect_status(b, "none", "it speaks TLS");
	find(b, VERDICT_CONFIRMED, "https");
	json_decref(bench_event(b, "high_risk"));
	find(b, VERDICT_CONFIRMED, "https");
	find(b, VERDICT_CONFIRMED, "https");
	expect_event(b, "opened", "alert", "it speaks TLS");
}

static void test_found_in_the_kernel_it_stays_until_tls_is_seen(void **state)
{
	struct bench *b = *state;

	b->blocks[0] = bench_block(ENDPOINT, 1, 3600 * 1000);
	b->n_blocks = 1;
	start_standing(b, STANDING(""));
	expect_block(b, 1, false); /* renewed, before any answer */
	find(b, VERDICT_CLEAR, "https");
	bench_grant(b, FIREWALL_UNBLOCK, 0);
}

static void test_a_reload_puts_it_in_front_of_a_breaker(void **state)
{
	struct bench *b = *state;

	bench_start(b, "mode: enforce\n" SCAN
	               "breakers: [{name: web, allow_from: [10.0.0.0/8], " KEYS "}]\n");
	find(b, VERDICT_CONFIRMED, "http");
	expect_block(b, 1, false);
	json_decref(bench_event(b, "high_risk"));
	expect_event(b, "opened", "drop", "blocked");
	bench_reload(b, "mode: enforce\n" STANDING(""));
	expect_block(b, 1, false);
	expect_status(b, "filter", "(null)");
}

static void test_a_match_that_does_not_fit_is_none(void **state)
{
	struct bench *b = *state;

	start_standing(b, SCAN "filters: [{name: front, match: {ports: [80]}}]\n");
	find(b, VERDICT_CLEAR, "http");
	bench_no_request(b, QUIET_MS);
}

static void test_panic_and_people_come_first(void **state)
{
	struct bench *b = *state;
	int client;

	start_standing(b, STANDING(""));
	open_behind(b);
	client = bench_ask(b, "{\"verb\":\"unblock\",\"endpoint\":\"" ENDPOINT
	                      "\",\"reason\":\"test\"}");
	bench_grant(b, FIREWALL_UNBLOCK, 0);
	assert_true(bench_is_ok(bench_answer(client)));
	expect_event(b, "manual_unblock", "none", "manual_unblock");
	client = bench_ask(b, "{\"verb\":\"panic\",\"reason\":\"test\"}");
	bench_grant(b, FIREWALL_PANIC, 0);
	assert_true(bench_is_ok(bench_answer(client)));
	bench_no_event(b, QUIET_MS);
}

/* Does it hold? */

static void start_verified(struct bench *b)
{
	start_standing(b, "scan: {targets: [\"" ENDPOINT "\"], interval: 1h, listeners: false}\n"
	                  "filters: [{name: front, match: {ports: [9100]}}]\n");
	find(b, VERDICT_CLEAR, "http");
	expect_block(b, 1, false);
}

/* From outside, and with plain HTTP. */
static uint64_t expect_probe_from_outside(struct bench *b)
{
	struct ipc_probe probe;
	uint64_t seq = bench_probe(b, &probe);

	assert_true(probe.from_inside && probe.plain_only && !probe.asks_serves);
	return seq;
}

static void expect_wall(struct bench *b, const char *state, const char *why)
{
	json_t *status = bench_status(b);
	json_t *wall = json_object_get(bench_endpoint(status, ENDPOINT), "wall");

	assert_string_equal(text_of(wall, "state"), state);
	assert_non_null(strstr(text_of(wall, "why"), why));
	json_decref(status);
}

static void test_a_filter_is_asked_from_outside(void **state)
{
	struct bench *b = *state;

	start_verified(b);
	bench_find(b, expect_probe_from_outside(b), NULL, VERDICT_PROTECTED, false);
	bench_no_event(b, QUIET_MS);
	expect_wall(b, "verified", "(null)");
}

static void test_a_filter_that_serves_profiling_is_told(void **state)
{
	struct bench *b = *state;

	start_verified(b);
	bench_find(b, expect_probe_from_outside(b), NULL, VERDICT_CONFIRMED, true);
	bench_find(b, expect_probe_from_outside(b), NULL, VERDICT_CONFIRMED, true);
	expect_event(b, "ineffective", "filter", "a stranger is served profiling");
	expect_wall(b, "ineffective", "in spite of the filter");
}

static void test_no_answer_proves_nothing(void **state)
{
	struct bench *b = *state;

	start_verified(b);
	bench_find(b, expect_probe_from_outside(b), NULL, VERDICT_ERROR, false);
	bench_no_event(b, QUIET_MS);
	expect_wall(b, "unproven", "got no answer");
}

static void test_a_prober_that_dies_of_it_is_no_end(void **state)
{
	struct bench *b = *state;

	start_verified(b);
	(void)expect_probe_from_outside(b);
	bench_kill_prober(b);
	bench_new_prober(b);
	bench_no_event(b, QUIET_MS);
	/* Asked again. */
	bench_find(b, expect_probe_from_outside(b), NULL, VERDICT_CLEAR, false);
	bench_no_event(b, QUIET_MS);
	expect_wall(b, "verified", "(null)");
}

static void test_a_filter_that_goes_meanwhile_is_not_judged(void **state)
{
	struct bench *b = *state;
	uint64_t seq;

	start_verified(b);
	seq = expect_probe_from_outside(b);
	bench_reload(b, TARGETS);
	bench_grant(b, FIREWALL_UNBLOCK, 0);
	bench_find(b, seq, NULL, VERDICT_CONFIRMED, true);
	bench_no_event(b, QUIET_MS);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
#define TEST(name) BENCH_TEST(name)
	    TEST(test_an_exposed_endpoint_is_filtered_whatever_else_it_serves),
	    TEST(test_an_allow_list_is_no_promise_of_metrics),
	    TEST(test_tls_is_never_filtered),
	    TEST(test_tls_falls_back_to_what_the_rule_says),
	    TEST(test_observing_says_what_it_would_do),
	    TEST(test_a_standing_filter_waits_for_one_answer_and_no_finding),
	    TEST(test_what_shows_behind_it_alarms_nobody),
	    TEST(test_who_asks_is_told_once),
	    TEST(test_what_comes_out_from_behind_it_does),
	    TEST(test_looks_for_tls_renew_nothing),
	    TEST(test_a_refused_one_is_no_shield),
	    TEST(test_tls_has_no_standing_filter),
	    TEST(test_found_in_the_kernel_it_stays_until_tls_is_seen),
	    TEST(test_a_reload_puts_it_in_front_of_a_breaker),
	    TEST(test_a_match_that_does_not_fit_is_none),
	    TEST(test_panic_and_people_come_first),
	    TEST(test_a_filter_is_asked_from_outside),
	    TEST(test_a_filter_that_serves_profiling_is_told),
	    TEST(test_no_answer_proves_nothing),
	    TEST(test_a_prober_that_dies_of_it_is_no_end),
	    TEST(test_a_filter_that_goes_meanwhile_is_not_judged),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
