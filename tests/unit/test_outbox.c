/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The outbox, on a real state, against a sender that the test plays. */
#include "common/cleanup.h"
#include "common/clock.h"
#include "common/frame.h"
#include "daemon/agent/outbox.h"
#include "tests/unit/state_lab.h"

#include <poll.h>
#include <string.h>
#include <unistd.h>

#define ENDPOINT "10.0.0.7:9100"

struct bench {
	struct state_lab lab;
	struct event_base *base;
	struct event *written;
	struct state *st;
	struct outbox *box;
	int sender; /* our end */
	struct frame frame;
	char last_id[STATE_EVENT_ID_LEN];
	int64_t last_queued_ms;
	unsigned made;
	bool tested;
};

static json_t *describe_loss(const struct state_loss *loss, void *arg)
{
	char since[CLOCK_TEXT_LEN], until[CLOCK_TEXT_LEN];

	(void)arg;
	return json_pack("{s:s, s:s, s:{s:s, s:I, s:s, s:s}}", "id", "loss", "event", "alerts_lost",
	                 "lost", "sink", loss->sink, "count", (json_int_t)loss->count, "since",
	                 clock_format_wall(loss->since_ms, since), "until",
	                 clock_format_wall(loss->until_ms, until));
}

static void on_pong(void *arg)
{
	(void)arg;
}

static void on_written(evutil_socket_t fd, short what, void *arg)
{
	struct bench *b = arg;
	uint64_t count;

	(void)what;
	assert_int_equal(read((int)fd, &count, sizeof(count)), sizeof(count));
	outbox_note_written(b->box);
}

static void configure(struct bench *b, const char *text)
{
	char error[CONF_ERROR_LEN];
	auto_conf struct conf *conf = conf_load("f", text, strlen(text), error);

	if (!conf)
		fail_msg("%s", error);
	outbox_configure(b->box, conf);
}

#define SINK(name) "{name: " name ", type: webhook, url: \"http://192.0.2.9/\"}"
#define ONE        "alerts: [" SINK("ops") "]\n"
#define TWO        "alerts: [" SINK("ops") ", " SINK("mail") "]\n"

static void start(struct bench *b, const char *conf)
{
	const struct outbox_handlers handlers = {
	    .pong = on_pong, .describe_loss = describe_loss, .arg = b};
	struct state_snapshot snapshot;

	assert_int_equal(outbox_new(b->base, &handlers, &b->box), 0);
	configure(b, conf);
	b->st = state_lab_open(&b->lab, &snapshot);
	b->written =
	    event_new(b->base, state_notify_fd(b->st), EV_READ | EV_PERSIST, on_written, b);
	event_add(b->written, NULL);
	outbox_restore(b->box, b->st, &snapshot);
	state_snapshot_free(&snapshot);
}

static void new_sender(struct bench *b)
{
	int pair[2];

	if (b->sender >= 0)
		close(b->sender);
	assert_int_equal(frame_socketpair(pair), 0);
	b->sender = pair[0];
	assert_int_equal(outbox_set_sender(b->box, pair[1]), 0);
}

static void stop(struct bench *b)
{
	outbox_free(b->box);
	event_free(b->written);
	state_close(b->st);
	b->box = NULL;
}

static int set_up(void **state)
{
	struct bench *b = calloc(1, sizeof(*b));

	snprintf(b->lab.directory, sizeof(b->lab.directory), "/tmp/pw-outbox-XXXXXX");
	if (!mkdtemp(b->lab.directory))
		return -1;
	b->base = event_base_new();
	b->sender = -1;
	*state = b;
	return 0;
}

static int tear_down(void **state)
{
	struct bench *b = *state;
	struct state_lab *lab = calloc(1, sizeof(*lab));
	void *slot = lab;

	if (b->box)
		stop(b);
	if (b->sender >= 0)
		close(b->sender);
	event_base_free(b->base);
	*lab = b->lab;
	free(b);
	return state_lab_tear_down(&slot);
}

