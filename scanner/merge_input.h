/* SPDX-License-Identifier: GPL-2.0-or-later */
/* One NDJSON file of `pprofwall scan`: its findings into a store, its trailers into a tally. */
#pragma once

#include "scanner/merge_store.h"
#include "scanner/sweep_tally.h"

#include <stdio.h>

/* What was read, of all files together. */
struct merge_input {
	struct merge_store *store;
	struct sweep_tally *tally;
	uint64_t findings, trailers;
	char scan_id[SWEEP_ID_LEN]; /* of the first finding that has one */
	bool several_scans;         /* there is a finding with another */
};

/* What was odd about one file, and can be lived with. */
struct merge_oddities {
	bool torn;       /* its last line is no whole one: the scan was killed */
	bool no_trailer; /* and it is not empty */
};

/*
 * Returns 0; -EINVAL for a line that is neither a finding nor a trailer, or a trailer that does not
 * agree with the others; or -EIO or -ENOMEM. One line in `why`: "NAME:LINE: what".
 */
int merge_input_read(struct merge_input *input, FILE *in, const char *name,
                     struct merge_oddities *out, char why[static MERGE_ERROR_LEN]);
