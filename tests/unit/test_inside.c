/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What is asked inside a namespace, with the test as inventory, prober, firewall and sender. */
#include "agent_bench.h"

#include "common/clock.h"
#include "daemon/inventory/wire.h"

#include <arpa/inet.h>
#include <errno.h>
#include <poll.h>
#include <string.h>

enum { HOST = 100, POD = 200, SOON_MS = 8000 };

/* Host and container both have 192.0.2.7. */
static const char conf[] = "mode: enforce\nscan: {interval: 1h}\n";
static const char endpoint[] = "192.0.2.7:9100";
static const char name[] = "192.0.2.7:9100@netns:200";

static void receive(struct bench *b, int sock, uint16_t type)
{
	int64_t deadline_ms = clock_monotonic_ms() + SOON_MS;

	do {
		struct pollfd wait = {.fd = sock, .events = POLLIN};
		int64_t left_ms = deadline_ms - clock_monotonic_ms();

		if (left_ms <= 0 || poll(&wait, 1, (int)left_ms) != 1)
			fail_msg("no frame of type %u", type);
		assert_int_equal(frame_recv(sock, &b->frame), 1);
	} while (b->frame.type != type);
}

static void answer_request(struct bench *b, uint64_t seq, enum inventory_result result, int fd)
{
	const struct inventory_answer answer = {.version = INVENTORY_WIRE_VERSION,
	                                        .result = (uint16_t)result};

	assert_int_equal(
	    frame_send(b->inventory, INVENTORY_ANSWER, seq, &answer, sizeof(answer), fd), 0);
}

/* Returns the seq of the next request of this verb; others are answered as if nothing were there.
 */
static uint64_t next_request(struct bench *b, enum inventory_verb verb,
                             struct inventory_request *out)
{
	for (;;) {
		receive(b, b->inventory, INVENTORY_REQUEST);
		assert_int_equal(b->frame.length, sizeof(*out));
		memcpy(out, b->frame.body, sizeof(*out));
		if (out->verb == verb)
			return b->frame.seq;
		answer_request(b, b->frame.seq, INVENTORY_OK, -1);
	}
}

static void tell_namespace(struct bench *b, uint64_t netns)
{
	struct inventory_namespace f = {.version = INVENTORY_WIRE_VERSION,
	                                .change = INVENTORY_ADDED,
	                                .host = netns == HOST,
	                                .count = 1,
	                                .netns = netns,
	                                .addresses[0].family = AF_INET};

	assert_int_equal(inet_pton(AF_INET, "192.0.2.7", f.addresses[0].address), 1);
	bench_send_to_agent(b->inventory, INVENTORY_NAMESPACE, 0, &f,
	                    offsetof(struct inventory_namespace, addresses[1]));
}

static void tell_listener(struct bench *b, uint64_t netns, enum inventory_change change)
{
	struct inventory_listener f = {.version = INVENTORY_WIRE_VERSION,
	                               .change = (uint8_t)change,
	                               .port = 9100,
	                               .family = AF_INET,
	                               .netns = netns,
	                               .sockets = 1,
	                               .pid = 1,
	                               .command = "server"};

	if (netns != HOST)
		snprintf(f.container, sizeof(f.container), "0123456789abcdef");
	assert_int_equal(inet_pton(AF_INET, "192.0.2.7", f.address), 1);
	bench_send_to_agent(b->inventory, INVENTORY_LISTENER, 0, &f, sizeof(f));
}

static void tell_synced(struct bench *b)
{
	const struct inventory_status status = {.version = INVENTORY_WIRE_VERSION};

	bench_send_to_agent(b->inventory, INVENTORY_SYNCED, 0, &status, sizeof(status));
}

static void start(struct bench *b)
{
	bench_start(b, conf);
	tell_namespace(b, HOST);
	tell_namespace(b, POD);
}

static int set_up(void **state)
{
	struct bench *b = bench_new();

	start(b);
	tell_listener(b, POD, INVENTORY_ADDED);
	tell_synced(b);
	*state = b;
	return 0;
}

static int tear_down(void **state)
{
	bench_free(*state);
	return 0;
}

static void ask_socket(struct bench *b, uint64_t probe)
{
	bench_send_to_agent(b->prober, IPC_PROBE_ASK_SOCKET, probe, NULL, 0);
}

/* What the prober is told, and whether a socket came along. */
static int next_socket(struct bench *b, uint64_t probe, bool *is_there)
{
	struct ipc_socket answer;

	receive(b, b->prober, IPC_PROBE_SOCKET);
	assert_int_equal(b->frame.seq, probe);
	assert_int_equal(b->frame.length, sizeof(answer));
	memcpy(&answer, b->frame.body, sizeof(answer));
	*is_there = b->frame.fd >= 0;
	if (*is_there)
		close(b->frame.fd);
	b->frame.fd = -1;
	return answer.error;
}

