/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What history_store.c and history_query.c share. */
#pragma once

#include "scanner/history.h"

#include <sqlite3.h>

struct history {
	sqlite3 *db;
	bool in_transaction;
};

static inline void cleanup_statement(sqlite3_stmt **statement)
{
	sqlite3_finalize(*statement);
}

#define auto_statement __attribute__((cleanup(cleanup_statement)))

/*
 * Prepares `sql`; binds by `types`, one letter a parameter: 's' const char * (NULL is NULL),
 * 'i' int64_t. Returns 0 or -EIO.
 */
int history_prepare(struct history *h, sqlite3_stmt **out, const char *sql, const char *types, ...);
/* The same, and runs it to its end. */
int history_run(struct history *h, const char *sql, const char *types, ...);
/* Text of a column, "" for NULL. */
const char *history_text(sqlite3_stmt *statement, int column);
