/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/agent/state_db.h"

#include "common/cleanup.h"
#include "common/clock.h"

#include <errno.h>
#include <fcntl.h>
#include <sqlite3.h>
#include <string.h>
#include <time.h>

enum {
	SCHEMA_VERSION = 2,
	BUSY_TIMEOUT_MS = 1000,
	BOOT_ID_LEN = 40,
	PATH_LEN = 4096,
	CLOCK_TOLERANCE_MS = 2000, /* slewing, and the time between two clock_gettime() */
};

enum statement {
	PUT_BREAKER,
	DELETE_BREAKER,
	PUT_MANUAL,
	DELETE_MANUAL,
	PUT_LEDGER,
	DELETE_LEDGER,
	PUT_SOURCE,
	DELETE_SOURCE,
	STATEMENT_COUNT
};

static const char *const statement_sql[STATEMENT_COUNT] = {
    [PUT_BREAKER] = "INSERT OR REPLACE INTO breakers (endpoint, saved_ms, boot_id, boot_ms, rule, "
                    "state, opened_ms, open_until_ms, high_risk, first_seen_ms, last_seen_ms, "
                    "evidence, alert_id, announced, serves) VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?,?,?)",
    [DELETE_BREAKER] = "DELETE FROM breakers WHERE endpoint = ?",
    /* In parentheses: clang takes it for two that lack a comma. */
    [PUT_MANUAL] = ("INSERT OR REPLACE INTO manuals (endpoint, saved_ms, boot_id, boot_ms, block, "
                    "made_ms, until_ms, reason, who) VALUES (?,?,?,?,?,?,?,?,?)"),
    [DELETE_MANUAL] = "DELETE FROM manuals WHERE endpoint = ?",
    [PUT_LEDGER] = "INSERT OR REPLACE INTO ledgers (endpoint, saved_ms, boot_id, boot_ms, "
                   "since_ms, peers) VALUES (?,?,?,?,?,?)",
    [DELETE_LEDGER] = "DELETE FROM ledgers WHERE endpoint = ?",
    [PUT_SOURCE] = "INSERT OR REPLACE INTO sources (source, good_ms, prefixes) VALUES (?,?,?)",
    [DELETE_SOURCE] = "DELETE FROM sources WHERE source = ?",
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

static const char *const migrations[SCHEMA_VERSION] = {schema1_sql, schema2_sql};

/* They stand alone: no version needs to tell of them. */
static const char separate_sql[] =
    "CREATE TABLE IF NOT EXISTS ledgers (endpoint TEXT PRIMARY KEY, saved_ms INTEGER NOT NULL,"
    " boot_id TEXT NOT NULL, boot_ms INTEGER NOT NULL, since_ms INTEGER NOT NULL,"
    " peers TEXT NOT NULL) WITHOUT ROWID;"
    "CREATE TABLE IF NOT EXISTS sources (source TEXT PRIMARY KEY, good_ms INTEGER NOT NULL,"
    " prefixes TEXT NOT NULL) WITHOUT ROWID;";

struct state_db {
	sqlite3 *sqlite;
	sqlite3_stmt *statements[STATEMENT_COUNT];
	char boot_id[BOOT_ID_LEN];
	bool is_new;
};

/* Goes on while suspended, as wall time does. */
static int64_t clock_boot_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_BOOTTIME, &ts);
	return (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

void state_db_stamp(struct state_item *item)
{
	item->saved_ms = clock_wall_ms();
	item->boot_ms = clock_boot_ms();
}

static void read_boot_id(char out[static BOOT_ID_LEN])
{
	auto_close int fd = open("/proc/sys/kernel/random/boot_id", O_RDONLY | O_CLOEXEC);
	ssize_t length = fd < 0 ? 0 : read(fd, out, BOOT_ID_LEN - 1);

	out[length > 0 ? length : 0] = '\0';
	out[strcspn(out, "\n")] = '\0';
}

static int fail(sqlite3 *sqlite, char why[static STATE_ERROR_LEN])
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
	return sqlite3_exec(db->sqlite, sql, NULL, NULL, NULL) == SQLITE_OK ? 0
	                                                                    : fail(db->sqlite, why);
}

