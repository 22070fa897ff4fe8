/* SPDX-License-Identifier: GPL-2.0-or-later */
/* From findings and people's decisions to blocks and alerts: the whole agent (agent_bench.h). */
#include "agent_bench.h"

#include <string.h>

#define ENDPOINT "192.0.2.1:9100"
#define OTHER    "192.0.2.7:80"
#define ASK(verb, endpoint)                                                                        \
	"{\"verb\":\"" verb "\",\"endpoint\":\"" endpoint "\",\"reason\":\"test\"}"

enum { QUIET_MS = 300 };

static const char *text_of(const json_t *object, const char *key)
{
	const char *text = json_string_value(json_object_get(object, key));

	return text ? text : "(null)";
}

static void expect_event(struct bench *b, const char *kind, const char *action)
{
	json_t *event = bench_event(b, kind);

	assert_string_equal(text_of(event, "action"), action);
	json_decref(event);
}

static void expect_refusal(int client, const char *why)
{
	json_t *answer = bench_answer(client);

	assert_true(json_is_false(json_object_get(answer, "ok")));
	if (!strstr(text_of(answer, "error"), why))
		fail_msg("refused by: %s", text_of(answer, "error"));
	json_decref(answer);
}

/* Exposed at the first probe; the request for the block is the next thing to be read. */
static void expose(struct bench *b)
{
	bench_find(b, bench_probe(b, NULL), NULL, VERDICT_CONFIRMED, false);
}

static void start_blocked(struct bench *b, const char *extra)
{
	bench_start(b, extra);
	expose(b);
	bench_grant(b, FIREWALL_BLOCK, 1);
	expect_event(b, "opened", "drop");
}

static void test_block_then_alert(void **state)
{
	struct bench *b = *state;
	uint64_t seq;

	bench_start(b, NULL);
	expose(b);
	bench_request(b, FIREWALL_BLOCK, &seq);
	bench_no_event(b, QUIET_MS);
	bench_reply(b, seq, FIREWALL_OK);
	expect_event(b, "opened", "drop");
}

/* Only what was there is said to be lifted. */
static void expect_closed(struct bench *b, bool lifted)
{
	json_t *event = bench_event(b, "closed");
	const char *text = text_of(event, "text");

	assert_true((strstr(text, "the block is lifted") != NULL) == lifted);
	assert_true((strstr(text, "block") != NULL) == lifted);
	json_decref(event);
}

#define CLOSING                                                                                    \
	"scan: {targets: [\"" ENDPOINT "\"], interval: 200ms}\n"                                   \
	"breakers: [{name: default, trip_after: 1, close_after: 1, open_for: 1s"

/* Twice: the first may come within the millisecond in which the breaker becomes half-open. */
static void clear(struct bench *b)
{
	for (int i = 0; i < 2; i++)
		bench_find(b, bench_probe(b, NULL), NULL, VERDICT_CLEAR, false);
}

static void test_closed_says_what_was_lifted(void **state)
{
	struct bench *b = *state;

	bench_start(b, "mode: enforce\n" CLOSING "}]\n");
	expose(b);
	bench_grant(b, FIREWALL_BLOCK, 1);
	expect_event(b, "opened", "drop");
	clear(b);
	bench_grant(b, FIREWALL_UNBLOCK, 0);
	expect_closed(b, true);
}

static void test_closed_without_a_block(void **state)
{
	struct bench *b = *state;

	bench_start(b, "mode: observe\n" CLOSING "}]\n");
	expose(b);
	expect_event(b, "opened", "observe");
	clear(b);
	expect_closed(b, false);
	bench_reload(b, "mode: enforce\n" CLOSING ", action: alert}]\n");
	expose(b);
	expect_event(b, "opened", "alert");
	clear(b);
	expect_closed(b, false);
}

static void test_refusal_is_alerted(void **state)
{
	struct bench *b = *state;
	uint64_t seq;
	json_t *event;

	bench_start(b, NULL);
	expose(b);
	bench_request(b, FIREWALL_BLOCK, &seq);
	bench_reply(b, seq, FIREWALL_TOO_MANY);
	event = bench_event(b, "opened");
	assert_string_equal(text_of(event, "action"), "refused");
	assert_string_equal(text_of(event, "reason"), firewall_result_text(FIREWALL_TOO_MANY));
	json_decref(event);
}

