/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "scanner/history_merge.h"

#include "common/cleanup.h"
#include "scanner/history_internal.h"

#include <errno.h>
#include <string.h>

/* Why it did not work: what the one or the other database says. */
static int fail(struct history *h, char *why)
{
	snprintf(why, HISTORY_ERROR_LEN, "%s", history_error(h));
	return -EIO;
}

static bool is_in_error(struct history *h)
{
	int rc = sqlite3_errcode(h->db);

	return rc != SQLITE_OK && rc != SQLITE_ROW && rc != SQLITE_DONE;
}

/* Columns of `row`: those of merge_sweeps(). */
static int add_sweep(struct history *into, sqlite3_stmt *row, int64_t *id)
{
	int err =
	    history_run(into,
	                "INSERT INTO sweep(name, shard, shards, started_ms, complete, vantage,"
	                " version, options) VALUES(?, ?, ?, ?, 0, ?, ?, ?)",
	                "siiisss", history_text(row, 1), sqlite3_column_int64(row, 2),
	                sqlite3_column_int64(row, 3), sqlite3_column_int64(row, 4),
	                history_text(row, 7), history_text(row, 8), history_text(row, 9));

	*id = sqlite3_last_insert_rowid(into->db);
	return err;
}

static int end_sweep(struct history *into, sqlite3_stmt *row, int64_t id)
{
	/* NULL of one that was killed, as it was. */
	const char *verdicts = (const char *)sqlite3_column_text(row, 10);

	if (sqlite3_column_type(row, 5) == SQLITE_NULL)
		return 0;
	return history_run(into,
	                   "UPDATE sweep SET started_ms = ?, ended_ms = ?, complete = ?,"
	                   " verdicts = ? WHERE id = ?",
	                   "iiisi", sqlite3_column_int64(row, 4), sqlite3_column_int64(row, 5),
	                   sqlite3_column_int64(row, 6), verdicts, id);
}

static int copy_coverage(struct history *into, struct history *from, int64_t old, int64_t id)
{
	auto_statement sqlite3_stmt *row = NULL;
	int err, rc = SQLITE_DONE;

	err = history_prepare(
	    from, &row, "SELECT kind, network, ports FROM coverage WHERE sweep = ?", "i", old);
	while (!err && (rc = sqlite3_step(row)) == SQLITE_ROW)
		err = history_run(into,
		                  "INSERT INTO coverage(kind, network, ports, sweep)"
		                  " VALUES(?, ?, ?, ?)",
		                  "issi", sqlite3_column_int64(row, 0), history_text(row, 1),
		                  history_text(row, 2), id);
	return err || rc == SQLITE_DONE ? err : -EIO;
}

static int copy_observation(struct history *into, sqlite3_stmt *row, int64_t sweep)
{
	const char *endpoint = history_text(row, 0), *host = history_text(row, 1);
	const char *prefix = history_text(row, 2);
	int err = history_run(into,
	                      "INSERT INTO subject(endpoint, host, prefix) VALUES(?, ?, ?)"
	                      " ON CONFLICT DO NOTHING",
	                      "sss", endpoint, host, prefix);

	if (err)
		return err;
	return history_run(
	    into,
	    "INSERT INTO observation(subject, sweep, time_ms, verdict, severity, high_risk,"
	    " walled, vantage, finding)"
	    " SELECT id, ?, ?, ?, ?, ?, ?, ?, ? FROM subject"
	    " WHERE endpoint = ? AND host = ? AND prefix = ?"
	    " ON CONFLICT(subject, sweep) DO UPDATE SET time_ms = excluded.time_ms,"
	    " verdict = excluded.verdict, severity = excluded.severity,"
	    " high_risk = excluded.high_risk, walled = excluded.walled,"
	    " vantage = excluded.vantage, finding = excluded.finding"
	    " WHERE (excluded.time_ms, excluded.verdict IN ('confirmed', 'likely'))"
	    " > (observation.time_ms, observation.verdict IN ('confirmed', 'likely'))",
	    "iissiisssss", sweep, sqlite3_column_int64(row, 3), history_text(row, 4),
	    history_text(row, 5), sqlite3_column_int64(row, 6), sqlite3_column_int64(row, 7),
	    history_text(row, 8), (const char *)sqlite3_column_text(row, 9), endpoint, host,
	    prefix);
}

static int copy_observations(struct history *into, struct history *from, int64_t old, int64_t id)
{
	auto_statement sqlite3_stmt *row = NULL;
	int err, rc = SQLITE_DONE;

	err = history_prepare(from, &row,
	                      "SELECT s.endpoint, s.host, s.prefix, o.time_ms, o.verdict,"
	                      " o.severity, o.high_risk, o.walled, o.vantage, o.finding"
	                      " FROM observation o JOIN subject s ON s.id = o.subject"
	                      " WHERE o.sweep = ?",
	                      "i", old);
	while (!err && (rc = sqlite3_step(row)) == SQLITE_ROW)
		err = copy_observation(into, row, id);
	return err || rc == SQLITE_DONE ? err : -EIO;
}

