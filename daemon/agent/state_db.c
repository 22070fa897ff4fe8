/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "common/cleanup.h"
#include "common/clock.h"
#include "daemon/agent/state_db_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>

enum {
	SCHEMA_VERSION = 5,
	BUSY_TIMEOUT_MS = 1000,
	PATH_LEN = 4096,
};

/*
 * Each takes the database from the version before to the next, in a transaction: a program that
 * was killed in between finds the one or the other.
 */
static const char schema1_sql[] =
    "BEGIN;"
    "CREATE TABLE breakers (endpoint TEXT PRIMARY KEY, saved_ms INTEGER NOT NULL,"
    " boot_id TEXT NOT NULL, boot_ms INTEGER NOT NULL, rule TEXT NOT NULL,"
    " state INTEGER NOT NULL, opened_ms INTEGER NOT NULL, open_until_ms INTEGER NOT NULL,"
    " high_risk INTEGER NOT NULL) WITHOUT ROWID;"
    "CREATE TABLE manuals (endpoint TEXT PRIMARY KEY, saved_ms INTEGER NOT NULL,"
    " boot_id TEXT NOT NULL, boot_ms INTEGER NOT NULL, block INTEGER NOT NULL,"
    " made_ms INTEGER NOT NULL, until_ms INTEGER NOT NULL, reason TEXT NOT NULL,"
    " who TEXT NOT NULL) WITHOUT ROWID;"
    "PRAGMA user_version = 1;"
    "COMMIT;";

/* A breaker of version 1 was written after its alert had gone out. */
static const char schema2_sql[] =
    "BEGIN;"
    "ALTER TABLE breakers ADD COLUMN first_seen_ms INTEGER NOT NULL DEFAULT 0;"
    "ALTER TABLE breakers ADD COLUMN last_seen_ms INTEGER NOT NULL DEFAULT 0;"
    "ALTER TABLE breakers ADD COLUMN evidence TEXT NOT NULL DEFAULT '';"
    "ALTER TABLE breakers ADD COLUMN alert_id TEXT NOT NULL DEFAULT '';"
    "ALTER TABLE breakers ADD COLUMN announced INTEGER NOT NULL DEFAULT 1;"
    "ALTER TABLE breakers ADD COLUMN serves TEXT;" /* NULL: not known */
    "PRAGMA user_version = 2;"
    "COMMIT;";

/*
 * What is to be told has rows of its own. Of a breaker only version 2 wrote `announced`: 0 there
 * says that its opening was not told to every sink.
 */
static const char schema3_sql[] =
    "BEGIN;"
    "ALTER TABLE breakers DROP COLUMN alert_id;"
    "CREATE TABLE events (seq INTEGER PRIMARY KEY, id TEXT NOT NULL, endpoint TEXT,"
    " made_ms INTEGER NOT NULL, json TEXT NOT NULL);"
    "CREATE TABLE deliveries (seq INTEGER NOT NULL, sink TEXT NOT NULL,"
    " not_before_ms INTEGER NOT NULL, PRIMARY KEY (seq, sink)) WITHOUT ROWID;"
    "CREATE TABLE losses (sink TEXT PRIMARY KEY, count INTEGER NOT NULL,"
    " since_ms INTEGER NOT NULL, until_ms INTEGER NOT NULL) WITHOUT ROWID;"
    "PRAGMA user_version = 3;"
    "COMMIT;";

static const char schema4_sql[] =
    "BEGIN;"
    "ALTER TABLE breakers ADD COLUMN worst INTEGER NOT NULL DEFAULT 0;"
    "ALTER TABLE breakers ADD COLUMN escalated_ms INTEGER NOT NULL DEFAULT 0;"
    "CREATE TABLE acks (endpoint TEXT PRIMARY KEY, saved_ms INTEGER NOT NULL,"
    " boot_id TEXT NOT NULL, boot_ms INTEGER NOT NULL, made_ms INTEGER NOT NULL,"
    " until_ms INTEGER NOT NULL, reason TEXT NOT NULL, who TEXT NOT NULL) WITHOUT ROWID;"
    "PRAGMA user_version = 4;"
    "COMMIT;";

static const char schema5_sql[] =
    "BEGIN;"
    "ALTER TABLE breakers ADD COLUMN blocked INTEGER NOT NULL DEFAULT 0;"
    "PRAGMA user_version = 5;"
    "COMMIT;";

static const char *const migrations[SCHEMA_VERSION] = {schema1_sql, schema2_sql, schema3_sql,
                                                       schema4_sql, schema5_sql};