static void test_firewall_that_hangs_is_alerted(void **state)
{
	struct bench *b = *state;
	json_t *event;
	uint64_t seq;

	bench_start(b, NULL);
	b->deaf = true;
	expose(b);
	bench_request(b, FIREWALL_BLOCK, &seq);
	event = bench_event(b, "opened");
	assert_string_equal(text_of(event, "action"), "refused");
	assert_string_equal(text_of(event, "reason"), "the firewall process does not answer");
	json_decref(event);
}

/* In the middle of a reload the firewall numbers rules by the new file, the agent by the old. */
static void test_stale_is_asked_again(void **state)
{
	struct bench *b = *state;
	struct firewall_request request;
	uint64_t seq;

	bench_start(b, NULL);
	bench_check(b, NULL);
	expose(b);
	request = bench_request(b, FIREWALL_BLOCK, &seq);
	assert_int_equal(request.generation, 1);
	bench_reply(b, seq, FIREWALL_STALE);
	request = bench_request(b, FIREWALL_BLOCK, &seq);
	bench_commit(b);
	while (request.generation == 1) {
		bench_reply(b, seq, FIREWALL_STALE);
		request = bench_request(b, FIREWALL_BLOCK, &seq);
	}
	bench_reply(b, seq, FIREWALL_OK);
	expect_event(b, "opened", "drop");
}

/* Manual decisions */

static void test_manual_block_is_told_when_it_stands(void **state)
{
	struct bench *b = *state;
	uint64_t seq;
	int client;

	bench_start(b, "mode: observe\nscan: {targets: []}\n");
	client = bench_ask(b, ASK("block", OTHER));
	assert_int_equal(bench_request(b, FIREWALL_BLOCK, &seq).rule, FIREWALL_RULE_MANUAL);
	bench_no_event(b, QUIET_MS);
	bench_reply(b, seq, FIREWALL_OK);
	expect_event(b, "manual_block", "drop");
	assert_true(bench_is_ok(bench_answer(client)));
}

static void test_refused_manual_block_leaves_nothing(void **state)
{
	struct bench *b = *state;
	json_t *status;
	uint64_t seq;
	int client;

	bench_start(b, NULL);
	client = bench_ask(b, ASK("block", "192.0.2.7:22"));
	bench_request(b, FIREWALL_BLOCK, &seq);
	bench_reply(b, seq, FIREWALL_PROTECTED_PORT);
	expect_refusal(client, "the port is protected");
	bench_no_event(b, QUIET_MS);
	status = bench_status(b);
	assert_null(bench_endpoint(status, "192.0.2.7:22"));
	json_decref(status);
}

static void test_unblock_of_what_was_never_seen(void **state)
{
	struct bench *b = *state;

	bench_start(b, NULL);
	assert_true(bench_is_ok(bench_answer(bench_ask(b, ASK("unblock", OTHER)))));
	expect_event(b, "manual_unblock", "none");
}

static void test_the_later_decision_wins(void **state)
{
	struct bench *b = *state;
	int first, second;
	uint64_t seq;

	bench_start(b, NULL);
	first = bench_ask(b, ASK("block", OTHER));
	bench_request(b, FIREWALL_BLOCK, &seq);
	second = bench_ask(b, ASK("unblock", OTHER));
	json_decref(bench_status(b)); /* it has been read by now */
	bench_reply(b, seq, FIREWALL_OK);
	bench_grant(b, FIREWALL_UNBLOCK, 0);
	expect_refusal(first, "overtaken");
	assert_true(bench_is_ok(bench_answer(second)));
}

/* While the one before is being written. */
static void test_a_decision_right_after_another(void **state)
{
	struct bench *b = *state;

	bench_start(b, NULL);
	for (int i = 0; i < 30; i++) {
		int first = bench_ask(b, ASK("block", OTHER)), second;
		uint64_t seq;

		bench_request(b, FIREWALL_BLOCK, &seq);
		bench_reply(b, seq, FIREWALL_OK);
		second = bench_ask(b, ASK("unblock", OTHER));
		bench_grant(b, FIREWALL_UNBLOCK, 0);
		json_decref(bench_answer(first));
		assert_true(bench_is_ok(bench_answer(second)));
	}
}