static void turn(struct bench *b)
{
	event_base_loop(b->base, EVLOOP_NONBLOCK);
}

/* The next event for the sender within some time, as "event@sink,sink"; "" for none. */
static const char *next(struct bench *b, int within_ms)
{
	static char text[256];
	int64_t deadline = clock_monotonic_ms() + within_ms;
	json_t *envelope, *name;
	size_t i;

	for (;;) {
		struct pollfd wait = {.fd = b->sender, .events = POLLIN};

		turn(b);
		if (poll(&wait, 1, 1) > 0)
			break;
		if (clock_monotonic_ms() >= deadline)
			return "";
	}
	assert_int_equal(frame_recv(b->sender, &b->frame), 1);
	assert_int_equal(b->frame.type, IPC_SEND_EVENT);
	envelope = json_loadb((const char *)b->frame.body, b->frame.length, 0, NULL);
	assert_non_null(envelope);
	snprintf(text, sizeof(text), "%s",
	         json_string_value(json_object_get(json_object_get(envelope, "event"), "event")));
	snprintf(b->last_id, sizeof(b->last_id), "%s",
	         json_string_value(json_object_get(json_object_get(envelope, "event"), "id")));
	b->last_queued_ms = json_integer_value(json_object_get(envelope, "queued_ms"));
	json_array_foreach (json_object_get(envelope, "sinks"), i, name)
		snprintf(text + strlen(text), sizeof(text) - strlen(text), "%s%s", i ? "," : "@",
		         json_string_value(name));
	json_decref(envelope);
	return text;
}

#define expect(b, text)   assert_string_equal(next(b, WAIT_MS), text)
#define expect_nothing(b) assert_string_equal(next(b, 200), "")

static void answer_as(struct bench *b, uint64_t seq, const char *sink,
                      enum ipc_send_outcome outcome)
{
	struct ipc_send_result result = {.outcome = outcome, .status = 200};

	snprintf(result.sink, sizeof(result.sink), "%s", sink);
	assert_int_equal(frame_send(b->sender, IPC_SEND_RESULT, seq, &result, sizeof(result), -1),
	                 0);
	turn(b);
}

static void answer(struct bench *b, const char *sink, enum ipc_send_outcome outcome)
{
	answer_as(b, b->frame.seq, sink, outcome);
}

static void add_until(struct bench *b, const char *event, const char *endpoint, unsigned sink,
                      int64_t not_before_ms)
{
	const struct outbox_target target = {.sink = sink, .not_before_ms = not_before_ms};
	struct endpoint e;
	char id[16];

	assert_int_equal(endpoint_parse(endpoint, &e), 0);
	snprintf(id, sizeof(id), "%u", ++b->made);
	outbox_add(b->box, &(struct outbox_message){
	                       .event = json_pack("{s:s, s:s}", "id", id, "event", event),
	                       .endpoint = &e,
	                       .targets = &target,
	                       .n_targets = 1,
	                   });
}

/* For every sink. */
static void add(struct bench *b, const char *event)
{
	struct outbox_target targets[CONF_MAX_ALERTS] = {0};
	struct endpoint e;
	char id[16];

	assert_int_equal(endpoint_parse(ENDPOINT, &e), 0);
	for (unsigned i = 0; i < outbox_sink_count(b->box); i++)
		targets[i].sink = i;
	snprintf(id, sizeof(id), "%u", ++b->made);
	outbox_add(b->box, &(struct outbox_message){
	                       .event = json_pack("{s:s, s:s}", "id", id, "event", event),
	                       .endpoint = &e,
	                       .targets = targets,
	                       .n_targets = outbox_sink_count(b->box),
	                   });
}

static void expect_rows(struct bench *b, size_t events, size_t losses)
{
	struct state_snapshot snapshot;

	stop(b);
	b->st = state_lab_open(&b->lab, &snapshot);
	assert_int_equal(snapshot.n_events, events);
	assert_int_equal(snapshot.n_losses, losses);
	state_snapshot_free(&snapshot);
	state_close(b->st);
}

