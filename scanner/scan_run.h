/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * One scan: what the walk (scan_walk.h) says is to be probed is probed, and findings are written as
 * they come. Everything is opened by scan_run_new(), which also starts the probers' threads;
 * scan_run() needs no file, so that privileges can be dropped in between. One thread.
 */
#pragma once

#include "scanner/keeper.h"
#include "scanner/probe_pool.h"
#include "scanner/scan_output.h"
#include "scanner/scan_state.h"
#include "scanner/scan_walk.h"
#include "scanner/sweep_metrics.h"

enum scan_stop {
	SCAN_NOT_STOPPED = 0,
	SCAN_STOPPED_BY_SIGNAL,
	SCAN_STOPPED_BY_FILE,
	SCAN_STOPPED_BY_OUTPUT, /* that takes no more */
};

struct scan_result {
	uint64_t endpoints; /* looked at to the end */
	uint64_t verdicts[VERDICT_COUNT];
	uint64_t high_risk;
	uint64_t set_aside; /* by guards: open, and not probed */
	int64_t elapsed_ms;
	enum scan_stop stop;
	bool found;      /* something at or above --fail-on */
	bool bad_input;  /* a line of a pipe was no target */
	bool incomplete; /* interrupted, out of descriptors, unresolved names, unwritable output...
	                  */
	struct scan_mark mark;         /* where to go on */
	struct sweep_metrics metrics;  /* but for what scan.c knows */
	struct discover_report report; /* zeros without a discoverer */
};

struct scan_run_conf {
	const struct scan_options *options;
	const char *scan_id;
	const char *user_agent;
	struct scan_state *state; /* where the sweep is; kept up */
	struct scan_source *source;
	struct scan_output *output;
	struct scan_ledger *ledger;
	const struct exclude_set *excludes;
	struct discover *discover; /* or NULL: direct */
	struct keeper *keeper;     /* or NULL */
};

struct scan_run;

enum { SCAN_ID_LEN = 33 };
/* 32 random hex digits. Returns 0 or -EIO. */
int scan_run_make_id(char out[static SCAN_ID_LEN]);

/* What `conf` points to must outlive the run. 0 or -errno. */
int scan_run_new(const struct scan_run_conf *conf, struct scan_run **out);
void scan_run_free(struct scan_run *run);
/* Runs to the end, or until SIGINT or SIGTERM. Says on standard error what went wrong. */
void scan_run(struct scan_run *run, struct scan_result *out);
/* Then, when all of it is written: the state says that the sweep is complete. */
void scan_run_complete(struct scan_run *run);