/* They stand alone: no version needs to tell of them. */
static const char separate_sql[] =
    "CREATE TABLE IF NOT EXISTS ledgers (endpoint TEXT PRIMARY KEY, saved_ms INTEGER NOT NULL,"
    " boot_id TEXT NOT NULL, boot_ms INTEGER NOT NULL, since_ms INTEGER NOT NULL,"
    " peers TEXT NOT NULL) WITHOUT ROWID;"
    "CREATE TABLE IF NOT EXISTS sources (source TEXT PRIMARY KEY, good_ms INTEGER NOT NULL,"
    " prefixes TEXT NOT NULL) WITHOUT ROWID;";

static void read_boot_id(char out[static STATE_DB_BOOT_ID_LEN])
{
	auto_close int fd = open("/proc/sys/kernel/random/boot_id", O_RDONLY | O_CLOEXEC);
	ssize_t length = fd < 0 ? 0 : read(fd, out, STATE_DB_BOOT_ID_LEN - 1);

	out[length > 0 ? length : 0] = '\0';
	out[strcspn(out, "\n")] = '\0';
}

int state_db_fail(sqlite3 *sqlite, char why[static STATE_ERROR_LEN])
{
	int code = sqlite ? sqlite3_errcode(sqlite) & 0xff : SQLITE_NOMEM;
	int system = sqlite ? sqlite3_system_errno(sqlite) : 0;

	snprintf(why, STATE_ERROR_LEN, "%s", sqlite ? sqlite3_errmsg(sqlite) : "out of memory");
	switch (code) {
	case SQLITE_NOMEM: return -ENOMEM;
	case SQLITE_FULL: return -ENOSPC;
	case SQLITE_BUSY:
	case SQLITE_LOCKED:
		snprintf(why, STATE_ERROR_LEN, "another process has the database open");
		return -EBUSY;
	case SQLITE_CORRUPT:
	case SQLITE_NOTADB: return -EUCLEAN;
	case SQLITE_CANTOPEN:
	case SQLITE_READONLY:
	case SQLITE_PERM: return system ? -system : -EACCES;
	default: return system ? -system : -EIO;
	}
}

static int execute(struct state_db *db, const char *sql, char why[static STATE_ERROR_LEN])
{
	return sqlite3_exec(db->sqlite, sql, NULL, NULL, NULL) == SQLITE_OK
	           ? 0
	           : state_db_fail(db->sqlite, why);
}

int state_db_query_text(struct state_db *db, const char *sql, char *out, size_t length,
                        char why[static STATE_ERROR_LEN])
{
	sqlite3_stmt *statement = NULL;
	const unsigned char *text = NULL;
	int step = sqlite3_prepare_v2(db->sqlite, sql, -1, &statement, NULL);

	if (step == SQLITE_OK)
		step = sqlite3_step(statement);
	if (step == SQLITE_ROW)
		text = sqlite3_column_text(statement, 0);
	snprintf(out, length, "%s", text ? (const char *)text : "");
	if (step != SQLITE_ROW && step != SQLITE_DONE) {
		int error = state_db_fail(db->sqlite, why);

		sqlite3_finalize(statement);
		return error;
	}
	sqlite3_finalize(statement);
	return 0;
}

void state_db_bind_text(sqlite3_stmt *statement, int at, const char *text)
{
	sqlite3_bind_text(statement, at, text, -1, SQLITE_TRANSIENT);
}

int state_db_step(struct state_db *db, enum state_statement which, char why[static STATE_ERROR_LEN])
{
	sqlite3_stmt *statement = db->statements[which];
	int error = sqlite3_step(statement) == SQLITE_DONE ? 0 : state_db_fail(db->sqlite, why);

	sqlite3_reset(statement);
	return error;
}

static int check_schema(struct state_db *db, char why[static STATE_ERROR_LEN])
{
	char text[STATE_ERROR_LEN];
	int error = state_db_query_text(db, "PRAGMA quick_check(1)", text, sizeof(text), why);
	long version;

	if (error)
		return error;
	if (strcmp(text, "ok") != 0) {
		snprintf(why, STATE_ERROR_LEN, "%.200s", text);
		return -EUCLEAN;
	}
	error = state_db_query_text(db, "PRAGMA user_version", text, sizeof(text), why);
	if (error)
		return error;
	version = strtol(text, NULL, 10);
	if (version > SCHEMA_VERSION) {
		snprintf(why, STATE_ERROR_LEN, "schema version %ld; this program knows %d", version,
		         SCHEMA_VERSION);
		return -EPROTONOSUPPORT;
	}
	db->is_new = version == 0;
	for (; !error && version >= 0 && version < SCHEMA_VERSION; version++)
		error = execute(db, migrations[version], why);
	/* Other tables than the version says: not ours, or damaged. */
	return error == -EIO && sqlite3_errcode(db->sqlite) == SQLITE_ERROR ? -EUCLEAN : error;
}