static void test_goes_with_its_last_sink(void **state)
{
	struct bench *b = *state;

	start(b, TWO);
	new_sender(b);
	add(b, "a");
	expect(b, "a@ops,mail");
	answer(b, "mail", IPC_SEND_DELIVERED);
	answer(b, "ops", IPC_SEND_RETRY);
	assert_int_equal(outbox_length(b->box), 1);
	/* Only to whom it is still owed, under the same id. */
	stop(b);
	start(b, TWO);
	new_sender(b);
	expect(b, "a@ops");
	assert_string_equal(b->last_id, "1");
	answer(b, "ops", IPC_SEND_DELIVERED);
	assert_int_equal(outbox_length(b->box), 0);
	expect_rows(b, 0, 0);
}

static void test_a_new_sender_gets_what_was_under_way(void **state)
{
	struct bench *b = *state;
	uint64_t first;

	start(b, ONE);
	new_sender(b);
	add(b, "a");
	add(b, "b");
	add(b, "c");
	expect(b, "a@ops");
	first = b->frame.seq;
	expect(b, "b@ops");
	answer_as(b, first, "ops", IPC_SEND_DELIVERED);
	expect(b, "c@ops");
	new_sender(b);
	expect(b, "b@ops");
	expect(b, "c@ops");
	expect_nothing(b);
}

/* It is on the disk before the sender has it. */
static void test_waits_for_the_disk(void **state)
{
	struct bench *b = *state;
	struct state_breaker row = breaker_of(ENDPOINT);

	start(b, ONE);
	new_sender(b);
	state_begin(b->st);
	assert_int_equal(state_save_breaker(b->st, &row), 0);
	add(b, "opened");
	expect_nothing(b);
	outbox_end(b->box, state_end(b->st));
	expect(b, "opened@ops");
	assert_true(state_written_ticket(b->st) >= 2);
}

static void test_without_a_state(void **state)
{
	struct bench *b = *state;

	start(b, ONE);
	outbox_free(b->box);
	assert_int_equal(
	    outbox_new(b->base,
	               &(struct outbox_handlers){.pong = on_pong, .describe_loss = describe_loss},
	               &b->box),
	    0);
	configure(b, ONE);
	outbox_restore(b->box, NULL, &(struct state_snapshot){0});
	new_sender(b);
	add(b, "a");
	expect(b, "a@ops");
	answer(b, "ops", IPC_SEND_GAVE_UP);
	assert_int_equal(outbox_length(b->box), 0);
}

static void test_a_window_for_each_sink(void **state)
{
	struct bench *b = *state;

	start(b, TWO);
	new_sender(b);
	for (int i = 0; i < OUTBOX_WINDOW + 2; i++)
		add(b, "a");
	for (int i = 0; i < OUTBOX_WINDOW; i++) {
		expect(b, "a@ops,mail");
		answer(b, "mail", IPC_SEND_DELIVERED);
	}
	/* One that takes nothing holds up itself alone. */
	expect(b, "a@mail");
	expect(b, "a@mail");
	expect_nothing(b);
	answer_as(b, 1, "ops", IPC_SEND_DELIVERED);
	expect(b, "a@ops");
	expect_nothing(b);
}

static void test_held_until_its_date(void **state)
{
	struct bench *b = *state;
	const int64_t began = clock_wall_ms(), soon = began + 1500;

	start(b, ONE);
	new_sender(b);
	add_until(b, "later", "10.0.0.1:80", 0, soon);
	add_until(b, "now", "10.0.0.2:80", 0, 0);
	expect(b, "now@ops");
	assert_in_range(b->last_queued_ms, began, soon);
	expect_nothing(b);
	stop(b);
	start(b, ONE);
	new_sender(b);
	expect(b, "now@ops"); /* nobody has answered for it */
	expect(b, "later@ops");
	assert_true(clock_wall_ms() >= soon);
	assert_int_equal(b->last_queued_ms, soon);
}

