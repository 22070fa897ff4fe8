/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "common/cleanup.h"
#include "common/clock.h"
#include "tests/unit/state_lab.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static void test_comes_back(void **state)
{
	struct state_snapshot s;
	struct state *st = state_lab_open(*state, &s);
	struct state_breaker b = breaker_of("10.0.0.7:9100"), gone = breaker_of("10.0.0.8:9100");
	struct state_manual m = manual_of("[2001:db8::1]:6060", HOUR);

	assert_int_equal(s.n_breakers + s.n_manuals, 0);
	state_snapshot_free(&s);
	assert_int_equal(state_save_breaker(st, &gone), 0);
	assert_int_equal(state_save_breaker(st, &b), 0);
	assert_int_equal(state_save_manual(st, &m), 0);
	b.state = BREAKER_HALF_OPEN; /* replaces */
	assert_int_equal(state_save_breaker(st, &b), 0);
	assert_int_equal(state_delete_breaker(st, &gone.endpoint), 0);
	st = state_lab_reopen(*state, st, &s);
	assert_int_equal(s.n_breakers, 1);
	assert_int_equal(endpoint_compare(&s.breakers[0].endpoint, &b.endpoint), 0);
	assert_string_equal(s.breakers[0].rule, "default");
	assert_int_equal(s.breakers[0].state, BREAKER_HALF_OPEN);
	assert_int_equal(s.breakers[0].opened_ms, b.opened_ms);
	assert_int_equal(s.breakers[0].open_until_ms, b.open_until_ms);
	assert_true(s.breakers[0].high_risk);
	assert_int_equal(s.breakers[0].first_seen_ms, b.first_seen_ms);
	assert_int_equal(s.breakers[0].last_seen_ms, b.last_seen_ms);
	assert_string_equal(s.breakers[0].evidence, b.evidence);
	assert_false(s.breakers[0].untold);
	assert_true(s.breakers[0].serves_known);
	assert_string_equal(s.breakers[0].serves, "metrics");
	assert_int_equal(s.n_manuals, 1);
	assert_int_equal(endpoint_compare(&s.manuals[0]->endpoint, &m.endpoint), 0);
	assert_true(s.manuals[0]->block);
	assert_int_equal(s.manuals[0]->until_ms, m.until_ms);
	assert_string_equal(s.manuals[0]->reason, m.reason);
	assert_string_equal(s.manuals[0]->who, m.who);
	state_snapshot_free(&s);

	assert_int_equal(state_delete_manual(st, &m.endpoint), 0);
	st = state_lab_reopen(*state, st, &s);
	assert_int_equal(s.n_manuals, 0);
	state_snapshot_free(&s);
	state_close(st);
}

/* Who has taken it on, beside a decision about the same endpoint, and what was told of it. */
static void test_acks_come_back(void **state)
{
	struct state_snapshot s;
	struct state *st = state_lab_open(*state, &s);
	struct state_breaker b = breaker_of("10.0.0.7:9100");
	struct state_manual ack = manual_of("10.0.0.7:9100", HOUR),
	                    ended = manual_of("10.0.0.8:80", 0);
	struct state_manual decision = manual_of("10.0.0.7:9100", 2 * HOUR);

	state_snapshot_free(&s);
	b.worst = SEVERITY_MEDIUM;
	b.escalated_ms = 30 * 60 * 1000;
	b.blocked = true;
	ack.block = false;
	ack.reason[0] = '\0';
	assert_int_equal(state_save_breaker(st, &b), 0);
	assert_int_equal(state_save_ack(st, &ack), 0);
	assert_int_equal(state_save_ack(st, &ended), 0);
	assert_int_equal(state_save_manual(st, &decision), 0);
	st = state_lab_reopen(*state, st, &s);
	assert_int_equal(s.n_breakers, 1);
	assert_int_equal(s.breakers[0].worst, SEVERITY_MEDIUM);
	assert_int_equal(s.breakers[0].escalated_ms, b.escalated_ms);
	assert_true(s.breakers[0].blocked);
	assert_int_equal(s.n_acks, 1);
	assert_int_equal(endpoint_compare(&s.acks[0].endpoint, &ack.endpoint), 0);
	assert_false(s.acks[0].block);
	assert_int_equal(s.acks[0].made_ms, ack.made_ms);
	assert_int_equal(s.acks[0].until_ms, ack.until_ms);
	assert_string_equal(s.acks[0].reason, "");
	assert_string_equal(s.acks[0].who, ack.who);
	assert_int_equal(s.n_manuals, 1);
	assert_int_equal(s.manuals[0]->until_ms, decision.until_ms);
	state_snapshot_free(&s);

	assert_int_equal(state_delete_ack(st, &ack.endpoint), 0);
	st = state_lab_reopen(*state, st, &s);
	assert_int_equal(s.n_acks, 0);
	assert_int_equal(s.n_manuals, 1);
	state_snapshot_free(&s);
	state_close(st);
}

