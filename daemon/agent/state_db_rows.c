/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What rows hold: to the structs of state.h and back, and by which statements. */
#include "common/clock.h"
#include "daemon/agent/state_db_internal.h"

#include <errno.h>
#include <string.h>
#include <time.h>

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
_Static_assert((int)STATEMENT_COUNT == (int)STATE_DB_STATEMENTS, "each has its place");

static const char *const statement_sql[STATE_DB_STATEMENTS] = {
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

enum {
	CLOCK_TOLERANCE_MS = 2000, /* slewing, and the time between two clock_gettime() */
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

int state_db_prepare(struct state_db *db, char why[static STATE_ERROR_LEN])
{
	for (int i = 0; i < STATE_DB_STATEMENTS; i++) {
		if (sqlite3_prepare_v3(db->sqlite, statement_sql[i], -1, SQLITE_PREPARE_PERSISTENT,
		                       &db->statements[i], NULL) != SQLITE_OK) {
			/* Other tables than the version says: not ours, or damaged. */
			int error = state_db_fail(db->sqlite, why);

			return error == -EIO ? -EUCLEAN : error;
		}
	}
	return 0;
}

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
	int error = state_db_query_text(db, t->count_sql, count_text, sizeof(count_text), why);
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
	error = step == SQLITE_DONE ? 0 : state_db_fail(db->sqlite, why);
	sqlite3_finalize(rows);
	*items = list; /* freed with the snapshot, also on failure */
	*n_items = n;
	return error;
}

int state_db_load(struct state_db *db, struct state_snapshot *snapshot,
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

int state_db_write_item(struct state_db *db, const struct state_item *item,
                        char why[static STATE_ERROR_LEN])
{
	sqlite3_stmt *statement = db->statements[bind_item(db, item)];

	if (item->kind != STATE_KIND_SOURCE)
		bind_key(db, item, statement);
	if (sqlite3_step(statement) != SQLITE_DONE) {
		int error = state_db_fail(db->sqlite, why);

		sqlite3_reset(statement);
		return error;
	}
	sqlite3_reset(statement);
	return 0;
}