/* What `into` knows of the sweep's shard already. */
struct known {
	int64_t id; /* 0: nothing */
	int64_t started_ms, ended_ms;
	bool complete;
};

static int find_known(struct history *into, sqlite3_stmt *row, struct known *out, char *why)
{
	auto_statement sqlite3_stmt *s = NULL;
	int rc = SQLITE_ERROR;

	*out = (struct known){0};
	if (history_prepare(into, &s,
	                    "SELECT id, shard, shards, started_ms, ifnull(ended_ms, 0), complete"
	                    " FROM sweep WHERE name = ?1"
	                    " AND (shard = ?2 OR shards <> ?3) ORDER BY shards <> ?3 DESC",
	                    "sii", history_text(row, 1), sqlite3_column_int64(row, 2),
	                    sqlite3_column_int64(row, 3)) == 0)
		rc = sqlite3_step(s);
	if (rc == SQLITE_DONE)
		return 0;
	if (rc != SQLITE_ROW)
		return fail(into, why);
	if (sqlite3_column_int64(s, 2) != sqlite3_column_int64(row, 3)) {
		snprintf(why, HISTORY_ERROR_LEN, "sweep %.8s is in %d shards and in %d",
		         history_text(row, 1), sqlite3_column_int(s, 2),
		         sqlite3_column_int(row, 3));
		return -EINVAL;
	}
	*out = (struct known){
	    .id = sqlite3_column_int64(s, 0),
	    .started_ms = sqlite3_column_int64(s, 3),
	    .ended_ms = sqlite3_column_int64(s, 4),
	    .complete = sqlite3_column_int(s, 5) != 0,
	};
	return 0;
}

static int merge_shard(struct history *into, struct history *from, sqlite3_stmt *row,
                       struct history_merge *result, char *why)
{
	int64_t old = sqlite3_column_int64(row, 0);
	struct known known;
	int err = find_known(into, row, &known, why);

	if (err)
		return err;
	if (known.id && known.started_ms == sqlite3_column_int64(row, 4) &&
	    known.ended_ms == sqlite3_column_int64(row, 5)) {
		result->same++;
		return 0;
	}
	if (known.id) {
		result->twice++;
	} else {
		result->added++;
		err = add_sweep(into, row, &known.id);
		if (!err)
			err = copy_coverage(into, from, old, known.id);
	}
	if (!err && !known.complete)
		err = end_sweep(into, row, known.id);
	if (!err)
		err = copy_observations(into, from, old, known.id);
	if (err)
		fail(is_in_error(from) ? from : into, why);
	return err;
}

static int merge_sweeps(struct history *into, struct history *from, struct history_merge *result,
                        char *why)
{
	auto_statement sqlite3_stmt *row = NULL;
	int err = 0, rc;

	if (history_prepare(from, &row,
	                    "SELECT id, name, shard, shards, started_ms, ended_ms, complete,"
	                    " vantage, version, options, verdicts FROM sweep ORDER BY id",
	                    "") < 0)
		return fail(from, why);
	while (!err && (rc = sqlite3_step(row)) == SQLITE_ROW)
		err = merge_shard(into, from, row, result, why);
	return err || rc == SQLITE_DONE ? err : fail(from, why);
}

int history_merge(struct history *into, struct history *from, struct history_merge *result,
                  char why[static HISTORY_ERROR_LEN])
{
	struct history_merge sum = *result;
	int err;

	if (history_commit(into) < 0 || history_run(into, "BEGIN IMMEDIATE", "") < 0)
		return fail(into, why);
	into->in_transaction = true;
	err = merge_sweeps(into, from, &sum, why);
	if (err) {
		history_run(into, "ROLLBACK", "");
		into->in_transaction = false;
		return err;
	}
	if (history_commit(into) < 0)
		return fail(into, why);
	*result = sum;
	return 0;
}

int history_tally_sweep(struct history *h, const char *name, struct sweep_tally *tally)
{
	auto_statement sqlite3_stmt *row = NULL;
	int err, rc = SQLITE_DONE;

	err = history_prepare(h, &row,
	                      "SELECT shard, shards, complete, started_ms, ifnull(ended_ms, 0)"
	                      " FROM sweep WHERE name = ?",
	                      "s", name);
	while (!err && (rc = sqlite3_step(row)) == SQLITE_ROW) {
		struct sweep_trailer t = {
		    .shard = (unsigned)sqlite3_column_int(row, 0),
		    .shards = (unsigned)sqlite3_column_int(row, 1),
		    .complete = sqlite3_column_int(row, 2) != 0,
		    .started_ms = sqlite3_column_int64(row, 3),
		    .ended_ms = sqlite3_column_int64(row, 4),
		};

		if (t.shards < 1 || t.shards > SWEEP_SHARDS_MAX || t.shard < 1 ||
		    t.shard > t.shards)
			return -EIO;
		snprintf(t.sweep_id, sizeof(t.sweep_id), "%s", name);
		snprintf(t.scan_id, sizeof(t.scan_id), "%s", name);
		err = sweep_tally_add(tally, &t);
		if (err == -EINVAL)
			err = -EIO;
	}
	return err || rc == SQLITE_DONE ? err : -EIO;
}
