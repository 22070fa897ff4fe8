/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "scanner/scan.h"

#include "common/cleanup.h"
#include "common/clock.h"
#include "common/log.h"
#include "common/sandbox.h"
#include "scanner/scan_plan.h"
#include "scanner/scan_run.h"
#include "scanner/scan_signatures.h"
#include "scanner/scan_summary.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <string.h>
#include <sys/resource.h>

enum {
	/* Besides endpoints: files, loops, name servers; guards wait for what is free. */
	OTHER_DESCRIPTORS = 64,
	/* Fewer endpoints are not searched for open ports first. */
	DIRECT_MAX = 4096,
	CONNECT_CONCURRENCY = 4096,
	USER_AGENT_LEN = 256 + SCAN_MAX_CONTACT,
};

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

/* Files and sockets of the start are open; threads are started after it, and filtered later. */
static int drop_privileges(char why[static SANDBOX_ERROR_LEN])
{
	struct sandbox_spec spec = {.filter = SANDBOX_FILTER_NETWORK};

	if (geteuid() != 0) {
		spec.keep_uid = true;
	} else if (sandbox_find_user("pprofwall-prober", &spec.uid, &spec.gid) < 0 &&
	           sandbox_find_user("nobody", &spec.uid, &spec.gid) < 0) {
		snprintf(why, SANDBOX_ERROR_LEN,
		         "there is neither a user pprofwall-prober nor nobody to become");
		return -ENOENT;
	}
	return sandbox_drop(&spec, why);
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
	text = json_pack("{s:s?, s:O, s:I, s:s?, s:b, s:b}", "ports", o->ports_text, "targets",
	                 targets, "timeout_ms", (json_int_t)o->timeout_ms, "prefixes", o->prefixes,
	                 "relatives", o->relatives, "serves", o->serves);
	return text ? json_dumps(text, JSON_COMPACT) : NULL;
}

/* All that a scan has open, in the order in which it is closed. */
struct scan {
	struct scan_options *options;
	char scan_id[SCAN_ID_LEN];
	char user_agent[USER_AGENT_LEN];
	int64_t started_ms;
	struct scan_state state;
	struct scan_source *source;
	struct discover *discover;
	struct keeper *keeper;
	struct scan_ledger *ledger;
	struct scan_output *output;
	struct scan_run *run;
};

static void close_scan(struct scan *s)
{
	scan_run_free(s->run);
	scan_output_free(s->output);
	scan_ledger_close(s->ledger);
	keeper_free(s->keeper);
	discover_free(s->discover);
	scan_source_close(s->source);
}

static int open_ledger(struct scan *s)
{
	auto_free char *options = describe_options(s->options);
	struct scan_ledger_conf conf = s->options->ledger;
	char why[SCAN_LEDGER_ERROR_LEN];
	int err;

	conf.excludes = s->options->excludes;
	conf.sweep_id = s->state.sweep_id;
	conf.shard = s->state.shard.index + 1;
	conf.shards = s->state.shard.count;
	conf.options = options ? options : "{}";
	err = scan_ledger_open(&conf, &s->ledger, why);
	if (err < 0)
		log_error("%s", why);
	return err;
}

static int read_excludes(struct scan_options *o)
{
	char why[EXCLUDE_ERROR_LEN];

	if (o->n_exclude_files > 0 && !o->excludes)
		o->excludes = exclude_set_new();
	if (o->n_exclude_files > 0 && !o->excludes)
		return -ENOMEM;
	for (size_t i = 0; i < o->n_exclude_files; i++) {
		if (exclude_set_read(o->excludes, o->exclude_files[i], why) < 0) {
			log_error("--exclude-file: %s", why);
			return -EINVAL;
		}
	}
	return o->excludes ? exclude_set_seal(o->excludes) : 0;
}

/* A few endpoints are asked at once; their answers say more than an open port. */
static bool is_direct(const struct scan_options *o, const struct scan_source *source)
{
	uint64_t count;

	if (o->method == SCAN_METHOD_DIRECT || o->route.proxy)
		return true;
	return o->method == SCAN_METHOD_AUTO && scan_source_count(source, &count) &&
	       count <= DIRECT_MAX;
}

static int start_discover(struct scan *s, enum discover_method method,
                          char why[static DISCOVER_ERROR_LEN])
{
	const struct scan_options *o = s->options;
	struct discover_conf conf = {
	    .method = method,
	    .limits = {.rate_per_sec = o->rate_per_sec,
	               .per_host_per_sec = o->per_host_per_sec,
	               .timeout_ms = o->timeout_ms,
	               .retries = o->retries,
	               .concurrency = CONNECT_CONCURRENCY,
	               .source = o->route.probe.source,
	               .interface = if_nametoindex(o->route.probe.interface),
	               .want_all = o->all || o->ledger.history},
	    .excludes = o->excludes,
	};

	return discover_start(&conf, &s->discover, why);
}

