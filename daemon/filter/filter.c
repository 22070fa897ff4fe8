/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/filter/filter.h"

#include "common/clock.h"
#include "common/log.h"
#include "daemon/filter/connection.h"
#include "daemon/filter/filter_internal.h"

#include <errno.h>
#include <string.h>

static const char conf_name[] = "the configuration";

enum { TICK_MS = 1000, STOP_TICK_MS = 20 };

static void end_with(struct filter *f, int status)
{
	f->exit_status = status;
	event_base_loopbreak(f->base);
}

void filter_refuse(struct filter *f, const char *peer, const char *why)
{
	log_error("%s: %s", peer, why);
	end_with(f, 1);
}

void filter_send(struct filter *f, struct channel *ch, const char *peer, uint16_t type,
                 uint64_t seq, const void *body, size_t length)
{
	int err = ch ? channel_send(ch, type, seq, body, length) : 0;

	/* The end of the channel is about to be seen. */
	if (err < 0 && err != -EPIPE && err != -ECONNRESET)
		filter_refuse(f, peer, strerror(-err));
}

/* The agent can do without: it is never waited for. */
static void tell_agent(struct filter *f, uint16_t type, const void *body, size_t length)
{
	if (f->agent && channel_queued(f->agent) == 0)
		filter_send(f, f->agent, "agent", type, 0, body, length);
}

static void on_denied(const struct filter_denied *denied, void *arg)
{
	tell_agent(arg, FILTER_DENIED, denied, sizeof(*denied));
}

static void arm(struct filter *f)
{
	int64_t ms = f->stop_at_ms ? STOP_TICK_MS : TICK_MS;
	const struct timeval tv = {.tv_sec = ms / 1000, .tv_usec = ms % 1000 * 1000};

	if (!evtimer_pending(f->tick, NULL))
		evtimer_add(f->tick, &tv);
}

/* Beats only while there is something to look after. */
static void on_tick(evutil_socket_t fd, short what, void *arg)
{
	struct filter *f = arg;
	int64_t now_ms = clock_monotonic_ms();
	bool changed, more;

	(void)fd;
	(void)what;
	connections_tick(&f->service, now_ms);
	more = denials_tick(f->service.denials, now_ms);
	changed = memcmp(&f->told, &f->service.stats, sizeof(f->told)) != 0;
	if (changed) {
		f->told = f->service.stats;
		tell_agent(f, FILTER_STATS, &f->told, sizeof(f->told));
	}
	if (f->stop_at_ms && (TAILQ_EMPTY(&f->service.connections) || now_ms >= f->stop_at_ms)) {
		end_with(f, 0);
		return;
	}
	if (more || changed || !TAILQ_EMPTY(&f->service.connections))
		arm(f);
}

static void on_connection(void *arg)
{
	arm(arg);
}

static void drop_candidate(struct filter *f)
{
	for (size_t i = 0; i < f->candidate.n; i++)
		policy_free(f->candidate.policies[i]);
	free(f->candidate.policies);
	memset(&f->candidate, 0, sizeof(f->candidate));
}

static void answer_conf(struct filter *f, uint64_t seq, int error, const char *text)
{
	struct ipc_result result = {.error = error};

	memcpy(result.text, text, strnlen(text, sizeof(result.text) - 1));
	filter_send(f, f->parent, "parent", IPC_CHILD_CONF, seq, &result, sizeof(result));
}

/* Of all that the file says, only what the rules let through is kept. */
static int keep_policies(struct filter *f, const struct conf *conf)
{
	f->candidate.policies = calloc(conf->n_breakers + 1, sizeof(struct policy *));
	if (!f->candidate.policies)
		return -ENOMEM;
	for (size_t i = 0; i < conf->n_breakers; i++) {
		struct policy *policy;

		if (conf->breakers[i].action != CONF_ACTION_FILTER)
			continue;
		policy = policy_new(&conf->breakers[i], f->signatures);
		if (!policy)
			return -ENOMEM;
		f->candidate.policies[f->candidate.n++] = policy;
	}
	return 0;
}

static void check_conf(struct filter *f, const struct ipc_conf *id, const struct frame *frame)
{
	char error[CONF_ERROR_LEN] = "no file came with it";
	auto_conf struct conf *conf = NULL;
	int err = -EINVAL;

	drop_candidate(f);
	if (frame->fd >= 0)
		conf = conf_load_fd(conf_name, frame->fd, error);
	if (conf) {
		conf_forget_secrets(conf);
		err = keep_policies(f, conf);
	}
	if (err == -ENOMEM)
		memcpy(error, "out of memory", sizeof("out of memory"));
	f->candidate.generation = id->generation;
	if (err < 0)
		drop_candidate(f);
	answer_conf(f, frame->seq, err, err < 0 ? error : "");
}

