/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "common/cleanup.h"
#include "scanner/history_internal.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <string.h>

enum {
	BUSY_TIMEOUT_MS = 30000, /* another sweep, or a report, holds the file */
	SCHEMA_VERSION = 1,
};

static const char schema[] =
    "CREATE TABLE sweep("
    " id INTEGER PRIMARY KEY, name TEXT NOT NULL, shard INTEGER NOT NULL, shards INTEGER NOT NULL,"
    " started_ms INTEGER NOT NULL, ended_ms INTEGER, complete INTEGER NOT NULL DEFAULT 0,"
    " vantage TEXT NOT NULL, version TEXT NOT NULL, options TEXT NOT NULL, verdicts TEXT,"
    " UNIQUE(name, shard));"
    "CREATE TABLE coverage("
    " sweep INTEGER NOT NULL REFERENCES sweep(id), kind INTEGER NOT NULL, network TEXT NOT NULL,"
    " ports TEXT NOT NULL);"
    "CREATE INDEX coverage_of_sweep ON coverage(sweep);"
    "CREATE TABLE subject("
    " id INTEGER PRIMARY KEY, endpoint TEXT NOT NULL, host TEXT NOT NULL, prefix TEXT NOT NULL,"
    " UNIQUE(endpoint, host, prefix));"
    "CREATE TABLE observation("
    " subject INTEGER NOT NULL REFERENCES subject(id), sweep INTEGER NOT NULL REFERENCES sweep(id),"
    " time_ms INTEGER NOT NULL, verdict TEXT NOT NULL, severity TEXT NOT NULL,"
    " high_risk INTEGER NOT NULL, walled INTEGER NOT NULL, vantage TEXT NOT NULL, finding TEXT,"
    " PRIMARY KEY(subject, sweep)) WITHOUT ROWID;"
    "PRAGMA application_id = 1886544487;" /* "pprg" */
    "PRAGMA user_version = 1;";

static const int application_id = 1886544487;

const char *history_error(struct history *h)
{
	int rc = sqlite3_errcode(h->db) & 0xff;

	/* The file is sound; what stands in it no scan has written. */
	if (rc == SQLITE_OK || rc == SQLITE_ROW || rc == SQLITE_DONE)
		return "a record in it is damaged";
	return sqlite3_errmsg(h->db);
}

static int prepare(struct history *h, sqlite3_stmt **out, const char *sql, const char *types,
                   va_list args)
{
	auto_statement sqlite3_stmt *statement = NULL;
	int rc = sqlite3_prepare_v2(h->db, sql, -1, &statement, NULL);

	for (int i = 1; *types && rc == SQLITE_OK; i++, types++) {
		if (*types == 's')
			rc = sqlite3_bind_text(statement, i, va_arg(args, const char *), -1,
			                       SQLITE_TRANSIENT);
		else
			rc = sqlite3_bind_int64(statement, i, va_arg(args, int64_t));
	}
	if (rc != SQLITE_OK)
		return -EIO;
	*out = steal_ptr(&statement);
	return 0;
}

int history_prepare(struct history *h, sqlite3_stmt **out, const char *sql, const char *types, ...)
{
	va_list args;
	int err;

	va_start(args, types);
	err = prepare(h, out, sql, types, args);
	va_end(args);
	return err;
}

int history_run(struct history *h, const char *sql, const char *types, ...)
{
	auto_statement sqlite3_stmt *statement = NULL;
	va_list args;
	int err;

	va_start(args, types);
	err = prepare(h, &statement, sql, types, args);
	va_end(args);
	if (err < 0)
		return err;
	return sqlite3_step(statement) == SQLITE_DONE ? 0 : -EIO;
}

const char *history_text(sqlite3_stmt *statement, int column)
{
	const unsigned char *text = sqlite3_column_text(statement, column);

	return text ? (const char *)text : "";
}

static int read_pragma(struct history *h, const char *sql, int64_t *out)
{
	auto_statement sqlite3_stmt *statement = NULL;

	if (history_prepare(h, &statement, sql, "") < 0 || sqlite3_step(statement) != SQLITE_ROW)
		return -EIO;
	*out = sqlite3_column_int64(statement, 0);
	return 0;
}

static int execute(struct history *h, const char *sql)
{
	return sqlite3_exec(h->db, sql, NULL, NULL, NULL) == SQLITE_OK ? 0 : -EIO;
}

