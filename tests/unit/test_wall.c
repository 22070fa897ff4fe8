/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The agent's side of the firewall, against a helper that the test plays itself. */
#include "common/frame.h"
#include "daemon/agent/wall.h"

#include <errno.h>

#include <event2/event.h>
#include <string.h>
#include <unistd.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

struct bench {
	struct event_base *base;
	struct wall *wall;
	struct watch_set *set;
	struct watch *watch;
	int helper;
	unsigned settled, found, list_ended, restored, gone;
	struct frame frame;
	size_t at, frames; /* read of the frame; such as had requests */
	uint32_t allowed_rule;
	int allowed_result;
	size_t peers;
	struct firewall_peer last_peer;
	int peers_ended;
};

static void on_settled(struct watch *w, void *arg)
{
	(void)w;
	((struct bench *)arg)->settled++;
}

static void on_found(const struct firewall_reply *block, void *arg)
{
	struct bench *b = arg;

	b->found++;
	wall_note_counters(b->wall, b->watch, block, true);
}

static void on_list_ended(bool complete, void *arg)
{
	(void)complete;
	((struct bench *)arg)->list_ended++;
}

static void on_restored(void *arg)
{
	((struct bench *)arg)->restored++;
}

static void on_pong(void *arg)
{
	(void)arg;
}

static void on_panic(enum firewall_verb verb, const struct firewall_reply *answer, void *arg)
{
	(void)verb;
	(void)answer;
	(void)arg;
}

static void on_gone(void *arg)
{
	((struct bench *)arg)->gone++;
}

static void on_allowed(uint32_t rule, const struct firewall_reply *answer, void *arg)
{
	struct bench *b = arg;

	b->allowed_rule = rule;
	b->allowed_result = answer->result;
}

static void on_peers(const struct firewall_peer *peers, size_t count, void *arg)
{
	struct bench *b = arg;

	b->peers += count;
	b->last_peer = peers[count - 1];
}

static void on_peers_ended(bool complete, void *arg)
{
	((struct bench *)arg)->peers_ended += complete ? 1 : 100;
}

static int set_up(void **state)
{
	struct bench *b = calloc(1, sizeof(*b));
	const struct wall_handlers handlers = {.settled = on_settled,
	                                       .found = on_found,
	                                       .list_ended = on_list_ended,
	                                       .restored = on_restored,
	                                       .pong = on_pong,
	                                       .panic_answered = on_panic,
	                                       .allow_answered = on_allowed,
	                                       .peers = on_peers,
	                                       .peers_ended = on_peers_ended,
	                                       .gone = on_gone,
	                                       .arg = b};
	struct endpoint e;
	int pair[2];

	assert_non_null(b);
	b->base = event_base_new();
	b->set = watch_set_new();
	assert_int_equal(endpoint_parse("192.0.2.1:9100", &e), 0);
	b->watch = watch_set_get(b->set, &e);
	assert_int_equal(frame_socketpair(pair), 0);
	b->helper = pair[0];
	assert_int_equal(wall_new(b->base, &handlers, &b->wall), 0);
	assert_int_equal(wall_set_firewall(b->wall, pair[1]), 0);
	wall_set_generation(b->wall, 7);
	*state = b;
	return 0;
}

static int tear_down(void **state)
{
	struct bench *b = *state;

	wall_free(b->wall);
	watch_set_free(b->set);
	close(b->helper);
	event_base_free(b->base);
	free(b);
	return 0;
}

static void turn(struct bench *b)
{
	for (int i = 0; i < 3; i++)
		event_base_loop(b->base, EVLOOP_NONBLOCK);
}

/* The next of those in one frame, or the first of the next frame. */
static bool has_request(struct bench *b)
{
	if (b->at < b->frame.length)
		return true;
	b->at = b->frame.length = 0;
	if (frame_recv(b->helper, &b->frame) != 1)
		return false;
	assert_int_equal(b->frame.type, FIREWALL_REQUEST);
	assert_true(b->frame.length / sizeof(struct firewall_request) <= FIREWALL_AT_ONCE);
	b->frames++;
	return true;
}