static void test_ended_manuals_are_left_out(void **state)
{
	struct state_snapshot s;
	struct state *st = state_lab_open(*state, &s);
	struct state_manual ended = manual_of("10.0.0.1:80", 0);

	state_snapshot_free(&s);
	assert_int_equal(state_save_manual(st, &ended), 0);
	st = state_lab_reopen(*state, st, &s);
	assert_int_equal(s.n_manuals, 0);
	state_snapshot_free(&s);
	state_close(st);
}

/* What the times become when the wall clock was set by so much since the row was written. */
static void check_shift(const struct state_lab *f, const char *sql, int64_t expected_left_ms)
{
	struct state_snapshot s;
	struct state *st = state_lab_open(f, &s);
	struct state_manual m = manual_of("10.0.0.1:80", HOUR);
	struct state_breaker b = breaker_of("10.0.0.1:80");
	int64_t now;

	state_snapshot_free(&s);
	assert_int_equal(state_save_manual(st, &m), 0);
	assert_int_equal(state_save_breaker(st, &b), 0);
	state_close(st);
	state_lab_run_sql(f, sql);
	st = state_lab_open(f, &s);
	now = clock_wall_ms();
	assert_int_equal(s.n_manuals, 1);
	assert_int_equal(s.n_breakers, 1);
	assert_in_range(s.manuals[0]->until_ms - now, expected_left_ms - 10000, expected_left_ms);
	assert_in_range(s.breakers[0].open_until_ms - now, expected_left_ms - 10000,
	                expected_left_ms);
	state_snapshot_free(&s);
	state_close(st);
}

#define SET_BACK_BY_2_H                                                                            \
	"UPDATE manuals SET saved_ms=saved_ms+7200000, made_ms=made_ms+7200000, "                  \
	"until_ms=until_ms+7200000; UPDATE breakers SET saved_ms=saved_ms+7200000, "               \
	"opened_ms=opened_ms+7200000, open_until_ms=open_until_ms+7200000;"
#define SET_FORWARD_BY_2_H                                                                         \
	"UPDATE manuals SET saved_ms=saved_ms-7200000, made_ms=made_ms-7200000, "                  \
	"until_ms=until_ms-7200000; UPDATE breakers SET saved_ms=saved_ms-7200000, "               \
	"opened_ms=opened_ms-7200000, open_until_ms=open_until_ms-7200000;"
#define REBOOT "UPDATE manuals SET boot_id='other'; UPDATE breakers SET boot_id='other';"