/* Two sweeps may find the same empty file: who gets the lock makes the tables. */
static int make_tables(struct history *h, char *why)
{
	int64_t tables, version, id;

	if (read_pragma(h, "SELECT count(*) FROM sqlite_schema", &tables) < 0 ||
	    read_pragma(h, "PRAGMA user_version", &version) < 0 ||
	    read_pragma(h, "PRAGMA application_id", &id) < 0)
		return -EIO;
	if (tables == 0 && id == 0)
		return execute(h, schema);
	if (id == application_id && version == SCHEMA_VERSION)
		return 0;
	snprintf(why, HISTORY_ERROR_LEN,
	         id == application_id ? "a history of another version of pprofwall"
	                              : "an SQLite file, but no history of pprofwall");
	return -EINVAL;
}

static int set_up(struct history *h, enum history_mode mode, char *why)
{
	int64_t id, version;
	int err;

	sqlite3_busy_timeout(h->db, BUSY_TIMEOUT_MS);
	if (mode == HISTORY_READ) {
		if (read_pragma(h, "PRAGMA application_id", &id) < 0 ||
		    read_pragma(h, "PRAGMA user_version", &version) < 0)
			return -EIO;
		if (id == application_id && version == SCHEMA_VERSION)
			return 0;
		snprintf(why, HISTORY_ERROR_LEN, "no history of this version of pprofwall");
		return -EINVAL;
	}
	if (execute(h, "PRAGMA journal_mode = DELETE; PRAGMA trusted_schema = OFF;"
	               "PRAGMA foreign_keys = ON; BEGIN IMMEDIATE") < 0)
		return -EIO;
	err = make_tables(h, why);
	if (err < 0) {
		execute(h, "ROLLBACK");
		return err;
	}
	return execute(h, "COMMIT");
}

int history_open(const char *path, enum history_mode mode, struct history **out,
                 char why[static HISTORY_ERROR_LEN])
{
	struct history *h = calloc(1, sizeof(*h));
	int flags = mode == HISTORY_READ ? SQLITE_OPEN_READONLY
	                                 : SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE;
	int err = 0, rc;

	snprintf(why, HISTORY_ERROR_LEN, "out of memory");
	if (!h)
		return -ENOMEM;
	why[0] = '\0';
	rc = sqlite3_open_v2(path, &h->db, flags, NULL);
	err = rc == SQLITE_OK ? set_up(h, mode, why) : -EIO;
	if (err < 0) {
		if (!why[0])
			snprintf(why, HISTORY_ERROR_LEN, "%s", history_error(h));
		history_close(h);
		return err;
	}
	*out = h;
	return 0;
}

void history_close(struct history *h)
{
	if (!h)
		return;
	sqlite3_close(h->db);
	free(h);
}

/* Short ones, so that whoever reads meanwhile need not wait. */
static int begin_transaction(struct history *h)
{
	int err = h->in_transaction ? 0 : execute(h, "BEGIN IMMEDIATE");

	h->in_transaction = h->in_transaction || err == 0;
	return err;
}

int history_commit(struct history *h)
{
	int err = h->in_transaction ? execute(h, "COMMIT") : 0;

	h->in_transaction = false;
	return err;
}

/* 0; -ENOENT; -EEXIST for one that is complete; -EIO. */
static int find_sweep(struct history *h, const struct history_begin *begin, int64_t *sweep)
{
	auto_statement sqlite3_stmt *statement = NULL;
	int rc;

	if (history_prepare(h, &statement,
	                    "SELECT id, complete FROM sweep WHERE name = ? AND shard = ?", "si",
	                    begin->name, (int64_t)begin->shard) < 0)
		return -EIO;
	rc = sqlite3_step(statement);
	if (rc != SQLITE_ROW)
		return rc == SQLITE_DONE ? -ENOENT : -EIO;
	if (sqlite3_column_int64(statement, 1))
		return -EEXIST;
	*sweep = sqlite3_column_int64(statement, 0);
	return 0;
}

