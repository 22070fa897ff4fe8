/* SPDX-License-Identifier: GPL-2.0-or-later */
/* verify.c against an inventory helper that the test plays; nothing else of the agent runs. */
#include "daemon/agent/agent.h"

#include "common/clock.h"
#include "common/frame.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <sys/socket.h>

#include <cmocka.h>

enum { WALLS = VERIFY_AT_ONCE + 3 };

struct bench {
	struct agent a;
	int helper; /* our end */
	struct frame frame;
};

static void on_pong(void *arg)
{
	(void)arg;
}

static int on_told(enum inventory_type type, const void *body, size_t length, void *arg)
{
	(void)type;
	(void)body;
	(void)length;
	(void)arg;
	return 0;
}

static void on_resolved(const struct ipc_addresses *addresses, uint64_t token, void *arg)
{
	(void)addresses;
	(void)token;
	(void)arg;
}

static void connect_helper(struct bench *b)
{
	int pair[2];

	assert_int_equal(
	    socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair), 0);
	if (b->helper >= 0)
		close(b->helper);
	b->helper = pair[0];
	assert_int_equal(inventory_set_helper(b->a.inventory, pair[1]), 0);
}

static void configure(struct bench *b, const char *text)
{
	char error[CONF_ERROR_LEN];

	conf_free(b->a.conf);
	b->a.conf = conf_load("f", text, strlen(text), error);
	if (!b->a.conf)
		fail_msg("%s", error);
	routes_free(b->a.routes);
	b->a.routes = NULL;
	assert_int_equal(routes_new(b->a.conf, &b->a.routes, error), 0);
	b->a.meta.generation++;
	assert_int_equal(admit_configure(b->a.admit), 0);
}

static int setup(void **state)
{
	const struct outbox_handlers outbox = {.resolved = on_resolved, .pong = on_pong};
	const struct inventory_handlers inventory = {
	    .told = on_told, .pong = on_pong, .gone = on_pong};
	struct bench *b = calloc(1, sizeof(*b));

	if (!b)
		return -1;
	b->helper = -1;
	b->a.base = event_base_new();
	b->a.watches = watch_set_new();
	if (admit_new(&b->a, &b->a.admit) < 0 || outbox_new(b->a.base, &outbox, &b->a.outbox) < 0 ||
	    impact_new(&b->a, &b->a.impact) < 0 ||
	    inventory_new(b->a.base, &inventory, &b->a.inventory) < 0)
		return -1;
	configure(b, "mode: enforce\n"
	             "alerts: [{name: ops, type: webhook, url: \"http://192.0.2.9/\"}]\n");
	outbox_configure(b->a.outbox, b->a.conf);
	connect_helper(b);
	*state = b;
	return 0;
}

static int teardown(void **state)
{
	struct bench *b = *state;

	inventory_free(b->a.inventory);
	impact_free(b->a.impact);
	outbox_free(b->a.outbox);
	admit_free(b->a.admit);
	watch_set_free(b->a.watches);
	routes_free(b->a.routes);
	conf_free(b->a.conf);
	event_base_free(b->a.base);
	close(b->helper);
	free(b);
	return 0;
}

static struct watch *add_wall(struct bench *b, const char *endpoint)
{
	struct endpoint e;
	struct watch *w;

	assert_int_equal(endpoint_parse(endpoint, &e), 0);
	w = watch_set_get(b->a.watches, &e);
	assert_non_null(w);
	w->wall.in_kernel = true;
	verify_note_wall(&b->a, w);
	verify_tick(&b->a, clock_monotonic_ms());
	return w;
}

/* What comes over the sockets is dealt with. */
static void turn(struct bench *b)
{
	for (unsigned i = 0; i < 3; i++)
		event_base_loop(b->a.base, EVLOOP_NONBLOCK);
}

/* The helper is asked for a connection, or not. */
static bool is_asked(struct bench *b, struct inventory_request *request)
{
	turn(b);
	if (frame_recv(b->helper, &b->frame) != 1)
		return false;
	assert_int_equal(b->frame.type, INVENTORY_REQUEST);
	assert_int_equal(b->frame.length, sizeof(*request));
	memcpy(request, b->frame.body, sizeof(*request));
	assert_int_equal(request->verb, INVENTORY_CONNECT);
	assert_in_range(request->timeout_ms, INVENTORY_TIMEOUT_MIN_MS, INVENTORY_TIMEOUT_MAX_MS);
	return true;
}

