/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/agent/filters.h"

#include "common/clock.h"
#include "common/log.h"
#include "daemon/agent/agent.h"

#include <errno.h>
#include <string.h>

/* All of a struct filter_stats that only grows, as one array. */
enum { N_COUNTERS = offsetof(struct filter_stats, open_connections) / sizeof(uint64_t) };
_Static_assert(offsetof(struct filter_stats, open_connections) == N_COUNTERS * sizeof(uint64_t),
               "counters come first");
/* More than any counter reaches, and sums of two fit in an int64_t. */
#define COUNTER_MAX (UINT64_C(1) << 61)

struct filters {
	struct agent *agent;
	struct channel *process;
	bool seen; /* there was one */
	/* of the processes before this one; of this one; open_connections only of this one */
	struct filter_stats before, now;
	struct refusals *refusals;
};

int filters_new(struct agent *a, struct filters **out)
{
	struct filters *f = calloc(1, sizeof(*f));

	if (!f)
		return -ENOMEM;
	f->agent = a;
	f->refusals = refusals_new();
	if (!f->refusals) {
		free(f);
		return -ENOMEM;
	}
	*out = f;
	return 0;
}

void filters_free(struct filters *f)
{
	if (!f)
		return;
	channel_free(f->process);
	refusals_free(f->refusals);
	free(f);
}

/* Counters */

static void read_counters(const struct filter_stats *stats, uint64_t out[static N_COUNTERS])
{
	memcpy(out, stats, N_COUNTERS * sizeof(*out));
}

static struct filter_stats sum(const struct filters *f)
{
	uint64_t before[N_COUNTERS], now[N_COUNTERS];
	struct filter_stats total = f->now;

	read_counters(&f->before, before);
	read_counters(&f->now, now);
	for (size_t i = 0; i < N_COUNTERS; i++) {
		now[i] += before[i];
		if (now[i] > COUNTER_MAX)
			now[i] = COUNTER_MAX;
	}
	memcpy(&total, now, sizeof(now));
	return total;
}

/* Nothing goes back, whatever a process says. */
static void take_stats(struct filters *f, const struct frame *frame)
{
	uint64_t known[N_COUNTERS], told[N_COUNTERS];
	struct filter_stats stats;

	if (frame->length != sizeof(stats))
		return;
	memcpy(&stats, frame->body, sizeof(stats));
	read_counters(&f->now, known);
	read_counters(&stats, told);
	for (size_t i = 0; i < N_COUNTERS; i++) {
		if (told[i] < known[i])
			told[i] = known[i];
		if (told[i] > COUNTER_MAX)
			told[i] = COUNTER_MAX;
	}
	memcpy(&f->now, told, sizeof(told));
	f->now.open_connections = stats.open_connections;
}

static void end_process(struct filters *f)
{
	channel_free(f->process);
	f->process = NULL;
	f->before = sum(f);
	f->now = (struct filter_stats){0};
	f->agent->peers[IPC_ROLE_FILTER].connected = false;
}

/* Refusals */

static void tell(struct filters *f, const struct refusal *refusal)
{
	struct watch *w = watch_set_find(f->agent->watches, &refusal->endpoint);

	if (w)
		event_send_refusal(f->agent, w, refusal);
}

static bool is_address(const struct endpoint *e)
{
	return e->family == AF_INET || e->family == AF_INET6;
}

/* It came from a process that may have been taken over. */
static bool read_denied(const struct frame *frame, struct refusal *out)
{
	struct filter_denied denied;

	if (frame->length != sizeof(denied))
		return false;
	memcpy(&denied, frame->body, sizeof(denied));
	if (denied.version != FILTER_WIRE_VERSION || denied.reason >= FILTER_REASON_COUNT ||
	    !is_address(&denied.endpoint) || !is_address(&denied.client) || !denied.count)
		return false;
	*out = (struct refusal){.endpoint = denied.endpoint,
	                        .client = denied.client,
	                        .reason = (enum filter_reason)denied.reason,
	                        .count = denied.count < COUNTER_MAX ? denied.count : COUNTER_MAX};
	out->client.port = 0;
	for (size_t i = 0; i + 1 < sizeof(out->path) && denied.path[i]; i++)
		out->path[i] =
		    strchr(FILTER_PATH_CHARACTERS, denied.path[i]) ? denied.path[i] : '?';
	return true;
}