static void test_ledgers_come_back(void **state)
{
	const size_t length = 100 * 1024; /* a page of many peers */
	struct state_snapshot s;
	struct state *st = state_lab_open(*state, &s);
	auto_free char *peers = malloc(length + 1);
	struct state_ledger l = {.endpoint = endpoint_of("10.0.0.7:9100"),
	                         .since_ms = clock_wall_ms() - HOUR,
	                         .peers = peers};
	struct state_ledger gone = {.endpoint = endpoint_of("10.0.0.8:9100"),
	                            .peers = (char[]){"[]"}};

	assert_non_null(peers);
	memset(peers, 'x', length);
	peers[length] = '\0';
	assert_int_equal(s.n_ledgers, 0);
	state_snapshot_free(&s);
	assert_int_equal(state_save_ledger(st, &gone), 0);
	assert_int_equal(state_save_ledger(st, &l), 0);
	assert_int_equal(state_delete_ledger(st, &gone.endpoint), 0);
	memset(peers, 'y', length); /* was copied */
	st = state_lab_reopen(*state, st, &s);
	assert_int_equal(s.n_ledgers, 1);
	assert_int_equal(endpoint_compare(&s.ledgers[0].endpoint, &l.endpoint), 0);
	assert_int_equal(s.ledgers[0].since_ms, l.since_ms);
	assert_int_equal(s.ledgers[0].shift_ms, 0);
	assert_int_equal(strlen(s.ledgers[0].peers), length);
	assert_int_equal(s.ledgers[0].peers[length - 1], 'x');
	state_snapshot_free(&s);
	state_close(st);

	/* the clock was set back by two hours meanwhile */
	state_lab_run_sql(
	    *state, "UPDATE ledgers SET saved_ms=saved_ms+7200000, since_ms=since_ms+7200000");
	st = state_lab_open(*state, &s);
	assert_true(llabs(s.ledgers[0].shift_ms + 2 * HOUR) < 60 * 1000);
	assert_true(llabs(s.ledgers[0].since_ms - l.since_ms) < 60 * 1000);
	state_snapshot_free(&s);
	state_close(st);
}

static void test_clock_set_back_does_not_prolong(void **state)
{
	check_shift(*state, SET_BACK_BY_2_H, HOUR);
}

static void test_clock_set_forward_does_not_end(void **state)
{
	check_shift(*state, SET_FORWARD_BY_2_H, HOUR);
}

static void test_clock_set_back_over_a_reboot(void **state)
{
	check_shift(*state, SET_BACK_BY_2_H REBOOT, HOUR);
}

static void test_time_passes_within_a_boot(void **state)
{
	check_shift(*state,
	            SET_FORWARD_BY_2_H "UPDATE manuals SET boot_ms=boot_ms-7200000, "
	                               "until_ms=until_ms+7200000;"
	                               "UPDATE breakers SET boot_ms=boot_ms-7200000, "
	                               "open_until_ms=open_until_ms+7200000;",
	            HOUR);
}

static _Noreturn void write_for_ever(const struct state_lab *f, int progress)
{
	struct state_snapshot s;
	char why[STATE_ERROR_LEN];
	struct state *st = NULL;

	if (state_open(f->directory, &st, &s, why) != 0)
		_exit(1);
	for (unsigned i = 0;; i++) {
		struct state_breaker b = breaker_of("10.0.0.1:80");
		struct state_manual m = manual_of("10.0.0.1:80", HOUR);
		struct state_health health;

		b.endpoint.port = (uint16_t)(1 + i % 1000);
		m.endpoint.port = b.endpoint.port;
		(void)state_save_breaker(st, &b);
		(void)state_save_manual(st, &m);
		state_get_health(st, &health);
		if (health.writes >= 10 && write(progress, "x", 1) != 1)
			_exit(1);
	}
}

