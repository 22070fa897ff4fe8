/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "scanner/scan_run_internal.h"

#include "common/cleanup.h"
#include "common/clock.h"
#include "scanner/signatures.h"

#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <string.h>
#include <sys/random.h>

enum {
	STATE_EVERY_MS = 1000,
	SET_ASIDE_NOTES = 16, /* then they are only counted */
	NOTES_MAX = 100,
	MORE_TRIES = 2,
};

void scan_run_stop(struct scan_run *run)
{
	if (!run->stopped && run->walk)
		scan_walk_mark(run->walk, &run->mark);
	run->stopped = true;
	run->result.incomplete = true;
	event_base_loopbreak(run->base);
}

/* What the walk tells us */

static void on_complaint(const char *why, bool incomplete, void *arg)
{
	struct scan_run *run = arg;

	scan_run_error(run, "%s", why);
	if (incomplete)
		run->result.incomplete = true;
	else
		run->result.bad_input = true;
}

static void on_note(const char *text, void *arg)
{
	struct scan_run *run = arg;

	if (run->conf.options->quiet || run->n_notes++ >= NOTES_MAX)
		return;
	scan_run_warning(run, "%s%s", text,
	                 run->n_notes == NOTES_MAX ? " (no more notes are shown)" : "");
}

void scan_run_fail(int err, const char *what, void *arg)
{
	struct scan_run *run = arg;

	scan_run_error(run, "%s: %s", what, strerror(-err));
	scan_run_stop(run);
}

static void on_set_aside(const struct endpoint *e, const char *why, void *arg)
{
	struct scan_run *run = arg;
	char text[ENDPOINT_TEXT_LEN];

	if (run->result.set_aside++ >= SET_ASIDE_NOTES || run->conf.options->quiet)
		return;
	scan_run_warning(run, "%s is not probed: %s%s", endpoint_format(e, text), why,
	                 run->result.set_aside == SET_ASIDE_NOTES ? " (more are only counted)"
	                                                          : "");
}

/* Probes */

static int submit(struct scan_run *run, struct scan_item *item)
{
	static const struct scan_target nothing = {.host = "", .path = "", .labels = ""};
	const struct scan_target *target = item->target ? item->target : &nothing;
	const struct scan_options *o = run->conf.options;
	const char *host = o->route.host[0] ? o->route.host : target->host;
	struct probe_request request = {
	    .endpoint = item->endpoint,
	    .tls_only = target->scheme == TARGET_HTTPS,
	    .plain_only = target->scheme == TARGET_HTTP,
	    .all_relatives = o->relatives,
	    .asks_serves = o->serves,
	    .token = (uintptr_t)item,
	};

	request.tls_first = target->scheme == TARGET_ANY &&
	                    (port_is_tls_first(request.endpoint.port) ||
	                     signatures_is_https_first(o->signatures, request.endpoint.port));
	/* Both fit, as target_parse() reads them. */
	strncpy(request.host, host, sizeof(request.host) - 1);
	strncpy(request.prefix, target->path, sizeof(request.prefix) - 1);
	return probe_pool_submit(run->pool, &request);
}

static void pump_later(struct scan_run *run)
{
	int64_t wait_ns = scan_pace_wait_ns(run->pace, clock_monotonic_ns());
	struct timeval tv = {.tv_sec = wait_ns / 1000000000,
	                     .tv_usec = wait_ns % 1000000000 / 1000 + 1};

	if (wait_ns >= 0)
		event_add(run->on_pace, &tv);
}

/* One whose host may be asked now, or NULL. */
static struct scan_item *take_item(struct scan_run *run, int64_t now_ns)
{
	struct scan_item *item;

	while ((item = scan_pace_due(run->pace, now_ns)) ||
	       (!scan_pace_is_full(run->pace) && (item = scan_walk_next(run->walk)))) {
		if (scan_pace_allows(run->pace, &item->endpoint, item, now_ns))
			return item;
	}
	return NULL;
}

