/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The agent's state for people and scripts: docs/control.md has the fields. */
#include "build_info.h"
#include "common/clock.h"
#include "daemon/agent/agent.h"

#include <string.h>

enum { FEW_TARGETS = 256, PAGE_LEN = 2048 };

static const char *const role_names[IPC_ROLE_RUNNER] = {
    [IPC_ROLE_AGENT] = "agent",   [IPC_ROLE_FIREWALL] = "firewall",   [IPC_ROLE_PROBER] = "prober",
    [IPC_ROLE_SENDER] = "sender", [IPC_ROLE_INVENTORY] = "inventory", [IPC_ROLE_FILTER] = "filter",
};

static json_t *wall_time(int64_t wall_ms)
{
	char text[CLOCK_TEXT_LEN];

	return json_string(clock_format_wall(wall_ms, text));
}

/* Messages of others may have been cut within a character: not UTF-8, the answer would be none. */
static json_t *message(const char *text)
{
	auto_free char *clean = NULL;

	return finding_set(&clean, text) < 0 ? json_null() : json_string(clean);
}

static bool is_answering(const struct agent_peer *peer)
{
	return peer->connected && peer->last_pong_ms &&
	       clock_monotonic_ms() - peer->last_pong_ms < AGENT_SILENT_AFTER_MS;
}

static json_t *processes_to_json(const struct agent *a)
{
	json_t *list = json_array();

	for (int role = IPC_ROLE_FIREWALL; role < IPC_ROLE_RUNNER; role++) {
		const struct agent_peer *peer = &a->peers[role];

		if (role == IPC_ROLE_FILTER && !peer->connected && !conf_has_filter(a->conf))
			continue;
		json_array_append_new(list,
		                      json_pack("{s:s, s:i, s:i, s:b}", "role", role_names[role],
		                                "pid", peer->pid, "restarts", (int)peer->restarts,
		                                "answering", is_answering(peer)));
	}
	return list;
}

static json_t *sink_to_json(const struct outbox_sink *sink, int64_t quiet_until_ms)
{
	uint64_t lost = 0;

	for (int i = 0; i < OUTBOX_LOSS_COUNT; i++)
		lost += sink->lost[i];
	return json_pack("{s:s, s:I, s:I, s:I, s:I, s:I, s:I, s:o, s:s, s:o, s:o}", "name",
	                 sink->name, "delivered", (json_int_t)sink->delivered, "retries",
	                 (json_int_t)sink->retries, "gave_up", (json_int_t)sink->gave_up, "lost",
	                 (json_int_t)lost, "untold", (json_int_t)sink->untold_loss, "queued",
	                 (json_int_t)sink->queued, "oldest",
	                 sink->queued ? wall_time(sink->oldest_ms) : json_null(), "circuit",
	                 sink->circuit_open ? "open" : "closed", "last_error",
	                 sink->last_error[0] ? message(sink->last_error) : json_null(),
	                 "quiet_until", quiet_until_ms ? wall_time(quiet_until_ms) : json_null());
}

static json_t *alerts_to_json(const struct agent *a)
{
	int64_t now_ms = clock_wall_ms();
	json_t *sinks = json_array();

	for (size_t i = 0; i < outbox_sink_count(a->outbox); i++) {
		struct outbox_sink sink;

		outbox_get_sink(a->outbox, i, &sink);
		json_array_append_new(
		    sinks,
		    sink_to_json(&sink, a->routes ? route_quiet_until(a->routes, i, now_ms) : 0));
	}
	return json_pack("{s:I, s:I, s:o}", "queued", (json_int_t)outbox_length(a->outbox),
	                 "removed", (json_int_t)outbox_removed(a->outbox), "sinks", sinks);
}

static json_t *targets_to_json(const struct agent *a)
{
	json_t *unresolved = json_array();
	const char *name, *why;
	size_t configured = 0;

	for (size_t i = 0; (name = targets_unresolved(a->targets, i, &why)); i++)
		json_array_append_new(unresolved, json_string(name));
	for (size_t i = 0; i < watch_set_count(a->watches); i++)
		configured += watch_set_at(a->watches, i)->targeted;
	return json_pack("{s:I, s:o}", "endpoints", (json_int_t)configured, "unresolved",
	                 unresolved);
}

