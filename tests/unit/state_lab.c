/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "tests/unit/state_lab.h"

#include "common/cleanup.h"
#include "common/clock.h"

#include <sqlite3.h>
#include <string.h>
#include <time.h>

int state_lab_set_up(void **state)
{
	struct state_lab *f = calloc(1, sizeof(*f));

	snprintf(f->directory, sizeof(f->directory), "/tmp/pw-state-XXXXXX");
	if (!mkdtemp(f->directory))
		return -1;
	*state = f;
	return 0;
}

int state_lab_tear_down(void **state)
{
	struct state_lab *f = *state;
	auto_closedir DIR *dir = opendir(f->directory);
	struct dirent *entry;

	while (dir && (entry = readdir(dir)))
		(void)unlinkat(dirfd(dir), entry->d_name, 0);
	(void)rmdir(f->directory);
	free(f);
	return 0;
}

struct endpoint endpoint_of(const char *text)
{
	struct endpoint e;

	assert_int_equal(endpoint_parse(text, &e), 0);
	return e;
}

struct state *state_lab_open(const struct state_lab *f, struct state_snapshot *snapshot)
{
	char why[STATE_ERROR_LEN];
	struct state *st = NULL;
	int error = state_open(f->directory, &st, snapshot, why);

	if (error)
		fail_msg("state_open: %d %s", error, why);
	assert_string_equal(why, "");
	return st;
}

struct state *state_lab_reopen(const struct state_lab *f, struct state *st,
                               struct state_snapshot *snapshot)
{
	state_close(st);
	return state_lab_open(f, snapshot);
}

struct state_breaker breaker_of(const char *endpoint)
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
	return b;
}

struct state_manual manual_of(const char *endpoint, int64_t for_ms)
{
	struct state_manual m = {.endpoint = endpoint_of(endpoint), .block = true};

	m.made_ms = clock_wall_ms();
	m.until_ms = m.made_ms + for_ms;
	snprintf(m.reason, sizeof(m.reason), "ticket 4711, it's \"bad\"");
	snprintf(m.who, sizeof(m.who), "alice (loginuid 1000) as root");
	return m;
}

void state_lab_run_sql(const struct state_lab *f, const char *sql)
{
	char path[PATH_LEN];
	sqlite3 *db = NULL;

	snprintf(path, sizeof(path), "%s/state.db", f->directory);
	assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
	assert_int_equal(sqlite3_exec(db, sql, NULL, NULL, NULL), SQLITE_OK);
	assert_int_equal(sqlite3_close(db), SQLITE_OK);
}

void state_lab_wait_until_written(struct state *st)
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
