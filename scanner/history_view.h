/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * How endpoints stand, for people and for programs: what `diff` and `report` have in common. Memory
 * grows with the number of endpoints that ever were exposed. One thread.
 */
#pragma once

#include "scanner/accept.h"
#include "scanner/history.h"

struct history_view {
	const struct accept_list *accept; /* may be NULL */
	int64_t now_ms;                   /* what has expired by then is no longer accepted */
	bool earlier;                     /* also what had been fixed before */
	json_t *entries;                  /* a list of objects; docs/history.md names their keys */
	bool worse;                       /* one is new or worse, and not accepted */
};

/* Returns 0 or -ENOMEM. */
int history_view_init(struct history_view *view, const struct accept_list *accept, int64_t now_ms,
                      bool earlier);
void history_view_fini(struct history_view *view);
/* For history_walk(); `view` is a struct history_view. */
int history_view_add(const struct history_entry *entry, void *view);

/* Rows by state, and accepted ones apart, after the others. */
void history_view_print_table(const struct history_view *view, FILE *out);
/* One object a line. Returns 0 or -errno. */
int history_view_print_ndjson(const struct history_view *view, FILE *out);