/* Starts the next probe. Returns false when none can be for now. */
static bool start_probe(struct scan_run *run)
{
	int64_t now_ns = clock_monotonic_ns();
	struct scan_item *item;
	int err;

	/* What was found out by then is looked at before the next: a slot first, then the rate. */
	if (!probe_pool_has_room(run->pool) || !scan_pace_take(run->pace, now_ns))
		return false;
	item = take_item(run, now_ns);
	err = item ? submit(run, item) : 0;
	if (item && err == 0)
		return true;
	scan_pace_return(run->pace);
	if (item)
		scan_walk_put_back(run->walk, item);
	if (err && err != -EAGAIN) {
		scan_run_error(run, "cannot start a probe: %s", strerror(-err));
		scan_run_stop(run);
	}
	return false;
}

/* Keeps as many probes under way as allowed; ends the loop when nothing is left to do. */
static void pump(struct scan_run *run)
{
	if (run->pumping)
		return;
	run->pumping = true;
	while (!run->stopped && start_probe(run))
		;
	pump_later(run);
	run->pumping = false;
	if (scan_walk_is_over(run->walk))
		event_base_loopbreak(run->base);
}

static void on_change(void *arg)
{
	pump(arg);
}

static void on_pace(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	pump(arg);
}

static struct scan_item *item_of(const struct probe_request *request)
{
	return (struct scan_item *)(uintptr_t)request->token; /* as submit() made it */
}

/*
 * The discoverer saw it open a moment ago: a connection that nobody answered, or that was refused
 * by a full queue, says less than that. Twice more, then. After a lost SYN the kernel's patience
 * with lost data is longer than most deadlines; but so is a server that hangs: only once more.
 */
static unsigned more_tries(const struct finding *f)
{
	if (f->verdict == VERDICT_FILTERED || f->verdict == VERDICT_CLOSED)
		return MORE_TRIES;
	return f->verdict == VERDICT_ERROR && f->timed_out ? 1 : 0;
}

static bool try_again(struct scan_run *run, const struct probe_request *request,
                      struct scan_item *item, const struct finding *f)
{
	if (!run->conf.discover || run->stopped || item->tries >= more_tries(f))
		return false;
	item->tries++;
	scan_output_forget(run->conf.output, request);
	scan_walk_put_back(run->walk, item);
	return true;
}

static void on_probe_done(const struct probe_request *request, const struct finding *finding,
                          void *arg)
{
	struct scan_run *run = arg;
	struct scan_item *item = item_of(request);

	if (!try_again(run, request, item, finding)) {
		run->result.verdicts[finding->verdict]++;
		run->result.high_risk += finding->high_risk;
		scan_run_take_finding(run, request, item->target, finding);
		scan_walk_done(run->walk, item);
	}
	pump(run);
}

/* How far it is */

static void count(const struct scan_run *run, struct scan_result *out)
{
	*out = run->result;
	if (run->conf.discover) {
		discover_get_report(run->conf.discover, &out->report);
		out->verdicts[VERDICT_CLOSED] += out->report.results[DISCOVER_CLOSED];
		out->verdicts[VERDICT_FILTERED] += out->report.results[DISCOVER_FILTERED] +
		                                   out->report.results[DISCOVER_UNREACHABLE];
	}
	out->high_risk += run->before.high_risk;
	out->set_aside += run->before.set_aside;
	out->endpoints = out->set_aside;
	for (size_t i = 0; i < VERDICT_COUNT; i++) {
		out->verdicts[i] += run->before.verdicts[i];
		out->endpoints += out->verdicts[i];
	}
}

static void on_progress(struct progress_state *out, void *arg)
{
	const struct scan_run *run = arg;
	const struct scan_result *r = &run->result;

	*out = (struct progress_state){
	    .done = scan_walk_visited(run->walk),
	    .total = run->total,
	    .exposed = r->verdicts[VERDICT_CONFIRMED] + r->verdicts[VERDICT_LIKELY],
	};
}

