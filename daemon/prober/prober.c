/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/prober/prober.h"

#include "common/cleanup.h"
#include "common/log.h"
#include "daemon/channel.h"
#include "daemon/ipc.h"

#include <errno.h>
#include <string.h>
#include <sys/queue.h>

enum { RESUME_AFTER_MS = 10 };

struct waiting {
	struct probe_request request;
	STAILQ_ENTRY(waiting) link;
};

struct prober {
	struct event_base *base;
	struct channel *parent, *agent;
	struct probe_engine *engine;
	struct event *resume;
	STAILQ_HEAD(, waiting) queue;
	size_t queued;
	int exit_status;
};

static void end_with(struct prober *p, int status)
{
	p->exit_status = status;
	event_base_loopbreak(p->base);
}

static void refuse(struct prober *p, const char *peer, const char *why)
{
	log_error("%s: %s", peer, why);
	end_with(p, 1);
}

static bool is_endpoint(const struct endpoint *e)
{
	if (e->port == 0)
		return false;
	if (e->family == AF_INET)
		return e->scope_id == 0 && frame_is_zero(e->address + 4, sizeof(e->address) - 4);
	return e->family == AF_INET6;
}

static bool is_probe(const struct ipc_probe *probe)
{
	return is_endpoint(&probe->endpoint) && probe->timeout_ms >= 0 &&
	       probe->timeout_ms <= PROBER_TIMEOUT_MAX_MS && probe->tls_first <= 1 &&
	       probe->tls_only <= 1 && probe->plain_only <= 1 && probe->asks_serves <= 1 &&
	       probe->from_inside <= 1 && !(probe->tls_only && probe->plain_only) &&
	       frame_is_zero(probe->zero, sizeof(probe->zero)) &&
	       frame_is_string(probe->host, sizeof(probe->host)) &&
	       frame_is_string(probe->prefix, sizeof(probe->prefix));
}

/* Findings that the agent has not read yet hold new probes back: memory stays bounded. */
static void start_waiting(struct prober *p)
{
	struct waiting *w;

	while ((w = STAILQ_FIRST(&p->queue))) {
		const struct timeval tv = {.tv_usec = RESUME_AFTER_MS * 1000};
		int err;

		if (channel_queued(p->agent) > 0) {
			evtimer_add(p->resume, &tv);
			return;
		}
		err = probe_submit(p->engine, &w->request);
		if (err == -EAGAIN)
			return; /* the next finding comes by here */
		if (err < 0) {
			refuse(p, "agent",
			       err == -EINVAL ? "a host or prefix that cannot be asked for"
			                      : strerror(-err));
			return;
		}
		STAILQ_REMOVE_HEAD(&p->queue, link);
		p->queued--;
		free(w);
	}
}

static void on_resume(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	start_waiting(arg);
}

static void on_probe_done(const struct probe_request *request, const struct finding *finding,
                          void *arg)
{
	struct prober *p = arg;
	auto_free char *line = finding_to_line(finding);
	int err;

	if (!line) {
		refuse(p, "prober", "out of memory");
		return;
	}
	err = channel_send(p->agent, IPC_PROBE_DONE, request->token, line, strlen(line));
	if (err == -EPIPE || err == -ECONNRESET)
		return; /* the end of the channel is about to be seen */
	if (err < 0) {
		refuse(p, "agent", strerror(-err));
		return;
	}
	start_waiting(p);
}

static void on_probe_start(struct prober *p, const struct frame *f)
{
	struct ipc_probe probe;
	struct waiting *w;

	if (f->length != sizeof(probe)) {
		refuse(p, "agent", "a probe of the wrong size");
		return;
	}
	memcpy(&probe, f->body, sizeof(probe));
	if (!is_probe(&probe)) {
		refuse(p, "agent", "a malformed probe");
		return;
	}
	if (p->queued >= PROBER_QUEUE_MAX) {
		refuse(p, "agent", "more probes than can wait");
		return;
	}
	w = calloc(1, sizeof(*w));
	if (!w) {
		refuse(p, "prober", "out of memory");
		return;
	}
	w->request = (struct probe_request){
	    .endpoint = probe.endpoint,
	    .timeout_ms = probe.timeout_ms,
	    .tls_first = probe.tls_first,
	    .tls_only = probe.tls_only,
	    .plain_only = probe.plain_only,
	    .asks_serves = probe.asks_serves,
	    .from_inside = probe.from_inside,
	    .token = f->seq,
	};
	_Static_assert(sizeof(w->request.host) == sizeof(probe.host), "same host");
	_Static_assert(sizeof(w->request.prefix) == sizeof(probe.prefix), "same prefix");
	memcpy(w->request.host, probe.host, sizeof(probe.host));
	memcpy(w->request.prefix, probe.prefix, sizeof(probe.prefix));
	STAILQ_INSERT_TAIL(&p->queue, w, link);
	p->queued++;
	start_waiting(p);
}