static void test_keeps_the_order_of_an_endpoint(void **state)
{
	struct bench *b = *state;
	const int64_t tomorrow = clock_wall_ms() + 86400 * INT64_C(1000);
	int64_t hurried;

	start(b, ONE);
	new_sender(b);
	add_until(b, "opened", "10.0.0.1:80", 0, tomorrow);
	add_until(b, "other", "10.0.0.2:80", 0, tomorrow);
	expect_nothing(b);
	hurried = clock_wall_ms();
	add_until(b, "high_risk", "10.0.0.1:80", 0, 0);
	expect(b, "opened@ops");
	assert_true(b->last_queued_ms >= hurried);
	expect(b, "high_risk@ops");
	expect_nothing(b);
}

static void test_too_many(void **state)
{
	struct bench *b = *state;
	struct outbox_sink sink;

	start(b, ONE "outbox: {max_events: 100}\n");
	for (int i = 0; i < 130; i++)
		add(b, "a");
	state_lab_wait_until_written(b->st);
	turn(b);
	assert_int_equal(outbox_length(b->box), 100);
	outbox_get_sink(b->box, 0, &sink);
	assert_int_equal(sink.queued, 100);
	assert_int_equal(sink.lost[OUTBOX_TOO_MANY], 30);
	assert_int_equal(sink.untold_loss, 30);
	/* Told when the sink takes something again, also after a restart. */
	stop(b);
	start(b, ONE "outbox: {max_events: 100}\n");
	new_sender(b);
	for (int i = 0; i < 100; i++)
		expect(b, "a@ops");
	answer(b, "ops", IPC_SEND_DELIVERED);
	expect(b, "alerts_lost@ops");
	assert_non_null(strstr((const char *)b->frame.body, "\"count\":30"));
	answer(b, "ops", IPC_SEND_DELIVERED);
	outbox_get_sink(b->box, 0, &sink);
	assert_int_equal(sink.untold_loss, 0);
	expect_rows(b, 99, 0);
}

static void test_too_old(void **state)
{
	struct bench *b = *state;
	struct outbox_sink sink;

	start(b, ONE);
	add(b, "old");
	add(b, "new");
	stop(b);
	state_lab_run_sql(&b->lab,
	                  "UPDATE events SET made_ms = made_ms - 8*86400000 WHERE seq = 1");
	start(b, ONE);
	outbox_get_sink(b->box, 0, &sink);
	assert_int_equal(sink.lost[OUTBOX_TOO_OLD], 1);
	new_sender(b);
	expect(b, "new@ops");
	expect_rows(b, 1, 1);
}

/* A sink that has nothing else to get is tried with the news of what it lost. */
static void test_gave_up(void **state)
{
	struct bench *b = *state;
	struct outbox_sink sink;

	start(b, ONE);
	new_sender(b);
	add(b, "a");
	expect(b, "a@ops");
	answer(b, "ops", IPC_SEND_GAVE_UP);
	expect_nothing(b); /* not at once: it has just refused */
	outbox_get_sink(b->box, 0, &sink);
	assert_int_equal(sink.gave_up, 1);
	assert_int_equal(sink.lost[OUTBOX_GAVE_UP], 1);
	stop(b);
	start(b, ONE);
	new_sender(b);
	expect(b, "alerts_lost@ops");
	/* When that is given up, it still tells of as many. */
	answer(b, "ops", IPC_SEND_GAVE_UP);
	outbox_get_sink(b->box, 0, &sink);
	assert_int_equal(sink.untold_loss, 1);
	/* Nor is it told for the delivery of what was never sent. */
	answer_as(b, 4711, "ops", IPC_SEND_DELIVERED);
	expect_nothing(b);
	expect_rows(b, 0, 1);
}