static void commit_conf(struct filter *f, const struct ipc_conf *id, const struct frame *frame)
{
	int err;

	if (f->candidate.generation == 0 || f->candidate.generation != id->generation) {
		answer_conf(f, frame->seq, -ESTALE, "not the configuration that was checked");
		return;
	}
	err = rules_commit(&f->rules, f->candidate.policies, f->candidate.n);
	if (err == 0) {
		f->candidate.n = 0;
		listeners_look_up(f->listeners);
	}
	drop_candidate(f);
	answer_conf(f, frame->seq, err, err < 0 ? strerror(-err) : "");
	if (err == 0 && !f->ready)
		filter_send(f, f->parent, "parent", IPC_CHILD_READY, 0, NULL, 0);
	f->ready = f->ready || err == 0;
}

static void begin_stop(struct filter *f)
{
	if (f->stop_at_ms)
		return;
	f->stop_at_ms = clock_monotonic_ms() + f->service.limits.stop_ms;
	listeners_close_all(f->listeners);
	connections_stop(&f->service);
	event_active(f->tick, EV_TIMEOUT, 0);
}

static void on_parent_frame(struct frame *frame, void *arg)
{
	struct filter *f = arg;
	struct ipc_conf id;
	bool is_conf = frame->length == sizeof(id);

	if (is_conf)
		memcpy(&id, frame->body, sizeof(id));
	if (frame->type == IPC_PARENT_CONF && is_conf)
		check_conf(f, &id, frame);
	else if (frame->type == IPC_PARENT_COMMIT && is_conf)
		commit_conf(f, &id, frame);
	else if (frame->type == IPC_PARENT_ABORT && is_conf)
		drop_candidate(f);
	else if (frame->type == IPC_PARENT_PEER)
		filter_take_firewall(f, frame);
	else if (frame->type == IPC_PARENT_STOP)
		begin_stop(f);
	else if (frame->type == IPC_PING && frame->length == 0)
		filter_send(f, f->parent, "parent", IPC_PONG, frame->seq, NULL, 0);
	else
		filter_refuse(f, "parent", "a message that is not for the filter");
}

static void on_parent_end(int error, void *arg)
{
	struct filter *f = arg;

	if (error < 0)
		filter_refuse(f, "parent", strerror(-error));
	else
		end_with(f, f->exit_status);
}

static void on_agent_frame(struct frame *frame, void *arg)
{
	struct filter *f = arg;

	if (frame->type == IPC_PING && frame->length == 0)
		filter_send(f, f->agent, "agent", IPC_PONG, frame->seq, NULL, 0);
	else
		filter_refuse(f, "agent", "a message that is not for the filter");
}

static void on_agent_end(int error, void *arg)
{
	struct filter *f = arg;

	if (error < 0)
		log_error("agent: %s", strerror(-error));
	channel_free(f->agent);
	f->agent = NULL;
}

static int set_up(struct filter *f, int parent_sock, int agent_sock)
{
	const struct channel_handlers parent = {on_parent_frame, on_parent_end, f};
	const struct channel_handlers agent = {on_agent_frame, on_agent_end, f};
	int err = channel_new(f->base, parent_sock, &parent, &f->parent);

	if (err < 0) {
		close(agent_sock);
		return err;
	}
	err = channel_new(f->base, agent_sock, &agent, &f->agent);
	if (err < 0)
		return err;
	f->tick = evtimer_new(f->base, on_tick, f);
	f->service.denials = denials_new(on_denied, f);
	f->listeners = listeners_new(&f->service, &f->rules, on_connection, f);
	return f->tick && f->service.denials && f->listeners ? 0 : -ENOMEM;
}

int filter_new(struct event_base *base, int parent_sock, int agent_sock,
               const struct signatures *signatures, unsigned descriptors, struct filter **out)
{
	struct filter *f = calloc(1, sizeof(*f));
	struct service *s;
	int err;

	if (!f) {
		close(parent_sock);
		close(agent_sock);
		return -ENOMEM;
	}
	f->base = base;
	f->signatures = signatures;
	rules_init(&f->rules);
	s = &f->service;
	s->base = base;
	s->limits = filter_limits_default;
	s->ask_socket = filter_ask_socket;
	s->arg = f;
	TAILQ_INIT(&s->connections);
	s->descriptors = descriptors;
	err = set_up(f, parent_sock, agent_sock);
	if (err < 0) {
		filter_free(f);
		return err;
	}
	*out = f;
	return 0;
}

void filter_free(struct filter *f)
{
	if (!f)
		return;
	connections_free(&f->service);
	listeners_free(f->listeners);
	rules_fini(&f->rules);
	addresses_fini(&f->service.clients);
	addresses_fini(&f->service.upstream);
	denials_free(f->service.denials);
	drop_candidate(f);
	if (f->tick)
		event_free(f->tick);
	channel_free(f->firewall);
	channel_free(f->agent);
	channel_free(f->parent);
	free(f);
}

int filter_exit_status(const struct filter *f)
{
	return f->exit_status;
}
