/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The state where the disk, or what lies on it, is not as it should be. */
#include "common/cleanup.h"
#include "common/clock.h"
#include "tests/unit/state_lab.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/wait.h>

static void test_damaged_is_set_aside(void **state)
{
	const struct state_lab *f = *state;
	struct state_breaker b = breaker_of("10.0.0.7:9100");
	struct state_snapshot s;
	char why[STATE_ERROR_LEN], path[PATH_LEN];
	struct state *st = state_lab_open(f, &s);
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
	state_lab_wait_until_written(st);
	state_snapshot_free(&s);
	state_close(st);
	dir = opendir(f->directory);
	while ((entry = readdir(dir)))
		kept += strncmp(entry->d_name, "state.db.damaged-", 17) == 0;
	assert_int_equal(kept, 1);
}

static void test_newer_schema_is_refused(void **state)
{
	const struct state_lab *f = *state;
	struct state_snapshot s;
	char why[STATE_ERROR_LEN];
	struct state *st = state_lab_open(f, &s);

	state_snapshot_free(&s);
	state_close(st);
	state_lab_run_sql(f, "PRAGMA user_version = 99;");
	assert_int_equal(state_open(f->directory, &st, &s, why), -EPROTONOSUPPORT);
	assert_non_null(strstr(why, "version 99"));
}

#define VERSION_1                                                                                  \
	"CREATE TABLE breakers (endpoint TEXT PRIMARY KEY, saved_ms INTEGER NOT NULL,"             \
	" boot_id TEXT NOT NULL, boot_ms INTEGER NOT NULL, rule TEXT NOT NULL,"                    \
	" state INTEGER NOT NULL, opened_ms INTEGER NOT NULL, open_until_ms INTEGER NOT NULL,"     \
	" high_risk INTEGER NOT NULL) WITHOUT ROWID;"                                              \
	"CREATE TABLE manuals (endpoint TEXT PRIMARY KEY, saved_ms INTEGER NOT NULL,"              \
	" boot_id TEXT NOT NULL, boot_ms INTEGER NOT NULL, block INTEGER NOT NULL,"                \
	" made_ms INTEGER NOT NULL, until_ms INTEGER NOT NULL, reason TEXT NOT NULL,"              \
	" who TEXT NOT NULL) WITHOUT ROWID;"

/* Word for word what the release before made, and two rows of it. */
static void test_version_1_is_taken_over(void **state)
{
	const struct state_lab *f = *state;
	struct state_snapshot s;
	struct state *st;
	struct state_breaker b = breaker_of("10.0.0.9:80");

	state_lab_run_sql(
	    f, VERSION_1
	    "INSERT INTO breakers VALUES('10.0.0.7:9100', 1000, 'other', 5, 'default', 1, "
	    "900, 2000, 1);"
	    "INSERT INTO manuals VALUES('10.0.0.8:80', 1000, 'other', 5, 1, 900, "
	    "4000000000000, 'ticket', 'alice');"
	    "PRAGMA user_version = 1;");
	for (int i = 0; i < 2; i++) { /* the second time it is of this version */
		st = state_lab_open(f, &s);
		assert_false(s.is_new);
		assert_int_equal(s.n_breakers, 1 + i);
		assert_string_equal(s.breakers[0].rule, "default");
		assert_int_equal(s.breakers[0].opened_ms, 900);
		assert_true(s.breakers[0].high_risk);
		assert_false(s.breakers[0].untold); /* that version wrote after its alert */
		assert_int_equal(s.breakers[0].first_seen_ms, 0);
		assert_false(s.breakers[0].serves_known);
		assert_string_equal(s.breakers[0].evidence, "");
		assert_int_equal(s.n_manuals, 1);
		assert_string_equal(s.manuals[0]->who, "alice");
		state_snapshot_free(&s);
		assert_int_equal(state_save_breaker(st, &b), 0);
		state_close(st);
	}
}

/* Likewise: of an opening that not every sink had taken, nobody knows any more to whom it is owed.
 */
static void test_version_2_is_taken_over(void **state)
{
	const struct state_lab *f = *state;
	struct state_snapshot s;
	struct state *st;
	struct state_breaker b = breaker_of("10.0.0.7:9100");

	state_lab_run_sql(
	    f, VERSION_1
	    "ALTER TABLE breakers ADD COLUMN first_seen_ms INTEGER NOT NULL DEFAULT 0;"
	    "ALTER TABLE breakers ADD COLUMN last_seen_ms INTEGER NOT NULL DEFAULT 0;"
	    "ALTER TABLE breakers ADD COLUMN evidence TEXT NOT NULL DEFAULT '';"
	    "ALTER TABLE breakers ADD COLUMN alert_id TEXT NOT NULL DEFAULT '';"
	    "ALTER TABLE breakers ADD COLUMN announced INTEGER NOT NULL DEFAULT 1;"
	    "ALTER TABLE breakers ADD COLUMN serves TEXT;"
	    "INSERT INTO breakers VALUES('10.0.0.7:9100', 1000, 'other', 5, 'default', 1, "
	    "900, 2000, 1, 800, 850, 'evidence', '5f0c6a9b', 0, 'metrics');"
	    "PRAGMA user_version = 2;");
	st = state_lab_open(f, &s);
	assert_int_equal(s.n_breakers, 1);
	assert_true(s.breakers[0].untold);
	assert_string_equal(s.breakers[0].evidence, "evidence");
	assert_string_equal(s.breakers[0].serves, "metrics");
	assert_int_equal(s.n_events, 0);
	state_snapshot_free(&s);
	assert_int_equal(state_save_breaker(st, &b), 0);
	st = state_lab_reopen(f, st, &s);
	assert_false(s.breakers[0].untold);
	state_snapshot_free(&s);
	state_close(st);
}

static void test_one_agent_for_one_directory(void **state)
{
	const struct state_lab *f = *state;
	struct state_snapshot s, second;
	char why[STATE_ERROR_LEN];
	struct state *st = state_lab_open(f, &s), *other = NULL;
	struct state_breaker b = breaker_of("10.0.0.7:9100");

	state_snapshot_free(&s);
	state_save_breaker(st, &b);
	state_lab_wait_until_written(st);
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
static void full_disk(const struct state_lab *f)
{
	struct state_snapshot s;
	struct state_health health;
	struct state *st;
	char path[PATH_LEN];
	int64_t start, slowest_ms = 0;
	int full = 0;

	assert_int_equal(mount("tmpfs", f->directory, "tmpfs", 0, "size=256k"), 0);
	st = state_lab_open(f, &s);
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
	state_lab_wait_until_written(st);
	state_get_health(st, &health);
	assert_false(health.failing);
	st = state_lab_reopen(f, st, &s);
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

int main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(test_damaged_is_set_aside),        TEST(test_newer_schema_is_refused),
	    TEST(test_version_1_is_taken_over),     TEST(test_version_2_is_taken_over),
	    TEST(test_one_agent_for_one_directory), TEST(test_no_directory),
	    TEST(test_full_disk_delays_nobody),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
