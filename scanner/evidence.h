/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What is kept for a ticket: the answers to one endpoint's probe, a file each, with their sums
 * (SHA256SUMS, for sha256sum -c) and one line of JSON about each (index.ndjson).
 *
 * The scanner may open no file once it reads answers, so a second process writes them: forked
 * before the sandbox, with no network and no privileges, it makes new files in one directory, under
 * names that it checks. It outlives the scanner as long as it takes to write what it was given, and
 * signals at a terminal pass it by. Files, sums and index are written in this order, so that
 * whatever is listed is there.
 */
#pragma once

#include "scanner/exchange.h"

enum { EVIDENCE_NAME_LEN = 144, EVIDENCE_SUM_LEN = 65, EVIDENCE_ERROR_LEN = 512 };

struct evidence_file {
	char name[EVIDENCE_NAME_LEN];
	char sha256[EVIDENCE_SUM_LEN]; /* hex */
};

/* Of one endpoint. */
struct evidence_files {
	struct evidence_file items[FINGERPRINT_MAX_REQUESTS];
	size_t count;
};

struct evidence;

/*
 * Makes the directory where it is missing and starts the writer. Before threads, and before the
 * sandbox. Returns 0, or -errno and one line in `why`.
 */
int evidence_open(const char *directory, const char *scan_id, bool show_secrets,
                  struct evidence **out, char why[static EVIDENCE_ERROR_LEN]);
/*
 * Hands the answers over. Waits while the writer is behind. Sets *out to the files' names and sums.
 * Returns 0 or -errno; -EPIPE when the writer could not write.
 */
int evidence_keep(struct evidence *e, const struct finding *f, const struct exchange_log *log,
                  struct evidence_files *out);
/* Waits until all is written. Returns 0, or the -errno of what could not be. NULL is allowed. */
int evidence_close(struct evidence *e);
