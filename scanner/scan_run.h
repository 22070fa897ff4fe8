/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * One scan: targets from the source are resolved, walked and probed, findings are written as they
 * come. Everything is opened by scan_run_new(); scan_run() needs no file, so that privileges can be
 * dropped in between. One thread.
 */
#pragma once

#include "scanner/probe.h"
#include "scanner/scan_options.h"
#include "scanner/scan_output.h"
#include "scanner/scan_source.h"

struct scan_result {
	uint64_t endpoints; /* probed to the end */
	uint64_t verdicts[VERDICT_COUNT];
	uint64_t high_risk;
	int64_t elapsed_ms;
	bool found;      /* something at or above --fail-on */
	bool bad_input;  /* a line of a pipe was no target */
	bool incomplete; /* interrupted, out of descriptors, unresolved names, unwritable output...
	                  */
};

struct scan_run;

enum { SCAN_ID_LEN = 33 };
/* 32 random hex digits. Returns 0 or -EIO. */
int scan_run_make_id(char out[static SCAN_ID_LEN]);

/* Options, id, source, output and ledger stay the caller's and must outlive the run. 0 or -errno.
 */
int scan_run_new(const struct scan_options *options, const char *scan_id,
                 struct scan_source *source, struct scan_output *output, struct scan_ledger *ledger,
                 struct scan_run **out);
void scan_run_free(struct scan_run *run);
/* Runs to the end, or until SIGINT or SIGTERM. Says on standard error what went wrong. */
void scan_run(struct scan_run *run, struct scan_result *out);