/* 0, or the exit status. */
static int open_discover(struct scan *s)
{
	char why[DISCOVER_ERROR_LEN];
	enum scan_method method = s->options->method;
	int err = -EPERM;

	if (is_direct(s->options, s->source))
		return 0;
	if (method != SCAN_METHOD_CONNECT)
		err = start_discover(s, DISCOVER_SYN, why);
	if (err && method == SCAN_METHOD_SYN) {
		log_error("--method syn: %s%s", why,
		          err == -EPERM ? "; run it as root, or with --method connect" : "");
		return SCAN_USAGE;
	}
	if (err && method == SCAN_METHOD_AUTO && geteuid() == 0)
		log_warning("looking for open ports by connecting, since own packets cannot be "
		            "sent: %s",
		            why);
	if (err)
		err = start_discover(s, DISCOVER_CONNECT, why);
	if (err)
		log_error("%s", why);
	return err ? SCAN_INCOMPLETE : 0;
}

static int open_keeper(struct scan *s)
{
	const struct scan_options *o = s->options;
	const struct keeper_conf conf = {
	    .state = o->resume, .stop = o->stop_file, .metrics = o->metrics_file};
	char why[KEEPER_ERROR_LEN];

	if (!o->resume && !o->stop_file && !o->metrics_file)
		return 0;
	if (keeper_start(&conf, &s->keeper, why) == 0)
		return 0;
	log_error("%s", why);
	return SCAN_USAGE;
}

static int open_state(struct scan *s)
{
	char why[SCAN_STATE_ERROR_LEN];

	if (scan_run_make_id(s->scan_id) < 0 || scan_state_begin(s->options, &s->state) < 0) {
		log_error("no random numbers");
		return SCAN_INCOMPLETE;
	}
	if (s->options->resume && scan_state_load(s->options->resume, s->options, &s->state, why)) {
		log_error("--resume: %s", why);
		return SCAN_USAGE;
	}
	s->options->goes_on = s->state.mark.first_target > 0 || s->state.mark.n_taken > 0;
	return 0;
}

/* What is wrong with the command line shows before anything is sent. 0, or the exit status. */
static int open_input(struct scan *s)
{
	char source_error[SCAN_SOURCE_ERROR_LEN], route_error[SCAN_ROUTE_ERROR_LEN];
	struct scan_options *o = s->options;

	if (scan_source_open_as(o->targets, o->n_targets, o->input_format, &o->ports, &s->source,
	                        source_error) < 0) {
		log_error("%s", source_error);
		return SCAN_USAGE;
	}
	if (read_excludes(o) < 0)
		return SCAN_USAGE;
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
	return open_state(s);
}

/* Processes first: what comes later they are not to have. 0, or the exit status. */
static int open_output(struct scan *s)
{
	char why[SCAN_OUTPUT_ERROR_LEN];
	int status = open_discover(s);

	if (status == 0)
		status = open_keeper(s);
	if (status == 0 && open_ledger(s) < 0)
		status = SCAN_USAGE;
	if (status == 0 && scan_output_open(s->options, s->scan_id, &s->output, why) < 0) {
		log_error("%s", why);
		status = SCAN_USAGE;
	}
	return status;
}

static int start_run(struct scan *s)
{
	char why[SANDBOX_ERROR_LEN];
	const struct scan_run_conf conf = {.options = s->options,
	                                   .scan_id = s->scan_id,
	                                   .user_agent = s->user_agent,
	                                   .state = &s->state,
	                                   .source = s->source,
	                                   .output = s->output,
	                                   .ledger = s->ledger,
	                                   .excludes = s->options->excludes,
	                                   .discover = s->discover,
	                                   .keeper = s->keeper};
	int err = fit_to_descriptor_limit(s->options);

	if (!err && drop_privileges(why) < 0) {
		log_error("cannot drop privileges: %s", why);
		return SCAN_INCOMPLETE;
	}
	if (!err)
		err = scan_run_new(&conf, &s->run);
	if (err < 0) {
		log_error("cannot start: %s", strerror(-err));
		return SCAN_INCOMPLETE;
	}
	if (sandbox_filter(SANDBOX_FILTER_NETWORK, why) < 0) {
		log_error("cannot drop privileges: %s", why);
		return SCAN_INCOMPLETE;
	}
	return 0;
}

