/* SPDX-License-Identifier: GPL-2.0-or-later */
/* /metrics; the names are contracts (docs/operations.md lists them). */
#include "build_info.h"
#include "common/clock.h"
#include "daemon/agent/agent.h"

#define LABEL(n, v)                                                                                \
	(struct metrics_label)                                                                     \
	{                                                                                          \
		.name = (n), .value = (v)                                                          \
	}

static void write_one(struct evbuffer *out, const char *name, enum metrics_type type,
                      const char *help, double value)
{
	metrics_family(out, name, type, help);
	metrics_sample(out, name, NULL, 0, value);
}

static void write_risks(struct evbuffer *out, const struct agent *a)
{
	static const char name[] = "pprofwall_endpoint_risk";

	metrics_family(out, name, METRICS_GAUGE,
	               "1 for an endpoint whose goroutine stacks are readable, until it is clean.");
	for (size_t i = 0; i < watch_set_count(a->watches); i++) {
		const struct watch *w = watch_set_at(a->watches, i);
		char endpoint[WATCH_NAME_LEN], program[128];

		if (!w->high_risk)
			continue;
		metrics_sample(out, name,
		               (struct metrics_label[]){
		                   LABEL("endpoint", watch_name(w, endpoint)),
		                   LABEL("process", watch_program(w, program)),
		                   LABEL("rule", a->conf->breakers[w->rule].name),
		                   LABEL("risk", "HIGH_RISK"),
		               },
		               4, 1);
	}
}

/* Only breakers that have something to tell: 65,536 closed ones are not worth three lines each. */
static void write_breakers(struct evbuffer *out, const struct agent *a)
{
	static const char name[] = "pprofwall_breaker_state";

	metrics_family(out, name, METRICS_GAUGE,
	               "1 for the state that the breaker of an exposed endpoint is in.");
	for (size_t i = 0; i < watch_set_count(a->watches); i++) {
		const struct watch *w = watch_set_at(a->watches, i);
		char endpoint[WATCH_NAME_LEN];

		if (w->breaker.state == BREAKER_CLOSED && !w->breaker.history)
			continue;
		watch_name(w, endpoint);
		for (int s = 0; s < BREAKER_STATE_COUNT; s++) {
			metrics_sample(
			    out, name,
			    (struct metrics_label[]){
			        LABEL("endpoint", endpoint),
			        LABEL("rule", a->conf->breakers[w->rule].name),
			        LABEL("state", breaker_state_name((enum breaker_state)s)),
			    },
			    3, (int)w->breaker.state == s);
		}
	}
}

static void write_probes(struct evbuffer *out, const struct agent *a)
{
	metrics_family(out, "pprofwall_probes_total", METRICS_COUNTER, "Probes by their verdict.");
	for (int v = 0; v < VERDICT_COUNT; v++)
		metrics_sample(out, "pprofwall_probes_total",
		               &LABEL("verdict", finding_verdict_name((enum finding_verdict)v)), 1,
		               (double)a->probes[v]);
	metrics_family(out, "pprofwall_probe_duration_seconds", METRICS_HISTOGRAM,
	               "Time of a probe's first request, of those that were answered.");
	metrics_histogram_write(out, "pprofwall_probe_duration_seconds", NULL, 0,
	                        &a->probe_duration);
}

static void write_sink(struct evbuffer *out, const char *name, const struct outbox_sink *sink,
                       const char *label, const char *text, double value)
{
	const struct metrics_label labels[] = {LABEL("sink", sink->name), LABEL(label, text)};

	metrics_sample(out, name, labels, text ? 2 : 1, value);
}

static void write_attempts(struct evbuffer *out, const struct outbox_sink *sink)
{
	static const char name[] = "pprofwall_alerts_total";

	write_sink(out, name, sink, "result", "delivered", (double)sink->delivered);
	write_sink(out, name, sink, "result", "retry", (double)sink->retries);
	write_sink(out, name, sink, "result", "gave_up", (double)sink->gave_up);
}

static void write_losses(struct evbuffer *out, const struct outbox_sink *sink)
{
	for (int i = 0; i < OUTBOX_LOSS_COUNT; i++)
		write_sink(out, "pprofwall_alerts_lost_total", sink, "reason",
		           outbox_loss_name((enum outbox_loss)i), (double)sink->lost[i]);
}

static void write_length(struct evbuffer *out, const struct outbox_sink *sink)
{
	write_sink(out, "pprofwall_alert_queue_length", sink, "", NULL, (double)sink->queued);
}

static void write_age(struct evbuffer *out, const struct outbox_sink *sink)
{
	int64_t age_ms = sink->queued ? clock_wall_ms() - sink->oldest_ms : 0;

	write_sink(out, "pprofwall_alert_oldest_age_seconds", sink, "", NULL,
	           age_ms > 0 ? (double)age_ms / 1000 : 0);
}

static void write_circuit(struct evbuffer *out, const struct outbox_sink *sink)
{
	write_sink(out, "pprofwall_alert_circuit_open", sink, "", NULL, sink->circuit_open);
}