static struct firewall_request next_request(struct bench *b, uint64_t *seq)
{
	struct firewall_request request;

	assert_true(has_request(b));
	assert_true(b->frame.length - b->at >= sizeof(request));
	memcpy(&request, b->frame.body + b->at, sizeof(request));
	b->at += sizeof(request);
	assert_int_equal(request.version, FIREWALL_WIRE_VERSION);
	assert_int_equal(request.generation, 7);
	*seq = b->frame.seq;
	return request;
}

static void reply(struct bench *b, uint64_t seq, struct firewall_reply r)
{
	r.version = FIREWALL_WIRE_VERSION;
	assert_int_equal(frame_send(b->helper, FIREWALL_REPLY, seq, &r, sizeof(r), -1), 0);
	turn(b);
}

static void test_block_and_unblock(void **state)
{
	struct bench *b = *state;
	struct firewall_request r;
	uint64_t seq;

	wall_block(b->wall, b->watch, 3, 60000);
	r = next_request(b, &seq);
	assert_int_equal(r.verb, FIREWALL_BLOCK);
	assert_int_equal(r.rule, 3);
	assert_int_equal(r.port, 9100);
	assert_int_equal(r.timeout_ms, 60000);
	assert_false(b->watch->wall.in_kernel); /* only the kernel's word counts */
	reply(b, seq, (struct firewall_reply){.result = FIREWALL_OK, .expires_ms = 60000});
	assert_true(b->watch->wall.in_kernel);
	assert_int_equal(b->settled, 1);

	wall_unblock(b->wall, b->watch);
	r = next_request(b, &seq);
	assert_int_equal(r.verb, FIREWALL_UNBLOCK);
	reply(b, seq, (struct firewall_reply){.result = FIREWALL_NOT_FOUND});
	assert_false(b->watch->wall.in_kernel); /* it had expired: gone is gone */
	assert_null(b->watch->wall.error);
	assert_int_equal(b->settled, 2);
}

enum { MANY = 6000, AT_ONCE = 2048 };

/* Answers what has come, and counts it; what comes of the answers, too. */
static size_t answer_all(struct bench *b, enum firewall_verb verb)
{
	size_t count = 0;

	for (turn(b); has_request(b); turn(b)) {
		uint64_t seq;

		assert_int_equal(next_request(b, &seq).verb, verb);
		reply(b, seq,
		      (struct firewall_reply){
		          .result = FIREWALL_OK, .expires_ms = 60000, .blocks = 1});
		count++;
	}
	return count;
}

static struct watch *watch_of(struct bench *b, unsigned port)
{
	struct endpoint e = b->watch->endpoint;

	e.port = (uint16_t)port;
	return watch_set_get(b->set, &e);
}

/* More than the channel's queue has room for: none is refused for that, and none is forgotten. */
static void test_many_wait_for_room(void **state)
{
	struct bench *b = *state;

	for (unsigned i = 1; i <= MANY; i++) {
		struct watch *w = watch_of(b, i);

		wall_block(b->wall, w, 1, 60000);
		assert_true(w->wall.pending);
		assert_null(w->wall.error);
	}
	assert_int_equal(answer_all(b, FIREWALL_BLOCK), MANY);
	assert_int_equal(b->settled, MANY);
	assert_true(b->frames <= 64 + MANY / FIREWALL_AT_ONCE + 1);
	for (unsigned i = 1; i <= MANY; i++)
		assert_true(watch_of(b, i)->wall.in_kernel);
}