static void test_kill_9_leaves_it_consistent(void **state)
{
	for (int round = 0; round < 5; round++) {
		struct state_snapshot s;
		struct state *st;
		int progress[2];
		char byte;
		pid_t pid;

		assert_int_equal(pipe(progress), 0);
		pid = fork();
		if (pid == 0)
			write_for_ever(*state, progress[1]);
		close(progress[1]);
		assert_int_equal(read(progress[0], &byte, 1), 1);
		kill(pid, SIGKILL);
		waitpid(pid, NULL, 0);
		close(progress[0]);

		st = state_lab_open(*state, &s);
		assert_true(s.n_breakers > 0);
		assert_true(s.n_manuals > 0);
		for (size_t i = 0; i < s.n_breakers; i++) {
			assert_string_equal(s.breakers[i].rule, "default");
			assert_true(s.breakers[i].high_risk);
		}
		state_snapshot_free(&s);
		state_close(st);
	}
}

/* Each time a row, the event of its change, and the end of the one before. */
static int write_group(struct state *st, uint64_t i)
{
	struct state_breaker b = breaker_of("10.0.0.1:80");
	struct state_delivery owed = {.sink = "ops"};
	struct state_event e = {.seq = i,
	                        .endpoint = b.endpoint,
	                        .json = (char[]){"{}"},
	                        .deliveries = &owed,
	                        .n_deliveries = 1};

	b.first_seen_ms = (int64_t)i;
	state_begin(st);
	assert_true(state_is_begun(st));
	(void)state_save_breaker(st, &b);
	(void)state_save_event(st, &e);
	if (i > 1)
		(void)state_delete_delivery(st, i - 1, "ops");
	return state_end(st);
}

static _Noreturn void write_groups_for_ever(const struct state_lab *f, int progress)
{
	struct state_snapshot s;
	char why[STATE_ERROR_LEN];
	struct state *st = NULL;
	uint64_t first, i;

	if (state_open(f->directory, &st, &s, why) != 0)
		_exit(1);
	first = s.n_events ? s.events[0].seq + 1 : 1;
	for (i = first;; i += write_group(st, i) == 0) {
		if (i == first + 3000 && write(progress, "x", 1) != 1)
			_exit(2);
	}
}

/* Never one without the other: no batch splits them, no later row takes one out. */
static void check_groups(const struct state_lab *f)
{
	struct state_snapshot s;
	struct state *st;
	int progress[2];
	char byte;
	pid_t pid;

	assert_int_equal(pipe(progress), 0);
	pid = fork();
	if (pid == 0)
		write_groups_for_ever(f, progress[1]);
	close(progress[1]);
	assert_int_equal(read(progress[0], &byte, 1), 1);
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	close(progress[0]);

	st = state_lab_open(f, &s);
	assert_int_equal(s.n_breakers, 1);
	assert_int_equal(s.n_events, 1);
	assert_int_equal(s.n_losses, 0);
	assert_int_equal(s.events[0].seq, s.breakers[0].first_seen_ms);
	assert_int_equal(s.events[0].n_deliveries, 1);
	assert_string_equal(s.events[0].deliveries[0].sink, "ops");
	state_snapshot_free(&s);
	state_close(st);
}

static void test_what_belongs_together_is_written_together(void **state)
{
	for (int round = 0; round < 5; round++)
		check_groups(*state);
}

static void test_all_or_nothing_when_the_queue_is_full(void **state)
{
	struct state_snapshot s;
	struct state *st = state_lab_open(*state, &s);
	size_t queued = 0;

	state_snapshot_free(&s);
	state_begin(st);
	for (unsigned i = 0; i <= STATE_QUEUE_MAX; i++) {
		struct state_manual m = manual_of("10.0.0.1:80", HOUR);

		m.endpoint.port = (uint16_t)(1 + i);
		queued += state_save_manual(st, &m) == 0;
	}
	assert_int_equal(queued, STATE_QUEUE_MAX + 1);
	assert_int_equal(state_end(st), -ENOSPC);
	assert_false(state_is_begun(st));
	assert_int_equal(state_last_ticket(st), 0);
	st = state_lab_reopen(*state, st, &s);
	assert_int_equal(s.n_manuals, 0);
	state_snapshot_free(&s);
	state_close(st);
}