static void write_alerts(struct evbuffer *out, const struct agent *a)
{
	static const struct {
		const char *name;
		enum metrics_type type;
		const char *help;
		void (*write)(struct evbuffer *out, const struct outbox_sink *sink);
	} families[] = {
	    {"pprofwall_alerts_total", METRICS_COUNTER, "Alerts by sink and outcome of an attempt.",
	     write_attempts},
	    {"pprofwall_alerts_lost_total", METRICS_COUNTER,
	     "Events given up: too many or too old, or by the sender.", write_losses},
	    {"pprofwall_alert_queue_length", METRICS_GAUGE,
	     "Events that the sink has not taken or refused.", write_length},
	    {"pprofwall_alert_oldest_age_seconds", METRICS_GAUGE, "Age of the oldest of them.",
	     write_age},
	    {"pprofwall_alert_circuit_open", METRICS_GAUGE,
	     "1 while the sender gives a sink a rest that has failed too often.", write_circuit},
	};

	for (size_t f = 0; f < ARRAY_LEN(families); f++) {
		metrics_family(out, families[f].name, families[f].type, families[f].help);
		for (size_t i = 0; i < outbox_sink_count(a->outbox); i++) {
			struct outbox_sink sink;

			outbox_get_sink(a->outbox, i, &sink);
			families[f].write(out, &sink);
		}
	}
	write_one(out, "pprofwall_alerts_removed_total", METRICS_COUNTER,
	          "Events that a sink had not got when it was taken out of the configuration.",
	          (double)outbox_removed(a->outbox));
}

static void write_firewall(struct evbuffer *out, const struct agent *a)
{
	struct wall_stats wall;

	wall_get_stats(a->wall, &wall);
	write_one(out, "pprofwall_blocks", METRICS_GAUGE, "Blocks in the kernel.", wall.blocks);
	write_one(out, "pprofwall_blocked_packets_total", METRICS_COUNTER,
	          "Packets refused or dropped.", (double)wall.dropped_packets);
	write_one(out, "pprofwall_firewall_reconciliations_total", METRICS_COUNTER,
	          "Times that the ruleset had to be restored.", wall.reconciliations);
	write_one(out, "pprofwall_firewall_persistent", METRICS_GAUGE,
	          "1 if the kernel keeps the table from foreign flushes (Linux 6.9).",
	          wall.persist);
}

static void write_walls(struct evbuffer *out, const struct agent *a)
{
	static const enum verify_state states[] = {VERIFY_HOLDS, VERIFY_INEFFECTIVE,
	                                           VERIFY_UNPROVEN};
	static const char name[] = "pprofwall_walls";

	metrics_family(out, name, METRICS_GAUGE,
	               "Blocks by what a connection from a namespace of our own has shown.");
	for (size_t i = 0; i < ARRAY_LEN(states); i++)
		metrics_sample(out, name, &LABEL("state", verify_state_name(states[i])), 1,
		               (double)verify_count(a, states[i]));
	write_one(out, "pprofwall_walls_ineffective", METRICS_GAUGE,
	          "Blocks in the kernel that a stranger was let through in spite of.",
	          (double)verify_count(a, VERIFY_INEFFECTIVE));
}

static void write_processes(struct evbuffer *out, const struct agent *a)
{
	static const struct {
		const char *name;
		int role;
		bool restarts; /* alone; the firewall takes the service with it */
	} rows[] = {{"firewall", IPC_ROLE_FIREWALL, false},
	            {"prober", IPC_ROLE_PROBER, true},
	            {"sender", IPC_ROLE_SENDER, true},
	            {"inventory", IPC_ROLE_INVENTORY, true},
	            {"filter", IPC_ROLE_FILTER, true}};

	metrics_family(out, "pprofwall_process_up", METRICS_GAUGE,
	               "1 for a process of the daemon that answers, or that nothing needs.");
	for (size_t i = 0; i < ARRAY_LEN(rows); i++)
		metrics_sample(out, "pprofwall_process_up", &LABEL("process", rows[i].name), 1,
		               report_is_up(a, rows[i].role));
	metrics_family(out, "pprofwall_process_restarts_total", METRICS_COUNTER,
	               "Restarts of the processes that are restarted alone.");
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		if (rows[i].restarts)
			metrics_sample(out, "pprofwall_process_restarts_total",
			               &LABEL("process", rows[i].name), 1,
			               a->peers[rows[i].role].restarts);
	}
}

/* What /readyz says, as a number; its reasons are for those who ask there. */
static void write_ready(struct evbuffer *out, struct agent *a)
{
	struct evbuffer *reasons = evbuffer_new();

	if (!reasons)
		return;
	write_one(out, "pprofwall_ready", METRICS_GAUGE, "1 while /readyz answers with 200.",
	          report_ready(reasons, a));
	evbuffer_free(reasons);
}

