/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "scanner/scan_run.h"

#include "common/cleanup.h"
#include "common/clock.h"
#include "common/log.h"
#include "common/resolve.h"
#include "scanner/progress.h"
#include "scanner/signatures.h"

#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <string.h>
#include <sys/queue.h>
#include <sys/random.h>

enum { LOOKUPS_AT_ONCE = 64 };

/* A target whose addresses are known, and how far it is walked. */
struct walk {
	struct target target;
	struct endpoint addresses[RESOLVE_MAX_ADDRESSES]; /* of a name */
	uint64_t n_addresses;
	uint64_t n_ports;
	uint64_t done;
	uint64_t in_flight; /* probes; it stays until they are over, for its labels */
	struct scan_run *run;
	TAILQ_ENTRY(walk) link;
};

struct scan_run {
	const struct scan_options *options;
	struct scan_source *source;
	struct event_base *base;
	struct event *on_int, *on_term, *on_input, *later;
	struct resolver *resolver;
	struct probe_engine *engine;
	struct scan_output *output;
	struct scan_ledger *ledger;
	struct progress *progress;
	char scan_id[SCAN_ID_LEN];
	uint64_t total; /* endpoints of all targets; 0: not known */

	struct walk *current;
	TAILQ_HEAD(walk_list, walk) asking; /* names without an answer yet */
	struct walk_list resolved;          /* waiting for their turn */
	struct walk_list walked;            /* waiting for their last findings */
	unsigned lookups;                   /* in both */
	bool source_ended;
	bool stopped;
	struct scan_result result;
};

static void stop_incomplete(struct scan_run *run)
{
	run->stopped = true;
	run->result.incomplete = true;
	event_base_loopbreak(run->base);
}

/* The line of progress goes before anything else is said on the terminal. */
#define say_error(run, ...) (progress_hide((run)->progress), log_error(__VA_ARGS__))

static void pump(struct scan_run *run);

static void on_resolved(const struct resolve_answer *answer, uint64_t token, void *arg)
{
	struct walk *walk = arg;
	struct scan_run *run = walk->run;

	(void)token;
	TAILQ_REMOVE(&run->asking, walk, link);
	if (answer->error) {
		say_error(run, "%s: %s", walk->target.host, resolve_strerror(answer->error));
		run->result.incomplete = true;
		run->lookups--;
		free(walk);
	} else {
		memcpy(walk->addresses, answer->addresses, sizeof(walk->addresses));
		walk->n_addresses = answer->count;
		TAILQ_INSERT_TAIL(&run->resolved, walk, link);
	}
	pump(run);
}

/* The user has said where the name is, on every port that is asked. */
static bool is_resolved(const struct scan_run *run, const struct target *target)
{
	const struct scan_route *route = &run->options->route;
	const struct port_list *ports = &run->options->ports;

	if (!target->host[0])
		return false;
	if (target->port)
		return scan_route_find(route, target->host, target->port);
	for (size_t i = 0; i < ports->count; i++) {
		if (!scan_route_find(route, target->host, ports->ports[i]))
			return false;
	}
	return true;
}

/* Numeric targets are walked at once, names when their addresses have come. */
static int begin_target(struct scan_run *run, const struct target *target)
{
	auto_free struct walk *walk = calloc(1, sizeof(*walk));
	struct resolve_question *unused;
	int err;

	if (!walk)
		return -ENOMEM;
	walk->target = *target;
	walk->run = run;
	walk->n_ports = target->port ? 1 : run->options->ports.count;
	err = scan_ledger_add_target(run->ledger, target, &run->options->ports);
	if (err < 0)
		return err;
	if (is_resolved(run, target)) {
		walk->n_addresses = 1;
		run->current = steal_ptr(&walk);
		return 0;
	}
	if (!target->host[0]) {
		walk->n_addresses = target_count(target, &run->options->ports) / walk->n_ports;
		run->current = steal_ptr(&walk);
		return 0;
	}
	err = resolver_ask(run->resolver, target->host, on_resolved, 0, walk, &unused);
	if (err < 0)
		return err;
	TAILQ_INSERT_TAIL(&run->asking, walk, link);
	steal_ptr(&walk);
	run->lookups++;
	return 0;
}

static void on_event(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	pump(arg);
}

