/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Findings of several files, each endpoint once: a temporary SQLite database, which keeps 16 MB in
 * memory at most and the rest in an unlinked file ($SQLITE_TMPDIR, $TMPDIR or /var/tmp). One
 * thread.
 */
#pragma once

#include "common/finding.h"

enum { MERGE_ERROR_LEN = 512 };

struct merge_store;

/* Returns 0; or -EIO or -ENOMEM and one line in `why`. */
int merge_store_new(struct merge_store **out, char why[static MERGE_ERROR_LEN]);
void merge_store_free(struct merge_store *s);
/* What SQLite said last. */
const char *merge_store_error(const struct merge_store *s);

/*
 * `line` is the finding's own. Of one endpoint, host and path the newest stays; of the same moment
 * the graver. The outcome does not depend on the order. Returns 0 or -EIO.
 */
int merge_store_add(struct merge_store *s, const struct finding *f, const char *line);
/* How many there are. Returns 0 or -EIO. */
int merge_store_count(struct merge_store *s, uint64_t *out);

/* A callback that returns anything but 0 ends it. */
typedef int merge_store_cb(const struct finding *f, void *arg);
/* Sorted by address, port, host, path. Returns 0, -EIO, -ENOMEM or what the callback returned. */
int merge_store_walk(struct merge_store *s, merge_store_cb *cb, void *arg);
