/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What `pprofwall block --from` reads: the NDJSON of `pprofwall scan`, findings and the trailers
 * of sweeps. All of it is checked before anything is used: one line that is neither is an error,
 * and nothing is to be blocked. Any thread.
 */
#pragma once

#include "common/finding.h"

#include <stdio.h>

enum { BLOCK_INPUT_ERROR_LEN = 512, BLOCK_INPUT_SCAN_ID_LEN = 64 };

struct block_filter {
	enum finding_severity floor;
	unsigned verdicts; /* 1U << VERDICT_CONFIRMED | ... */
	bool accepted;     /* accepted risks too */
};

/* Endpoints in order, each once; owned. */
struct block_input {
	struct endpoint *items;
	size_t count;
	uint64_t findings;   /* lines read */
	uint64_t accepted;   /* passed over: an accepted risk */
	uint64_t other;      /* passed over: another verdict, or below the floor */
	uint64_t incomplete; /* sweeps that say they did not come to their end */
	char scan_id[BLOCK_INPUT_SCAN_ID_LEN]; /* of the first finding that has one, or "" */
};

/*
 * Reads to the end of `in`; `name` is for messages. Returns 0; -EINVAL for a line that is neither a
 * finding nor a trailer; -E2BIG for more than `max` endpoints; -EIO or -ENOMEM. On failure *out is
 * untouched, and `why` is one line: "NAME:LINE:COLUMN: what".
 */
int block_input_read(FILE *in, const char *name, const struct block_filter *filter, size_t max,
                     struct block_input *out, char why[static BLOCK_INPUT_ERROR_LEN]);
void block_input_fini(struct block_input *input);
