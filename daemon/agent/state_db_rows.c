/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What rows hold: to the structs of state.h and back, and by which statements. */
#include "common/cleanup.h"
#include "common/clock.h"
#include "daemon/agent/state_db_internal.h"

#include <errno.h>
#include <string.h>
#include <time.h>

static const char *const statement_sql[STATE_DB_STATEMENTS] = {
    [STATE_PUT_BREAKER] =
        "INSERT OR REPLACE INTO breakers (endpoint, saved_ms, boot_id, boot_ms, rule, "
        "state, opened_ms, open_until_ms, high_risk, first_seen_ms, last_seen_ms, "
        "evidence, serves, worst, escalated_ms, blocked) "
        "VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?)",
    [STATE_DELETE_BREAKER] = "DELETE FROM breakers WHERE endpoint = ?",
    /* In parentheses: clang takes it for two that lack a comma. */
    [STATE_PUT_MANUAL] =
        ("INSERT OR REPLACE INTO manuals (endpoint, saved_ms, boot_id, boot_ms, block, "
         "made_ms, until_ms, reason, who) VALUES (?,?,?,?,?,?,?,?,?)"),
    [STATE_DELETE_MANUAL] = "DELETE FROM manuals WHERE endpoint = ?",
    /* Numbered as those of a manual, which has one more. */
    [STATE_PUT_ACK] = "INSERT OR REPLACE INTO acks (endpoint, saved_ms, boot_id, boot_ms, made_ms, "
                      "until_ms, reason, who) VALUES (?1,?2,?3,?4,?6,?7,?8,?9)",
    [STATE_DELETE_ACK] = "DELETE FROM acks WHERE endpoint = ?",
    [STATE_PUT_LEDGER] = "INSERT OR REPLACE INTO ledgers (endpoint, saved_ms, boot_id, boot_ms, "
                         "since_ms, peers) VALUES (?,?,?,?,?,?)",
    [STATE_DELETE_LEDGER] = "DELETE FROM ledgers WHERE endpoint = ?",
    [STATE_PUT_SOURCE] =
        "INSERT OR REPLACE INTO sources (source, good_ms, prefixes) VALUES (?,?,?)",
    [STATE_DELETE_SOURCE] = "DELETE FROM sources WHERE source = ?",
    [STATE_PUT_EVENT] = "INSERT OR REPLACE INTO events (seq, id, endpoint, made_ms, json) "
                        "VALUES (?,?,?,?,?)",
    [STATE_PUT_DELIVERY] = "INSERT OR REPLACE INTO deliveries (seq, sink, not_before_ms) "
                           "VALUES (?,?,?)",
    [STATE_DELETE_DELIVERY] = "DELETE FROM deliveries WHERE seq = ? AND sink = ?",
    [STATE_DELETE_TOLD_EVENT] = "DELETE FROM events WHERE seq = ?1 AND "
                                "NOT EXISTS (SELECT 1 FROM deliveries WHERE seq = ?1)",
    [STATE_PUT_LOSS] = "INSERT OR REPLACE INTO losses (sink, count, since_ms, until_ms) "
                       "VALUES (?,?,?,?)",
    [STATE_DELETE_LOSS] = "DELETE FROM losses WHERE sink = ?",
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

static int read_breaker(const struct state_db *db, sqlite3_stmt *row, int64_t now_ms, void *slot)
{
	struct state_breaker *b = slot;
	int64_t shift_ms = find_shift(db, row, now_ms);
	int state = sqlite3_column_int(row, 5);

	if (!read_endpoint(row, &b->endpoint) || state <= BREAKER_CLOSED ||
	    state >= BREAKER_STATE_COUNT)
		return 0;
	copy_text(b->rule, sizeof(b->rule), row, 4);
	b->state = (enum breaker_state)state;
	b->opened_ms = sqlite3_column_int64(row, 6) + shift_ms;
	b->open_until_ms = sqlite3_column_int64(row, 7) + shift_ms;
	b->high_risk = sqlite3_column_int(row, 8) != 0;
	b->first_seen_ms = read_seen(row, 9, shift_ms);
	b->last_seen_ms = read_seen(row, 10, shift_ms);
	copy_text(b->evidence, sizeof(b->evidence), row, 11);
	b->untold = sqlite3_column_int(row, 12) == 0;
	b->serves_known = sqlite3_column_type(row, 13) == SQLITE_TEXT;
	copy_text(b->serves, sizeof(b->serves), row, 13);
	b->worst = (enum finding_severity)sqlite3_column_int(row, 14);
	b->escalated_ms = sqlite3_column_int64(row, 15);
	b->blocked = sqlite3_column_int(row, 16) != 0;
	return 1;
}

static int read_ack(const struct state_db *db, sqlite3_stmt *row, int64_t now_ms, void *slot)
{
	struct state_manual *m = slot;
	int64_t shift_ms = find_shift(db, row, now_ms);

	if (!read_endpoint(row, &m->endpoint))
		return 0;
	m->block = sqlite3_column_int(row, 4) != 0;
	m->made_ms = sqlite3_column_int64(row, 5) + shift_ms;
	m->until_ms = sqlite3_column_int64(row, 6) + shift_ms;
	copy_text(m->reason, sizeof(m->reason), row, 7);
	copy_text(m->who, sizeof(m->who), row, 8);
	return m->until_ms > now_ms;
}

/* One by one: they are many, and each goes to its watch as it is. */
static int read_manual(const struct state_db *db, sqlite3_stmt *row, int64_t now_ms, void *slot)
{
	auto_free struct state_manual *m = malloc(sizeof(*m));
	int taken = m ? read_ack(db, row, now_ms, m) : -ENOMEM;

	if (taken > 0)
		*(struct state_manual **)slot = steal_ptr(&m);
	return taken;
}

static int read_ledger(const struct state_db *db, sqlite3_stmt *row, int64_t now_ms, void *slot)
{
	struct state_ledger *l = slot;
	const unsigned char *peers = sqlite3_column_text(row, 5);

	if (!peers || !read_endpoint(row, &l->endpoint))
		return 0;
	l->shift_ms = find_shift(db, row, now_ms);
	l->since_ms = sqlite3_column_int64(row, 4) + l->shift_ms;
	l->peers = strdup((const char *)peers);
	return l->peers ? 1 : -ENOMEM;
}

struct table {
	const char *count_sql, *select_sql;
	size_t size;
	/* 1: taken, 0: not wanted any more, or -ENOMEM. */
	int (*read)(const struct state_db *db, sqlite3_stmt *row, int64_t now_ms, void *slot);
	enum state_statement remove; /* what is not wanted any more */
};

static const struct table breakers_table = {
    .count_sql = "SELECT count(*) FROM breakers",
    .select_sql = "SELECT endpoint, saved_ms, boot_id, boot_ms, rule, state, opened_ms, "
                  "open_until_ms, high_risk, first_seen_ms, last_seen_ms, evidence, "
                  "announced, serves, worst, escalated_ms, blocked FROM breakers",
    .size = sizeof(struct state_breaker),
    .read = read_breaker,
    .remove = STATE_DELETE_BREAKER,
};

static const struct table manuals_table = {
    .count_sql = "SELECT count(*) FROM manuals",
    .select_sql = "SELECT endpoint, saved_ms, boot_id, boot_ms, block, made_ms, until_ms, reason, "
                  "who FROM manuals",
    .size = sizeof(struct state_manual *),
    .read = read_manual,
    .remove = STATE_DELETE_MANUAL,
};

static const struct table acks_table = {
    .count_sql = "SELECT count(*) FROM acks",
    .select_sql = "SELECT endpoint, saved_ms, boot_id, boot_ms, 0, made_ms, until_ms, reason, who "
                  "FROM acks",
    .size = sizeof(struct state_manual),
    .read = read_ack,
    .remove = STATE_DELETE_ACK,
};

static const struct table ledgers_table = {
    .count_sql = "SELECT count(*) FROM ledgers",
    .select_sql = "SELECT endpoint, saved_ms, boot_id, boot_ms, since_ms, peers FROM ledgers",
    .size = sizeof(struct state_ledger),
    .read = read_ledger,
    .remove = STATE_DELETE_LEDGER,
};

static int read_source(const struct state_db *db, sqlite3_stmt *row, int64_t now_ms, void *slot)
{
	struct state_source *s = slot;
	const unsigned char *text = sqlite3_column_text(row, 0);
	const unsigned char *prefixes = sqlite3_column_text(row, 2);

	(void)db;
	(void)now_ms;
	s->good_ms = sqlite3_column_int64(row, 1);
	if (!text || !prefixes)
		return 0;
	s->text = strdup((const char *)text);
	s->prefixes = strdup((const char *)prefixes);
	if (s->text && s->prefixes)
		return 1;
	free(s->text);
	free(s->prefixes);
	return -ENOMEM;
}

static const struct table sources_table = {
    .count_sql = "SELECT count(*) FROM sources",
    .select_sql = "SELECT source, good_ms, prefixes FROM sources",
    .size = sizeof(struct state_source),
    .read = read_source,
    .remove = STATE_DELETE_SOURCE,
};

/* On a disk that is full it stays, and is left out again the next time. */
static void remove_row(struct state_db *db, enum state_statement which,
                       const unsigned char *endpoint)
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
	int step, taken = 0;
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
		taken = t->read(db, rows, clock_wall_ms(), list + n * t->size);
		if (taken < 0)
			break;
		if (taken > 0)
			n++;
		else
			remove_row(db, t->remove, sqlite3_column_text(rows, 0));
	}
	error = taken < 0 ? taken : step == SQLITE_DONE ? 0 : state_db_fail(db->sqlite, why);
	sqlite3_finalize(rows);
	*items = list; /* freed with the snapshot, also on failure */
	*n_items = n;
	return error;
}

