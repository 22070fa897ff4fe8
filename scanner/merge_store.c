/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "scanner/merge_store.h"

#include "common/cleanup.h"

#include <arpa/inet.h>
#include <errno.h>
#include <sqlite3.h>
#include <string.h>

/* The writer has cut each to this (common/finding.h). */
enum { KEY_MAX = 1 + 16 + 4 + 2 + 2 * (FINDING_STRING_MAX_BYTES + 1) };

struct merge_store {
	sqlite3 *db;
	sqlite3_stmt *add;
};

/* Nobody else sees the file and a crash loses it in any case: no journal, nothing is synced. */
static const char schema[] =
    "PRAGMA cache_size = -16384; PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF;"
    "CREATE TABLE finding("
    " id INTEGER PRIMARY KEY, key BLOB NOT NULL UNIQUE, time_ms INTEGER NOT NULL,"
    " weight INTEGER NOT NULL, line TEXT NOT NULL);"
    "BEGIN";

static const char insert[] =
    "INSERT INTO finding(key, time_ms, weight, line) VALUES(?, ?, ?, ?)"
    " ON CONFLICT(key) DO UPDATE SET time_ms = excluded.time_ms, weight = excluded.weight,"
    " line = excluded.line WHERE (excluded.time_ms, excluded.weight, excluded.line)"
    " > (finding.time_ms, finding.weight, finding.line)";

int merge_store_new(struct merge_store **out, char why[static MERGE_ERROR_LEN])
{
	struct merge_store *s = calloc(1, sizeof(*s));
	int rc;

	snprintf(why, MERGE_ERROR_LEN, "out of memory");
	if (!s)
		return -ENOMEM;
	/* An empty name: a temporary file, once it no longer fits into the cache. */
	rc = sqlite3_open("", &s->db);
	if (rc == SQLITE_OK)
		rc = sqlite3_exec(s->db, schema, NULL, NULL, NULL);
	if (rc == SQLITE_OK)
		rc = sqlite3_prepare_v2(s->db, insert, -1, &s->add, NULL);
	if (rc != SQLITE_OK) {
		snprintf(why, MERGE_ERROR_LEN, "%s", merge_store_error(s));
		merge_store_free(s);
		return -EIO;
	}
	*out = s;
	return 0;
}

void merge_store_free(struct merge_store *s)
{
	if (!s)
		return;
	sqlite3_finalize(s->add);
	sqlite3_close(s->db);
	free(s);
}

const char *merge_store_error(const struct merge_store *s)
{
	return s->db ? sqlite3_errmsg(s->db) : "out of memory";
}

static size_t put_text(uint8_t *key, size_t n, const char *text)
{
	size_t length = text ? strnlen(text, FINDING_STRING_MAX_BYTES) : 0;

	if (length)
		memcpy(key + n, text, length);
	key[n + length] = 0;
	return n + length + 1;
}

/* Bytes whose order is that of addresses, ports, hosts and paths. */
static size_t make_key(const struct finding *f, uint8_t key[static KEY_MAX])
{
	const struct endpoint *e = &f->endpoint;
	const uint32_t scope = htonl(e->scope_id);
	const uint16_t port = htons(e->port);
	size_t n = 0;

	key[n++] = e->family == AF_INET6 ? 6 : 4;
	memcpy(key + n, e->address, sizeof(e->address));
	n += sizeof(e->address);
	memcpy(key + n, &scope, sizeof(scope));
	n += sizeof(scope);
	memcpy(key + n, &port, sizeof(port));
	n += sizeof(port);
	n = put_text(key, n, f->host);
	return put_text(key, n, f->path);
}

static int64_t weigh(const struct finding *f)
{
	static const int ranks[VERDICT_COUNT] = {
	    [VERDICT_CONFIRMED] = 7, [VERDICT_LIKELY] = 6, [VERDICT_PROTECTED] = 5,
	    [VERDICT_UNKNOWN] = 4,   [VERDICT_CLEAR] = 3,  [VERDICT_CLOSED] = 2,
	    [VERDICT_FILTERED] = 1,  [VERDICT_ERROR] = 0,
	};

	return ((int64_t)ranks[f->verdict] * SEVERITY_COUNT + f->severity) * 2 + f->high_risk;
}

int merge_store_add(struct merge_store *s, const struct finding *f, const char *line)
{
	uint8_t key[KEY_MAX];
	size_t length = make_key(f, key);
	int rc;

	sqlite3_reset(s->add);
	/* Static: they outlive the step, and are not looked at after it. */
	rc = sqlite3_bind_blob(s->add, 1, key, (int)length, SQLITE_STATIC);
	if (rc == SQLITE_OK)
		rc = sqlite3_bind_int64(s->add, 2, f->time_ms);
	if (rc == SQLITE_OK)
		rc = sqlite3_bind_int64(s->add, 3, weigh(f));
	if (rc == SQLITE_OK)
		rc = sqlite3_bind_text(s->add, 4, line, -1, SQLITE_STATIC);
	if (rc == SQLITE_OK)
		rc = sqlite3_step(s->add);
	sqlite3_reset(s->add);
	sqlite3_clear_bindings(s->add);
	return rc == SQLITE_DONE ? 0 : -EIO;
}

int merge_store_count(struct merge_store *s, uint64_t *out)
{
	sqlite3_stmt *statement = NULL;
	int rc = sqlite3_prepare_v2(s->db, "SELECT count(*) FROM finding", -1, &statement, NULL);

	if (rc == SQLITE_OK)
		rc = sqlite3_step(statement);
	if (rc == SQLITE_ROW)
		*out = (uint64_t)sqlite3_column_int64(statement, 0);
	sqlite3_finalize(statement);
	return rc == SQLITE_ROW ? 0 : -EIO;
}

static int give(sqlite3_stmt *row, merge_store_cb *cb, void *arg)
{
	const char *line = (const char *)sqlite3_column_text(row, 0);
	struct finding f;
	char why[128];
	int err;

	finding_init(&f);
	if (!line)
		return -ENOMEM;
	err = finding_from_line(line, strlen(line), &f, why);
	if (err)
		return err == -ENOMEM ? err : -EIO; /* it was read once before */
	err = cb(&f, arg);
	finding_fini(&f);
	return err;
}

int merge_store_walk(struct merge_store *s, merge_store_cb *cb, void *arg)
{
	sqlite3_stmt *row = NULL;
	int err = 0, rc;

	rc = sqlite3_prepare_v2(s->db, "SELECT line FROM finding ORDER BY key", -1, &row, NULL);
	if (rc == SQLITE_OK) {
		while (!err && (rc = sqlite3_step(row)) == SQLITE_ROW)
			err = give(row, cb, arg);
	}
	if (!err && rc != SQLITE_DONE)
		err = -EIO;
	sqlite3_finalize(row);
	return err;
}
