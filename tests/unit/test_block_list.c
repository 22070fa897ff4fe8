/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The verb block_list: all or nothing, against a firewall that the test plays. */
#include "agent_bench.h"

#include <string.h>

static int ask(struct bench *b, const char *endpoints, const char *more)
{
	return bench_ask(b,
	                 "{\"verb\":\"block_list\",\"endpoints\":[%s],\"reason\":\"INC-7\","
	                 "\"for_ms\":600000%s}",
	                 endpoints, more);
}

static void count(struct bench *b, uint32_t blocks, uint32_t recent)
{
	struct firewall_reply reply = {
	    .version = FIREWALL_WIRE_VERSION, .blocks = blocks, .recent = recent};
	uint64_t seq;

	bench_request(b, FIREWALL_STATUS, &seq);
	bench_send_to_agent(b->firewall, FIREWALL_REPLY, seq, &reply, sizeof(reply));
}

static void grant(struct bench *b, uint64_t seq)
{
	const struct firewall_reply reply = {.version = FIREWALL_WIRE_VERSION,
	                                     .expires_ms = 600000};

	bench_send_to_agent(b->firewall, FIREWALL_REPLY, seq, &reply, sizeof(reply));
}

static void expect_error(int client, const char *text)
{
	json_t *answer = bench_answer(client);
	const char *error = json_string_value(json_object_get(answer, "error"));

	assert_false(json_is_true(json_object_get(answer, "ok")));
	if (!error || !strstr(error, text))
		fail_msg("not '%s' but: %s", text, error ? error : "-");
	json_decref(answer);
}

static size_t size_of(const json_t *answer, const char *key)
{
	return json_array_size(json_object_get(answer, key));
}

static const char three[] = "\"192.0.2.7:1\",\"192.0.2.7:2\",\"192.0.2.7:3\",\"192.0.2.7:1\"";

static void test_all_of_it(void **state)
{
	struct bench *b = *state;
	uint64_t seq;
	json_t *answer;
	int client;

	bench_start(b, NULL);
	client = ask(b, three, "");
	count(b, 0, 0);
	for (int i = 0; i < 3; i++) {
		struct firewall_request r = bench_request(b, FIREWALL_BLOCK, &seq);

		assert_int_equal(r.rule, FIREWALL_RULE_MANUAL);
		assert_int_equal(r.port, i + 1);
		bench_no_event(b, 0); /* not before the whole list stands */
		grant(b, seq);
	}
	answer = bench_answer(client);
	assert_true(json_is_true(json_object_get(answer, "ok")));
	assert_int_equal(size_of(answer, "blocked"), 3);
	assert_int_equal(size_of(answer, "already"), 0);
	json_decref(answer);
	for (int i = 0; i < 3; i++)
		json_decref(bench_event(b, "manual_block"));
	/* Again, and shorter: nothing to do. */
	client = bench_ask(b,
	                   "{\"verb\":\"block_list\",\"endpoints\":[%s],\"reason\":\"x\","
	                   "\"for_ms\":60000}",
	                   three);
	count(b, 3, 3);
	answer = bench_answer(client);
	assert_true(json_is_true(json_object_get(answer, "ok")));
	assert_int_equal(size_of(answer, "already"), 3);
	json_decref(answer);
	bench_no_request(b, 50);
}

static void test_refused_half_way(void **state)
{
	struct bench *b = *state;
	uint64_t seqs[3];
	json_t *status;
	int client;

	bench_start(b, NULL);
	client = ask(b, three, "");
	count(b, 0, 0);
	for (int i = 0; i < 3; i++)
		bench_request(b, FIREWALL_BLOCK, &seqs[i]);
	grant(b, seqs[0]);
	bench_reply(b, seqs[1], FIREWALL_TOO_FAST); /* breakers were quicker */
	grant(b, seqs[2]);
	for (int i = 0; i < 2; i++) {
		struct firewall_request r = bench_request(b, FIREWALL_UNBLOCK, &seqs[0]);

		assert_int_equal(r.port, i == 0 ? 1 : 3);
		bench_reply(b, seqs[0], FIREWALL_OK);
	}
	expect_error(client, "192.0.2.7:2: firewall.max_blocks_per_minute is reached");
	bench_no_event(b, 50);
	status = bench_status(b);
	assert_null(bench_endpoint(status, "192.0.2.7:1"));
	assert_null(bench_endpoint(status, "192.0.2.7:2"));
	json_decref(status);
}