static void take_denied(struct filters *f, const struct frame *frame)
{
	struct refusal refusal, told;
	struct watch *w;

	/* verify.c asks for what is to be refused. */
	if (!read_denied(frame, &refusal) || inventory_is_vantage(&refusal.client))
		return;
	w = watch_set_find(f->agent->watches, &refusal.endpoint);
	/* One that was filtered a moment ago has connections left. */
	if (!w || f->agent->conf->breakers[w->rule].action != CONF_ACTION_FILTER)
		return;
	w->denied += refusal.count;
	if (w->denied > COUNTER_MAX)
		w->denied = COUNTER_MAX;
	if (refusals_note(f->refusals, &refusal, clock_monotonic_ms(), &told))
		tell(f, &told);
}

void filters_tick(struct filters *f, int64_t now_ms)
{
	struct refusal refusal;

	while (refusals_next(f->refusals, now_ms, &refusal))
		tell(f, &refusal);
}

/* The talk */

static void on_frame(struct frame *frame, void *arg)
{
	struct filters *f = arg;

	switch (frame->type) {
	case IPC_PONG: f->agent->peers[IPC_ROLE_FILTER].last_pong_ms = clock_monotonic_ms(); break;
	case FILTER_STATS: take_stats(f, frame); break;
	case FILTER_DENIED:
		if (f->agent->conf)
			take_denied(f, frame);
		break;
	default: break;
	}
}

static void on_end(int error, void *arg)
{
	(void)error; /* the parent says how it ended */
	end_process(arg);
}

int filters_set_process(struct filters *f, int sock)
{
	const struct channel_handlers handlers = {.frame = on_frame, .end = on_end, .arg = f};
	int err;

	end_process(f);
	f->seen = true;
	err = channel_new(f->agent->base, sock, &handlers, &f->process);
	f->agent->peers[IPC_ROLE_FILTER].connected = err == 0;
	return err;
}

void filters_ping(struct filters *f)
{
	/* One that does not read is not heaped with questions. */
	if (f->process && channel_queued(f->process) == 0)
		channel_send(f->process, IPC_PING, 0, NULL, 0);
}

/* For people */

static bool is_of_interest(const struct filters *f)
{
	return f->seen || (f->agent->conf && conf_has_filter(f->agent->conf));
}

json_t *filters_report(const struct filters *f)
{
	struct filter_stats total = sum(f);
	json_t *denied;

	if (!is_of_interest(f))
		return json_null();
	denied = json_object();
	for (int i = 0; i < FILTER_REASON_COUNT; i++)
		json_object_set_new(denied, filter_reason_name((enum filter_reason)i),
		                    json_integer((json_int_t)total.denied[i]));
	return json_pack(
	    "{s:b, s:I, s:o, s:I, s:I, s:I, s:I}", "answering",
	    report_is_up(f->agent, IPC_ROLE_FILTER), "passed", (json_int_t)total.requests_passed,
	    "denied", denied, "opaque_passed", (json_int_t)total.opaque_passed, "upstream_failures",
	    (json_int_t)total.upstream_failures, "connections", (json_int_t)total.connections,
	    "open", (json_int_t)f->now.open_connections);
}

