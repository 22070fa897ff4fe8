/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "common/cleanup.h"
#include "common/clock.h"
#include "daemon/agent/state.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <sqlite3.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>

#include <cmocka.h>

enum { HOUR = 3600 * 1000, PATH_LEN = 256, WAIT_MS = 20000 };

struct fixture {
	char directory[64];
};

static int set_up(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	snprintf(f->directory, sizeof(f->directory), "/tmp/pw-state-XXXXXX");
	if (!mkdtemp(f->directory))
		return -1;
	*state = f;
	return 0;
}

static int tear_down(void **state)
{
	struct fixture *f = *state;
	auto_closedir DIR *dir = opendir(f->directory);
	struct dirent *entry;

	while (dir && (entry = readdir(dir)))
		(void)unlinkat(dirfd(dir), entry->d_name, 0);
	(void)rmdir(f->directory);
	free(f);
	return 0;
}

static struct endpoint endpoint_of(const char *text)
{
	struct endpoint e;

	assert_int_equal(endpoint_parse(text, &e), 0);
	return e;
}

static struct state *open_state(const struct fixture *f, struct state_snapshot *snapshot)
{
	char why[STATE_ERROR_LEN];
	struct state *st = NULL;
	int error = state_open(f->directory, &st, snapshot, why);

	if (error)
		fail_msg("state_open: %d %s", error, why);
	assert_string_equal(why, "");
	return st;
}

static struct state_breaker breaker_of(const char *endpoint)
{
	struct state_breaker b = {.endpoint = endpoint_of(endpoint), .rule = "default"};

	b.state = BREAKER_OPEN;
	b.opened_ms = clock_wall_ms();
	b.open_until_ms = b.opened_ms + HOUR;
	b.high_risk = true;
	b.first_seen_ms = b.opened_ms - HOUR;
	b.last_seen_ms = b.opened_ms - 1;
	snprintf(b.evidence, sizeof(b.evidence), "confirmed, high: index, \"symbol\"");
	b.serves_known = true;
	snprintf(b.serves, sizeof(b.serves), "metrics");
	snprintf(b.alert_id, sizeof(b.alert_id), "5f0c6a9b3d7e42a18c90e1b2d3f4a5c6");
	return b;
}

static struct state_manual manual_of(const char *endpoint, int64_t for_ms)
{
	struct state_manual m = {.endpoint = endpoint_of(endpoint), .block = true};

	m.made_ms = clock_wall_ms();
	m.until_ms = m.made_ms + for_ms;
	snprintf(m.reason, sizeof(m.reason), "ticket 4711, it's \"bad\"");
	snprintf(m.who, sizeof(m.who), "alice (loginuid 1000) as root");
	return m;
}

static void test_comes_back(void **state)
{
	struct state_snapshot s;
	struct state *st = open_state(*state, &s);
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
	state_close(st);

	st = open_state(*state, &s);
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
	assert_string_equal(s.breakers[0].alert_id, b.alert_id);
	assert_false(s.breakers[0].announced);
	assert_true(s.breakers[0].serves_known);
	assert_string_equal(s.breakers[0].serves, "metrics");
	assert_int_equal(s.n_manuals, 1);
	assert_int_equal(endpoint_compare(&s.manuals[0].endpoint, &m.endpoint), 0);
	assert_true(s.manuals[0].block);
	assert_int_equal(s.manuals[0].until_ms, m.until_ms);
	assert_string_equal(s.manuals[0].reason, m.reason);
	assert_string_equal(s.manuals[0].who, m.who);
	state_snapshot_free(&s);

	assert_int_equal(state_delete_manual(st, &m.endpoint), 0);
	state_close(st);
	st = open_state(*state, &s);
	assert_int_equal(s.n_manuals, 0);
	state_snapshot_free(&s);
	state_close(st);
}