static void test_unblock_holds_against_the_breaker(void **state)
{
	struct bench *b = *state;
	int client;

	start_blocked(b, NULL);
	client = bench_ask(b, ASK("unblock", ENDPOINT));
	bench_grant(b, FIREWALL_UNBLOCK, 0);
	assert_true(bench_is_ok(bench_answer(client)));
	expose(b);
	bench_no_request(b, QUIET_MS);
}

static void test_nobody_waits_for_a_firewall_that_hangs(void **state)
{
	static const char *const asked[] = {ASK("block", OTHER), "{\"verb\":\"blocks\"}",
	                                    "{\"verb\":\"panic\"}", "{\"verb\":\"reload\"}"};
	struct bench *b = *state;
	int clients[ARRAY_LEN(asked)];

	bench_start(b, NULL);
	b->deaf = true;
	for (size_t i = 0; i < ARRAY_LEN(asked); i++)
		clients[i] = bench_ask(b, "%s", asked[i]);
	for (size_t i = 0; i < ARRAY_LEN(asked); i++)
		expect_refusal(clients[i], i == 3 ? "the parent process does not answer" : "");
}

static void test_a_block_that_comes_too_late_is_taken_back(void **state)
{
	struct bench *b = *state;
	uint64_t seq;
	int client;

	bench_start(b, NULL);
	b->deaf = true;
	client = bench_ask(b, ASK("block", OTHER));
	bench_request(b, FIREWALL_BLOCK, &seq);
	expect_refusal(client, "does not answer");
	b->deaf = false;
	b->blocks[b->n_blocks++] = bench_block(OTHER, FIREWALL_RULE_MANUAL, 3600 * 1000);
	bench_reply(b, seq, FIREWALL_OK);
	bench_grant(b, FIREWALL_UNBLOCK, 0);
}

/* What is in the kernel at the start, and what is not there later */

static void test_adopts_and_renews(void **state)
{
	struct bench *b = *state;
	json_t *status, *endpoint;

	b->blocks[b->n_blocks++] = bench_block(ENDPOINT, 1, 60000);
	b->blocks[b->n_blocks++] = bench_block(OTHER, 1, 60000);
	bench_start(b, NULL);
	bench_grant(b, FIREWALL_BLOCK, 1);
	bench_no_event(b, QUIET_MS); /* it was told before the restart */
	status = bench_status(b);
	endpoint = bench_endpoint(status, ENDPOINT);
	assert_string_not_equal(text_of(endpoint, "state"), "closed");
	endpoint = bench_endpoint(status, OTHER);
	assert_true(json_is_true(json_object_get(endpoint, "blocked")));
	json_decref(status);
	/* No target yet, but a name may mean it: neither a start nor a reload opens it. */
	bench_reload(b, NULL);
	bench_grant(b, FIREWALL_BLOCK, 1);
	bench_no_request(b, QUIET_MS);
	/* Now it is one. */
	bench_reload(b, "mode: enforce\n"
	                "scan: {targets: [\"192.0.2.1:9100\", \"192.0.2.7:80\"], interval: 1h}\n");
	bench_grant(b, FIREWALL_BLOCK, 1);
	bench_grant(b, FIREWALL_BLOCK, 1);
}

static char *id_of(struct bench *b, const char *kind)
{
	json_t *event = bench_event(b, kind);
	char *id = strdup(text_of(event, "id"));

	json_decref(event);
	return id;
}

static void restart(struct bench *b, const char *extra)
{
	bench_kill(b);
	b->n_blocks = 0;
	b->blocks[b->n_blocks++] = bench_block(ENDPOINT, 1, 60000);
	bench_start(b, extra);
	bench_grant(b, FIREWALL_BLOCK, 1);
}

