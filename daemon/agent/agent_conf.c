/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A configuration in two steps: checked beside the one in force, then taken in its place. */
#include "common/clock.h"
#include "common/log.h"
#include "conf/conf_rollout.h"
#include "daemon/agent/agent.h"

#include <errno.h>
#include <string.h>

static void send_result(struct agent *a, uint64_t seq, int error, const char *text)
{
	struct ipc_result result = {.error = error};

	snprintf(result.text, sizeof(result.text), "%s", text);
	channel_send(a->parent, IPC_CHILD_CONF, seq, &result, sizeof(result));
}

void agent_drop_candidate(struct agent *a)
{
	rules_free(a->candidate_rules);
	a->candidate_rules = NULL;
	routes_free(a->candidate_routes);
	a->candidate_routes = NULL;
	conf_free(a->candidate);
	a->candidate = NULL;
	http_server_free(a->candidate_http);
	a->candidate_http = NULL;
}

/* A new address is bound while the old one still serves: nothing is lost if that fails. */
static int bind_metrics(struct agent *a, char error[static CONF_ERROR_LEN])
{
	const struct http_handlers handlers = {
	    .metrics = exposition_write, .ready = report_ready, .arg = a};
	const struct conf *next = a->candidate;
	char text[ENDPOINT_TEXT_LEN];
	int err;

	if (!next->metrics.enabled ||
	    (a->conf && a->conf->metrics.enabled &&
	     endpoint_compare(&a->conf->metrics.listen, &next->metrics.listen) == 0))
		return 0;
	err = http_server_new(a->base, &next->metrics.listen, &handlers, &a->candidate_http);
	if (err < 0)
		snprintf(error, CONF_ERROR_LEN, "metrics.listen %s: %s",
		         endpoint_format(&next->metrics.listen, text), strerror(-err));
	return err;
}

static int make_rules(struct agent *a, char error[static CONF_ERROR_LEN])
{
	char why[CONF_ERROR_LEN] = "out of memory";
	int err = rules_new(a->candidate, &a->candidate_rules, why);

	if (err == 0)
		err = routes_new(a->candidate, &a->candidate_routes, why);
	if (err < 0)
		snprintf(error, CONF_ERROR_LEN, "%.200s:%.300s", a->config_path, why);
	return err;
}

static int check_candidate(struct agent *a, char error[static CONF_ERROR_LEN])
{
	const char *fixed = a->conf ? conf_find_fixed_change(a->conf, a->candidate) : NULL;
	int err;

	if (fixed) {
		snprintf(error, CONF_ERROR_LEN,
		         "%.300s: %s cannot change while the service runs; restart it",
		         a->config_path, fixed);
		return -EINVAL;
	}
	/* At the start, what is wrong with a file of allow_from stops nobody. */
	err = a->conf ? admit_check(a->candidate, a->config_path, error) : 0;
	if (err == 0)
		err = make_rules(a, error);
	return err < 0 ? err : bind_metrics(a, error);
}

void agent_check_conf(struct agent *a, const struct frame *f)
{
	char error[CONF_ERROR_LEN] = "";
	int err = -EINVAL;

	agent_drop_candidate(a);
	a->candidate = f->fd >= 0 ? conf_load_fd(a->config_path, f->fd, error) : NULL;
	if (a->candidate) {
		conf_forget_secrets(a->candidate);
		conf_rollout_apply(a->candidate, a->host_id);
		err = check_candidate(a, error);
	}
	if (err < 0)
		agent_drop_candidate(a);
	send_result(a, f->seq, err, error);
}

static void on_added(struct watch *w, void *arg)
{
	enforce_take_up(arg, w);
}

/* It may be a listener's all the same. */
static void drop_target(struct agent *a, struct watch *w)
{
	w->targeted = false;
	if (LIST_EMPTY(&w->claims)) {
		enforce_abandon(a, w);
		return;
	}
	targets_forget_manner(w);
	observe_reconsider(a, w);
}