static int compare_breakers(const void *left, const void *right)
{
	const struct state_breaker *a = left, *b = right;

	return endpoint_compare(&a->endpoint, &b->endpoint);
}

static int compare_manuals(const void *left, const void *right)
{
	const struct state_manual *const *a = left, *const *b = right;

	return endpoint_compare(&(*a)->endpoint, &(*b)->endpoint);
}

/* The texts in the tables are in another order. */
static void sort(struct state_snapshot *s)
{
	if (s->n_breakers)
		qsort(s->breakers, s->n_breakers, sizeof(*s->breakers), compare_breakers);
	if (s->n_manuals)
		qsort(s->manuals, s->n_manuals, sizeof(*s->manuals), compare_manuals);
}

int state_db_load(struct state_db *db, struct state_snapshot *snapshot,
                  char why[static STATE_ERROR_LEN])
{
	struct state_snapshot found = {0};
	void *breakers = NULL, *manuals = NULL, *acks = NULL, *ledgers = NULL, *sources = NULL;
	int error = load_table(db, &breakers_table, &breakers, &found.n_breakers, why);

	if (!error)
		error = load_table(db, &manuals_table, &manuals, &found.n_manuals, why);
	if (!error)
		error = load_table(db, &acks_table, &acks, &found.n_acks, why);
	if (!error)
		error = load_table(db, &ledgers_table, &ledgers, &found.n_ledgers, why);
	if (!error)
		error = load_table(db, &sources_table, &sources, &found.n_sources, why);
	if (!error)
		error = state_db_load_events(db, &found, why);
	found.sources = sources;
	found.breakers = breakers;
	found.manuals = manuals;
	found.acks = acks;
	found.is_new = db->is_new;
	found.ledgers = ledgers;
	if (error) {
		state_snapshot_free(&found);
		return error;
	}
	sort(&found);
	*snapshot = found;
	return 0;
}

