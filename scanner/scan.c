/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "scanner/scan.h"

#include "common/cleanup.h"
#include "common/log.h"
#include "common/sandbox.h"
#include "scanner/scan_run.h"
#include "scanner/scan_signatures.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <string.h>
#include <sys/resource.h>

/* Besides endpoints: files, the loop, name servers. */
enum { OTHER_DESCRIPTORS = 64 };

AUTO_CLEANUP(source, struct scan_source *, scan_source_close)
AUTO_CLEANUP(ledger, struct scan_ledger *, scan_ledger_close)
AUTO_CLEANUP(run, struct scan_run *, scan_run_free)
AUTO_CLEANUP(output, struct scan_output *, scan_output_free)
#define auto_source __attribute__((cleanup(cleanup_source)))
#define auto_ledger __attribute__((cleanup(cleanup_ledger)))
#define auto_run    __attribute__((cleanup(cleanup_run)))
#define auto_output __attribute__((cleanup(cleanup_output)))

/* Each probe may have, beside its own, a connection of an earlier probe that libcurl still keeps.
 */
static int fit_to_descriptor_limit(struct scan_options *o)
{
	struct rlimit limit;
	rlim_t room;

	if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
		return -errno;
	if (limit.rlim_cur < limit.rlim_max) {
		limit.rlim_cur = limit.rlim_max;
		if (setrlimit(RLIMIT_NOFILE, &limit) < 0)
			getrlimit(RLIMIT_NOFILE, &limit);
	}
	if (limit.rlim_cur < OTHER_DESCRIPTORS + 2)
		return -EMFILE;
	room = (limit.rlim_cur - OTHER_DESCRIPTORS) / 2;
	if (o->concurrency > room) {
		o->concurrency = (unsigned)room;
		log_warning("the limit on open files allows %u endpoints at once", o->concurrency);
	}
	return 0;
}

/* Files and sockets of the start are open; from here on hostile bytes are read. */
static int enter_sandbox(char why[static SANDBOX_ERROR_LEN])
{
	struct sandbox_spec spec = {.filter = SANDBOX_FILTER_NETWORK};
	int err;

	if (geteuid() != 0) {
		spec.keep_uid = true;
	} else if (sandbox_find_user("pprofwall-prober", &spec.uid, &spec.gid) < 0 &&
	           sandbox_find_user("nobody", &spec.uid, &spec.gid) < 0) {
		snprintf(why, SANDBOX_ERROR_LEN,
		         "there is neither a user pprofwall-prober nor nobody to become");
		return -ENOENT;
	}
	err = sandbox_drop(&spec, why);
	return err < 0 ? err : sandbox_filter(spec.filter, why);
}

static void append(char *line, size_t size, const char *separator, uint64_t count, const char *what)
{
	size_t len = strlen(line);

	if (count > 0)
		snprintf(line + len, size - len, "%s%" PRIu64 " %s", separator, count, what);
}

static void print_summary(const struct scan_result *r)
{
	static const struct {
		enum finding_verdict verdict;
		const char *name;
	} others[] = {
	    {VERDICT_PROTECTED, "protected"}, {VERDICT_UNKNOWN, "unknown"},
	    {VERDICT_CLEAR, "clear"},         {VERDICT_CLOSED, "closed"},
	    {VERDICT_FILTERED, "filtered"},   {VERDICT_ERROR, "in error"},
	};
	uint64_t exposed = r->verdicts[VERDICT_CONFIRMED] + r->verdicts[VERDICT_LIKELY];
	char line[512];

	snprintf(line, sizeof(line),
	         "scanned %" PRIu64 " endpoint%s in %" PRId64 ".%" PRId64 " s: %" PRIu64 " exposed",
	         r->endpoints, r->endpoints == 1 ? "" : "s", r->elapsed_ms / 1000,
	         r->elapsed_ms % 1000 / 100, exposed);
	append(line, sizeof(line), " (", r->high_risk, "HIGH_RISK)");
	for (size_t i = 0; i < ARRAY_LEN(others); i++)
		append(line, sizeof(line), ", ", r->verdicts[others[i].verdict], others[i].name);
	fprintf(stderr, "%s\n", line);
}

/* Not to have looked everywhere outweighs what was found. */
static int exit_status(const struct scan_result *r)
{
	if (r->incomplete)
		return SCAN_INCOMPLETE;
	if (r->bad_input)
		return SCAN_USAGE;
	return r->found ? SCAN_FOUND : SCAN_NOTHING;
}