/* Renewals wait for one another, a new block does not wait for them. */
static void test_new_blocks_go_before_renewals(void **state)
{
	struct bench *b = *state;
	struct firewall_request r;
	uint64_t seq;

	for (unsigned i = 1; i <= AT_ONCE; i++)
		wall_block(b->wall, watch_of(b, i), 1, 60000);
	assert_int_equal(answer_all(b, FIREWALL_BLOCK), AT_ONCE);
	for (unsigned i = 1; i <= AT_ONCE; i++)
		wall_block(b->wall, watch_of(b, i), 1, 60000);
	wall_block(b->wall, b->watch, 1, 60000);
	r = next_request(b, &seq);
	assert_int_equal(r.port, 9100);
	reply(b, seq, (struct firewall_reply){.result = FIREWALL_OK, .expires_ms = 60000});
	/* One that is waiting, and is not wanted any more, does not wait either. */
	wall_unblock(b->wall, watch_of(b, AT_ONCE));
	for (;;) {
		r = next_request(b, &seq);
		reply(b, seq, (struct firewall_reply){.result = FIREWALL_OK, .expires_ms = 60000});
		if (r.verb == FIREWALL_UNBLOCK)
			break;
	}
	assert_int_equal(r.port, AT_ONCE);
	(void)answer_all(b, FIREWALL_BLOCK);
	for (unsigned i = 1; i < AT_ONCE; i++)
		assert_false(watch_of(b, i)->wall.pending);
	assert_false(watch_of(b, AT_ONCE)->wall.in_kernel);
}

/* A person's decision is not a renewal. */
static void test_decisions_do_not_wait(void **state)
{
	struct bench *b = *state;
	uint64_t seq;

	for (int i = 0; i < 2; i++) {
		wall_block(b->wall, b->watch, FIREWALL_RULE_MANUAL, 60000);
		assert_int_equal(next_request(b, &seq).rule, FIREWALL_RULE_MANUAL);
		reply(b, seq, (struct firewall_reply){.result = FIREWALL_OK, .expires_ms = 60000});
	}
}

static void test_refusal_is_told(void **state)
{
	struct bench *b = *state;
	uint64_t seq;

	wall_block(b->wall, b->watch, 1, 60000);
	next_request(b, &seq);
	reply(b, seq, (struct firewall_reply){.result = FIREWALL_PROTECTED_PORT});
	assert_false(b->watch->wall.in_kernel);
	assert_string_equal(b->watch->wall.error, "the port is protected");
	assert_int_equal(b->settled, 1);
}

static void test_only_the_last_wish_counts(void **state)
{
	struct bench *b = *state;
	struct firewall_request r;
	uint64_t seq;

	wall_block(b->wall, b->watch, 1, 60000);
	next_request(b, &seq);
	/* All of this while the first is under way. */
	wall_block(b->wall, b->watch, 2, 60000);
	wall_unblock(b->wall, b->watch);
	wall_block(b->wall, b->watch, 0, 5000);
	reply(b, seq, (struct firewall_reply){.result = FIREWALL_OK, .expires_ms = 60000});
	assert_int_equal(b->settled, 0);
	r = next_request(b, &seq);
	assert_int_equal(r.verb, FIREWALL_BLOCK);
	assert_int_equal(r.rule, 0);
	assert_int_equal(r.timeout_ms, 5000);
	reply(b, seq, (struct firewall_reply){.result = FIREWALL_OK, .expires_ms = 5000});
	assert_int_equal(b->settled, 1);
	assert_int_equal(frame_recv(b->helper, &b->frame), -EAGAIN);
}

static void test_watch_freed_meanwhile(void **state)
{
	struct bench *b = *state;
	uint64_t seq;

	wall_block(b->wall, b->watch, 1, 60000);
	next_request(b, &seq);
	wall_forget(b->wall, b->watch);
	watch_set_remove(b->set, b->watch);
	b->watch = NULL;
	reply(b, seq, (struct firewall_reply){.result = FIREWALL_OK});
	assert_int_equal(b->settled, 0);
}

static void test_counters_never_run_backwards(void **state)
{
	struct bench *b = *state;
	struct wall_stats stats;
	uint64_t seq;
	static const uint64_t seen[] = {10, 25, 3, 3};

	for (size_t i = 0; i < 4; i++) {
		wall_list(b->wall);
		next_request(b, &seq);
		reply(b, seq, (struct firewall_reply){.result = FIREWALL_OK, .packets = seen[i]});
		reply(b, seq, (struct firewall_reply){.result = FIREWALL_END, .blocks = 1});
	}
	wall_get_stats(b->wall, &stats);
	assert_int_equal(stats.dropped_packets, 28); /* 10, +15, begun anew: +3, +0 */
	assert_int_equal(b->list_ended, 4);
	assert_int_equal(stats.blocks, 1);
}