static json_t *watch_to_json(const struct agent *a, const struct watch *w)
{
	int64_t now = clock_monotonic_ms(), offset = clock_wall_ms() - now;
	char endpoint[WATCH_NAME_LEN], program[128], reason[BLAST_REASON_LEN];
	const struct finding *f = w->last;
	const char *manual = w->decision ? w->decision->block ? "block" : "unblock" : NULL;
	bool is_open = w->breaker.state != BREAKER_CLOSED;

	json_t *endpoint_json = json_pack(
	    "{s:s, s:s?, s:s, s:s?, s:o, s:b, s:s?, s:s?, s:s?, s:o, s:I, s:o, s:b, s:o, s:s?, "
	    "s:s, s:s?, s:s?, s:s, s:s?, s:b}",
	    "endpoint", watch_name(w, endpoint), "rule",
	    w->configured ? a->conf->breakers[w->rule].name : NULL, "state",
	    breaker_state_name(w->breaker.state), "manual", manual, "manual_until",
	    w->decision ? wall_time(w->decision->until_ms) : json_null(), "quarantined",
	    w->slot.quarantined, "verdict", w->seen ? finding_verdict_name(w->verdict) : NULL,
	    "severity", f ? finding_severity_name(f->severity) : NULL, "risk",
	    w->high_risk ? "HIGH_RISK" : NULL, "last_probe",
	    w->seen ? wall_time(w->seen_wall_ms) : json_null(), "next_probe_ms",
	    (json_int_t)(w->slot.next_probe_ms > now ? w->slot.next_probe_ms - now : 0),
	    "open_until", is_open ? wall_time(w->breaker.open_until_ms + offset) : json_null(),
	    "blocked", w->wall.in_kernel, "block_expires_ms",
	    w->wall.in_kernel ? json_integer(w->wall.expires_ms - now) : json_null(), "block_error",
	    w->wall.error, "action", enforce_action(a, w), "action_reason",
	    enforce_reason(a, w, reason), "serves", w->serves_known ? w->serves : NULL, "program",
	    watch_program(w, program), "go_version", f ? f->go_version : NULL, "configured",
	    w->configured);

	record_to_json(w, endpoint_json);
	json_object_set_new(endpoint_json, "wall", verify_to_json(w));
	return endpoint_json;
}

json_t *report_watch(const struct agent *a, const struct watch *w)
{
	json_t *watch = watch_to_json(a, w);

	report_add_owner(a, watch, w);
	return watch;
}

/*
 * Targets are listed while there are few: people have named them. Of all, a page at a time, so that
 * the loop is not held up: `next` is then where the next one begins after.
 */
static json_t *endpoints_to_json(const struct agent *a, const struct report_range *range,
                                 size_t targets, json_t *status)
{
	char text[WATCH_NAME_LEN];
	json_t *list = json_array();

	for (size_t i = 0; i < watch_set_count(a->watches); i++) {
		const struct watch *w = watch_set_at(a->watches, i);

		if (range->after && watch_compare_key(w, range->after) <= 0)
			continue;
		if (!range->all && !report_is_of_interest(w) &&
		    !(w->targeted && targets <= FEW_TARGETS))
			continue;
		if (json_array_size(list) == PAGE_LEN) {
			w = watch_set_at(a->watches, i - 1);
			json_object_set_new(status, "next", json_string(watch_name(w, text)));
			break;
		}
		json_array_append_new(list, report_watch(a, w));
	}
	return list;
}

static json_t *rollout_to_json(const struct agent *a)
{
	return json_pack("{s:i, s:f, s:b}", "enforce_percent", (int)a->conf->enforce_percent,
	                 "host", (double)a->conf->rollout.draw / 100.0, "held_back",
	                 a->conf->rollout.held_back);
}

