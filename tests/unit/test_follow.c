/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What is told of an open breaker as time goes by, and who has taken it on: the whole agent. */
#include "agent_bench.h"
#include "tests/unit/state_lab.h"

#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define ENDPOINT "192.0.2.1:9100"
#define CONF     "mode: enforce\nscan: {targets: [\"" ENDPOINT "\"], interval: 1h}\n"
#define PAGER                                                                                      \
	"alerts: [{name: " BENCH_SINK ", type: webhook, url: 'http://192.0.2.9/', "                \
	"escalate_after: 2s}]\n"

enum { QUIET_MS = 300 };

static void expect_event(struct bench *b, const char *kind)
{
	json_decref(bench_event(b, kind));
	bench_take_event(b);
}

static void open_breaker(struct bench *b, const char *conf)
{
	bench_start(b, conf);
	bench_find(b, bench_probe(b, NULL), NULL, VERDICT_CONFIRMED, false);
	bench_grant(b, FIREWALL_BLOCK, 1);
}

/* With what the kernel still has. */
static void start_again(struct bench *b)
{
	b->blocks[0] = bench_block(ENDPOINT, 1, 3600 * 1000);
	b->n_blocks = 1;
	bench_start(b, CONF);
}

static json_t *ask(struct bench *b, const char *verb)
{
	return bench_answer(
	    bench_ask(b, "{\"verb\":\"%s\",\"endpoint\":\"" ENDPOINT "\",\"reason\":\"\"}", verb));
}

static bool is_acknowledged(struct bench *b)
{
	json_t *status = bench_status(b);
	const json_t *endpoint = bench_endpoint(status, ENDPOINT);
	bool is;

	assert_non_null(endpoint);
	assert_string_not_equal(json_string_value(json_object_get(endpoint, "state")), "closed");
	is = json_is_string(json_object_get(endpoint, "ack_who"));
	json_decref(status);
	return is;
}

static void test_is_escalated_when_nobody_takes_it_on(void **state)
{
	struct bench *b = *state;

	open_breaker(b, CONF PAGER);
	bench_no_event(b, QUIET_MS);
	expect_event(b, "escalated");
	assert_true(bench_is_ok(ask(b, "ack")));
	expect_event(b, "acknowledged");
}

static void test_is_not_escalated_while_somebody_is_on_it(void **state)
{
	struct bench *b = *state;

	open_breaker(b, CONF PAGER);
	assert_true(bench_is_ok(ask(b, "ack")));
	bench_no_event(b, 2000 + QUIET_MS);
	assert_true(bench_is_ok(ask(b, "unack")));
	expect_event(b, "escalated");
	assert_false(bench_is_ok(ask(b, "unack")));
}

/* The breaker's own: one that opened later is nobody's, though the row was left behind. */
static void test_an_ack_outlives_a_kill_but_not_its_opening(void **state)
{
	struct bench *b = *state;
	struct state_lab lab;
	json_t *answer;

	snprintf(lab.directory, sizeof(lab.directory), "%s", b->directory);
	open_breaker(b, CONF);
	expect_event(b, "opened");
	assert_false(is_acknowledged(b));
	answer = ask(b, "ack");
	assert_true(json_is_true(json_object_get(answer, "saved")));
	assert_true(json_is_string(json_object_get(answer, "until")));
	json_decref(answer);
	bench_kill(b);
	start_again(b);
	assert_true(is_acknowledged(b));
	bench_kill(b);
	state_lab_run_sql(&lab, "UPDATE breakers SET opened_ms = opened_ms + 3600000;");
	start_again(b);
	assert_false(is_acknowledged(b));
}

/* A C1 control sequence, an override of the direction, and an escape: of a member of the group. */
static void test_no_reason_has_power_over_a_terminal(void **state)
{
	struct bench *b = *state;
	json_t *status;

	open_breaker(b, CONF);
	expect_event(b, "opened");
	json_decref(bench_answer(bench_ask(b, "{\"verb\":\"ack\",\"endpoint\":\"" ENDPOINT "\","
	                                      "\"reason\":\"\\u009b31m\\u202e\\u001b]r\u00e9\"}")));
	status = bench_status(b);
	assert_string_equal(
	    json_string_value(json_object_get(bench_endpoint(status, ENDPOINT), "ack_reason")),
	    "\ufffd31m\ufffd\ufffd]r\u00e9");
	json_decref(status);
}

static void test_no_disk_is_waited_for(void **state)
{
	struct bench *b = *state;
	char path[128];
	json_t *answer;

	snprintf(path, sizeof(path), "%s/state.db", b->directory);
	assert_int_equal(mkdir(path, 0700), 0);
	open_breaker(b, CONF);
	expect_event(b, "opened");
	answer = ask(b, "ack");
	assert_true(json_is_true(json_object_get(answer, "ok")));
	assert_true(json_is_false(json_object_get(answer, "saved")));
	json_decref(answer);
	assert_true(is_acknowledged(b));
	(void)rmdir(path);
}

int main(void)
{
#undef TEST
#define TEST(name) BENCH_TEST(name)
	const struct CMUnitTest tests[] = {
	    TEST(test_is_escalated_when_nobody_takes_it_on),
	    TEST(test_is_not_escalated_while_somebody_is_on_it),
	    TEST(test_an_ack_outlives_a_kill_but_not_its_opening),
	    TEST(test_no_reason_has_power_over_a_terminal),
	    TEST(test_no_disk_is_waited_for),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