static void write_listeners(struct evbuffer *out, const struct agent *a)
{
	const struct inventory_status *status = listeners_status(a->listeners);
	static const char *const modes[] = {"polling", "events"};
	struct listeners_stats stats;

	listeners_get_stats(a->listeners, &stats);
	metrics_family(out, "pprofwall_listeners", METRICS_GAUGE,
	               "Listening sockets by what becomes of them: probed, or why not.");
	for (int i = 0; i < LISTENER_SKIP_COUNT; i++)
		metrics_sample(out, "pprofwall_listeners",
		               &LABEL("handling", listener_skip_name((enum listener_skip)i)), 1,
		               (double)stats.skipped[i]);
	write_one(out, "pprofwall_inventory_namespaces", METRICS_GAUGE,
	          "Network namespaces whose listeners are known.", (double)stats.namespaces);
	metrics_family(out, "pprofwall_inventory_mode", METRICS_GAUGE,
	               "1 for the way in which new listeners are noticed.");
	for (int i = 0; i < (int)ARRAY_LEN(modes); i++)
		metrics_sample(out, "pprofwall_inventory_mode", &LABEL("mode", modes[i]), 1,
		               listeners_is_synced(a->listeners) && status->mode == i);
	write_one(out, "pprofwall_inventory_events_total", METRICS_COUNTER,
	          "Events of new listeners from the kernel.", (double)status->events);
	write_one(out, "pprofwall_inventory_lost_events_total", METRICS_COUNTER,
	          "Events that the kernel could not deliver; a poll followed.",
	          (double)status->lost);
	write_one(out, "pprofwall_inventory_polls_total", METRICS_COUNTER,
	          "Looks at all namespaces.", (double)status->polls);
	write_one(out, "pprofwall_inventory_poll_cpu_seconds", METRICS_GAUGE,
	          "CPU time of the last look at all namespaces.",
	          (double)status->poll_cpu_ns / 1e9);
	write_one(out, "pprofwall_inventory_skipped_namespaces", METRICS_GAUGE,
	          "Namespaces that could not be read at the last look.", status->skipped);
	write_one(out, "pprofwall_listeners_over_cap_total", METRICS_COUNTER,
	          "Endpoints and listeners that were passed over, because there were too many.",
	          (double)(stats.over_cap + stats.ignored));
	metrics_family(out, "pprofwall_block_latency_seconds", METRICS_HISTOGRAM,
	               "From a new listener seen to its block in the kernel.");
	metrics_histogram_write(out, "pprofwall_block_latency_seconds", NULL, 0, &a->block_latency);
}

static void write_config(struct evbuffer *out, const struct agent *a)
{
	write_one(out, "pprofwall_config_hash", METRICS_GAUGE,
	          "CRC-32 of the configuration file in force.", a->meta.crc32);
	write_one(out, "pprofwall_config_last_reload_successful", METRICS_GAUGE,
	          "1 if the last reload was taken, 0 if it was refused.", a->last_reload_ok);
	write_one(out, "pprofwall_config_last_reload_success_timestamp_seconds", METRICS_GAUGE,
	          "When the configuration in force was loaded.",
	          (double)a->conf_loaded_wall_ms / 1000.0);
	write_one(out, "pprofwall_enforcing", METRICS_GAUGE,
	          "1 in mode enforce, within enforce_percent and without panic, else 0.",
	          a->conf->mode == CONF_MODE_ENFORCE && !a->panic);
	write_one(out, "pprofwall_held_back", METRICS_GAUGE,
	          "1 in mode enforce on a host that is not within enforce_percent, else 0.",
	          a->conf->rollout.held_back);
	write_one(out, "pprofwall_panic", METRICS_GAUGE,
	          "1 from `pprofwall panic` to `pprofwall resume`.", a->panic);
}

void exposition_write(struct evbuffer *out, void *arg)
{
	struct agent *a = arg;
	struct schedule_stats schedule;
	struct state_health health = {0};

	metrics_family(out, "pprofwall_build_info", METRICS_GAUGE, "Always 1; the labels tell.");
	metrics_sample(out, "pprofwall_build_info", &LABEL("version", PPROFWALL_VERSION), 1, 1);
	if (!a->conf)
		return; /* bound while the configuration is checked, in force an instant later */
	schedule_get_stats(a->schedule, &schedule);
	state_get_health(a->state, &health);
	write_risks(out, a);
	write_breakers(out, a);
	write_probes(out, a);
	write_one(out, "pprofwall_endpoints", METRICS_GAUGE, "Endpoints that are watched.",
	          (double)watch_set_count(a->watches));
	write_one(out, "pprofwall_quarantined_endpoints", METRICS_GAUGE,
	          "Endpoints probed alone, because a prober died on them.", schedule.quarantined);
	write_one(out, "pprofwall_probes_lost_total", METRICS_COUNTER,
	          "Probes that the prober did not answer.", (double)schedule.lost);
	write_listeners(out, a);
	write_firewall(out, a);
	admit_expose(a->admit, out);
	write_walls(out, a);
	filters_expose(a->filters, out);
	write_alerts(out, a);
	write_processes(out, a);
	write_ready(out, a);
	write_one(out, "pprofwall_state_write_failures_total", METRICS_COUNTER,
	          "Transactions of the state database that failed.", (double)health.failures);
	write_config(out, a);
}