static void wait_for_input(struct scan_run *run)
{
	int fd = scan_source_descriptor(run->source);

	if (run->on_input && event_get_fd(run->on_input) != fd) {
		event_free(run->on_input);
		run->on_input = NULL;
	}
	if (!run->on_input)
		run->on_input = event_new(run->base, fd, EV_READ, on_event, run);
	if (!run->on_input || event_add(run->on_input, NULL) < 0) {
		say_error(run, "out of memory");
		stop_incomplete(run);
	}
}

/* Input without an end and without a target must not keep a signal waiting. */
static bool go_on_later(struct scan_run *run)
{
	const struct timeval now = {0};

	evtimer_add(run->later, &now);
	return false;
}

/* Takes targets until there is one to walk. Returns false when there is none for now. */
static bool find_walk(struct scan_run *run)
{
	char why[SCAN_SOURCE_ERROR_LEN];
	struct target target;
	int err;

	while (!run->current) {
		run->current = TAILQ_FIRST(&run->resolved);
		if (run->current) {
			TAILQ_REMOVE(&run->resolved, run->current, link);
			run->lookups--;
			break;
		}
		if (run->source_ended || run->lookups >= LOOKUPS_AT_ONCE)
			return false;
		switch (scan_source_next(run->source, &target, why)) {
		case SCAN_SOURCE_TARGET:
			err = begin_target(run, &target);
			if (err < 0) {
				say_error(run, "cannot begin a target: %s", strerror(-err));
				stop_incomplete(run);
				return false;
			}
			break;
		case SCAN_SOURCE_BAD:
			say_error(run, "%s", why);
			run->result.bad_input = true;
			return go_on_later(run);
		case SCAN_SOURCE_LATER: return go_on_later(run);
		case SCAN_SOURCE_UNREADABLE:
			say_error(run, "%s", why);
			run->result.incomplete = true;
			break;
		case SCAN_SOURCE_WAIT: wait_for_input(run); return false;
		case SCAN_SOURCE_END: run->source_ended = true; break;
		}
	}
	return true;
}

/*
 * All addresses on one port, then all on the next: a sweep of a network does not fall upon one
 * host with all its ports at once. Returns false for one that is not to be probed.
 */
static bool next_endpoint(const struct scan_run *run, struct walk *walk, struct endpoint *out)
{
	const struct endpoint *told;
	uint64_t port = walk->done / walk->n_addresses;
	uint64_t address = walk->done % walk->n_addresses;
	const struct target *target = &walk->target;

	if (target->host[0]) {
		*out = walk->addresses[address];
		out->port = target->port ? target->port : run->options->ports.ports[port];
		told = scan_route_find(&run->options->route, target->host, out->port);
		if (told)
			*out = *told;
		/* Then the other addresses, that DNS gave, do not count. */
		if (told && address > 0)
			return false;
	} else {
		target_at(target, &run->options->ports, address * walk->n_ports + port, out);
	}
	return !scan_ledger_excludes(run->ledger, out);
}

/* On to the walk's next endpoint, or to its end. */
static void step(struct scan_run *run, struct walk *walk)
{
	if (++walk->done < walk->n_addresses * walk->n_ports)
		return;
	run->current = NULL;
	if (walk->in_flight > 0)
		TAILQ_INSERT_TAIL(&run->walked, walk, link);
	else
		free(walk); /* its last endpoints were excluded */
}

static int submit_next(struct scan_run *run)
{
	struct walk *walk = run->current;
	const struct target *target = &walk->target;
	struct probe_request request = {
	    .tls_only = target->scheme == TARGET_HTTPS,
	    .plain_only = target->scheme == TARGET_HTTP,
	    .all_relatives = run->options->relatives,
	    .token = (uintptr_t)walk,
	};
	int err;

	if (!next_endpoint(run, walk, &request.endpoint)) {
		step(run, walk);
		return 0;
	}
	request.tls_first =
	    target->scheme == TARGET_ANY &&
	    (port_is_tls_first(request.endpoint.port) ||
	     signatures_is_https_first(run->options->signatures, request.endpoint.port));
	_Static_assert(sizeof(request.host) > TARGET_HOST_MAX_LEN, "a host fits");
	_Static_assert(sizeof(request.prefix) >= sizeof(target->path), "a path fits");
	memcpy(request.host, run->options->route.host[0] ? run->options->route.host : target->host,
	       sizeof(target->host));
	memcpy(request.prefix, target->path, sizeof(target->path));
	err = probe_submit(run->engine, &request);
	if (err < 0)
		return err;
	walk->in_flight++;
	step(run, walk);
	return 0;
}