static void on_ask_socket(const struct probe_request *request, void *arg)
{
	struct prober *p = arg;
	int err = channel_send(p->agent, IPC_PROBE_ASK_SOCKET, request->token, NULL, 0);

	if (err < 0 && err != -EPIPE && err != -ECONNRESET)
		refuse(p, "agent", strerror(-err));
}

static void on_socket(struct prober *p, struct frame *f)
{
	struct ipc_socket answer = {0};

	if (f->length == sizeof(answer))
		memcpy(&answer, f->body, sizeof(answer));
	if (f->length != sizeof(answer) || answer.zero || (answer.error < 0) != (f->fd < 0) ||
	    answer.error > 0) {
		refuse(p, "agent", "a malformed answer about a socket");
		return;
	}
	probe_give_socket(p->engine, f->seq, steal_fd(&f->fd), answer.error);
}

static void answer_ping(struct prober *p, struct channel *ch, const char *peer,
                        const struct frame *f)
{
	int err = channel_send(ch, IPC_PONG, f->seq, NULL, 0);

	if (err < 0 && err != -EPIPE && err != -ECONNRESET)
		refuse(p, peer, strerror(-err));
}

static void on_agent_frame(struct frame *f, void *arg)
{
	struct prober *p = arg;

	if (f->type == IPC_PROBE_START)
		on_probe_start(p, f);
	else if (f->type == IPC_PROBE_SOCKET)
		on_socket(p, f);
	else if (f->type == IPC_PING && f->length == 0)
		answer_ping(p, p->agent, "agent", f);
	else
		refuse(p, "agent", "a message that is not for the prober");
}

/* The configuration is none of our business; what counts comes with each probe. */
static void accept_conf(struct prober *p, const struct frame *f)
{
	const struct ipc_result result = {0};
	int err = channel_send(p->parent, IPC_CHILD_CONF, f->seq, &result, sizeof(result));

	if (err < 0 && err != -EPIPE && err != -ECONNRESET)
		refuse(p, "parent", strerror(-err));
}

static void on_parent_frame(struct frame *f, void *arg)
{
	struct prober *p = arg;

	if ((f->type == IPC_PARENT_CONF || f->type == IPC_PARENT_COMMIT) &&
	    f->length == sizeof(struct ipc_conf))
		accept_conf(p, f);
	else if (f->type == IPC_PARENT_ABORT && f->length == sizeof(struct ipc_conf))
		return;
	else if (f->type == IPC_PING && f->length == 0)
		answer_ping(p, p->parent, "parent", f);
	else if (f->type == IPC_PARENT_STOP)
		end_with(p, 0);
	else
		refuse(p, "parent", "a message that is not for the prober");
}

static void on_end(struct prober *p, const char *peer, int error)
{
	if (error < 0)
		refuse(p, peer, strerror(-error));
	else
		end_with(p, p->exit_status);
}

static void on_agent_end(int error, void *arg)
{
	on_end(arg, "agent", error);
}

static void on_parent_end(int error, void *arg)
{
	on_end(arg, "parent", error);
}

static int set_up(struct prober *p, int parent_sock, int agent_sock,
                  const struct signatures *signatures)
{
	const struct channel_handlers parent = {on_parent_frame, on_parent_end, p};
	const struct channel_handlers agent = {on_agent_frame, on_agent_end, p};
	struct probe_limits limits = probe_limits_default;
	int err = channel_new(p->base, parent_sock, &parent, &p->parent);

	if (err < 0) {
		close(agent_sock);
		return err;
	}
	err = channel_new(p->base, agent_sock, &agent, &p->agent);
	if (err < 0)
		return err;
	p->resume = evtimer_new(p->base, on_resume, p);
	if (!p->resume)
		return -ENOMEM;
	limits.concurrency = PROBER_CONCURRENCY;
	err = probe_new(p->base, &limits, probe_user_agent, false, on_probe_done, p, &p->engine);
	if (err < 0)
		return err;
	probe_set_signatures(p->engine, signatures, false);
	probe_set_socket_source(p->engine, on_ask_socket);
	return 0;
}

int prober_new(struct event_base *base, int parent_sock, int agent_sock,
               const struct signatures *signatures, struct prober **out)
{
	struct prober *p = calloc(1, sizeof(*p));
	int err;

	if (!p) {
		close(parent_sock);
		close(agent_sock);
		return -ENOMEM;
	}
	p->base = base;
	STAILQ_INIT(&p->queue);
	err = set_up(p, parent_sock, agent_sock, signatures);
	if (err < 0) {
		prober_free(p);
		return err;
	}
	*out = p;
	return 0;
}

void prober_free(struct prober *p)
{
	struct waiting *w;

	if (!p)
		return;
	probe_free(p->engine);
	while ((w = STAILQ_FIRST(&p->queue))) {
		STAILQ_REMOVE_HEAD(&p->queue, link);
		free(w);
	}
	if (p->resume)
		event_free(p->resume);
	channel_free(p->agent);
	channel_free(p->parent);
	free(p);
}

int prober_announce(struct prober *p)
{
	return channel_send(p->parent, IPC_CHILD_READY, 0, NULL, 0);
}

int prober_exit_status(const struct prober *p)
{
	return p->exit_status;
}