static enum state_statement bind_breaker(struct state_db *db, const struct state_breaker *b)
{
	sqlite3_stmt *s = db->statements[STATE_PUT_BREAKER];

	state_db_bind_text(s, 5, b->rule);
	sqlite3_bind_int(s, 6, (int)b->state);
	sqlite3_bind_int64(s, 7, b->opened_ms);
	sqlite3_bind_int64(s, 8, b->open_until_ms);
	sqlite3_bind_int(s, 9, b->high_risk);
	sqlite3_bind_int64(s, 10, b->first_seen_ms);
	sqlite3_bind_int64(s, 11, b->last_seen_ms);
	state_db_bind_text(s, 12, b->evidence);
	sqlite3_bind_null(s, 13);
	if (b->serves_known)
		state_db_bind_text(s, 13, b->serves);
	sqlite3_bind_int(s, 14, (int)b->worst);
	sqlite3_bind_int64(s, 15, b->escalated_ms);
	sqlite3_bind_int(s, 16, b->blocked);
	return STATE_PUT_BREAKER;
}

static enum state_statement bind_manual(struct state_db *db, enum state_statement which,
                                        const struct state_manual *m)
{
	sqlite3_stmt *s = db->statements[which];

	sqlite3_bind_int(s, 5, m->block);
	sqlite3_bind_int64(s, 6, m->made_ms);
	sqlite3_bind_int64(s, 7, m->until_ms);
	state_db_bind_text(s, 8, m->reason);
	state_db_bind_text(s, 9, m->who);
	return which;
}