int history_begin_sweep(struct history *h, const struct history_begin *begin, int64_t *sweep)
{
	int err = begin_transaction(h);

	if (!err)
		err = find_sweep(h, begin, sweep);
	if (err != -ENOENT)
		return err;
	err = history_run(h,
	                  "INSERT INTO sweep(name, shard, shards, started_ms, vantage,"
	                  " version, options) VALUES(?, ?, ?, ?, ?, ?, ?)",
	                  "siiisss", begin->name, (int64_t)begin->shard, (int64_t)begin->shards,
	                  begin->started_ms, begin->vantage, begin->version, begin->options);
	if (!err)
		*sweep = sqlite3_last_insert_rowid(h->db);
	return err;
}

int history_add_coverage(struct history *h, int64_t sweep, enum history_coverage kind,
                         const char *network, const char *ports)
{
	int err = begin_transaction(h);

	if (err)
		return err;
	return history_run(h,
	                   "INSERT INTO coverage(sweep, kind, network, ports) VALUES(?, ?, ?, ?)",
	                   "iiss", sweep, (int64_t)kind, network, ports);
}

static int find_subject(struct history *h, const struct history_observation *o,
                        const char *endpoint, int64_t *subject)
{
	auto_statement sqlite3_stmt *statement = NULL;
	int rc;

	if (history_prepare(h, &statement,
	                    "SELECT id FROM subject WHERE endpoint = ? AND host = ? AND prefix = ?",
	                    "sss", endpoint, o->host, o->prefix) < 0)
		return -EIO;
	rc = sqlite3_step(statement);
	if (rc == SQLITE_ROW)
		*subject = sqlite3_column_int64(statement, 0);
	return rc == SQLITE_ROW ? 0 : rc == SQLITE_DONE ? -ENOENT : -EIO;
}

static int add_subject(struct history *h, const struct history_observation *o, const char *endpoint,
                       int64_t *subject)
{
	int err = begin_transaction(h);

	if (!err)
		err = history_run(h, "INSERT INTO subject(endpoint, host, prefix) VALUES(?, ?, ?)",
		                  "sss", endpoint, o->host, o->prefix);
	if (!err)
		*subject = sqlite3_last_insert_rowid(h->db);
	return err;
}

int history_add_observation(struct history *h, int64_t sweep, const struct history_observation *o,
                            const char *finding)
{
	bool exposed = history_is_exposed(o->verdict);
	char endpoint[ENDPOINT_TEXT_LEN];
	int64_t subject;
	int err;

	endpoint_format(&o->endpoint, endpoint);
	err = find_subject(h, o, endpoint, &subject);
	if (err == -ENOENT && !exposed)
		return 0; /* nothing that anybody will ask about */
	if (err == -ENOENT)
		err = add_subject(h, o, endpoint, &subject);
	if (!err)
		err = begin_transaction(h);
	if (err)
		return err;
	/* Of targets that overlap the worse answer counts. */
	return history_run(
	    h,
	    "INSERT INTO observation(subject, sweep, time_ms, verdict, severity, high_risk, walled,"
	    " vantage, finding) VALUES(?, ?, ?, ?, ?, ?, ?, ?, ?)"
	    " ON CONFLICT(subject, sweep) DO UPDATE SET time_ms = excluded.time_ms,"
	    " verdict = excluded.verdict, severity = excluded.severity,"
	    " high_risk = excluded.high_risk, walled = excluded.walled,"
	    " vantage = excluded.vantage, finding = excluded.finding"
	    " WHERE excluded.verdict IN ('confirmed', 'likely')"
	    " OR observation.verdict NOT IN ('confirmed', 'likely')",
	    "iiissiiss", subject, sweep, o->time_ms, finding_verdict_name(o->verdict),
	    finding_severity_name(o->severity), (int64_t)o->high_risk, (int64_t)o->walled,
	    o->vantage, finding);
}

int history_end_sweep(struct history *h, int64_t sweep, const struct history_end *end)
{
	char verdicts[VERDICT_COUNT * 21 + 1];
	size_t n = 0;
	int err = begin_transaction(h);

	for (size_t i = 0; i < VERDICT_COUNT; i++)
		n += (size_t)snprintf(verdicts + n, sizeof(verdicts) - n, "%s%" PRIu64,
		                      i ? " " : "", end->verdicts[i]);
	if (!err)
		err = history_run(
		    h, "UPDATE sweep SET complete = ?, ended_ms = ?, verdicts = ? WHERE id = ?",
		    "iisi", (int64_t)end->complete, end->ended_ms, verdicts, sweep);
	return err ? err : history_commit(h);
}