static void write_requests(const struct filter_stats *total, struct evbuffer *out)
{
	static const char name[] = "pprofwall_filter_requests_total";
	struct metrics_label labels[] = {{"result", "passed"}, {"reason", "none"}};

	metrics_family(out, name, METRICS_COUNTER,
	               "Requests at the filter: passed on, or denied and why.");
	metrics_sample(out, name, labels, ARRAY_LEN(labels), (double)total->requests_passed);
	labels[0].value = "denied";
	for (int i = 0; i < FILTER_REASON_COUNT; i++) {
		labels[1].value = filter_reason_name((enum filter_reason)i);
		metrics_sample(out, name, labels, ARRAY_LEN(labels), (double)total->denied[i]);
	}
}

static void write_latency(const struct filter_stats *total, struct evbuffer *out)
{
	static const char name[] = "pprofwall_filter_duration_seconds";
	double bounds[FILTER_LATENCY_BUCKETS - 1];
	struct metrics_histogram h = {.bounds = bounds,
	                              .n_bounds = ARRAY_LEN(bounds),
	                              .sum = (double)total->latency_sum_us / 1e6};
	uint64_t below = 0;

	for (size_t i = 0; i < FILTER_LATENCY_BUCKETS; i++) {
		if (i < ARRAY_LEN(bounds))
			bounds[i] = (double)filter_latency_bounds_us[i] / 1e6;
		h.counts[i] = total->latency[i] > below ? total->latency[i] - below : 0;
		below += h.counts[i];
	}
	metrics_family(out, name, METRICS_HISTOGRAM,
	               "From a request's head at the filter to the first byte of its answer.");
	metrics_histogram_write(out, name, NULL, 0, &h);
}

static void write_endpoints(const struct agent *a, struct evbuffer *out)
{
	static const char name[] = "pprofwall_endpoint_filtered";

	metrics_family(out, name, METRICS_GAUGE, "1 for an endpoint with a filter in front of it.");
	for (size_t i = 0; i < watch_set_count(a->watches); i++) {
		const struct watch *w = watch_set_at(a->watches, i);
		char endpoint[WATCH_NAME_LEN], program[128];
		struct metrics_label labels[] = {{"endpoint", watch_name(w, endpoint)},
		                                 {"process", watch_program(w, program)},
		                                 {"rule", a->conf->breakers[w->rule].name}};

		if (enforce_filters(a, w))
			metrics_sample(out, name, labels, ARRAY_LEN(labels), 1);
	}
}

void filters_expose(const struct filters *f, struct evbuffer *out)
{
	const struct filter_stats total = sum(f);
	const struct {
		const char *name, *help;
		uint64_t value;
	} counters[] = {
	    {"pprofwall_filter_connections_total", "Connections that the filter has taken.",
	     total.connections},
	    {"pprofwall_filter_opaque_connections_total",
	     "Connections that the filter has passed on unread (on_opaque: pass).",
	     total.opaque_passed},
	    {"pprofwall_filter_upstream_failures_total",
	     "Requests that the server behind the filter did not answer.", total.upstream_failures},
	    {"pprofwall_filter_request_bytes_total", "Bytes from clients to servers.",
	     total.request_bytes},
	    {"pprofwall_filter_response_bytes_total", "Bytes from servers to clients.",
	     total.response_bytes},
	    {"pprofwall_filter_untold_total",
	     "Denied requests that are in no event, since there were too many.",
	     total.untold + refusals_untold(f->refusals)},
	};

	if (!is_of_interest(f))
		return;
	write_endpoints(f->agent, out);
	write_requests(&total, out);
	for (size_t i = 0; i < ARRAY_LEN(counters); i++) {
		metrics_family(out, counters[i].name, METRICS_COUNTER, counters[i].help);
		metrics_sample(out, counters[i].name, NULL, 0, (double)counters[i].value);
	}
	metrics_family(out, "pprofwall_filter_open_connections", METRICS_GAUGE,
	               "Connections that the filter has now.");
	metrics_sample(out, "pprofwall_filter_open_connections", NULL, 0, f->now.open_connections);
	write_latency(&total, out);
}