static void keep_state(struct scan_run *run, bool complete)
{
	struct scan_state *state = run->conf.state;
	auto_free char *text = NULL;
	struct scan_result now;

	count(run, &now);
	if (run->stopped)
		state->mark = run->mark;
	else
		scan_walk_mark(run->walk, &state->mark);
	state->complete = complete;
	state->endpoints = now.endpoints;
	state->high_risk = now.high_risk;
	state->set_aside = now.set_aside;
	memcpy(state->verdicts, now.verdicts, sizeof(state->verdicts));
	if (!run->conf.keeper || !run->conf.options->resume)
		return;
	text = scan_state_format(state);
	if (!text || keeper_put_state(run->conf.keeper, text, strlen(text)) < 0)
		scan_run_fail(-EIO, "it cannot be kept how far the sweep is", run);
}

static void on_state(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	keep_state(arg, false);
}

static void on_keeper(evutil_socket_t fd, short what, void *arg)
{
	struct scan_run *run = arg;

	(void)fd;
	(void)what;
	event_del(run->on_keeper); /* nothing that it says next matters */
	if (keeper_was_stopped(run->conf.keeper)) {
		run->result.stop = SCAN_STOPPED_BY_FILE;
		scan_run_warning(run, "stopped, since %s exists", run->conf.options->stop_file);
		scan_run_stop(run);
	} else {
		scan_run_fail(-EPIPE, "files cannot be kept", run);
	}
}

static void on_signal(evutil_socket_t number, short what, void *arg)
{
	struct scan_run *run = arg;

	(void)what;
	run->result.stop = SCAN_STOPPED_BY_SIGNAL;
	scan_run_warning(run, "stopped by %s", number == SIGINT ? "SIGINT" : "SIGTERM");
	scan_run_stop(run);
}

int scan_run_make_id(char out[static SCAN_ID_LEN])
{
	uint8_t random[(SCAN_ID_LEN - 1) / 2];

	if (getrandom(random, sizeof(random), 0) != (ssize_t)sizeof(random))
		return -EIO;
	for (size_t i = 0; i < sizeof(random); i++)
		snprintf(out + 2 * i, 3, "%02x", random[i]);
	return 0;
}

/* Setting up */

static int make_events(struct scan_run *run)
{
	static const struct timeval every = {.tv_sec = STATE_EVERY_MS / 1000};

	run->base = event_base_new();
	if (!run->base)
		return -ENOMEM;
	run->on_int = evsignal_new(run->base, SIGINT, on_signal, run);
	run->on_term = evsignal_new(run->base, SIGTERM, on_signal, run);
	run->on_pace = evtimer_new(run->base, on_pace, run);
	run->on_state = event_new(run->base, -1, EV_PERSIST, on_state, run);
	if (!run->on_int || !run->on_term || !run->on_pace || !run->on_state ||
	    event_add(run->on_int, NULL) < 0 || event_add(run->on_term, NULL) < 0 ||
	    event_add(run->on_state, &every) < 0)
		return -ENOMEM;
	if (!run->conf.keeper)
		return 0;
	run->on_keeper = event_new(run->base, keeper_descriptor(run->conf.keeper),
	                           EV_READ | EV_PERSIST, on_keeper, run);
	return run->on_keeper && event_add(run->on_keeper, NULL) == 0 ? 0 : -ENOMEM;
}

static int make_pool(struct scan_run *run)
{
	const struct scan_options *o = run->conf.options;
	struct probe_limits limits = probe_limits_default;
	const struct probe_pool_conf pool = {
	    .base = run->base,
	    .limits = &limits,
	    .user_agent = run->conf.user_agent,
	    .show_secrets = o->show_secrets,
	    .threads = o->threads,
	    .route = &o->route.probe,
	    .signatures = o->signatures,
	    .all_prefixes = o->all_prefixes,
	    .trace = scan_output_wants_exchanges(run->conf.output) ? scan_run_note_exchange : NULL,
	    .done = on_probe_done,
	    .arg = run,
	};

	limits.connect_timeout_ms = o->timeout_ms;
	limits.request_timeout_ms = o->timeout_ms;
	limits.concurrency = o->concurrency;
	return probe_pool_new(&pool, &run->pool);
}