/* One sink's turn may come later than another's: the end of a frame is not the event's for all. */
static void test_the_end_of_a_frame_ends_no_event(void **state)
{
	struct bench *b = *state;
	struct outbox_sink sink;

	start(b, TWO);
	new_sender(b);
	add(b, "a");
	expect(b, "a@ops,mail");
	answer(b, "mail", IPC_SEND_DELIVERED);
	assert_int_equal(frame_send(b->sender, IPC_SEND_DONE, b->frame.seq, NULL, 0, -1), 0);
	add(b, "b");
	expect(b, "b@ops,mail");
	outbox_get_sink(b->box, 0, &sink);
	assert_int_equal(sink.lost[OUTBOX_GAVE_UP], 0);
	new_sender(b);
	expect(b, "a@ops");
}

static void test_sinks_come_and_go(void **state)
{
	struct bench *b = *state;

	start(b, TWO);
	add(b, "a");
	turn(b);
	configure(b, "alerts: [" SINK("chat") ", " SINK("ops") "]\n");
	assert_int_equal(outbox_removed(b->box), 1);
	new_sender(b);
	expect(b, "a@ops"); /* what is new hears of what is new */
	add(b, "b");
	expect(b, "b@chat,ops");
	stop(b);
	start(b, "alerts: [" SINK("chat") "]\n");
	assert_int_equal(outbox_removed(b->box), 2);
	new_sender(b);
	expect(b, "b@chat");
	answer(b, "chat", IPC_SEND_DELIVERED);
	expect_rows(b, 0, 0);
}

static void on_tested(const struct outbox_outcome *outcomes, size_t count, void *arg)
{
	struct bench *b = arg;

	b->tested = true;
	assert_int_equal(count, 2);
	assert_string_equal(outcomes[0].sink, "ops");
	assert_true(outcomes[0].delivered);
	assert_int_equal(outcomes[0].status, 200);
	assert_string_equal(outcomes[1].sink, "mail");
	assert_false(outcomes[1].delivered);
	assert_string_equal(outcomes[1].text, "no answer in time");
}

static void test_a_test_is_not_remembered(void **state)
{
	static const unsigned both[] = {0, 1};
	struct bench *b = *state;
	struct outbox_sink sink;

	start(b, TWO);
	new_sender(b);
	assert_int_equal(outbox_test(b->box, json_pack("{s:s, s:s}", "id", "x", "event", "test"),
	                             both, 2, 300, on_tested, b),
	                 0);
	expect(b, "test@ops,mail");
	assert_non_null(strstr((const char *)b->frame.body, "\"test\":true"));
	answer(b, "ops", IPC_SEND_DELIVERED);
	assert_false(b->tested);
	while (!b->tested)
		event_base_loop(b->base, EVLOOP_ONCE);
	outbox_get_sink(b->box, 0, &sink);
	assert_int_equal(sink.delivered, 0);
	expect_rows(b, 0, 0);
}

static void test_now_or_never(void **state)
{
	static const unsigned ops[] = {0};
	struct bench *b = *state;

	start(b, ONE);
	outbox_send_now(b->box, json_pack("{s:s, s:s}", "id", "x", "event", "refresh"), ops, 1);
	new_sender(b);
	expect_nothing(b);
	outbox_send_now(b->box, json_pack("{s:s, s:s}", "id", "x", "event", "refresh"), ops, 1);
	expect(b, "refresh@ops");
	assert_non_null(strstr((const char *)b->frame.body, "\"best_effort\":true"));
	expect_rows(b, 0, 0);
}

#undef TEST
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(test_goes_with_its_last_sink),
	    TEST(test_a_new_sender_gets_what_was_under_way),
	    TEST(test_waits_for_the_disk),
	    TEST(test_without_a_state),
	    TEST(test_a_window_for_each_sink),
	    TEST(test_held_until_its_date),
	    TEST(test_keeps_the_order_of_an_endpoint),
	    TEST(test_too_many),
	    TEST(test_too_old),
	    TEST(test_gave_up),
	    TEST(test_the_end_of_a_frame_ends_no_event),
	    TEST(test_sinks_come_and_go),
	    TEST(test_a_test_is_not_remembered),
	    TEST(test_now_or_never),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
