/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/agent/agent.h"

#include "common/clock.h"
#include "common/log.h"
#include "conf/conf_rollout.h"
#include "daemon/agent/block_list.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>

static const double probe_buckets[] = {0.001, 0.0025, 0.005, 0.01, 0.025, 0.05,
                                       0.1,   0.25,   0.5,   1,    2.5,   5};

static const double latency_buckets[] = {0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8,
                                         0.9, 1,   1.5, 2,   5,   10,  60};

static void send_result(struct agent *a, uint64_t seq, int error, const char *text)
{
	struct ipc_result result = {.error = error};

	snprintf(result.text, sizeof(result.text), "%s", text);
	channel_send(a->parent, IPC_CHILD_CONF, seq, &result, sizeof(result));
}

static void drop_candidate(struct agent *a)
{
	rules_free(a->candidate_rules);
	a->candidate_rules = NULL;
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

static void check_conf(struct agent *a, const struct frame *f)
{
	char error[CONF_ERROR_LEN] = "";
	int err = -EINVAL;

	drop_candidate(a);
	a->candidate = f->fd >= 0 ? conf_load_fd(a->config_path, f->fd, error) : NULL;
	if (a->candidate) {
		conf_forget_secrets(a->candidate);
		conf_rollout_apply(a->candidate, a->host_id);
		err = check_candidate(a, error);
	}
	if (err < 0)
		drop_candidate(a);
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

/*
 * `keep_open`: a name's addresses have changed, which is no evidence that a server is clean.
 * Whoever answers for the name would else lift the wall: such a watch goes when its breaker has
 * closed.
 */
static void apply_targets(struct agent *a, bool keep_open)
{
	uint64_t epoch = targets_apply(a->targets, a->watches, on_added, a);

	for (size_t i = watch_set_count(a->watches); i-- > 0;) {
		struct watch *w = watch_set_at(a->watches, i);

		if (w->targeted && w->epoch != epoch &&
		    (!keep_open || w->breaker.state == BREAKER_CLOSED))
			drop_target(a, w);
	}
}

static int ask_name(const char *name, uint64_t token, void *arg)
{
	struct agent *a = arg;

	return outbox_resolve(a->outbox, name, token);
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
	int err = state_open(a->conf->state.directory, &a->state, &snapshot, why);

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
	apply_targets(a, false);
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
	apply_targets(a, false);
	local_configure(a);
	enforce_all(a);
}

static void commit_conf(struct agent *a, const struct frame *f)
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

static void take_reload_result(struct agent *a, const struct frame *f)
{
	struct ipc_result result;

	if (f->length != sizeof(result))
		return;
	memcpy(&result, f->body, sizeof(result));
	result.text[IPC_TEXT_LEN - 1] = '\0';
	a->last_reload_ok = result.error == 0;
	memcpy(a->last_reload_error, result.text, sizeof(a->last_reload_error));
	verbs_answer_reload(a, &result);
}

static void take_peer(struct agent *a, struct frame *f)
{
	struct ipc_peer peer;
	int sock = f->fd;
	int err = -EPROTO;

	if (f->length != sizeof(peer) || sock < 0)
		return;
	memcpy(&peer, f->body, sizeof(peer));
	if (peer.role >= IPC_ROLE_COUNT)
		return;
	f->fd = -1;
	a->peers[peer.role] =
	    (struct agent_peer){.pid = peer.pid, .restarts = peer.restarts, .connected = true};
	if (peer.role == IPC_ROLE_FIREWALL)
		err = wall_set_firewall(a->wall, sock);
	else if (peer.role == IPC_ROLE_PROBER)
		err = schedule_set_prober(a->schedule, sock);
	else if (peer.role == IPC_ROLE_SENDER)
		err = outbox_set_sender(a->outbox, sock);
	else if (peer.role == IPC_ROLE_INVENTORY)
		err = local_set_helper(a, sock);
	else
		close(sock);
	if (err < 0)
		log_error("socket to a child: %s", strerror(-err));
}

static void stop(struct agent *a)
{
	event_base_loopbreak(a->base);
}

static void on_parent_frame(struct frame *f, void *arg)
{
	struct agent *a = arg;

	switch (f->type) {
	case IPC_PARENT_CONF: check_conf(a, f); break;
	case IPC_PARENT_COMMIT: commit_conf(a, f); break;
	case IPC_PARENT_ABORT: drop_candidate(a); break;
	case IPC_PARENT_PEER: take_peer(a, f); break;
	case IPC_PARENT_CONTROL:
		if (a->control_sock < 0)
			a->control_sock = steal_fd(&f->fd);
		break;
	case IPC_PARENT_RELOADED: take_reload_result(a, f); break;
	case IPC_PARENT_STOP: stop(a); break;
	default: break;
	}
}

static void on_parent_end(int error, void *arg)
{
	struct agent *a = arg;

	(void)error;
	log_error("the parent process is gone");
	a->exit_status = 1;
	stop(a);
}

static void on_schedule_pong(void *arg)
{
	((struct agent *)arg)->peers[IPC_ROLE_PROBER].last_pong_ms = clock_monotonic_ms();
}

static void on_wall_pong(void *arg)
{
	((struct agent *)arg)->peers[IPC_ROLE_FIREWALL].last_pong_ms = clock_monotonic_ms();
}

static void on_outbox_pong(void *arg)
{
	((struct agent *)arg)->peers[IPC_ROLE_SENDER].last_pong_ms = clock_monotonic_ms();
}

static void on_event_done(uint64_t seq, void *arg)
{
	record_note_announced(arg, seq);
}

static void on_prober_gone(int error, void *arg)
{
	struct agent *a = arg;

	(void)error; /* the parent says how it ended */
	a->peers[IPC_ROLE_PROBER].connected = false;
}

static void on_prober_blind(unsigned probes, bool again, void *arg)
{
	struct agent *a = arg;

	if (!again)
		log_error("the prober process answers, but not for its probes (%u are past every "
		          "deadline); it is restarted",
		          probes);
	channel_send(a->parent, IPC_CHILD_BLIND, 0, NULL, 0);
}

static void on_resolved(const struct ipc_addresses *addresses, uint64_t token, void *arg)
{
	struct agent *a = arg;

	if (token & ALLOW_TOKEN)
		admit_take_answer(a->admit, token, addresses);
	else if (targets_take_answer(a->targets, token, addresses, clock_monotonic_ms()))
		apply_targets(a, true);
}

static void on_allow_answered(uint32_t rule, const struct firewall_reply *reply, void *arg)
{
	admit_answered(((struct agent *)arg)->admit, rule, reply);
}

static void on_found(const struct firewall_reply *block, void *arg)
{
	enforce_note_block(arg, block);
}

/* Everything is known now: people may ask, and systemd may be told. */
static void on_first_list(struct agent *a)
{
	struct stat st;
	gid_t group = 0;
	int err;

	if (stat(a->conf->control.socket, &st) == 0)
		group = st.st_gid; /* the parent has looked it up */
	err = a->control_sock < 0 ? -ENOTCONN
	                          : control_server_new(a->base, steal_fd(&a->control_sock), group,
	                                               verbs_handle, a, &a->control);
	if (err < 0)
		log_error("control.socket: %s", strerror(-err));
	channel_send(a->parent, IPC_CHILD_READY, 0, NULL, 0);
}

static void on_list_ended(bool complete, void *arg)
{
	struct agent *a = arg;
	bool first = !a->adopted;

	enforce_compare_list(a, complete);
	if (first)
		on_first_list(a);
	verbs_answer_list(a);
}

static void on_named(const char *name, uint64_t token, void *arg)
{
	impact_take_name(((struct agent *)arg)->impact, name, token);
}

static void on_peers(const struct firewall_peer *peers, size_t count, void *arg)
{
	impact_take_peers(((struct agent *)arg)->impact, peers, count);
}

static void on_peers_ended(bool complete, void *arg)
{
	(void)complete; /* what was told counts */
	impact_take_peers_end(((struct agent *)arg)->impact);
}

static void on_restored(void *arg)
{
	(void)arg;
	log_warning("somebody changed or flushed our nftables table; it was restored");
}

static void on_wall_status(const struct firewall_reply *reply, void *arg)
{
	block_list_take_status(arg, reply);
}

static void on_panic_answered(enum firewall_verb verb, const struct firewall_reply *reply,
                              void *arg)
{
	struct agent *a = arg;

	enforce_set_panic(a, reply->panicked,
	                  reply->panicked ? "the firewall process says so" : "");
	if (verb != FIREWALL_STATUS)
		verbs_answer_panic(a, verb == FIREWALL_PANIC,
		                   reply->result == FIREWALL_OK
		                       ? NULL
		                       : firewall_result_text((enum firewall_result)reply->result));
}

/* The parent sees a firewall that has died, and ends the service: see end_without_firewall(). */
static void on_wall_gone(void *arg)
{
	((struct agent *)arg)->peers[IPC_ROLE_FIREWALL].connected = false;
}

static void ping_peers(struct agent *a)
{
	schedule_ping(a->schedule);
	wall_ping(a->wall);
	outbox_ping(a->outbox);
	inventory_ping(a->inventory);
}

/* `pprofwall panic` leaves its marker even when we were stopped while it ran. */
static void look_for_panic(struct agent *a)
{
	if (a->panic || !state_panic_exists(a->conf->state.directory))
		return;
	wall_panic(a->wall);
	enforce_set_panic(a, true, "the panic marker has appeared");
}

/* One that lives on, but has hung up, the parent does not see. */
static void end_without_firewall(struct agent *a, int64_t now)
{
	const struct agent_peer *firewall = &a->peers[IPC_ROLE_FIREWALL];

	if (firewall->connected || now - firewall->last_pong_ms < AGENT_SILENT_AFTER_MS)
		return;
	log_error("the firewall process has closed its socket; the service ends");
	a->exit_status = 1;
	stop(a);
}

/* Reading the kernel's list keeps the helper busy, half a second for 100,000. */
static int64_t list_every(const struct agent *a)
{
	struct wall_stats wall;
	int64_t ms;

	wall_get_stats(a->wall, &wall);
	ms = AGENT_LIST_EVERY_MS + (int64_t)wall.blocks * AGENT_LIST_EVERY_MS / 1000;
	return ms < AGENT_LIST_AT_LEAST_MS ? ms : AGENT_LIST_AT_LEAST_MS;
}

static void on_tick(evutil_socket_t fd, short what, void *arg)
{
	struct agent *a = arg;
	int64_t now = clock_monotonic_ms();

	(void)fd;
	(void)what;
	ping_peers(a);
	if (!a->conf)
		return;
	if (channel_queued(a->parent) == 0)
		channel_send(a->parent, IPC_CHILD_ALIVE, 0, NULL, 0);
	end_without_firewall(a, now);
	wall_check_deadlines(a->wall);
	verbs_check_deadlines(a);
	record_check(a);
	targets_ask_due(a->targets, now, ask_name, a);
	admit_tick(a->admit, now);
	verify_tick(a, now);
	local_tick(a);
	if (!a->adopted)
		return;
	look_for_panic(a);
	impact_tick(a->impact);
	if (now - a->listed_ms >= list_every(a)) {
		a->listed_ms = now;
		record_retry(a);
		wall_list(a->wall);
	}
}

static int make_parts(struct agent *a, int parent_sock)
{
	const struct channel_handlers parent = {
	    .frame = on_parent_frame, .end = on_parent_end, .arg = a};
	const struct schedule_handlers schedule = {
	    .begin = observe_begin,
	    .done = observe_done,
	    .died = observe_died,
	    .released = observe_released,
	    .prober_gone = on_prober_gone,
	    .pong = on_schedule_pong,
	    .blind = on_prober_blind,
	    .arg = a,
	};
	const struct wall_handlers wall = {
	    .settled = enforce_settled,
	    .found = on_found,
	    .list_ended = on_list_ended,
	    .peers = on_peers,
	    .peers_ended = on_peers_ended,
	    .restored = on_restored,
	    .pong = on_wall_pong,
	    .status = on_wall_status,
	    .panic_answered = on_panic_answered,
	    .allow_answered = on_allow_answered,
	    .gone = on_wall_gone,
	    .arg = a,
	};
	const struct outbox_handlers outbox = {
	    .resolved = on_resolved,
	    .done = on_event_done,
	    .named = on_named,
	    .pong = on_outbox_pong,
	    .arg = a,
	};
	const struct timeval every = {.tv_usec = AGENT_PING_EVERY_MS * 1000};
	int err;

	a->base = event_base_new();
	a->watches = watch_set_new();
	a->targets = targets_new();
	if (!a->base || !a->watches || !a->targets)
		return -ENOMEM;
	a->tick = event_new(a->base, -1, EV_PERSIST, on_tick, a);
	if (!a->tick || event_add(a->tick, &every) < 0)
		return -ENOMEM;
	err = schedule_new(a->base, &schedule, &a->schedule);
	if (err == 0)
		err = wall_new(a->base, &wall, &a->wall);
	if (err == 0)
		err = admit_new(a, &a->admit);
	if (err == 0)
		err = outbox_new(a->base, &outbox, &a->outbox);
	if (err == 0)
		err = local_init(a);
	if (err == 0)
		err = impact_new(a, &a->impact);
	if (err == 0)
		err = channel_new(a->base, parent_sock, &parent, &a->parent);
	return err;
}

static void free_waiters(struct agent *a)
{
	struct waiter *w;

	while ((w = TAILQ_FIRST(&a->waiters))) {
		TAILQ_REMOVE(&a->waiters, w, link);
		control_answer_error(w->request, "the service is stopping");
		free(w);
	}
}

static void free_parts(struct agent *a)
{
	block_list_free(a);
	free_waiters(a);
	control_server_free(a->control);
	http_server_free(a->http);
	drop_candidate(a);
	record_end(a);
	inventory_free(a->inventory);
	listeners_free(a->listeners);
	watch_set_free(a->watches);
	schedule_free(a->schedule);
	wall_free(a->wall);
	admit_free(a->admit);
	outbox_free(a->outbox);
	impact_free(a->impact);
	targets_free(a->targets);
	if (a->state)
		state_close(a->state);
	channel_free(a->parent); /* after what takes time: its end means ours */
	if (a->control_sock >= 0)
		close(a->control_sock);
	if (a->tick)
		event_free(a->tick);
	rules_free(a->rules);
	conf_free(a->conf);
	if (a->base)
		event_base_free(a->base);
}

int agent_run(int parent_sock, const char *config_path)
{
	struct agent a = {
	    .config_path = config_path,
	    .control_sock = -1,
	    .started_ms = clock_monotonic_ms(),
	    .last_reload_ok = true,
	    .probe_duration = {.bounds = probe_buckets, .n_bounds = ARRAY_LEN(probe_buckets)},
	    .block_latency = {.bounds = latency_buckets, .n_bounds = ARRAY_LEN(latency_buckets)},
	};
	int err;

	TAILQ_INIT(&a.waiters);
	TAILQ_INIT(&a.untold);
	if (gethostname(a.host, sizeof(a.host) - 1) < 0)
		snprintf(a.host, sizeof(a.host), "unknown");
	host_id_read(a.host_id);
	err = make_parts(&a, parent_sock);
	if (err < 0) {
		log_error("%s", strerror(-err));
		a.exit_status = 1;
	} else {
		event_base_dispatch(a.base);
	}
	free_parts(&a);
	return a.exit_status;
}