static void test_ended_manuals_are_left_out(void **state)
{
	struct state_snapshot s;
	struct state *st = open_state(*state, &s);
	struct state_manual ended = manual_of("10.0.0.1:80", 0);

	state_snapshot_free(&s);
	assert_int_equal(state_save_manual(st, &ended), 0);
	state_close(st);
	st = open_state(*state, &s);
	assert_int_equal(s.n_manuals, 0);
	state_snapshot_free(&s);
	state_close(st);
}

static void run_sql(const struct fixture *f, const char *sql)
{
	char path[PATH_LEN];
	sqlite3 *db = NULL;

	snprintf(path, sizeof(path), "%s/state.db", f->directory);
	assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
	assert_int_equal(sqlite3_exec(db, sql, NULL, NULL, NULL), SQLITE_OK);
	assert_int_equal(sqlite3_close(db), SQLITE_OK);
}

/* What the times become when the wall clock was set by so much since the row was written. */
static void check_shift(const struct fixture *f, const char *sql, int64_t expected_left_ms)
{
	struct state_snapshot s;
	struct state *st = open_state(f, &s);
	struct state_manual m = manual_of("10.0.0.1:80", HOUR);
	struct state_breaker b = breaker_of("10.0.0.1:80");
	int64_t now;

	state_snapshot_free(&s);
	assert_int_equal(state_save_manual(st, &m), 0);
	assert_int_equal(state_save_breaker(st, &b), 0);
	state_close(st);
	run_sql(f, sql);
	st = open_state(f, &s);
	now = clock_wall_ms();
	assert_int_equal(s.n_manuals, 1);
	assert_int_equal(s.n_breakers, 1);
	assert_in_range(s.manuals[0].until_ms - now, expected_left_ms - 10000, expected_left_ms);
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
	struct state *st = open_state(*state, &s);
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
	state_close(st);

	st = open_state(*state, &s);
	assert_int_equal(s.n_ledgers, 1);
	assert_int_equal(endpoint_compare(&s.ledgers[0].endpoint, &l.endpoint), 0);
	assert_int_equal(s.ledgers[0].since_ms, l.since_ms);
	assert_int_equal(s.ledgers[0].shift_ms, 0);
	assert_int_equal(strlen(s.ledgers[0].peers), length);
	assert_int_equal(s.ledgers[0].peers[length - 1], 'x');
	state_snapshot_free(&s);
	state_close(st);

	/* the clock was set back by two hours meanwhile */
	run_sql(*state, "UPDATE ledgers SET saved_ms=saved_ms+7200000, since_ms=since_ms+7200000");
	st = open_state(*state, &s);
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

static void wait_until_written(struct state *st)
{
	struct state_health health;
	int64_t until = clock_monotonic_ms() + WAIT_MS;

	do {
		const struct timespec pause = {.tv_nsec = 2000000};

		nanosleep(&pause, NULL);
		state_get_health(st, &health);
		assert_true(clock_monotonic_ms() < until);
	} while (health.queued > 0);
}

static _Noreturn void write_for_ever(const struct fixture *f, int progress)
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

		st = open_state(*state, &s);
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

static void test_damaged_is_set_aside(void **state)
{
	const struct fixture *f = *state;
	struct state_breaker b = breaker_of("10.0.0.7:9100");
	struct state_snapshot s;
	char why[STATE_ERROR_LEN], path[PATH_LEN];
	struct state *st = open_state(f, &s);
	auto_closedir DIR *dir = NULL;
	struct dirent *entry;
	int fd, kept = 0;

	state_snapshot_free(&s);
	state_save_breaker(st, &b);
	state_close(st);
	snprintf(path, sizeof(path), "%s/state.db", f->directory);
	fd = open(path, O_WRONLY);
	for (off_t at = 0; at < 64; at += 16)
		assert_int_equal(pwrite(fd, "damaged damaged ", 16, at * 64), 16);
	close(fd);

	assert_int_equal(state_open(f->directory, &st, &s, why), 0);
	assert_non_null(strstr(why, "damaged"));
	assert_int_equal(s.n_breakers, 0);
	assert_int_equal(state_save_breaker(st, &b), 0);
	wait_until_written(st);
	state_snapshot_free(&s);
	state_close(st);
	dir = opendir(f->directory);
	while ((entry = readdir(dir)))
		kept += strncmp(entry->d_name, "state.db.damaged-", 17) == 0;
	assert_int_equal(kept, 1);
}

static void test_newer_schema_is_refused(void **state)
{
	const struct fixture *f = *state;
	struct state_snapshot s;
	char why[STATE_ERROR_LEN];
	struct state *st = open_state(f, &s);

	state_snapshot_free(&s);
	state_close(st);
	run_sql(f, "PRAGMA user_version = 99;");
	assert_int_equal(state_open(f->directory, &st, &s, why), -EPROTONOSUPPORT);
	assert_non_null(strstr(why, "version 99"));
}

/* Word for word what the release before made, and two rows of it. */
static void test_version_1_is_taken_over(void **state)
{
	const struct fixture *f = *state;
	struct state_snapshot s;
	struct state *st;
	struct state_breaker b = breaker_of("10.0.0.9:80");

	run_sql(f, "CREATE TABLE breakers (endpoint TEXT PRIMARY KEY, saved_ms INTEGER NOT NULL,"
	           " boot_id TEXT NOT NULL, boot_ms INTEGER NOT NULL, rule TEXT NOT NULL,"
	           " state INTEGER NOT NULL, opened_ms INTEGER NOT NULL, open_until_ms INTEGER NOT "
	           "NULL, high_risk INTEGER NOT NULL) WITHOUT ROWID;"
	           "CREATE TABLE manuals (endpoint TEXT PRIMARY KEY, saved_ms INTEGER NOT NULL,"
	           " boot_id TEXT NOT NULL, boot_ms INTEGER NOT NULL, block INTEGER NOT NULL,"
	           " made_ms INTEGER NOT NULL, until_ms INTEGER NOT NULL, reason TEXT NOT NULL,"
	           " who TEXT NOT NULL) WITHOUT ROWID;"
	           "INSERT INTO breakers VALUES('10.0.0.7:9100', 1000, 'other', 5, 'default', 1, "
	           "900, 2000, 1);"
	           "INSERT INTO manuals VALUES('10.0.0.8:80', 1000, 'other', 5, 1, 900, "
	           "4000000000000, 'ticket', 'alice');"
	           "PRAGMA user_version = 1;");
	for (int i = 0; i < 2; i++) { /* the second time it is of this version */
		st = open_state(f, &s);
		assert_false(s.is_new);
		assert_int_equal(s.n_breakers, 1 + i);
		assert_string_equal(s.breakers[0].rule, "default");
		assert_int_equal(s.breakers[0].opened_ms, 900);
		assert_true(s.breakers[0].high_risk);
		assert_true(s.breakers[0].announced); /* that version wrote after its alert */
		assert_int_equal(s.breakers[0].first_seen_ms, 0);
		assert_false(s.breakers[0].serves_known);
		assert_string_equal(s.breakers[0].evidence, "");
		assert_int_equal(s.n_manuals, 1);
		assert_string_equal(s.manuals[0].who, "alice");
		state_snapshot_free(&s);
		assert_int_equal(state_save_breaker(st, &b), 0);
		state_close(st);
	}
}

static void test_tickets_tell_what_is_written(void **state)
{
	struct state_snapshot s;
	struct state *st = open_state(*state, &s);
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
	wait_until_written(st);
	assert_int_equal(state_written_ticket(st), 100);
	state_close(st);
}

static void test_one_agent_for_one_directory(void **state)
{
	const struct fixture *f = *state;
	struct state_snapshot s, second;
	char why[STATE_ERROR_LEN];
	struct state *st = open_state(f, &s), *other = NULL;
	struct state_breaker b = breaker_of("10.0.0.7:9100");

	state_snapshot_free(&s);
	state_save_breaker(st, &b);
	wait_until_written(st);
	assert_int_equal(state_open(f->directory, &other, &second, why), -EBUSY);
	state_close(st);
}

static void test_no_directory(void **state)
{
	struct state_snapshot s;
	char why[STATE_ERROR_LEN];
	struct state *st;

	(void)state;
	assert_true(state_open("/nonexistent/pprofwall", &st, &s, why) < 0);
	assert_true(why[0] != '\0');
}

static void fill_disk(const char *directory)
{
	char path[PATH_LEN], block[4096] = {0};
	auto_close int fd = -1;

	snprintf(path, sizeof(path), "%s/filler", directory);
	fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	while (write(fd, block, sizeof(block)) > 0)
		;
	assert_int_equal(errno, ENOSPC);
}

/* In a child with a mount namespace of its own: a tmpfs of 256 KiB. */
static void full_disk(const struct fixture *f)
{
	struct state_snapshot s;
	struct state_health health;
	struct state *st;
	char path[PATH_LEN];
	int64_t start, slowest_ms = 0;
	int full = 0;

	assert_int_equal(mount("tmpfs", f->directory, "tmpfs", 0, "size=256k"), 0);
	st = open_state(f, &s);
	state_snapshot_free(&s);
	fill_disk(f->directory);
	for (unsigned i = 0; i < STATE_QUEUE_MAX + 100; i++) {
		struct state_manual m = manual_of("10.0.0.1:80", HOUR);

		m.endpoint.port = (uint16_t)(1 + i);
		start = clock_monotonic_ms();
		full += state_save_manual(st, &m) == -ENOSPC;
		if (clock_monotonic_ms() - start > slowest_ms)
			slowest_ms = clock_monotonic_ms() - start;
	}
	assert_true(full >= 100);
	assert_true(slowest_ms < 500); /* a failed write is retried after a whole second */
	start = clock_monotonic_ms();
	do {
		state_get_health(st, &health);
		assert_true(clock_monotonic_ms() - start < WAIT_MS);
	} while (!health.failing);
	assert_true(health.failures > 0);
	assert_int_equal(health.queued, STATE_QUEUE_MAX);
	assert_int_equal(health.dropped, full);
	assert_true(strstr(health.error, "full") || strstr(health.error, "I/O"));

	/* Room again: what was queued gets written (as much as fits a bigger disk). */
	snprintf(path, sizeof(path), "%s/filler", f->directory);
	assert_int_equal(unlink(path), 0);
	assert_int_equal(mount(NULL, f->directory, NULL, MS_REMOUNT, "size=64m"), 0);
	wait_until_written(st);
	state_get_health(st, &health);
	assert_false(health.failing);
	state_close(st);
	st = open_state(f, &s);
	assert_int_equal(s.n_manuals, STATE_QUEUE_MAX);
	state_snapshot_free(&s);
	state_close(st);
}

static void test_full_disk_delays_nobody(void **state)
{
	int status;
	pid_t pid = fork();

	if (pid == 0) {
		if (unshare(CLONE_NEWNS) < 0 ||
		    mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
			_exit(77);
		full_disk(*state);
		_exit(0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	if (WIFEXITED(status) && WEXITSTATUS(status) == 77)
		skip();
	assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
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
	const struct fixture *f = *state;
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

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(test_comes_back),
	    TEST(test_ledgers_come_back),
	    TEST(test_ended_manuals_are_left_out),
	    TEST(test_clock_set_back_does_not_prolong),
	    TEST(test_clock_set_forward_does_not_end),
	    TEST(test_clock_set_back_over_a_reboot),
	    TEST(test_time_passes_within_a_boot),
	    TEST(test_kill_9_leaves_it_consistent),
	    TEST(test_damaged_is_set_aside),
	    TEST(test_newer_schema_is_refused),
	    TEST(test_version_1_is_taken_over),
	    TEST(test_tickets_tell_what_is_written),
	    TEST(test_one_agent_for_one_directory),
	    TEST(test_no_directory),
	    TEST(test_full_disk_delays_nobody),
	    TEST(test_without_a_state),
	    TEST(test_panic_marker),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