static void answer(struct bench *b, enum inventory_result result)
{
	const struct inventory_answer a = {.version = INVENTORY_WIRE_VERSION,
	                                   .result = (uint16_t)result};

	assert_int_equal(frame_send(b->helper, INVENTORY_ANSWER, b->frame.seq, &a, sizeof(a), -1),
	                 0);
	turn(b);
}

/* The time of the next question has come. */
static void wait_due(struct bench *b, struct watch *w)
{
	verify_tick(&b->a, w->verify.due_ms);
}

static void test_a_refusal_verifies(void **state)
{
	struct bench *b = *state;
	struct watch *w = add_wall(b, "192.0.2.7:9100");
	struct inventory_request request;

	assert_true(is_asked(b, &request));
	assert_int_equal(request.port, 9100);
	assert_int_equal(request.address[3], 7);
	assert_int_equal(w->verify.state, VERIFY_NONE);
	answer(b, INVENTORY_REFUSED);
	assert_int_equal(w->verify.state, VERIFY_HOLDS);
	assert_true(w->verify.checked_wall_ms > 0);
	/* A renewal is no reason to ask again; time is. */
	verify_note_wall(&b->a, w);
	verify_tick(&b->a, clock_monotonic_ms() + VERIFY_AGAIN_MS - 1000);
	assert_false(is_asked(b, &request));
	wait_due(b, w);
	assert_true(is_asked(b, &request));
	answer(b, INVENTORY_SILENT);
	assert_int_equal(w->verify.state, VERIFY_HOLDS);
	assert_int_equal(outbox_length(b->a.outbox), 0);
}

static void test_two_answers_are_no_wall(void **state)
{
	struct bench *b = *state;
	struct watch *w = add_wall(b, "192.0.2.7:9100");
	struct inventory_request request;

	assert_true(is_asked(b, &request));
	answer(b, INVENTORY_CONNECTED); /* under way before the block */
	assert_int_equal(w->verify.state, VERIFY_NONE);
	assert_int_equal(outbox_length(b->a.outbox), 0);
	wait_due(b, w);
	assert_true(is_asked(b, &request));
	answer(b, INVENTORY_CONNECTED);
	assert_int_equal(w->verify.state, VERIFY_INEFFECTIVE);
	assert_int_equal(verify_count(&b->a, VERIFY_INEFFECTIVE), 1);
	assert_int_equal(outbox_length(b->a.outbox), 1);
	/* Told once, until it holds; and once more then. */
	wait_due(b, w);
	assert_true(is_asked(b, &request));
	answer(b, INVENTORY_CONNECTED);
	assert_int_equal(outbox_length(b->a.outbox), 1);
	wait_due(b, w);
	assert_true(is_asked(b, &request));
	answer(b, INVENTORY_REFUSED);
	assert_int_equal(w->verify.state, VERIFY_HOLDS);
	assert_int_equal(outbox_length(b->a.outbox), 2);
}

static void test_one_answer_and_a_refusal_are_a_wall(void **state)
{
	struct bench *b = *state;
	struct watch *w = add_wall(b, "[2001:db8::7]:9100");
	struct inventory_request request;

	assert_true(is_asked(b, &request));
	assert_int_equal(request.family, AF_INET6);
	answer(b, INVENTORY_CONNECTED);
	wait_due(b, w);
	assert_true(is_asked(b, &request));
	answer(b, INVENTORY_REFUSED);
	assert_int_equal(w->verify.state, VERIFY_HOLDS);
	assert_int_equal(outbox_length(b->a.outbox), 0);
}

static void test_what_cannot_be_tried_is_no_alert(void **state)
{
	static const enum inventory_result results[] = {INVENTORY_NO_ROUTE, INVENTORY_UNSUPPORTED,
	                                                INVENTORY_KERNEL, INVENTORY_MALFORMED};
	struct bench *b = *state;
	struct watch *w = add_wall(b, "192.0.2.7:9100");
	struct inventory_request request;

	for (size_t i = 0; i < ARRAY_LEN(results); i++) {
		assert_true(is_asked(b, &request));
		answer(b, results[i]);
		assert_int_equal(w->verify.state, VERIFY_UNPROVEN);
		assert_non_null(w->verify.why);
		wait_due(b, w);
	}
	assert_true(is_asked(b, &request));
	answer(b, INVENTORY_BUSY);
	wait_due(b, w);
	assert_true(is_asked(b, &request));
	connect_helper(b); /* it died */
	turn(b);
	assert_int_equal(w->verify.state, VERIFY_UNPROVEN);
	wait_due(b, w);
	assert_true(is_asked(b, &request));
	answer(b, INVENTORY_REFUSED);
	assert_int_equal(w->verify.state, VERIFY_HOLDS);
	assert_int_equal(outbox_length(b->a.outbox), 0);
}