static int keep_metrics(struct scan *s, struct scan_result *r)
{
	struct sweep_metrics *m = &r->metrics;
	auto_free char *text = NULL;
	uint64_t targets = 0;
	size_t length;

	m->started_ms = s->started_ms;
	m->ended_ms = clock_wall_ms();
	m->complete = !r->incomplete;
	m->shard = s->state.shard.index + 1;
	m->shards = s->state.shard.count;
	m->targets =
	    scan_source_count(s->source, &targets) ? sweep_shard_size(&s->state.shard, targets) : 0;
	memcpy(m->verdicts, r->verdicts, sizeof(m->verdicts));
	m->packets_sent = r->report.stats.sent;
	m->packets_retransmitted = r->report.stats.retransmitted;
	m->packets_dropped = r->report.stats.dropped;
	m->loss_ratio = r->report.stats.loss;
	text = sweep_metrics_render(m, &length);
	return text ? keeper_put_metrics(s->keeper, text, length) : -ENOMEM;
}

/* What is kept beside the findings is on disk. */
static void end_keeper(struct scan *s, struct scan_result *r)
{
	int err = 0;

	if (!s->keeper)
		return;
	if (s->options->metrics_file)
		err = keep_metrics(s, r);
	if (!err)
		err = keeper_end(s->keeper);
	if (err < 0) {
		log_error("files cannot be kept: %s", strerror(-err));
		r->incomplete = true;
	}
}

static void end_output(struct scan *s, struct scan_result *r)
{
	char why[SCAN_OUTPUT_ERROR_LEN];
	struct sweep_trailer trailer = {.shard = s->state.shard.index + 1,
	                                .shards = s->state.shard.count,
	                                .complete = !r->incomplete,
	                                .started_ms = s->started_ms,
	                                .ended_ms = clock_wall_ms(),
	                                .endpoints = r->endpoints};
	bool trail = s->options->trailer || s->state.shard.count > 1;

	snprintf(trailer.sweep_id, sizeof(trailer.sweep_id), "%s", s->state.sweep_id);
	snprintf(trailer.scan_id, sizeof(trailer.scan_id), "%s", s->scan_id);
	memcpy(trailer.verdicts, r->verdicts, sizeof(trailer.verdicts));
	if (scan_output_finish(s->output, !r->incomplete, trail ? &trailer : NULL, why) < 0) {
		if (!r->incomplete)
			log_error("%s", why);
		r->incomplete = true;
	}
}

static int scan_dry_run(struct scan *s)
{
	char why[SCAN_SOURCE_ERROR_LEN];
	int method = is_direct(s->options, s->source)                          ? 0
	             : s->options->method == SCAN_METHOD_CONNECT               ? DISCOVER_CONNECT
	             : s->options->method == SCAN_METHOD_SYN || geteuid() == 0 ? DISCOVER_SYN
	                                                                       : DISCOVER_CONNECT;

	if (scan_plan_print(stdout, s->options, &s->state, method, s->source, s->options->excludes,
	                    why) < 0) {
		log_error("%s", why);
		return SCAN_USAGE;
	}
	return fflush(stdout) ? SCAN_INCOMPLETE : SCAN_NOTHING;
}

static void say_summary(const struct scan *s, const struct scan_result *r, char **argv)
{
	auto_free char *text = NULL;
	size_t length = 0;
	FILE *out = open_memstream(&text, &length);

	if (!out)
		return;
	if (!s->options->quiet)
		scan_summary_print(out, r);
	if (r->stop && r->mark.n_taken + r->mark.first_target > 0)
		scan_summary_print_continuation(out, argv, s->options, s->state.seed, &r->mark);
	fclose(out);
	log_text(text, length);
}

static int scan_with(struct scan *s, char **argv)
{
	struct scan_result result;
	int status = open_input(s);

	if (status == 0 && s->options->dry_run)
		return scan_dry_run(s);
	if (status == 0)
		status = open_output(s);
	if (status == 0)
		status = start_run(s);
	if (status)
		return status;
	scan_run(s->run, &result);
	end_output(s, &result);
	if (!result.incomplete)
		scan_run_complete(s->run);
	end_keeper(s, &result);
	/* Like a sweep of an empty network it finds nothing; but it was hardly meant. */
	if (result.endpoints == 0 && !result.incomplete && s->options->excludes)
		log_warning("nothing was looked at: exclusions leave no endpoint");
	say_summary(s, &result, argv);
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
		struct scan s = {.options = &options, .started_ms = clock_wall_ms()};

		snprintf(s.user_agent, sizeof(s.user_agent), "%s%s%s", probe_user_agent,
		         options.contact ? " contact: " : "",
		         options.contact ? options.contact : "");
		status = scan_with(&s, argv);
		close_scan(&s);
	}
	scan_options_fini(&options);
	return status;
}