/* Killed after the block and before the commit: the alert is still owed. */
static void test_killed_before_the_commit(void **state)
{
	struct bench *b = *state;
	uint64_t seq;

	bench_start(b, NULL);
	expose(b);
	bench_request(b, FIREWALL_BLOCK, &seq);
	restart(b, NULL);
	expect_event(b, "opened", "drop");
	restart(b, NULL);
}

/* Killed while the alert is on its way: the same again, which its receivers can tell by its id. */
static void test_killed_before_the_delivery(void **state)
{
	struct bench *b = *state;
	auto_free char *first = NULL, *second = NULL;

	bench_start(b, NULL);
	expose(b);
	bench_grant(b, FIREWALL_BLOCK, 1);
	first = id_of(b, "opened");
	restart(b, NULL);
	second = id_of(b, "opened");
	assert_string_equal(first, second);
	bench_take_event(b);
	/* What was taken is written some time later. */
	for (int i = 0; i < 50; i++) {
		json_t *status = bench_status(b);

		json_decref(status);
	}
	bench_no_event(b, QUIET_MS);
	restart(b, NULL);
	bench_no_event(b, QUIET_MS);
}

/* Of a rule that is no more: it was opened by evidence, and only evidence closes it. */
static void test_renamed_while_it_was_down(void **state)
{
	struct bench *b = *state;

	start_blocked(b, NULL);
	bench_kill(b);
	b->n_blocks = 0;
	b->blocks[b->n_blocks++] = bench_block(ENDPOINT, FIREWALL_RULE_ORPHAN, 60000);
	bench_start(b, "mode: enforce\nscan: {targets: [\"192.0.2.1:9100\"], interval: 1h}\n"
	               "breakers: [{name: new, trip_after: 1}]\n");
	bench_grant(b, FIREWALL_BLOCK, 1);
	bench_no_request(b, QUIET_MS);
}

/* A person's block that was killed before it was saved, on an endpoint that a rule would let be. */
static void test_manual_block_outlives_a_lost_row(void **state)
{
	struct bench *b = *state;
	json_t *status, *endpoint;

	b->blocks[b->n_blocks++] = bench_block(ENDPOINT, FIREWALL_RULE_MANUAL, 3600 * 1000);
	bench_start(b, NULL);
	bench_grant(b, FIREWALL_BLOCK, FIREWALL_RULE_MANUAL);
	bench_no_request(b, QUIET_MS);
	status = bench_status(b);
	endpoint = bench_endpoint(status, ENDPOINT);
	assert_string_equal(text_of(endpoint, "manual"), "block");
	assert_string_equal(text_of(endpoint, "manual_who"), "unknown");
	json_decref(status);
}

static void test_observe_takes_out_what_enforce_left(void **state)
{
	struct bench *b = *state;

	b->blocks[b->n_blocks++] = bench_block(ENDPOINT, 1, 60000);
	bench_start(b, "mode: observe\nscan: {targets: [\"192.0.2.1:9100\"], interval: 1h}\n");
	bench_grant(b, FIREWALL_UNBLOCK, 0);
}

static void test_lost_block_is_put_in_again(void **state)
{
	struct bench *b = *state;

	start_blocked(b, NULL);
	b->blocks[b->n_blocks++] = bench_block(ENDPOINT, 1, 60000);
	assert_true(bench_is_ok(bench_answer(bench_ask(b, "{\"verb\":\"status\"}"))));
	b->n_blocks = 0;
	json_decref(bench_status(b));
	(void)bench_ask(b, "{\"verb\":\"blocks\"}"); /* reads the kernel's list */
	bench_grant(b, FIREWALL_BLOCK, 1);
}

static void test_removed_target_is_let_go(void **state)
{
	struct bench *b = *state;

	start_blocked(b, NULL);
	bench_reload(b, "mode: enforce\nscan: {targets: []}\n");
	bench_grant(b, FIREWALL_UNBLOCK, 0);
	expect_event(b, "gone", "none");
}