/* The first column of the first row; "" where it is NULL or there is none. */
static int query_text(struct state_db *db, const char *sql, char *out, size_t length,
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
		int error = fail(db->sqlite, why);

		sqlite3_finalize(statement);
		return error;
	}
	sqlite3_finalize(statement);
	return 0;
}

static int check_schema(struct state_db *db, char why[static STATE_ERROR_LEN])
{
	char text[STATE_ERROR_LEN];
	int error = query_text(db, "PRAGMA quick_check(1)", text, sizeof(text), why);
	long version;

	if (error)
		return error;
	if (strcmp(text, "ok") != 0) {
		snprintf(why, STATE_ERROR_LEN, "%.200s", text);
		return -EUCLEAN;
	}
	error = query_text(db, "PRAGMA user_version", text, sizeof(text), why);
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

static int prepare(struct state_db *db, char why[static STATE_ERROR_LEN])
{
	for (int i = 0; i < STATEMENT_COUNT; i++) {
		if (sqlite3_prepare_v3(db->sqlite, statement_sql[i], -1, SQLITE_PREPARE_PERSISTENT,
		                       &db->statements[i], NULL) != SQLITE_OK) {
			/* Other tables than the version says: not ours, or damaged. */
			int error = fail(db->sqlite, why);

			return error == -EIO ? -EUCLEAN : error;
		}
	}
	return 0;
}

static int open_file(const char *path, struct state_db *db, char why[static STATE_ERROR_LEN])
{
	int error;

	if (sqlite3_open_v2(path, &db->sqlite,
	                    SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOFOLLOW |
	                        SQLITE_OPEN_NOMUTEX,
	                    NULL) != SQLITE_OK)
		return fail(db->sqlite, why);
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
	return error ? error : prepare(db, why);
}

static void close_sqlite(struct state_db *db)
{
	for (int i = 0; i < STATEMENT_COUNT; i++) {
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

static bool times_jumped(int64_t shift_ms)
{
	return shift_ms > CLOCK_TOLERANCE_MS || shift_ms < -CLOCK_TOLERANCE_MS;
}

/* By how much the wall clock was set since the row was written, as far as can be known. */
static int64_t find_shift(const struct state_db *db, sqlite3_stmt *row, int64_t now_ms)
{
	int64_t saved_ms = sqlite3_column_int64(row, 1);
	const unsigned char *boot_id = sqlite3_column_text(row, 2);
	int64_t shift_ms = 0;

	if (boot_id && db->boot_id[0] && strcmp((const char *)boot_id, db->boot_id) == 0) {
		int64_t passed_ms = clock_boot_ms() - sqlite3_column_int64(row, 3);

		shift_ms = now_ms - passed_ms - saved_ms;
	} else if (saved_ms > now_ms) {
		shift_ms = now_ms - saved_ms;
	}
	return times_jumped(shift_ms) ? shift_ms : 0;
}

static void copy_text(char *out, size_t length, sqlite3_stmt *row, int column)
{
	const unsigned char *text = sqlite3_column_text(row, column);

	snprintf(out, length, "%s", text ? (const char *)text : "");
}

static bool read_endpoint(sqlite3_stmt *row, struct endpoint *out)
{
	const unsigned char *text = sqlite3_column_text(row, 0);

	return text && endpoint_parse((const char *)text, out) == 0;
}

static int64_t read_seen(sqlite3_stmt *row, int column, int64_t shift_ms)
{
	int64_t ms = sqlite3_column_int64(row, column);

	return ms ? ms + shift_ms : 0;
}

static bool read_breaker(const struct state_db *db, sqlite3_stmt *row, int64_t now_ms, void *slot)
{
	struct state_breaker *b = slot;
	int64_t shift_ms = find_shift(db, row, now_ms);
	int state = sqlite3_column_int(row, 5);

	if (!read_endpoint(row, &b->endpoint) || state <= BREAKER_CLOSED ||
	    state >= BREAKER_STATE_COUNT)
		return false;
	copy_text(b->rule, sizeof(b->rule), row, 4);
	b->state = (enum breaker_state)state;
	b->opened_ms = sqlite3_column_int64(row, 6) + shift_ms;
	b->open_until_ms = sqlite3_column_int64(row, 7) + shift_ms;
	b->high_risk = sqlite3_column_int(row, 8) != 0;
	b->first_seen_ms = read_seen(row, 9, shift_ms);
	b->last_seen_ms = read_seen(row, 10, shift_ms);
	copy_text(b->evidence, sizeof(b->evidence), row, 11);
	copy_text(b->alert_id, sizeof(b->alert_id), row, 12);
	b->announced = sqlite3_column_int(row, 13) != 0;
	b->serves_known = sqlite3_column_type(row, 14) == SQLITE_TEXT;
	copy_text(b->serves, sizeof(b->serves), row, 14);
	return true;
}

static bool read_manual(const struct state_db *db, sqlite3_stmt *row, int64_t now_ms, void *slot)
{
	struct state_manual *m = slot;
	int64_t shift_ms = find_shift(db, row, now_ms);

	if (!read_endpoint(row, &m->endpoint))
		return false;
	m->block = sqlite3_column_int(row, 4) != 0;
	m->made_ms = sqlite3_column_int64(row, 5) + shift_ms;
	m->until_ms = sqlite3_column_int64(row, 6) + shift_ms;
	copy_text(m->reason, sizeof(m->reason), row, 7);
	copy_text(m->who, sizeof(m->who), row, 8);
	return m->until_ms > now_ms;
}

static bool read_ledger(const struct state_db *db, sqlite3_stmt *row, int64_t now_ms, void *slot)
{
	struct state_ledger *l = slot;
	const unsigned char *peers = sqlite3_column_text(row, 5);

	if (!peers || !read_endpoint(row, &l->endpoint))
		return false;
	l->shift_ms = find_shift(db, row, now_ms);
	l->since_ms = sqlite3_column_int64(row, 4) + l->shift_ms;
	l->peers = strdup((const char *)peers);
	return l->peers != NULL;
}

struct table {
	const char *count_sql, *select_sql;
	size_t size;
	bool (*read)(const struct state_db *db, sqlite3_stmt *row, int64_t now_ms, void *slot);
	enum statement remove; /* what is not wanted any more */
};

static const struct table breakers_table = {
    .count_sql = "SELECT count(*) FROM breakers",
    .select_sql = "SELECT endpoint, saved_ms, boot_id, boot_ms, rule, state, opened_ms, "
                  "open_until_ms, high_risk, first_seen_ms, last_seen_ms, evidence, alert_id, "
                  "announced, serves FROM breakers",
    .size = sizeof(struct state_breaker),
    .read = read_breaker,
    .remove = DELETE_BREAKER,
};

static const struct table manuals_table = {
    .count_sql = "SELECT count(*) FROM manuals",
    .select_sql = "SELECT endpoint, saved_ms, boot_id, boot_ms, block, made_ms, until_ms, reason, "
                  "who FROM manuals",
    .size = sizeof(struct state_manual),
    .read = read_manual,
    .remove = DELETE_MANUAL,
};

static const struct table ledgers_table = {
    .count_sql = "SELECT count(*) FROM ledgers",
    .select_sql = "SELECT endpoint, saved_ms, boot_id, boot_ms, since_ms, peers FROM ledgers",
    .size = sizeof(struct state_ledger),
    .read = read_ledger,
    .remove = DELETE_LEDGER,
};

static bool read_source(const struct state_db *db, sqlite3_stmt *row, int64_t now_ms, void *slot)
{
	struct state_source *s = slot;
	const unsigned char *text = sqlite3_column_text(row, 0);
	const unsigned char *prefixes = sqlite3_column_text(row, 2);

	(void)db;
	(void)now_ms;
	s->good_ms = sqlite3_column_int64(row, 1);
	s->text = text ? strdup((const char *)text) : NULL;
	s->prefixes = prefixes ? strdup((const char *)prefixes) : NULL;
	if (s->text && s->prefixes)
		return true;
	free(s->text);
	free(s->prefixes);
	return false;
}

static const struct table sources_table = {
    .count_sql = "SELECT count(*) FROM sources",
    .select_sql = "SELECT source, good_ms, prefixes FROM sources",
    .size = sizeof(struct state_source),
    .read = read_source,
    .remove = DELETE_SOURCE,
};

/* On a disk that is full it stays, and is left out again the next time. */
static void remove_row(struct state_db *db, enum statement which, const unsigned char *endpoint)
{
	sqlite3_stmt *statement = db->statements[which];

	sqlite3_bind_text(statement, 1, (const char *)endpoint, -1, SQLITE_TRANSIENT);
	sqlite3_step(statement);
	sqlite3_reset(statement);
}

static int load_table(struct state_db *db, const struct table *t, void **items, size_t *n_items,
                      char why[static STATE_ERROR_LEN])
{
	char count_text[32];
	sqlite3_stmt *rows = NULL;
	int error = query_text(db, t->count_sql, count_text, sizeof(count_text), why);
	size_t count = strtoul(count_text, NULL, 10), n = 0;
	int step;
	char *list;

	if (error)
		return error;
	list = calloc(count + 1, t->size);
	if (!list)
		return -ENOMEM;
	step = sqlite3_prepare_v2(db->sqlite, t->select_sql, -1, &rows, NULL);
	while (step == SQLITE_OK || step == SQLITE_ROW) {
		step = sqlite3_step(rows);
		if (step != SQLITE_ROW || n == count)
			break;
		if (t->read(db, rows, clock_wall_ms(), list + n * t->size))
			n++;
		else
			remove_row(db, t->remove, sqlite3_column_text(rows, 0));
	}
	error = step == SQLITE_DONE ? 0 : fail(db->sqlite, why);
	sqlite3_finalize(rows);
	*items = list; /* freed with the snapshot, also on failure */
	*n_items = n;
	return error;
}

static int load(struct state_db *db, struct state_snapshot *snapshot,
                char why[static STATE_ERROR_LEN])
{
	struct state_snapshot found = {0};
	void *breakers = NULL, *manuals = NULL, *ledgers = NULL, *sources = NULL;
	int error = load_table(db, &breakers_table, &breakers, &found.n_breakers, why);

	if (!error)
		error = load_table(db, &manuals_table, &manuals, &found.n_manuals, why);
	if (!error)
		error = load_table(db, &ledgers_table, &ledgers, &found.n_ledgers, why);
	if (!error)
		error = load_table(db, &sources_table, &sources, &found.n_sources, why);
	found.sources = sources;
	found.breakers = breakers;
	found.manuals = manuals;
	found.is_new = db->is_new;
	found.ledgers = ledgers;
	if (error)
		state_snapshot_free(&found);
	else
		*snapshot = found;
	return error;
}

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
		error = load(db, snapshot, why);
	if (error == -EUCLEAN) {
		close_sqlite(db);
		error = set_aside(path, why);
		if (!error)
			error = open_file(path, db, ignored);
		if (!error)
			error = load(db, snapshot, ignored);
	}
	if (!error)
		*out = steal_ptr(&db);
	return error;
}

static void bind_text(sqlite3_stmt *statement, int at, const char *text)
{
	sqlite3_bind_text(statement, at, text, -1, SQLITE_TRANSIENT);
}

static enum statement bind_breaker(struct state_db *db, const struct state_breaker *b)
{
	sqlite3_stmt *s = db->statements[PUT_BREAKER];

	bind_text(s, 5, b->rule);
	sqlite3_bind_int(s, 6, (int)b->state);
	sqlite3_bind_int64(s, 7, b->opened_ms);
	sqlite3_bind_int64(s, 8, b->open_until_ms);
	sqlite3_bind_int(s, 9, b->high_risk);
	sqlite3_bind_int64(s, 10, b->first_seen_ms);
	sqlite3_bind_int64(s, 11, b->last_seen_ms);
	bind_text(s, 12, b->evidence);
	bind_text(s, 13, b->alert_id);
	sqlite3_bind_int(s, 14, b->announced);
	sqlite3_bind_null(s, 15);
	if (b->serves_known)
		bind_text(s, 15, b->serves);
	return PUT_BREAKER;
}

static enum statement bind_manual(struct state_db *db, const struct state_manual *m)
{
	sqlite3_stmt *s = db->statements[PUT_MANUAL];

	sqlite3_bind_int(s, 5, m->block);
	sqlite3_bind_int64(s, 6, m->made_ms);
	sqlite3_bind_int64(s, 7, m->until_ms);
	bind_text(s, 8, m->reason);
	bind_text(s, 9, m->who);
	return PUT_MANUAL;
}

static enum statement bind_ledger(struct state_db *db, const struct state_ledger *l,
                                  const char *peers)
{
	sqlite3_stmt *s = db->statements[PUT_LEDGER];

	sqlite3_bind_int64(s, 5, l->since_ms);
	bind_text(s, 6, peers);
	return PUT_LEDGER;
}

static enum statement bind_source(struct state_db *db, const struct state_item *item)
{
	enum statement which = item->remove ? DELETE_SOURCE : PUT_SOURCE;
	sqlite3_stmt *s = db->statements[which];
	size_t length = strcspn(item->text, "\n");

	sqlite3_bind_text(s, 1, item->text, (int)length, SQLITE_TRANSIENT);
	if (!item->remove) {
		sqlite3_bind_int64(s, 2, item->source_good_ms);
		bind_text(s, 3, item->text + length + 1);
	}
	return which;
}

static enum statement bind_item(struct state_db *db, const struct state_item *item)
{
	switch (item->kind) {
	case STATE_KIND_BREAKER:
		return item->remove ? DELETE_BREAKER : bind_breaker(db, &item->breaker);
	case STATE_KIND_MANUAL:
		return item->remove ? DELETE_MANUAL : bind_manual(db, &item->manual);
	case STATE_KIND_LEDGER:
		return item->remove ? DELETE_LEDGER : bind_ledger(db, &item->ledger, item->text);
	case STATE_KIND_SOURCE: break;
	}
	return bind_source(db, item);
}

/* What rows that are known by their endpoint begin with. */
static void bind_key(struct state_db *db, const struct state_item *item, sqlite3_stmt *statement)
{
	char endpoint[ENDPOINT_TEXT_LEN];

	bind_text(statement, 1, endpoint_format(&item->endpoint, endpoint));
	if (!item->remove) {
		sqlite3_bind_int64(statement, 2, item->saved_ms);
		bind_text(statement, 3, db->boot_id);
		sqlite3_bind_int64(statement, 4, item->boot_ms);
	}
}

static int write_item(struct state_db *db, const struct state_item *item,
                      char why[static STATE_ERROR_LEN])
{
	sqlite3_stmt *statement = db->statements[bind_item(db, item)];

	if (item->kind != STATE_KIND_SOURCE)
		bind_key(db, item, statement);
	if (sqlite3_step(statement) != SQLITE_DONE) {
		int error = fail(db->sqlite, why);

		sqlite3_reset(statement);
		return error;
	}
	sqlite3_reset(statement);
	return 0;
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
		error = write_item(db, item, why);
	}
	if (!error)
		error = execute(db, "COMMIT", why);
	if (error && !sqlite3_get_autocommit(db->sqlite))
		(void)execute(db, "ROLLBACK", ignored);
	return error;
}