static void test_sockets(void **state)
{
	static const struct {
		enum inventory_result result;
		int error;
	} without[] = {{INVENTORY_NOT_FOUND, -ENOENT}, {INVENTORY_BUSY, -EAGAIN}};
	struct bench *b = *state;
	struct inventory_request request;
	struct ipc_probe probe;
	uint64_t asked, seq = bench_probe(b, &probe);
	bool is_there;

	assert_int_equal(probe.from_inside, 1);
	ask_socket(b, seq);
	asked = next_request(b, INVENTORY_SOCKET, &request);
	assert_int_equal(request.netns, POD);
	assert_int_equal(request.family, AF_INET);
	answer_request(b, asked, INVENTORY_OK, b->inventory);
	assert_int_equal(next_socket(b, seq, &is_there), 0);
	assert_true(is_there);
	for (size_t i = 0; i < sizeof(without) / sizeof(without[0]); i++) {
		ask_socket(b, seq);
		asked = next_request(b, INVENTORY_SOCKET, &request);
		answer_request(b, asked, without[i].result, -1);
		assert_int_equal(next_socket(b, seq, &is_there), without[i].error);
		assert_false(is_there);
	}
	/* The helper dies over the question: another one may know. */
	ask_socket(b, seq);
	(void)next_request(b, INVENTORY_SOCKET, &request);
	cleanup_close(&b->inventory);
	b->inventory = -1;
	assert_int_equal(next_socket(b, seq, &is_there), -EAGAIN);
	ask_socket(b, seq);
	assert_int_equal(next_socket(b, seq, &is_there), -EAGAIN);
}

/* Neither in the kernel nor in the state is it mistaken for its namesake. */
static void test_the_namesake_is_left_alone(void **state)
{
	struct bench *b = *state;
	json_t *event, *status;
	struct ipc_probe probe;
	uint64_t seq = bench_probe(b, &probe);
	int client = bench_ask(b, "{\"verb\":\"block\",\"endpoint\":\"%s\",\"reason\":\"ticket\"}",
	                       endpoint);

	bench_grant(b, FIREWALL_BLOCK, FIREWALL_RULE_MANUAL);
	b->blocks[0] = bench_block(endpoint, FIREWALL_RULE_MANUAL, 3600 * 1000);
	b->n_blocks = 1;
	assert_true(bench_is_ok(bench_answer(client)));
	json_decref(bench_event(b, "manual_block"));
	bench_take_event(b);
	bench_find(b, seq, endpoint, VERDICT_CONFIRMED, false);
	event = bench_event(b, "opened");
	bench_take_event(b);
	assert_string_equal(json_string_value(json_object_get(event, "endpoint")), name);
	assert_string_equal(json_string_value(json_object_get(event, "action")), "alert");
	json_decref(event);
	status = bench_status(b);
	assert_true(json_is_null(json_object_get(bench_endpoint(status, name), "manual")));
	assert_true(json_is_false(json_object_get(bench_endpoint(status, name), "blocked")));
	assert_true(json_is_true(json_object_get(bench_endpoint(status, endpoint), "blocked")));
	json_decref(status);
	tell_listener(b, POD, INVENTORY_GONE);
	event = bench_event(b, "gone");
	assert_string_equal(json_string_value(json_object_get(event, "endpoint")), name);
	json_decref(event);
	bench_take_event(b);
	bench_no_request(b, 100);
	bench_kill(b);
	start(b);
	tell_synced(b);
	status = bench_status(b);
	assert_string_equal(
	    json_string_value(json_object_get(bench_endpoint(status, endpoint), "manual_reason")),
	    "ticket");
	assert_null(bench_endpoint(status, name));
	json_decref(status);
}

/* Its number is somebody else's later: what was seen there says nothing about a namesake. */
static void test_nothing_of_it_is_remembered(void **state)
{
	struct bench *b = *state;
	struct ipc_probe probe;
	json_t *status;

	bench_find(b, bench_probe(b, &probe), endpoint, VERDICT_CONFIRMED, false);
	json_decref(bench_event(b, "opened"));
	bench_take_event(b);
	bench_kill(b);
	start(b);
	tell_listener(b, HOST, INVENTORY_ADDED);
	tell_synced(b);
	(void)bench_probe(b, &probe);
	assert_int_equal(probe.from_inside, 0);
	bench_no_request(b, 100);
	status = bench_status(b);
	assert_int_equal(
	    json_integer_value(json_object_get(json_object_get(status, "counts"), "open")), 0);
	json_decref(status);
}

int main(void)
{
#define TEST(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)
	const struct CMUnitTest tests[] = {
	    TEST(test_sockets),
	    TEST(test_the_namesake_is_left_alone),
	    TEST(test_nothing_of_it_is_remembered),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
