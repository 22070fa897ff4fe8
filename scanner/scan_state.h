/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Which sweep this is and how far it is, as --resume keeps it in a file. Pure but for reading the
 * file; any thread.
 */
#pragma once

#include "common/finding.h"
#include "scanner/scan_options.h"

enum {
	SCAN_STATE_ERROR_LEN = 512,
	SCAN_SWEEP_ID_LEN = 33, /* 32 hex digits */
};

struct scan_state {
	char sweep_id[SCAN_SWEEP_ID_LEN]; /* that of all its shards and of every run that goes on */
	char asked[SCAN_SWEEP_ID_LEN];    /* digest of what was to be scanned, and how */
	uint64_t seed;
	struct sweep_shard shard;
	struct scan_mark mark;
	bool complete;
	/* Of this run and those before. */
	uint64_t endpoints;
	uint64_t verdicts[VERDICT_COUNT];
	uint64_t high_risk, set_aside;
};

/* A sweep that begins: seed and shard as asked for, or a seed of its own. 0 or -EIO. */
int scan_state_begin(const struct scan_options *o, struct scan_state *out);

/* One JSON object and a newline; malloc()ed, or NULL when memory is out. */
char *scan_state_format(const struct scan_state *s);
/*
 * Goes on from the file, if there is one and the sweep in it is not complete: then *s, as
 * scan_state_begin() made it, becomes what it says. Returns 0; or -EINVAL for what is no state, or
 * that of another sweep, or another -errno, and one line in `why`.
 */
int scan_state_load(const char *file, const struct scan_options *o, struct scan_state *s,
                    char why[static SCAN_STATE_ERROR_LEN]);
/* As above, from text of `length` bytes. */
int scan_state_parse(const char *text, size_t length, struct scan_state *out,
                     char why[static SCAN_STATE_ERROR_LEN]);
