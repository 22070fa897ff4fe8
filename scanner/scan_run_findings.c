/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What a scan does with a finding: labels, accepted risks, history, outputs, metrics. */
#include "scanner/scan_run_internal.h"

#include "common/cleanup.h"
#include "common/clock.h"

#include <string.h>

/* The list's items are the caller's to release. */
static int add_labels(const struct scan_target *target, struct finding_list *labels)
{
	int err = 0;

	for (const char *p = target ? target->labels : ""; *p && !err; p += *p == ' ') {
		size_t n = strcspn(p, " ");

		err = finding_list_add(labels, p, n);
		p += n;
	}
	return err;
}

/* To probe on without keeping it would look like a whole sweep later. */
static int keep_finding(struct scan_run *run, const struct probe_request *request,
                        struct finding *f)
{
	int err;

	f->accepted = NULL;
	err = scan_ledger_accept(run->conf.ledger, f);
	if (err < 0)
		return err;
	err = scan_ledger_observe(run->conf.ledger, request, f);
	if (err < 0)
		scan_run_error(run, "the history is not being kept: %s", strerror(-err));
	return err;
}

static int write_finding(struct scan_run *run, const struct probe_request *request,
                         const struct finding *f)
{
	char why[SCAN_OUTPUT_ERROR_LEN];
	bool show = run->conf.options->all || f->verdict == VERDICT_CONFIRMED ||
	            f->verdict == VERDICT_LIKELY;
	int err;

	if (show || run->conf.options->explain)
		progress_hide(run->progress);
	err = scan_output_write(run->conf.output, request, f, show, why);
	if (err < 0)
		scan_run_error(run, "%s", why);
	/* Its reader has been given up, since a signal came. */
	if (err == -EINTR)
		run->result.stop = SCAN_STOPPED_BY_SIGNAL;
	return err;
}

static void count_exposure(struct scan_run *run, const struct finding *f)
{
	struct sweep_metrics *m = &run->result.metrics;

	if (f->verdict != VERDICT_CONFIRMED && f->verdict != VERDICT_LIKELY)
		return;
	if (f->accepted)
		m->accepted++;
	else
		m->exposures[f->verdict][f->severity]++;
}

void scan_run_take_finding(struct scan_run *run, const struct probe_request *request,
                           const struct scan_target *target, const struct finding *finding)
{
	struct finding shown = *finding;
	int err;

	if (run->unwritable)
		return;
	err = add_labels(target, &shown.labels);
	shown.scan_id = (char *)(uintptr_t)run->conf.scan_id; /* only read */
	if (!err)
		err = keep_finding(run, request, &shown);
	run->result.found = run->result.found || scan_options_fails_on(run->conf.options, &shown);
	if (!err)
		err = write_finding(run, request, &shown);
	if (!err)
		count_exposure(run, &shown);
	finding_list_fini(&shown.labels);
	free(shown.accepted);
	if (err < 0) {
		run->unwritable = true;
		if (!run->result.stop)
			run->result.stop = SCAN_STOPPED_BY_OUTPUT;
		scan_run_stop(run);
	}
}

void scan_run_take_discovered(const struct endpoint *e, const struct scan_target *target,
                              enum discover_state state, void *arg)
{
	struct scan_run *run = arg;
	struct probe_request request = {.endpoint = *e};
	struct finding f;
	int err = 0;

	if (!run->conf.options->all && !scan_ledger_knows(run->conf.ledger, e))
		return;
	if (target) {
		strncpy(request.host, target->host, sizeof(request.host) - 1);
		strncpy(request.prefix, target->path, sizeof(request.prefix) - 1);
	}
	finding_init(&f);
	f.endpoint = *e;
	f.time_ms = clock_wall_ms();
	f.latency_ms = -1;
	f.verdict = state == DISCOVER_CLOSED ? VERDICT_CLOSED : VERDICT_FILTERED;
	if (request.host[0])
		err = finding_set(&f.host, request.host);
	if (!err && f.verdict == VERDICT_FILTERED)
		err =
		    finding_set(&f.error, state == DISCOVER_FILTERED ? "no answer" : "unreachable");
	if (err)
		scan_run_fail(err, "a finding", run);
	else
		scan_run_take_finding(run, &request, target, &f);
	finding_fini(&f);
}

void scan_run_note_exchange(const struct probe_request *request,
                            const struct probe_exchange *exchange, void *arg)
{
	struct scan_run *run = arg;

	if (scan_output_note(run->conf.output, request, exchange) < 0) {
		scan_run_error(run, "out of memory");
		scan_run_stop(run);
	}
}