static int open_file(const char *path, struct state_db *db, char why[static STATE_ERROR_LEN])
{
	int error;

	if (sqlite3_open_v2(path, &db->sqlite,
	                    SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOFOLLOW |
	                        SQLITE_OPEN_NOMUTEX,
	                    NULL) != SQLITE_OK)
		return state_db_fail(db->sqlite, why);
	sqlite3_extended_result_codes(db->sqlite, 1);
	sqlite3_busy_timeout(db->sqlite, BUSY_TIMEOUT_MS);
	/*
	 * Exclusive: the WAL's index is then in our memory, not in a mapped file, which on a full
	 * disk is a SIGBUS.
	 */
	error = execute(db,
	                "PRAGMA locking_mode = EXCLUSIVE; PRAGMA journal_mode = WAL;"
	                "PRAGMA synchronous = NORMAL; PRAGMA journal_size_limit = 4194304;"
	                "PRAGMA temp_store = MEMORY; PRAGMA trusted_schema = OFF;",
	                why);
	if (!error)
		error = check_schema(db, why);
	if (!error)
		error = execute(db, separate_sql, why);
	return error ? error : state_db_prepare(db, why);
}

static void close_sqlite(struct state_db *db)
{
	for (int i = 0; i < STATE_DB_STATEMENTS; i++) {
		sqlite3_finalize(db->statements[i]);
		db->statements[i] = NULL;
	}
	sqlite3_close(db->sqlite);
	db->sqlite = NULL;
}

void state_db_close(struct state_db *db)
{
	if (!db)
		return;
	close_sqlite(db);
	free(db);
}
AUTO_CLEANUP(db, struct state_db *, state_db_close)

static int set_aside(const char *path, char why[static STATE_ERROR_LEN])
{
	static const char *const suffixes[] = {"-wal", "-shm", ""};
	char reason[STATE_ERROR_LEN];
	long long seconds = (long long)(clock_wall_ms() / 1000);

	for (size_t i = 0; i < ARRAY_LEN(suffixes); i++) {
		char from[PATH_LEN + 8], to[PATH_LEN + 40];

		snprintf(from, sizeof(from), "%s%s", path, suffixes[i]);
		snprintf(to, sizeof(to), "%s.damaged-%lld%s", path, seconds, suffixes[i]);
		if (rename(from, to) < 0 && errno != ENOENT)
			return -errno;
	}
	snprintf(reason, sizeof(reason), "%.120s", why);
	snprintf(why, STATE_ERROR_LEN, "was damaged (%.120s); set aside as state.db.damaged-%lld",
	         reason, seconds);
	return 0;
}

int state_db_open(const char *directory, struct state_db **out, struct state_snapshot *snapshot,
                  char why[static STATE_ERROR_LEN])
{
	__attribute__((cleanup(cleanup_db))) struct state_db *db = calloc(1, sizeof(*db));
	char path[PATH_LEN], ignored[STATE_ERROR_LEN];
	int error;

	why[0] = '\0';
	if (!db)
		return -ENOMEM;
	if ((size_t)snprintf(path, sizeof(path), "%s/state.db", directory) >= sizeof(path))
		return -ENAMETOOLONG;
	read_boot_id(db->boot_id);
	error = open_file(path, db, why);
	if (!error)
		error = state_db_load(db, snapshot, why);
	if (error == -EUCLEAN) {
		close_sqlite(db);
		error = set_aside(path, why);
		if (!error)
			error = open_file(path, db, ignored);
		if (!error)
			error = state_db_load(db, snapshot, ignored);
	}
	if (!error)
		*out = steal_ptr(&db);
	return error;
}

int state_db_write(struct state_db *db, const struct state_items *items,
                   char why[static STATE_ERROR_LEN])
{
	char ignored[STATE_ERROR_LEN];
	const struct state_item *item;
	int error = execute(db, "BEGIN IMMEDIATE", why);

	TAILQ_FOREACH (item, items, entry) {
		if (error)
			break;
		error = state_db_write_item(db, item, why);
	}
	if (!error)
		error = execute(db, "COMMIT", why);
	if (error && !sqlite3_get_autocommit(db->sqlite))
		(void)execute(db, "ROLLBACK", ignored);
	return error;
}