json_t *report_status(const struct agent *a, const struct report_range *range)
{
	json_t *targets = targets_to_json(a);
	size_t n_targets = (size_t)json_integer_value(json_object_get(targets, "endpoints"));
	struct state_health health = {0};
	struct wall_stats wall;
	json_t *status;

	wall_get_stats(a->wall, &wall);
	state_get_health(a->state, &health);
	status = json_pack(
	    "{s:b, s:s, s:s, s:b, s:s?, s:I, s:{s:o, s:I, s:I, s:o, s:b, s:o}, s:o, "
	    "s:{s:b, s:i, s:i}, s:{s:b, s:o}, s:o, s:o}",
	    "ok", 1, "version", PPROFWALL_VERSION, "mode",
	    a->conf->mode == CONF_MODE_ENFORCE ? "enforce" : "observe", "panic", a->panic,
	    "panic_reason", a->panic ? a->panic_reason : NULL, "uptime_ms",
	    (json_int_t)(clock_monotonic_ms() - a->started_ms), "config", "file",
	    message(a->config_path), "generation", (json_int_t)a->meta.generation, "crc32",
	    (json_int_t)a->meta.crc32, "loaded", wall_time(a->conf_loaded_wall_ms),
	    "last_reload_ok", a->last_reload_ok, "last_reload_error",
	    a->last_reload_ok ? json_null() : message(a->last_reload_error), "processes",
	    processes_to_json(a), "firewall", "persist", wall.persist, "blocks", (int)wall.blocks,
	    "reconciliations", (int)wall.reconciliations, "state", "ok", !health.failing, "error",
	    health.failing ? message(health.error) : json_null(), "alerts", alerts_to_json(a),
	    "targets", targets);
	json_object_set_new(status, "endpoints", endpoints_to_json(a, range, n_targets, status));
	json_object_set_new(status, "counts", report_counts(a));
	json_object_set_new(status, "listeners", report_listeners(a, range->all));
	json_object_set_new(status, "allow_from", admit_report(a->admit));
	json_object_set_new(status, "rollout", rollout_to_json(a));
	json_object_set_new(status, "filter", filters_report(a->filters));
	return status;
}

json_t *report_blocks(const struct agent *a)
{
	json_t *list = json_array();
	int64_t now = clock_monotonic_ms();

	for (size_t i = 0; i < watch_set_count(a->watches); i++) {
		const struct watch *w = watch_set_at(a->watches, i);
		const struct state_manual *d = w->decision;
		char endpoint[ENDPOINT_TEXT_LEN];

		if (!w->wall.in_kernel)
			continue;
		json_t *block = json_pack(
		    "{s:s, s:s, s:s?, s:b, s:s?, s:s?, s:I, s:I, s:I}", "endpoint",
		    endpoint_format(&w->endpoint, endpoint), "action", enforce_action(a, w), "rule",
		    d || !w->configured ? NULL : a->conf->breakers[w->rule].name, "manual",
		    d != NULL, "reason", d ? d->reason : w->record.evidence, "who",
		    d ? d->who : NULL, "expires_ms", (json_int_t)(w->wall.expires_ms - now),
		    "packets", (json_int_t)w->wall.packets, "bytes", (json_int_t)w->wall.bytes);
		record_to_json(w, block);
		json_array_append_new(list, block);
	}
	return json_pack("{s:b, s:o}", "ok", 1, "blocks", list);
}

/* The configuration may still be on its way. */
static bool watches_listeners(const struct agent *a)
{
	return a->conf && a->conf->scan.listeners;
}

/* The inventory is, if we are to watch listeners, and the filter, if a rule filters. */
static bool is_needed(const struct agent *a, int role)
{
	if (role == IPC_ROLE_FILTER)
		return a->conf && conf_has_filter(a->conf);
	return role != IPC_ROLE_INVENTORY || watches_listeners(a);
}

bool report_is_up(const struct agent *a, int role)
{
	return is_answering(&a->peers[role]) || !is_needed(a, role);
}

bool report_ready(struct evbuffer *out, void *arg)
{
	const struct agent *a = arg;
	struct state_health health = {0};
	struct schedule_stats schedule;
	bool ready = true;

	for (int role = IPC_ROLE_FIREWALL; role < IPC_ROLE_RUNNER; role++) {
		if (report_is_up(a, role))
			continue;
		evbuffer_add_printf(out, "the %s process does not answer\n", role_names[role]);
		ready = false;
	}
	schedule_get_stats(a->schedule, &schedule);
	if (schedule.blind) {
		evbuffer_add_printf(out, "the prober process does not answer its probes\n");
		ready = false;
	}
	state_get_health(a->state, &health);
	if (health.failing) {
		evbuffer_add_printf(out, "state cannot be written: %s\n", health.error);
		ready = false;
	}
	if (watches_listeners(a) && !listeners_is_synced(a->listeners)) {
		evbuffer_add_printf(out, "the listeners of this host are being read\n");
		ready = false;
	}
	if (!verify_is_ready(a, out))
		ready = false;
	if (!admit_is_ready(a->admit, out))
		ready = false;
	if (!a->adopted) {
		evbuffer_add_printf(out, "the blocks in the kernel are being read\n");
		ready = false;
	}
	return ready;
}