static void test_who_is_let_through_is_not_asked(void **state)
{
	static const char *const lists[] = {"allow_from: ['0.0.0.0/0', '::/0']",
	                                    "allow_from: ['169.254.213.6', 'fd70:7077:616c::3']",
	                                    "allow_from: ['169.254.0.0/16', 'fd00::/8']"};
	struct bench *b = *state;
	struct inventory_request request;

	for (size_t i = 0; i < ARRAY_LEN(lists); i++) {
		char text[256];

		snprintf(text, sizeof(text), "mode: enforce\nbreakers: [{name: a, %s}]\n",
		         lists[i]);
		configure(b, text);
		assert_int_equal(add_wall(b, "192.0.2.7:9100")->verify.state, VERIFY_UNPROVEN);
		assert_int_equal(add_wall(b, "[2001:db8::7]:9100")->verify.state, VERIFY_UNPROVEN);
		assert_false(is_asked(b, &request));
	}
	configure(b, "mode: enforce\nprotect: {sources: ['169.254.213.0/31']}\n");
	assert_int_equal(add_wall(b, "192.0.2.7:9100")->verify.state, VERIFY_UNPROVEN);
	assert_false(is_asked(b, &request));
	assert_int_equal(add_wall(b, "127.0.0.1:9100")->verify.state, VERIFY_UNPROVEN);
	assert_false(is_asked(b, &request));
	/* Under another configuration it can be told. */
	configure(b, "mode: enforce\nbreakers: [{name: a, allow_from: [10.0.0.0/8]}]\n");
	add_wall(b, "192.0.2.7:9100");
	assert_true(is_asked(b, &request));
}

static void test_a_block_that_went_meanwhile(void **state)
{
	struct bench *b = *state;
	struct watch *w = add_wall(b, "192.0.2.7:9100");
	struct inventory_request request;

	assert_true(is_asked(b, &request));
	w->wall.in_kernel = false;
	verify_note_wall(&b->a, w);
	answer(b, INVENTORY_CONNECTED);
	assert_int_equal(w->verify.state, VERIFY_NONE);
	assert_int_equal(outbox_length(b->a.outbox), 0);
	assert_int_equal(b->a.verifying, 0);
	/* And a watch that is gone altogether. */
	add_wall(b, "192.0.2.8:9100");
	assert_true(is_asked(b, &request));
	watch_set_remove(b->a.watches, watch_set_at(b->a.watches, 1));
	answer(b, INVENTORY_CONNECTED);
	assert_int_equal(b->a.verifying, 0);
}

static void test_few_at_once(void **state)
{
	struct bench *b = *state;
	struct inventory_request request;
	uint64_t seqs[WALLS];
	unsigned asked = 0;

	for (unsigned i = 0; i < WALLS; i++) {
		char text[ENDPOINT_TEXT_LEN];

		snprintf(text, sizeof(text), "192.0.2.%u:9100", i + 1);
		add_wall(b, text);
	}
	while (asked < WALLS && is_asked(b, &request))
		seqs[asked++] = b->frame.seq;
	assert_int_equal(asked, VERIFY_AT_ONCE);
	b->frame.seq = seqs[0];
	answer(b, INVENTORY_REFUSED);
	verify_tick(&b->a, clock_monotonic_ms());
	assert_true(is_asked(b, &request));
	assert_false(is_asked(b, &request));
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(test_a_refusal_verifies),
	    TEST(test_two_answers_are_no_wall),
	    TEST(test_one_answer_and_a_refusal_are_a_wall),
	    TEST(test_what_cannot_be_tried_is_no_alert),
	    TEST(test_who_is_let_through_is_not_asked),
	    TEST(test_a_block_that_went_meanwhile),
	    TEST(test_few_at_once),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