static void test_tickets_tell_what_is_written(void **state)
{
	struct state_snapshot s;
	struct state *st = state_lab_open(*state, &s);
	struct state_breaker b = breaker_of("10.0.0.9:80");
	struct pollfd written = {.fd = state_notify_fd(st), .events = POLLIN};

	assert_true(s.is_new);
	state_snapshot_free(&s);
	assert_int_equal(state_last_ticket(st), 0);
	for (uint64_t i = 1; i <= 100; i++) {
		b.endpoint.port = (uint16_t)(1 + i % 7);
		assert_int_equal(state_save_breaker(st, &b), 0);
		assert_int_equal(state_last_ticket(st), i);
		assert_true(state_written_ticket(st) <= i);
	}
	assert_int_equal(poll(&written, 1, WAIT_MS), 1);
	state_lab_wait_until_written(st);
	assert_int_equal(state_written_ticket(st), 100);
	state_close(st);
}

static void test_without_a_state(void **state)
{
	struct state_breaker b = breaker_of("10.0.0.7:9100");
	struct state_health health;

	(void)state;
	assert_int_equal(state_save_breaker(NULL, &b), -ENODEV);
	state_get_health(NULL, &health);
	assert_true(health.failing);
	state_close(NULL);
}

static void test_panic_marker(void **state)
{
	const struct state_lab *f = *state;
	char reason[STATE_REASON_LEN], path[PATH_LEN], target[PATH_LEN + 8];
	struct stat st;

	assert_false(state_panic_exists(f->directory));
	assert_int_equal(state_panic_read(f->directory, reason), -ENOENT);
	assert_int_equal(state_panic_set(f->directory, "alice", "evil\nwho: bob"), 0);
	assert_true(state_panic_exists(f->directory));
	assert_int_equal(state_panic_read(f->directory, reason), 0);
	assert_string_equal(reason, "evil?who: bob");
	/* The first one's words stay. */
	assert_int_equal(state_panic_set(f->directory, "bob", "again"), 0);
	assert_int_equal(state_panic_read(f->directory, reason), 0);
	assert_string_equal(reason, "evil?who: bob");
	assert_int_equal(state_panic_clear(f->directory), 0);
	assert_int_equal(state_panic_clear(f->directory), 0);
	assert_false(state_panic_exists(f->directory));

	/* A link that the directory's owner left there is not followed; it is a marker itself. */
	snprintf(path, sizeof(path), "%s/panic", f->directory);
	snprintf(target, sizeof(target), "%s/target", f->directory);
	assert_int_equal(symlink(target, path), 0);
	assert_int_equal(state_panic_set(f->directory, "alice", ""), 0);
	assert_int_not_equal(stat(target, &st), 0);
	assert_true(state_panic_exists(f->directory));
	assert_int_not_equal(state_panic_read(f->directory, reason), 0);
	assert_int_equal(state_panic_clear(f->directory), 0);
	assert_int_equal(mkfifo(path, 0600), 0); /* would hang a reader that opens it */
	assert_int_equal(state_panic_read(f->directory, reason), -EINVAL);
	assert_int_equal(state_panic_clear(f->directory), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(test_comes_back),
	    TEST(test_ledgers_come_back),
	    TEST(test_acks_come_back),
	    TEST(test_ended_manuals_are_left_out),
	    TEST(test_clock_set_back_does_not_prolong),
	    TEST(test_clock_set_forward_does_not_end),
	    TEST(test_clock_set_back_over_a_reboot),
	    TEST(test_time_passes_within_a_boot),
	    TEST(test_kill_9_leaves_it_consistent),
	    TEST(test_what_belongs_together_is_written_together),
	    TEST(test_all_or_nothing_when_the_queue_is_full),
	    TEST(test_tickets_tell_what_is_written),
	    TEST(test_without_a_state),
	    TEST(test_panic_marker),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
