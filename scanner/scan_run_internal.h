/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What scan_run.c and scan_run_findings.c share. */
#pragma once

#include "common/log.h"
#include "scanner/progress.h"
#include "scanner/scan_pace.h"
#include "scanner/scan_run.h"

struct scan_run {
	struct scan_run_conf conf;
	struct event_base *base;
	struct event *on_int, *on_term, *on_keeper, *on_state, *on_pace;
	struct probe_pool *pool;
	struct scan_walk *walk;
	struct scan_pace *pace;
	struct progress *progress;
	uint64_t total; /* endpoints of all targets; 0: not known */
	bool stopped, pumping;
	unsigned n_notes;
	bool unwritable;          /* findings are lost from here on */
	struct scan_mark mark;    /* when it was stopped */
	struct scan_state before; /* what earlier runs have seen */
	struct scan_result result;
};

/* The line of progress goes before anything else is said on the terminal. */
#define scan_run_error(run, ...)   (progress_hide((run)->progress), log_error(__VA_ARGS__))
#define scan_run_warning(run, ...) (progress_hide((run)->progress), log_warning(__VA_ARGS__))

/*
 * Ends the scan, incomplete. What ends in the same turn of the loop may be lost: who goes on later
 * begins before that.
 */
void scan_run_stop(struct scan_run *run);
/* Says why, too. */
void scan_run_fail(int err, const char *what, void *run);

/* scan_run_findings.c */

/* Strings of the finding stay whose they were. */
void scan_run_take_finding(struct scan_run *run, const struct probe_request *request,
                           const struct scan_target *target, const struct finding *finding);
/* Callbacks. What the discoverer knows without a probe is counted by its report. */
void scan_run_take_discovered(const struct endpoint *e, const struct scan_target *target,
                              enum discover_state state, void *run);
void scan_run_note_exchange(const struct probe_request *request,
                            const struct probe_exchange *exchange, void *run);
