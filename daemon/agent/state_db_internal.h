/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the parts of the database share: state_db.c (the file), state_db_rows.c (what is known of
 * endpoints and sources) and state_db_events.c (what is still to be told).
 */
#pragma once

#include "daemon/agent/state_db.h"

#include <sqlite3.h>

enum { STATE_DB_BOOT_ID_LEN = 40 };

enum state_statement {
	STATE_PUT_BREAKER,
	STATE_DELETE_BREAKER,
	STATE_PUT_MANUAL,
	STATE_DELETE_MANUAL,
	STATE_PUT_ACK,
	STATE_DELETE_ACK,
	STATE_PUT_LEDGER,
	STATE_DELETE_LEDGER,
	STATE_PUT_SOURCE,
	STATE_DELETE_SOURCE,
	STATE_PUT_EVENT,
	STATE_PUT_DELIVERY,
	STATE_DELETE_DELIVERY,
	STATE_DELETE_TOLD_EVENT,
	STATE_PUT_LOSS,
	STATE_DELETE_LOSS,
	STATE_DB_STATEMENTS
};

struct state_db {
	sqlite3 *sqlite;
	sqlite3_stmt *statements[STATE_DB_STATEMENTS];
	char boot_id[STATE_DB_BOOT_ID_LEN];
	bool is_new;
};

/* state_db.c */
/* SQLite's last error as -errno, with `why`; `sqlite` may be NULL: out of memory. */
int state_db_fail(sqlite3 *sqlite, char why[static STATE_ERROR_LEN]);
/* The first column of the first row; "" where it is NULL or there is none. Returns 0 or -errno. */
int state_db_query_text(struct state_db *db, const char *sql, char *out, size_t length,
                        char why[static STATE_ERROR_LEN]);

/* Copies. */
void state_db_bind_text(sqlite3_stmt *statement, int at, const char *text);
/* Runs a statement that is bound, and makes it ready for the next time. Returns 0 or -errno. */
int state_db_step(struct state_db *db, enum state_statement which,
                  char why[static STATE_ERROR_LEN]);

/* state_db_rows.c */
/* Fills `statements`, which the caller finalizes, also on failure. Returns 0 or -errno. */
int state_db_prepare(struct state_db *db, char why[static STATE_ERROR_LEN]);
/* Reads all tables, and removes rows that are not wanted any more. Returns 0 or -errno. */
int state_db_load(struct state_db *db, struct state_snapshot *snapshot,
                  char why[static STATE_ERROR_LEN]);
/* Puts in or takes out one item, in the caller's transaction. Returns 0 or -errno. */
int state_db_write_item(struct state_db *db, const struct state_item *item,
                        char why[static STATE_ERROR_LEN]);

/* state_db_events.c: the same for events, deliveries and losses; they have no wall time to mend */
int state_db_load_events(struct state_db *db, struct state_snapshot *snapshot,
                         char why[static STATE_ERROR_LEN]);
int state_db_write_event_item(struct state_db *db, const struct state_item *item,
                              char why[static STATE_ERROR_LEN]);
