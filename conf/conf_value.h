/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Scalars to values: what one key accepts, checked and stored. The defaults of the schema go the
 * same way as what a file says.
 */
#pragma once

#include "conf/conf_diag.h"
#include "conf/conf_schema.h"

/* A scalar as it stands in the file. */
struct conf_scalar {
	const char *text; /* NUL-terminated, but may hold NULs */
	size_t length;
	bool plain; /* without quotes */
	struct conf_mark at;
};

/*
 * Checks a scalar and stores it in `base` (a struct conf, or a record); for a list, appends it,
 * after conf_list_reserve(). Returns 0 or what conf_fail() returned.
 */
int conf_value_set(const struct conf_key *key, void *base, const struct conf_scalar *scalar,
                   const struct conf_diag *diag);
/* Empties the list and makes room for `count` items. Returns 0 or -ENOMEM. */
int conf_list_reserve(const struct conf_key *key, void *base, size_t count);
/* Sets every key of the records or of all else (prefix "", with sections) to its default. */
int conf_set_defaults(const struct conf_table *table, const char *record_prefix, void *base,
                      const struct conf_diag *diag);
/* Compares what two structs (or records) have there: of types bool, number, choice and texts. */
bool conf_value_is_same(const struct conf_key *key, const void *a, const void *b);
/* Overwrites a secret text with "", or headers with their names. */
void conf_value_wipe(const struct conf_key *key, void *base);
/* Releases what the key owns; secrets are wiped first. */
void conf_value_free(const struct conf_key *key, void *base);
/* Releases all that a root or a record (of that prefix) owns, records included; not itself. */
void conf_table_free(const struct conf_table *table, const char *record_prefix, void *base);
