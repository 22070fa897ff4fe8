/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/agent/agent.h"

#include "common/clock.h"
#include "common/log.h"
#include "daemon/agent/block_list.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>

static const double probe_buckets[] = {0.001, 0.0025, 0.005, 0.01, 0.025, 0.05,
                                       0.1,   0.25,   0.5,   1,    2.5,   5};

static const double latency_buckets[] = {0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8,
                                         0.9, 1,   1.5, 2,   5,   10,  60};

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
	if (peer.role >= IPC_ROLE_RUNNER)
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
	else if (peer.role == IPC_ROLE_FILTER)
		err = filters_set_process(a->filters, sock);
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
	case IPC_PARENT_CONF: agent_check_conf(a, f); break;
	case IPC_PARENT_COMMIT: agent_commit_conf(a, f); break;
	case IPC_PARENT_ABORT: agent_drop_candidate(a); break;
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
		agent_apply_targets(a, true);
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
	filters_ping(a->filters);
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

static int ask_name(const char *name, uint64_t token, void *arg)
{
	struct agent *a = arg;

	return outbox_resolve(a->outbox, name, token);
}

static void tick(struct agent *a, int64_t now)
{
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
	filters_tick(a->filters, now);
	if (!a->adopted)
		return;
	look_for_panic(a);
	impact_tick(a->impact);
	logins_tick(a->logins, now);
	if (now - a->listed_ms >= list_every(a)) {
		a->listed_ms = now;
		wall_list(a->wall);
	}
}

/* Is there a deadline that somebody would notice if it were kept late? */
static bool is_busy(const struct agent *a, int64_t now)
{
	return !a->adopted || !TAILQ_EMPTY(&a->waiters) || !TAILQ_EMPTY(&a->untold) ||
	       wall_is_waiting(a->wall) ||
	       (a->verify_due_ms && a->verify_due_ms < now + AGENT_TICK_MS);
}

/* Waking up is most of what we cost while nothing happens: children are woken with us. */
static void on_tick(evutil_socket_t fd, short what, void *arg)
{
	struct timeval in = {.tv_sec = AGENT_TICK_MS / 1000};
	struct agent *a = arg;
	int64_t now = clock_monotonic_ms();

	(void)fd;
	(void)what;
	tick(a, now);
	if (is_busy(a, now))
		in = (struct timeval){.tv_usec = AGENT_BUSY_TICK_MS * 1000};
	evtimer_add(a->tick, &in);
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
	    .ask_socket = inside_ask_socket,
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
	    .named = on_named,
	    .pong = on_outbox_pong,
	    .describe_loss = event_describe_loss,
	    .arg = a,
	};
	const struct timeval first = {.tv_usec = AGENT_BUSY_TICK_MS * 1000};
	int err;

	a->base = event_base_new();
	a->watches = watch_set_new();
	a->targets = targets_new();
	if (!a->base || !a->watches || !a->targets)
		return -ENOMEM;
	a->tick = evtimer_new(a->base, on_tick, a);
	if (!a->tick || evtimer_add(a->tick, &first) < 0)
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
		err = logins_new(a, &a->logins);
	if (err == 0)
		err = filters_new(a, &a->filters);
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
	agent_drop_candidate(a);
	record_end(a);
	inventory_free(a->inventory);
	listeners_free(a->listeners);
	watch_set_free(a->watches);
	schedule_free(a->schedule);
	wall_free(a->wall);
	admit_free(a->admit);
	outbox_free(a->outbox);
	impact_free(a->impact);
	logins_free(a->logins); /* the inventory's talk, which may still answer it, is over */
	filters_free(a->filters);
	targets_free(a->targets);
	if (a->state)
		state_close(a->state);
	channel_free(a->parent); /* after what takes time: its end means ours */
	if (a->control_sock >= 0)
		close(a->control_sock);
	if (a->tick)
		event_free(a->tick);
	rules_free(a->rules);
	routes_free(a->routes);
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