void agent_apply_targets(struct agent *a, bool keep_open)
{
	uint64_t epoch = targets_apply(a->targets, a->watches, on_added, a);

	for (size_t i = watch_set_count(a->watches); i-- > 0;) {
		struct watch *w = watch_set_at(a->watches, i);

		if (w->targeted && w->epoch != epoch &&
		    (!keep_open || w->breaker.state == BREAKER_CLOSED))
			drop_target(a, w);
	}
}

static void configure_sources(struct agent *a, const struct state_snapshot *before)
{
	int err = admit_configure(a->admit);

	if (err < 0)
		log_error("allow_from: %s", strerror(-err));
	admit_restore(a->admit, before);
	admit_give(a->admit);
}

static void begin_service(struct agent *a)
{
	struct state_snapshot snapshot = {0};
	char why[STATE_ERROR_LEN];
	int err;

	/* No block goes in before it is known, and it comes while the state is read. */
	logins_tick(a->logins, clock_monotonic_ms());
	err = state_open(a->conf->state.directory, &a->state, &snapshot, why);
	/* First, since what follows makes events. */
	outbox_restore(a->outbox, a->state, &snapshot);
	/* Without a disk the wall still stands; /readyz and the log say what is missing. */
	if (err < 0)
		log_error("state is not kept: %s", why);
	else if (why[0])
		log_warning("%s", why);
	a->panic = a->meta.panic;
	if (a->panic) {
		(void)state_panic_read(a->conf->state.directory, a->panic_reason);
		log_warning("panic marker found: nothing is enforced until `pprofwall resume`");
	}
	configure_sources(a, &snapshot);
	targets_configure(a->targets, a->conf);
	agent_apply_targets(a, false);
	local_configure(a);
	if (err == 0) {
		if (record_begin(a, &snapshot) < 0)
			log_error("out of memory: alerts wait for the state longer than they need");
		impact_restore(a->impact, &snapshot);
		enforce_restore(a, &snapshot);
		state_snapshot_free(&snapshot);
	}
	wall_list(a->wall);
}

static void change_service(struct agent *a, const struct conf *old)
{
	static const struct state_snapshot nothing;

	observe_renumber(a, old);
	configure_sources(a, &nothing);
	targets_configure(a->targets, a->conf);
	agent_apply_targets(a, false);
	local_configure(a);
	enforce_all(a);
}

void agent_commit_conf(struct agent *a, const struct frame *f)
{
	struct conf *old = a->conf;
	bool keep_http;

	if (!a->candidate || f->length != sizeof(a->meta)) {
		send_result(a, f->seq, -EPROTO, "agent: commit without a checked configuration");
		return;
	}
	memcpy(&a->meta, f->body, sizeof(a->meta));
	a->conf = a->candidate;
	a->candidate = NULL;
	rules_free(a->rules);
	a->rules = a->candidate_rules;
	a->candidate_rules = NULL;
	routes_free(a->routes);
	a->routes = a->candidate_routes;
	a->candidate_routes = NULL;
	keep_http = a->conf->metrics.enabled && !a->candidate_http;
	if (!keep_http) {
		http_server_free(a->http);
		a->http = a->candidate_http;
		a->candidate_http = NULL;
	}
	a->conf_loaded_wall_ms = clock_wall_ms();
	a->last_reload_ok = true;
	schedule_configure(a->schedule, a->conf->scan.concurrency, a->conf->scan.timeout_ms);
	outbox_configure(a->outbox, a->conf);
	wall_set_generation(a->wall, a->meta.generation);
	if (a->conf->rollout.held_back)
		log_info("mode is enforce, but this host is %u.%02u in the roll-out and "
		         "enforce_percent is %u: observing",
		         a->conf->rollout.draw / 100, a->conf->rollout.draw % 100,
		         a->conf->enforce_percent);
	if (old)
		change_service(a, old);
	else
		begin_service(a);
	conf_free(old);
	send_result(a, f->seq, 0, "");
}