static void test_without_helper_it_is_said(void **state)
{
	struct bench *b = *state;

	wall_block(b->wall, b->watch, 1, 60000);
	close(b->helper);
	turn(b);
	/* What was under way is settled, and not waited for without end. */
	assert_int_equal(b->gone, 1);
	assert_int_equal(b->settled, 1);
	wall_block(b->wall, b->watch, 1, 60000);
	assert_false(b->watch->wall.pending);
	assert_string_equal(b->watch->wall.error, "the firewall process is not there");
	b->helper = dup(0);
}

static void test_allow(void **state)
{
	static struct prefix read[FIREWALL_ALLOW_MAX];
	struct bench *b = *state;
	struct prefix list[2];
	struct firewall_allow head;

	assert_int_equal(prefix_parse("10.0.0.0/8", &list[0]), PREFIX_OK);
	assert_int_equal(prefix_parse("2001:db8::1", &list[1]), PREFIX_OK);
	assert_int_equal(wall_allow(b->wall, 3, list, FIREWALL_ALLOW_MAX + 1), -E2BIG);
	assert_int_equal(wall_allow(b->wall, 3, list, 2), 0);
	assert_int_equal(frame_recv(b->helper, &b->frame), 1);
	b->at = b->frame.length;
	assert_int_equal(b->frame.type, FIREWALL_ALLOW);
	assert_int_equal(firewall_wire_check_allow(b->frame.body, b->frame.length, &head, read),
	                 FIREWALL_OK);
	assert_int_equal(head.rule, 3);
	assert_int_equal(head.generation, 7);
	assert_int_equal(head.count, 2);
	assert_int_equal(prefix_compare(&read[1], &list[1]), 0);
	reply(b, b->frame.seq, (struct firewall_reply){.result = FIREWALL_STALE});
	assert_int_equal(b->allowed_rule, 3);
	assert_int_equal(b->allowed_result, FIREWALL_STALE);
}

static void test_ledger(void **state)
{
	struct firewall_peer peers[3] = {{.version = FIREWALL_WIRE_VERSION},
	                                 {.version = FIREWALL_WIRE_VERSION},
	                                 {.version = FIREWALL_WIRE_VERSION, .connections = 9}};
	struct bench *b = *state;
	struct firewall_request r;
	uint64_t seq;

	wall_ledger_add(b->wall, &b->watch->endpoint);
	r = next_request(b, &seq);
	assert_int_equal(r.verb, FIREWALL_LEDGER_ADD);
	assert_int_equal(r.port, 9100);
	reply(b, seq, (struct firewall_reply){.result = FIREWALL_OK});
	wall_ledger_remove(b->wall, &b->watch->endpoint);
	assert_int_equal(next_request(b, &seq).verb, FIREWALL_LEDGER_REMOVE);
	reply(b, seq, (struct firewall_reply){.result = FIREWALL_NOT_FOUND});
	assert_int_equal(b->settled, 0);

	wall_ledger_list(b->wall, NULL);
	r = next_request(b, &seq);
	assert_int_equal(r.verb, FIREWALL_LEDGER_LIST);
	assert_int_equal(r.port, 0);
	assert_int_equal(frame_send(b->helper, FIREWALL_PEERS, seq, peers, sizeof(peers), -1), 0);
	assert_int_equal(frame_send(b->helper, FIREWALL_PEERS, seq, peers, 65, -1), 0);
	turn(b);
	assert_int_equal(b->peers, 3);
	assert_int_equal(b->last_peer.connections, 9);
	assert_int_equal(b->peers_ended, 0);
	reply(b, seq, (struct firewall_reply){.result = FIREWALL_END});
	assert_int_equal(b->peers_ended, 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(test_block_and_unblock, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(test_many_wait_for_room, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(test_new_blocks_go_before_renewals, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(test_decisions_do_not_wait, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(test_refusal_is_told, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(test_only_the_last_wish_counts, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(test_watch_freed_meanwhile, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(test_counters_never_run_backwards, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(test_without_helper_it_is_said, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(test_allow, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(test_ledger, set_up, tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