static enum state_statement bind_ledger(struct state_db *db, const struct state_ledger *l,
                                        const char *peers)
{
	sqlite3_stmt *s = db->statements[STATE_PUT_LEDGER];

	sqlite3_bind_int64(s, 5, l->since_ms);
	state_db_bind_text(s, 6, peers);
	return STATE_PUT_LEDGER;
}

static enum state_statement bind_source(struct state_db *db, const struct state_item *item)
{
	enum state_statement which = item->remove ? STATE_DELETE_SOURCE : STATE_PUT_SOURCE;
	sqlite3_stmt *s = db->statements[which];
	size_t length = strcspn(item->text, "\n");

	sqlite3_bind_text(s, 1, item->text, (int)length, SQLITE_TRANSIENT);
	if (!item->remove) {
		sqlite3_bind_int64(s, 2, item->source_good_ms);
		state_db_bind_text(s, 3, item->text + length + 1);
	}
	return which;
}

static enum state_statement bind_item(struct state_db *db, const struct state_item *item)
{
	switch (item->kind) {
	case STATE_KIND_BREAKER:
		return item->remove ? STATE_DELETE_BREAKER : bind_breaker(db, &item->breaker);
	case STATE_KIND_MANUAL:
		return item->remove ? STATE_DELETE_MANUAL
		                    : bind_manual(db, STATE_PUT_MANUAL, &item->manual);
	case STATE_KIND_ACK:
		return item->remove ? STATE_DELETE_ACK
		                    : bind_manual(db, STATE_PUT_ACK, &item->manual);
	case STATE_KIND_LEDGER:
		return item->remove ? STATE_DELETE_LEDGER
		                    : bind_ledger(db, &item->ledger, item->text);
	case STATE_KIND_SOURCE:
	case STATE_KIND_EVENT:
	case STATE_KIND_DELIVERY:
	case STATE_KIND_LOSS: break;
	}
	return bind_source(db, item);
}

/* What rows that are known by their endpoint begin with. */
static void bind_key(struct state_db *db, const struct state_item *item, sqlite3_stmt *statement)
{
	char endpoint[ENDPOINT_TEXT_LEN];

	state_db_bind_text(statement, 1, endpoint_format(&item->endpoint, endpoint));
	if (!item->remove) {
		sqlite3_bind_int64(statement, 2, item->saved_ms);
		state_db_bind_text(statement, 3, db->boot_id);
		sqlite3_bind_int64(statement, 4, item->boot_ms);
	}
}

int state_db_write_item(struct state_db *db, const struct state_item *item,
                        char why[static STATE_ERROR_LEN])
{
	enum state_statement which;

	if (item->kind >= STATE_KIND_EVENT)
		return state_db_write_event_item(db, item, why);
	which = bind_item(db, item);
	if (item->kind != STATE_KIND_SOURCE)
		bind_key(db, item, db->statements[which]);
	return state_db_step(db, which, why);
}