/* Keeps as many probes under way as allowed; ends the loop when nothing is left to do. */
static void pump(struct scan_run *run)
{
	struct probe_stats stats;

	while (!run->stopped && find_walk(run)) {
		int err = submit_next(run);

		if (err == -EAGAIN)
			break;
		if (err < 0) {
			say_error(run, "cannot start a probe: %s", strerror(-err));
			stop_incomplete(run);
		}
	}
	probe_get_stats(run->engine, &stats);
	if (run->source_ended && !run->current && run->lookups == 0 && stats.in_flight == 0)
		event_base_loopbreak(run->base);
}

static struct walk *walk_of(const struct probe_request *request)
{
	return (struct walk *)(uintptr_t)request->token; /* as submit_next() made it */
}

/* One of its probes is over. */
static void leave_walk(struct scan_run *run, struct walk *walk)
{
	if (--walk->in_flight > 0 || walk == run->current)
		return;
	TAILQ_REMOVE(&run->walked, walk, link);
	free(walk);
}

/* The list's items are the caller's to release. */
static int add_labels(const struct walk *walk, struct finding_list *labels)
{
	int err = 0;

	for (const char *p = walk->target.labels; *p && !err; p += *p == ' ') {
		size_t n = strcspn(p, " ");

		err = finding_list_add(labels, p, n);
		p += n;
	}
	return err;
}

static void free_labels(struct finding_list *labels)
{
	for (size_t i = 0; i < labels->count; i++)
		free(labels->items[i]);
}

/* To probe on without keeping it would look like a whole sweep later. */
static int keep_finding(struct scan_run *run, const struct probe_request *request,
                        struct finding *f)
{
	int err;

	f->accepted = NULL;
	err = scan_ledger_accept(run->ledger, f);
	if (err < 0)
		return err;
	err = scan_ledger_observe(run->ledger, request, f);
	if (err < 0)
		say_error(run, "the history is not being kept: %s", strerror(-err));
	return err;
}

static int write_finding(struct scan_run *run, const struct probe_request *request,
                         const struct finding *f)
{
	char why[SCAN_OUTPUT_ERROR_LEN];
	bool show =
	    run->options->all || f->verdict == VERDICT_CONFIRMED || f->verdict == VERDICT_LIKELY;
	int err;

	if (show || run->options->explain)
		progress_hide(run->progress);
	err = scan_output_write(run->output, request, f, show, why);
	if (err < 0)
		say_error(run, "%s", why);
	return err;
}

static void on_exchange(const struct probe_request *request, const struct probe_exchange *exchange,
                        void *arg)
{
	struct scan_run *run = arg;

	if (scan_output_note(run->output, request, exchange) < 0) {
		say_error(run, "out of memory");
		stop_incomplete(run);
	}
}

static void on_progress(struct progress_state *out, void *arg)
{
	const struct scan_run *run = arg;
	const struct scan_result *r = &run->result;

	*out = (struct progress_state){
	    .done = r->endpoints,
	    .total = run->total,
	    .exposed = r->verdicts[VERDICT_CONFIRMED] + r->verdicts[VERDICT_LIKELY],
	};
}

static void on_probe_done(const struct probe_request *request, const struct finding *finding,
                          void *arg)
{
	struct scan_run *run = arg;
	struct finding shown = *finding; /* strings stay the engine's */
	struct scan_result *result = &run->result;
	struct walk *walk = walk_of(request);
	int err = add_labels(walk, &shown.labels);

	leave_walk(run, walk);
	shown.scan_id = run->scan_id;
	result->endpoints++;
	result->verdicts[finding->verdict]++;
	result->high_risk += finding->high_risk;
	if (!err)
		err = keep_finding(run, request, &shown);
	result->found = result->found || scan_options_fails_on(run->options, &shown);
	if (!err)
		err = write_finding(run, request, &shown);
	free_labels(&shown.labels);
	free(shown.accepted);
	if (err < 0) {
		stop_incomplete(run);
		return;
	}
	pump(run);
}