AUTO_CLEANUP(json, json_t *, json_decref)
#define auto_json __attribute__((cleanup(cleanup_json)))

/* For the history: what somebody wants to know who reads an old sweep. */
static char *describe_options(const struct scan_options *o)
{
	auto_json json_t *targets = json_array();
	auto_json json_t *text = NULL;

	for (size_t i = 0; i < o->n_targets; i++) {
		/* What is not UTF-8 is left out; the coverage has it as it was understood. */
		json_array_append_new(targets, json_string(o->targets[i]));
	}
	text = json_pack("{s:s?, s:O, s:I, s:s?, s:b}", "ports", o->ports_text, "targets", targets,
	                 "timeout_ms", (json_int_t)o->timeout_ms, "prefixes", o->prefixes,
	                 "relatives", o->relatives);
	return text ? json_dumps(text, JSON_COMPACT) : NULL;
}

static int open_ledger(const struct scan_options *o, const char *scan_id, struct scan_ledger **out)
{
	auto_free char *options = describe_options(o);
	struct scan_ledger_conf conf = o->ledger;
	char why[SCAN_LEDGER_ERROR_LEN];
	int err;

	conf.scan_id = scan_id;
	conf.options = options ? options : "{}";
	err = scan_ledger_open(&conf, out, why);
	if (err < 0)
		log_error("%s", why);
	return err;
}

static int scan_with(struct scan_options *o)
{
	char source_error[SCAN_SOURCE_ERROR_LEN], sandbox_error[SANDBOX_ERROR_LEN];
	char route_error[SCAN_ROUTE_ERROR_LEN];
	char output_error[SCAN_OUTPUT_ERROR_LEN], scan_id[SCAN_ID_LEN];
	auto_output struct scan_output *output = NULL;
	auto_source struct scan_source *source = NULL;
	auto_ledger struct scan_ledger *ledger = NULL;
	auto_run struct scan_run *run = NULL;
	struct scan_result result;
	int err;

	if (scan_source_open(o->targets, o->n_targets, &o->ports, &source, source_error) < 0) {
		log_error("%s", source_error);
		return SCAN_USAGE;
	}
	if (scan_run_make_id(scan_id) < 0) {
		log_error("no random numbers");
		return SCAN_INCOMPLETE;
	}
	if (scan_route_open(&o->route, route_error) < 0) {
		log_error("%s", route_error);
		return SCAN_USAGE;
	}
	for (size_t i = 0; i < o->n_targets; i++) {
		if (scan_route_check_target(&o->route, o->targets[i], route_error) < 0) {
			log_error("%s", route_error);
			return SCAN_USAGE;
		}
	}
	if (open_ledger(o, scan_id, &ledger) < 0)
		return SCAN_USAGE;
	if (scan_output_open(o, scan_id, &output, output_error) < 0) {
		log_error("%s", output_error);
		return SCAN_USAGE;
	}
	err = fit_to_descriptor_limit(o);
	if (!err)
		err = scan_run_new(o, scan_id, source, output, ledger, &run);
	if (err < 0) {
		log_error("cannot start: %s", strerror(-err));
		return SCAN_INCOMPLETE;
	}
	if (enter_sandbox(sandbox_error) < 0) {
		log_error("cannot drop privileges: %s", sandbox_error);
		return SCAN_INCOMPLETE;
	}
	scan_run(run, &result);
	if (scan_output_finish(output, !result.incomplete, output_error) < 0) {
		if (!result.incomplete)
			log_error("%s", output_error);
		result.incomplete = true;
	}
	if (!o->quiet)
		print_summary(&result);
	return exit_status(&result);
}

int scan_main(int argc, char **argv)
{
	struct scan_options options;
	char why[SCAN_ERROR_LEN];
	int status;

	signal(SIGPIPE, SIG_IGN); /* an unwritable output is an error like any other */
	if (scan_options_parse(argc, argv, &options, why) < 0) {
		log_error("scan: %s", why);
		return SCAN_USAGE;
	}
	if (options.help) {
		scan_options_print_help(stdout);
		status = fflush(stdout) ? SCAN_INCOMPLETE : SCAN_NOTHING;
	} else if (scan_signatures_load(&options, why) < 0) {
		log_error("scan: %s", why);
		status = SCAN_USAGE;
	} else {
		status = scan_with(&options);
	}
	scan_options_fini(&options);
	return status;
}