static void test_earlier_decision_comes_back(void **state)
{
	struct bench *b = *state;
	uint64_t seqs[2];
	json_t *status;
	int client;

	bench_start(b, NULL);
	client = bench_ask(b, "{\"verb\":\"block\",\"endpoint\":\"192.0.2.7:1\",\"reason\":"
	                      "\"before\",\"for_ms\":60000}");
	bench_grant(b, FIREWALL_BLOCK, FIREWALL_RULE_MANUAL);
	assert_true(bench_is_ok(bench_answer(client)));
	json_decref(bench_event(b, "manual_block"));
	client = ask(b, "\"192.0.2.7:1\",\"192.0.2.7:2\"", "");
	count(b, 1, 1);
	bench_request(b, FIREWALL_BLOCK, &seqs[0]);
	bench_request(b, FIREWALL_BLOCK, &seqs[1]);
	/* Nobody comes in between. */
	expect_error(bench_ask(b, "{\"verb\":\"unblock\",\"endpoint\":\"192.0.2.7:1\","
	                          "\"reason\":\"x\"}"),
	             "stands in a list");
	expect_error(ask(b, three, ""), "another list");
	grant(b, seqs[0]);
	bench_reply(b, seqs[1], FIREWALL_TOO_MANY);
	/* For the time that was left of it. */
	assert_in_range(bench_request(b, FIREWALL_BLOCK, &seqs[0]).timeout_ms, 40000, 60000);
	grant(b, seqs[0]);
	expect_error(client, "is taken back");
	status = bench_status(b);
	assert_string_equal(
	    json_string_value(json_object_get(bench_endpoint(status, "192.0.2.7:1"), "manual")),
	    "block");
	json_decref(status);
}

static void test_told_beforehand(void **state)
{
	struct bench *b = *state;
	json_t *answer;
	int client;

	bench_start(b, "mode: observe\nscan: {targets: [\"192.0.2.1:9100\"], interval: 1h}\n"
	               "firewall: {max_blocks: 10, max_blocks_per_minute: 4}\n");
	expect_error(ask(b, "", ""), "endpoints: expected an array");
	expect_error(ask(b, "7", ""), "endpoints[0]: expected");
	expect_error(ask(b, three, ",\"dry_run\":1"), "dry_run");
	expect_error(ask(b, "\"192.0.2.7:1\",\"192.0.2.7:22\"", ""), "1 of 2 endpoints cannot");
	client = ask(b, three, "");
	count(b, 8, 0);
	expect_error(client, "3 new blocks, and 2 would fit: firewall.max_blocks is 10");
	client = ask(b, three, ",\"dry_run\":true");
	count(b, 0, 2);
	expect_error(client, "3 new blocks, and 2 would fit now");
	client = ask(b, three, ",\"dry_run\":true");
	count(b, 7, 1);
	answer = bench_answer(client);
	assert_true(json_is_true(json_object_get(answer, "ok")));
	assert_int_equal(size_of(answer, "blocked"), 3);
	json_decref(answer);
	bench_no_request(b, 50);
}

/* The second answer comes when nobody waits for it any more. */
static void test_hangs_half_way(void **state)
{
	struct bench *b = *state;
	uint64_t seqs[2], undo;
	int client;

	bench_start(b, NULL);
	client = ask(b, "\"192.0.2.7:1\",\"192.0.2.7:2\"", "");
	count(b, 0, 0);
	for (int i = 0; i < 2; i++)
		bench_request(b, FIREWALL_BLOCK, &seqs[i]);
	grant(b, seqs[0]);
	b->blocks[b->n_blocks++] = bench_block("192.0.2.7:1", FIREWALL_RULE_MANUAL, 600000);
	/* What was made is taken back as soon as the other is late. */
	assert_int_equal(bench_request(b, FIREWALL_UNBLOCK, &undo).port, 1);
	bench_reply(b, undo, FIREWALL_OK);
	grant(b, seqs[1]);
	assert_int_equal(bench_request(b, FIREWALL_UNBLOCK, &undo).port, 2);
	bench_reply(b, undo, FIREWALL_OK);
	expect_error(client, "192.0.2.7:2: the firewall process does not answer");
	bench_no_event(b, 50);
}

static void test_panic_in_between(void **state)
{
	struct bench *b = *state;
	uint64_t seq;
	uint64_t panic_seq;
	int client, panic;

	bench_start(b, NULL);
	client = ask(b, "\"192.0.2.7:1\"", "");
	count(b, 0, 0);
	bench_request(b, FIREWALL_BLOCK, &seq);
	panic = bench_ask(b, "{\"verb\":\"panic\",\"reason\":\"x\"}");
	bench_request(b, FIREWALL_PANIC, &panic_seq);
	bench_reply(b, seq, FIREWALL_PANICKED);
	/* What the panic asked for meanwhile. */
	bench_request(b, FIREWALL_UNBLOCK, &seq);
	bench_reply(b, seq, FIREWALL_NOT_FOUND);
	expect_error(client, "192.0.2.7:1");
	close(panic);
	expect_error(ask(b, three, ""), "panic is on");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    BENCH_TEST(test_all_of_it),
	    BENCH_TEST(test_refused_half_way),
	    BENCH_TEST(test_earlier_decision_comes_back),
	    BENCH_TEST(test_told_beforehand),
	    BENCH_TEST(test_hangs_half_way),
	    BENCH_TEST(test_panic_in_between),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
