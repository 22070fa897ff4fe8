/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the parts of the database share: state_db.c (the file) and state_db_rows.c (the rows). */
#pragma once

#include "daemon/agent/state_db.h"

#include <sqlite3.h>

enum {
	STATE_DB_STATEMENTS = 8, /* state_db_rows.c names them */
	STATE_DB_BOOT_ID_LEN = 40,
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

/* state_db_rows.c */
/* Fills `statements`, which the caller finalizes, also on failure. Returns 0 or -errno. */
int state_db_prepare(struct state_db *db, char why[static STATE_ERROR_LEN]);
/* Reads all tables, and removes rows that are not wanted any more. Returns 0 or -errno. */
int state_db_load(struct state_db *db, struct state_snapshot *snapshot,
                  char why[static STATE_ERROR_LEN]);
/* Puts in or takes out one row, in the caller's transaction. Returns 0 or -errno. */
int state_db_write_item(struct state_db *db, const struct state_item *item,
                        char why[static STATE_ERROR_LEN]);
