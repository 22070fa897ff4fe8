/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What is still to be told: events, to whom each is owed, and what was given up. */
#include "common/cleanup.h"
#include "daemon/agent/state_db_internal.h"

#include <errno.h>
#include <string.h>

enum { EVENTS_AT_ONCE = 64 };

/* A copy of a text column, NULL for NULL; false when memory is out. */
static bool copy_column(sqlite3_stmt *row, int column, char **out)
{
	const unsigned char *text = sqlite3_column_text(row, column);

	*out = text ? strdup((const char *)text) : NULL;
	return *out || !text;
}

static bool grow(void **items, size_t count, size_t size)
{
	void *more;

	if (count % EVENTS_AT_ONCE)
		return true;
	more = reallocarray(*items, count + EVENTS_AT_ONCE, size);
	if (more)
		*items = more;
	return more != NULL;
}

static int add_event(sqlite3_stmt *row, struct state_snapshot *found, uint64_t seq)
{
	struct state_event *e;
	const unsigned char *endpoint = sqlite3_column_text(row, 1);

	if (!grow((void **)&found->events, found->n_events, sizeof(*found->events)))
		return -ENOMEM;
	e = &found->events[found->n_events];
	*e = (struct state_event){.seq = seq, .made_ms = sqlite3_column_int64(row, 2)};
	if (endpoint && endpoint_parse((const char *)endpoint, &e->endpoint) < 0)
		e->endpoint = (struct endpoint){0};
	if (!copy_column(row, 3, &e->json))
		return -ENOMEM;
	found->n_events++;
	return 0;
}

/* One row for each delivery, those of an event side by side. */
static int read_delivery(sqlite3_stmt *row, struct state_snapshot *found)
{
	uint64_t seq = (uint64_t)sqlite3_column_int64(row, 0);
	const unsigned char *sink = sqlite3_column_text(row, 4);
	struct state_delivery *d;
	struct state_event *e;

	if (!found->n_events || found->events[found->n_events - 1].seq != seq) {
		int error = add_event(row, found, seq);

		if (error)
			return error;
	}
	e = &found->events[found->n_events - 1];
	if (!grow((void **)&e->deliveries, e->n_deliveries, sizeof(*e->deliveries)))
		return -ENOMEM;
	d = &e->deliveries[e->n_deliveries++];
	snprintf(d->sink, sizeof(d->sink), "%s", (const char *)sink);
	d->not_before_ms = sqlite3_column_int64(row, 5);
	return 0;
}

static int read_loss(sqlite3_stmt *row, struct state_snapshot *found)
{
	struct state_loss *l;

	if (!grow((void **)&found->losses, found->n_losses, sizeof(*found->losses)))
		return -ENOMEM;
	l = &found->losses[found->n_losses++];
	snprintf(l->sink, sizeof(l->sink), "%s", (const char *)sqlite3_column_text(row, 0));
	l->count = (uint64_t)sqlite3_column_int64(row, 1);
	l->since_ms = sqlite3_column_int64(row, 2);
	l->until_ms = sqlite3_column_int64(row, 3);
	return 0;
}

static int read_rows(struct state_db *db, const char *sql,
                     int (*read)(sqlite3_stmt *, struct state_snapshot *),
                     struct state_snapshot *found, char why[static STATE_ERROR_LEN])
{
	sqlite3_stmt *rows = NULL;
	int error = 0, step = sqlite3_prepare_v2(db->sqlite, sql, -1, &rows, NULL);

	if (step == SQLITE_OK) {
		while (!error && (step = sqlite3_step(rows)) == SQLITE_ROW)
			error = read(rows, found);
	}
	if (!error && step != SQLITE_DONE)
		error = state_db_fail(db->sqlite, why);
	sqlite3_finalize(rows);
	return error;
}

int state_db_load_events(struct state_db *db, struct state_snapshot *snapshot,
                         char why[static STATE_ERROR_LEN])
{
	int error =
	    read_rows(db,
	              "SELECT seq, endpoint, made_ms, json, sink, not_before_ms FROM events "
	              "JOIN deliveries USING (seq) ORDER BY seq",
	              read_delivery, snapshot, why);

	return error ? error
	             : read_rows(db, "SELECT sink, count, since_ms, until_ms FROM losses",
	                         read_loss, snapshot, why);
}

static int put_event(struct state_db *db, const struct state_item *item,
                     char why[static STATE_ERROR_LEN])
{
	const struct state_event *e = &item->event;
	sqlite3_stmt *s = db->statements[STATE_PUT_EVENT];
	char endpoint[ENDPOINT_TEXT_LEN];
	int error;

	sqlite3_bind_int64(s, 1, (sqlite3_int64)e->seq);
	state_db_bind_text(s, 2, e->id);
	sqlite3_bind_null(s, 3);
	if (e->endpoint.family)
		state_db_bind_text(s, 3, endpoint_format(&e->endpoint, endpoint));
	sqlite3_bind_int64(s, 4, e->made_ms);
	state_db_bind_text(s, 5, item->text);
	error = state_db_step(db, STATE_PUT_EVENT, why);
	for (size_t i = 0; !error && i < e->n_deliveries; i++) {
		s = db->statements[STATE_PUT_DELIVERY];
		sqlite3_bind_int64(s, 1, (sqlite3_int64)e->seq);
		state_db_bind_text(s, 2, e->deliveries[i].sink);
		sqlite3_bind_int64(s, 3, e->deliveries[i].not_before_ms);
		error = state_db_step(db, STATE_PUT_DELIVERY, why);
	}
	return error;
}

static int delete_delivery(struct state_db *db, const struct state_item *item,
                           char why[static STATE_ERROR_LEN])
{
	sqlite3_stmt *s = db->statements[STATE_DELETE_DELIVERY];
	int error;

	sqlite3_bind_int64(s, 1, (sqlite3_int64)item->delivery_seq);
	state_db_bind_text(s, 2, item->text);
	error = state_db_step(db, STATE_DELETE_DELIVERY, why);
	if (error)
		return error;
	s = db->statements[STATE_DELETE_TOLD_EVENT];
	sqlite3_bind_int64(s, 1, (sqlite3_int64)item->delivery_seq);
	return state_db_step(db, STATE_DELETE_TOLD_EVENT, why);
}

static int write_loss(struct state_db *db, const struct state_item *item,
                      char why[static STATE_ERROR_LEN])
{
	enum state_statement which = item->remove ? STATE_DELETE_LOSS : STATE_PUT_LOSS;
	sqlite3_stmt *s = db->statements[which];

	state_db_bind_text(s, 1, item->text);
	if (!item->remove) {
		sqlite3_bind_int64(s, 2, (sqlite3_int64)item->loss.count);
		sqlite3_bind_int64(s, 3, item->loss.since_ms);
		sqlite3_bind_int64(s, 4, item->loss.until_ms);
	}
	return state_db_step(db, which, why);
}

int state_db_write_event_item(struct state_db *db, const struct state_item *item,
                              char why[static STATE_ERROR_LEN])
{
	if (item->kind == STATE_KIND_EVENT)
		return put_event(db, item, why);
	return item->kind == STATE_KIND_DELIVERY ? delete_delivery(db, item, why)
	                                         : write_loss(db, item, why);
}