static void test_renamed_rule_keeps_the_wall(void **state)
{
	struct bench *b = *state;

	start_blocked(b, NULL);
	bench_reload(b, "mode: enforce\nscan: {targets: [\"192.0.2.1:9100\"], interval: 1h}\n"
	                "breakers: [{name: first}, {name: default, trip_after: 1}]\n");
	bench_grant(b, FIREWALL_BLOCK, 2); /* the same, elsewhere in the list */
	bench_reload(b, "mode: enforce\nscan: {targets: [\"192.0.2.1:9100\"], interval: 1h}\n"
	                "breakers: [{name: new, trip_after: 1}]\n");
	bench_grant(b, FIREWALL_BLOCK, 1);
	bench_no_request(b, QUIET_MS);
}

/* A port that a reload protects: the firewall has taken its blocks out. */
static void test_protected_by_a_reload(void **state)
{
	struct bench *b = *state;
	json_t *status;
	uint64_t seq;

	start_blocked(b, NULL);
	bench_reload(b, NULL);
	bench_request(b, FIREWALL_BLOCK, &seq);
	bench_reply(b, seq, FIREWALL_PROTECTED_PORT);
	status = bench_status(b);
	assert_true(json_is_false(json_object_get(bench_endpoint(status, ENDPOINT), "blocked")));
	assert_string_equal(text_of(bench_endpoint(status, ENDPOINT), "action"), "refused");
	json_decref(status);
}

/* Panic */

static void test_panic_and_resume(void **state)
{
	struct bench *b = *state;
	uint64_t seq, pending;
	json_t *answer;
	int panic, resume;

	start_blocked(b, NULL);
	panic = bench_ask(b, "{\"verb\":\"panic\",\"reason\":\"drill\"}");
	bench_request(b, FIREWALL_PANIC, &pending);
	resume = bench_ask(b, "{\"verb\":\"resume\"}");
	bench_request(b, FIREWALL_RESUME, &seq);
	bench_reply(b, pending, FIREWALL_PANICKED);
	bench_reply(b, seq, FIREWALL_OK);
	/* Each gets its own answer. */
	expect_refusal(panic, "");
	answer = bench_answer(resume);
	assert_true(json_is_false(json_object_get(answer, "panic")));
	json_decref(answer);
	bench_grant(b, FIREWALL_BLOCK, 1); /* the breaker is still open */
}

static void test_panic_by_signal(void **state)
{
	struct bench *b = *state;
	json_t *status;

	start_blocked(b, NULL);
	bench_signal_panic(b);
	status = bench_status(b);
	assert_true(json_is_true(json_object_get(status, "panic")));
	json_decref(status);
	expect_refusal(bench_ask(b, ASK("block", OTHER)), "panic is on");
	bench_no_request(b, QUIET_MS);
}

int main(void)
{
#define TEST(name) BENCH_TEST(name)
	const struct CMUnitTest tests[] = {
	    TEST(test_block_then_alert),
	    TEST(test_closed_says_what_was_lifted),
	    TEST(test_closed_without_a_block),
	    TEST(test_refusal_is_alerted),
	    TEST(test_firewall_that_hangs_is_alerted),
	    TEST(test_stale_is_asked_again),
	    TEST(test_manual_block_is_told_when_it_stands),
	    TEST(test_refused_manual_block_leaves_nothing),
	    TEST(test_unblock_of_what_was_never_seen),
	    TEST(test_the_later_decision_wins),
	    TEST(test_a_decision_right_after_another),
	    TEST(test_unblock_holds_against_the_breaker),
	    TEST(test_nobody_waits_for_a_firewall_that_hangs),
	    TEST(test_a_block_that_comes_too_late_is_taken_back),
	    TEST(test_adopts_and_renews),
	    TEST(test_killed_before_the_commit),
	    TEST(test_killed_before_the_delivery),
	    TEST(test_renamed_while_it_was_down),
	    TEST(test_manual_block_outlives_a_lost_row),
	    TEST(test_observe_takes_out_what_enforce_left),
	    TEST(test_lost_block_is_put_in_again),
	    TEST(test_removed_target_is_let_go),
	    TEST(test_renamed_rule_keeps_the_wall),
	    TEST(test_protected_by_a_reload),
	    TEST(test_panic_and_resume),
	    TEST(test_panic_by_signal),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