static void on_signal(evutil_socket_t number, short what, void *arg)
{
	(void)what;
	progress_hide(((struct scan_run *)arg)->progress);
	log_warning("stopped by %s", number == SIGINT ? "SIGINT" : "SIGTERM");
	stop_incomplete(arg);
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

static int set_up(struct scan_run *run)
{
	struct probe_limits limits = probe_limits_default;
	int err;

	limits.connect_timeout_ms = run->options->timeout_ms;
	limits.request_timeout_ms = run->options->timeout_ms;
	limits.concurrency = run->options->concurrency;
	run->base = event_base_new();
	if (!run->base)
		return -ENOMEM;
	run->on_int = evsignal_new(run->base, SIGINT, on_signal, run);
	run->on_term = evsignal_new(run->base, SIGTERM, on_signal, run);
	run->later = evtimer_new(run->base, on_event, run);
	if (!run->on_int || !run->on_term || !run->later || event_add(run->on_int, NULL) < 0 ||
	    event_add(run->on_term, NULL) < 0)
		return -ENOMEM;
	err = resolver_new(run->base, &run->resolver);
	if (err < 0)
		return err;
	err = probe_new(run->base, &limits, probe_user_agent, run->options->show_secrets,
	                on_probe_done, run, &run->engine);
	if (err < 0)
		return err;
	probe_set_route(run->engine, &run->options->route.probe);
	probe_set_signatures(run->engine, run->options->signatures, run->options->all_prefixes);
	if (scan_output_wants_exchanges(run->output))
		probe_set_trace(run->engine, on_exchange);
	if (!run->options->quiet)
		run->progress = progress_new(run->base, STDERR_FILENO, on_progress, run);
	return 0;
}

int scan_run_new(const struct scan_options *options, const char *scan_id,
                 struct scan_source *source, struct scan_output *output, struct scan_ledger *ledger,
                 struct scan_run **out)
{
	struct scan_run *run = calloc(1, sizeof(*run));
	int err;

	if (!run)
		return -ENOMEM;
	run->options = options;
	run->source = source;
	TAILQ_INIT(&run->asking);
	TAILQ_INIT(&run->resolved);
	TAILQ_INIT(&run->walked);
	run->output = output;
	run->ledger = ledger;
	snprintf(run->scan_id, sizeof(run->scan_id), "%s", scan_id);
	if (!scan_source_count(source, &run->total))
		run->total = 0;
	err = set_up(run);
	if (err < 0) {
		scan_run_free(run);
		return err;
	}
	*out = run;
	return 0;
}

static void free_event(struct event *event)
{
	if (event)
		event_free(event);
}

static void free_walks(struct walk_list *list)
{
	struct walk *walk;

	while ((walk = TAILQ_FIRST(list))) {
		TAILQ_REMOVE(list, walk, link);
		free(walk);
	}
}

void scan_run_free(struct scan_run *run)
{
	if (!run)
		return;
	/* First what could call us: letting go of the resolver takes a turn of the loop. */
	progress_free(run->progress);
	free_event(run->on_int);
	free_event(run->on_term);
	free_event(run->on_input);
	free_event(run->later);
	probe_free(run->engine);
	resolver_free(run->resolver);
	free_walks(&run->asking);
	free_walks(&run->resolved);
	free_walks(&run->walked);
	free(run->current);
	if (run->base)
		event_base_free(run->base);
	free(run);
}

void scan_run(struct scan_run *run, struct scan_result *out)
{
	int64_t started_ms = clock_monotonic_ms();
	char why[SCAN_ROUTE_ERROR_LEN];
	struct probe_stats stats;

	pump(run);
	/* The first pump may have found nothing to do: then the loop has been told to end already,
	 * which libevent forgets when it starts. */
	probe_get_stats(run->engine, &stats);
	if (!run->stopped && (stats.in_flight || run->lookups || !run->source_ended))
		event_base_dispatch(run->base);
	progress_free(run->progress);
	run->progress = NULL;
	probe_get_stats(run->engine, &stats);
	if (stats.starved > 0) {
		log_error("out of descriptors or local ports: %" PRIu64 " requests not made",
		          stats.starved);
		run->result.incomplete = true;
	}
	if (run->result.endpoints > 0 && stats.no_route == run->result.endpoints) {
		log_error("no route to any of the targets");
		run->result.incomplete = true;
	}
	if (scan_route_has_failed(&run->options->route, &stats, why)) {
		log_error("%s", why);
		run->result.incomplete = true;
	}
	if (scan_ledger_end(run->ledger, !run->result.incomplete, run->result.verdicts) < 0) {
		log_error("the history is not complete");
		run->result.incomplete = true;
	}
	run->result.elapsed_ms = clock_monotonic_ms() - started_ms;
	*out = run->result;
}