static int make_walk(struct scan_run *run)
{
	const struct scan_run_conf *c = &run->conf;
	const struct scan_walk_conf walk = {
	    .feed = {.base = run->base,
	             .options = c->options,
	             .source = c->source,
	             .ledger = c->ledger,
	             .shard = c->state->shard,
	             .seed = c->state->seed,
	             .mark = &run->before.mark,
	             .complain = on_complaint},
	    .excludes = c->excludes,
	    .discover = c->discover,
	    .printer_guard = !c->options->no_printer_guard,
	    .accept_all_guard = !c->options->no_accept_all_guard,
	    .pacer = scan_pace_bucket(run->pace),
	    .changed = on_change,
	    .discovered = scan_run_take_discovered,
	    .set_aside = on_set_aside,
	    .note = on_note,
	    .failed = scan_run_fail,
	    .arg = run,
	};

	return scan_walk_new(&walk, &run->walk);
}

/* Of this shard; a name's addresses are not known yet. */
static void set_total(struct scan_run *run)
{
	uint64_t all;

	if (scan_source_count(run->conf.source, &all))
		run->total = sweep_shard_size(&run->conf.state->shard, all);
}

int scan_run_new(const struct scan_run_conf *conf, struct scan_run **out)
{
	struct scan_run *run = calloc(1, sizeof(*run));
	int err;

	if (!run)
		return -ENOMEM;
	run->conf = *conf;
	run->before = *conf->state;
	set_total(run);
	err = scan_pace_new(conf->options->rate_per_sec, conf->options->per_host_per_sec,
	                    conf->state->seed, clock_monotonic_ns(), &run->pace);
	if (!err)
		err = make_events(run);
	if (!err)
		err = make_pool(run);
	if (!err)
		err = make_walk(run);
	if (err < 0) {
		scan_run_free(run);
		return err;
	}
	if (!conf->options->quiet)
		run->progress = progress_new(run->base, STDERR_FILENO, on_progress, run);
	*out = run;
	return 0;
}

static void free_event(struct event *event)
{
	if (event)
		event_free(event);
}

void scan_run_free(struct scan_run *run)
{
	if (!run)
		return;
	/* First what could call us: letting go of the resolver takes a turn of the loop. */
	progress_free(run->progress);
	free_event(run->on_int);
	free_event(run->on_term);
	free_event(run->on_keeper);
	free_event(run->on_state);
	free_event(run->on_pace);
	probe_pool_free(run->pool);
	scan_walk_free(run->walk);
	scan_pace_free(run->pace);
	if (run->base)
		event_base_free(run->base);
	free(run);
}

/* Whether what was seen says anything about what was to be seen. */
static void judge_run(struct scan_run *run, const struct scan_result *r)
{
	char why[SCAN_ROUTE_ERROR_LEN];
	struct probe_stats stats;
	uint64_t no_route;

	probe_pool_get_stats(run->pool, &stats);
	if (stats.starved > 0) {
		log_error("out of descriptors or local ports: %" PRIu64 " requests not made",
		          stats.starved);
		run->result.incomplete = true;
	}
	no_route = stats.no_route + r->report.results[DISCOVER_UNREACHABLE];
	if (r->endpoints > 0 && no_route == r->endpoints) {
		log_error("no route to any of the targets");
		run->result.incomplete = true;
	}
	if (scan_route_has_failed(&run->conf.options->route, &stats, why)) {
		log_error("%s", why);
		run->result.incomplete = true;
	}
}

void scan_run_complete(struct scan_run *run)
{
	keep_state(run, true);
}

void scan_run(struct scan_run *run, struct scan_result *out)
{
	int64_t started_ms = clock_monotonic_ms();

	pump(run);
	/* The first pump may have found nothing to do: then the loop has been told to end already,
	 * which libevent forgets when it starts. */
	if (!run->stopped && !scan_walk_is_over(run->walk))
		event_base_dispatch(run->base);
	progress_free(run->progress);
	run->progress = NULL;
	count(run, out);
	judge_run(run, out);
	keep_state(run, false);
	if (scan_ledger_end(run->conf.ledger, !run->result.incomplete, out->verdicts) < 0) {
		log_error("the history is not complete");
		run->result.incomplete = true;
	}
	out->incomplete = run->result.incomplete;
	out->mark = run->conf.state->mark;
	out->elapsed_ms = clock_monotonic_ms() - started_ms;
}
