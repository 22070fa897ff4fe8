/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * pprofwall-sender: delivers alerts. The only process that keeps the sinks' URLs, which may hold
 * tokens; it has no privileges, reads files only, and tells nobody where it sends.
 */
#include "common/frame.h"
#include "common/log.h"
#include "conf/conf.h"
#include "daemon/channel.h"
#include "daemon/ipc.h"
#include "daemon/sender/credentials.h"
#include "daemon/sender/programs.h"
#include "daemon/sender/secrets.h"
#include "daemon/sender/sinks.h"
#include "daemon/sender/syslog_links.h"
#include "daemon/startup.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

enum { FLUSH_MS = 2000 };

static const char conf_name[] = "pprofwall.yaml";

struct sender {
	struct event_base *base;
	struct resolver *resolver;
	struct dialer *dialer;
	json_t *firing;
	struct programs *programs;
	struct syslog_links *syslog;
	struct sinks *sinks;
	struct channel *parent, *agent; /* agent: NULL until the first configuration */
	struct credentials *credentials;
	struct conf *candidate;
	uint64_t candidate_generation;
	struct event *flush_deadline;
	bool stopping;
	bool failed; /* the parent's protocol was broken */
};

static void leave(struct sender *s)
{
	event_base_loopbreak(s->base);
}

/* Delivers what it can within FLUSH_MS, and ends. */
static void begin_stop(struct sender *s)
{
	static const struct timeval deadline = {FLUSH_MS / 1000, FLUSH_MS % 1000 * 1000};

	if (s->stopping)
		return;
	s->stopping = true;
	event_add(s->flush_deadline, &deadline);
	sinks_flush(s->sinks);
}

static void on_flush_deadline(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	log_warning("not every alert could be delivered before the end");
	leave(arg);
}

static void on_idle(void *arg)
{
	struct sender *s = arg;

	/* Answers that the agent has not read yet still count. */
	if (s->stopping && (!s->agent || channel_queued(s->agent) == 0))
		leave(s);
}

static void tell_agent(struct sender *s, enum ipc_type type, uint64_t seq, const void *body,
                       size_t length)
{
	int rc = s->agent ? channel_send(s->agent, (uint16_t)type, seq, body, length) : -EPIPE;

	if (rc == 0 || rc == -EPIPE || s->failed)
		return;
	/* It would wait for ever for what it never hears of; to the next sender it sends it again.
	 */
	log_error("cannot answer the agent: %s", strerror(-rc));
	s->failed = true;
	leave(s);
}

static void on_result(uint64_t seq, const struct ipc_send_result *result, void *arg)
{
	tell_agent(arg, IPC_SEND_RESULT, seq, result, sizeof(*result));
}

static void on_done(uint64_t seq, void *arg)
{
	tell_agent(arg, IPC_SEND_DONE, seq, NULL, 0);
}

static void take_event(struct sender *s, const struct frame *f)
{
	int rc = sinks_send(s->sinks, f->seq, (const char *)f->body, f->length);

	if (rc == -EINVAL) {
		/* It never will be one: without this it would come again for ever. */
		log_error("what the agent sent is no event; dropped");
		on_done(f->seq, s);
	} else if (rc < 0) {
		log_error("cannot queue an event: %s", strerror(-rc));
	}
}

static void answer_name(struct sender *s, uint64_t seq, const struct resolve_answer *answer)
{
	struct ipc_addresses reply = {.error = answer->error};

	_Static_assert((int)RESOLVE_MAX_ADDRESSES == (int)IPC_MAX_ADDRESSES, "one answer fits");
	if (answer->error)
		snprintf(reply.text, sizeof(reply.text), "%s", resolve_strerror(answer->error));
	else
		reply.count = (uint32_t)answer->count;
	reply.ttl_s = answer->ttl_s;
	reply.unanswered = answer->unanswered;
	for (uint32_t i = 0; i < reply.count; i++)
		reply.addresses[i] = answer->addresses[i];
	tell_agent(s, IPC_RESOLVE_RESULT, seq, &reply, sizeof(reply));
}

static void on_name(const struct resolve_answer *answer, uint64_t seq, void *arg)
{
	answer_name(arg, seq, answer);
}

static void take_question(struct sender *s, const struct frame *f)
{
	const struct ipc_name *name = (const struct ipc_name *)f->body;
	struct resolve_answer failed = {.error = -EINVAL};
	struct resolve_question *unused;

	if (f->length == sizeof(*name) && memchr(name->name, '\0', sizeof(name->name)) &&
	    name->name[0])
		failed.error =
		    resolver_ask_ttl(s->resolver, name->name, on_name, f->seq, s, &unused);
	if (failed.error < 0)
		answer_name(s, f->seq, &failed);
}

/* Whoever has the address chose its name: what no host name is made of goes no further. */
static void on_reverse(const char *name, uint64_t seq, void *arg)
{
	struct ipc_name reply = {0};

	if (name && ipc_is_host_name(name))
		memcpy(reply.name, name, strlen(name));
	tell_agent(arg, IPC_REVERSE_RESULT, seq, &reply, sizeof(reply));
}

static void take_reverse(struct sender *s, const struct frame *f)
{
	struct endpoint address;
	int rc = -EINVAL;

	if (f->length == sizeof(address)) {
		memcpy(&address, f->body, sizeof(address));
		if (address.family == AF_INET || address.family == AF_INET6)
			rc = resolver_ask_name(s->resolver, &address, on_reverse, f->seq, s);
	}
	if (rc < 0)
		on_reverse(NULL, f->seq, s);
}

static void on_agent_frame(struct frame *f, void *arg)
{
	struct sender *s = arg;

	switch (f->type) {
	case IPC_SEND_EVENT: take_event(s, f); break;
	case IPC_RESOLVE_NAME: take_question(s, f); break;
	case IPC_REVERSE_ASK: take_reverse(s, f); break;
	case IPC_PING: tell_agent(s, IPC_PONG, f->seq, NULL, 0); break;
	case IPC_PONG: break;
	default: log_error("message %u from the agent: not for the sender", f->type);
	}
}

static void on_agent_end(int error, void *arg)
{
	struct sender *s = arg;

	if (error)
		log_error("the agent's socket: %s", strerror(-error));
	/* Nobody would write down what came of them: the next agent has its events sent again. */
	leave(s);
}

static void tell_parent(struct sender *s, enum ipc_type type, uint64_t seq, const void *body,
                        size_t length)
{
	if (channel_send(s->parent, (uint16_t)type, seq, body, length) < 0)
		leave(s);
}

static void answer_conf(struct sender *s, uint64_t seq, int error, const char *text)
{
	struct ipc_result result = {.error = error};

	snprintf(result.text, sizeof(result.text), "%s", text);
	tell_parent(s, IPC_CHILD_CONF, seq, &result, sizeof(result));
}

static void drop_candidate(struct sender *s)
{
	if (!s->candidate)
		return;
	conf_forget_secrets(s->candidate);
	conf_free(s->candidate);
	s->candidate = NULL;
}

/*
 * A secret that cannot be had is an error of the configuration. If that is in force already, as for
 * a sender that was restarted, only the sink that lacks it does not work: the others must not wait
 * for a file.
 */
static int resolve_secrets(const struct sender *s, bool again, char error[static CONF_ERROR_LEN])
{
	for (size_t i = 0; i < s->candidate->n_alerts; i++) {
		struct conf_alert *alert = &s->candidate->alerts[i];
		int rc = secrets_resolve(conf_name, alert, s->credentials, error);

		if (rc < 0 && !again)
			return rc;
		if (rc < 0)
			log_error("alert %s does not work until a reload: %s", alert->name, error);
	}
	return 0;
}

static void check_conf(struct sender *s, const struct ipc_conf *body, const struct frame *f)
{
	char error[CONF_ERROR_LEN] = "no file came with it";

	drop_candidate(s);
	if (f->fd >= 0)
		s->candidate = conf_load_fd(conf_name, f->fd, error);
	if (s->candidate && resolve_secrets(s, body->again, error) < 0)
		drop_candidate(s);
	s->candidate_generation = body->generation;
	answer_conf(s, f->seq, s->candidate ? 0 : -EINVAL, s->candidate ? "" : error);
}

static int open_agent(struct sender *s)
{
	const struct channel_handlers handlers = {on_agent_frame, on_agent_end, s};

	return channel_new(s->base, IPC_PEER_FD, &handlers, &s->agent);
}

static bool has_programs(const struct conf *conf)
{
	for (size_t i = 0; i < conf->n_alerts; i++) {
		if (conf->alerts[i].type == CONF_ALERT_EXEC)
			return true;
	}
	return false;
}

static void commit_conf(struct sender *s, const struct ipc_conf *body, const struct frame *f)
{
	bool first = !s->agent, wants_runner;
	int rc;

	if (!s->candidate || s->candidate_generation != body->generation) {
		answer_conf(s, f->seq, -ESTALE, "not the configuration that was checked");
		return;
	}
	wants_runner = has_programs(s->candidate) && !programs_have_runner(s->programs);
	rc = sinks_configure(s->sinks, s->candidate->alerts, s->candidate->n_alerts);
	drop_candidate(s);
	/* Not before there are sinks: an event without any would count as delivered. */
	if (rc == 0 && first)
		rc = open_agent(s);
	answer_conf(s, f->seq, rc, rc < 0 ? strerror(-rc) : "");
	if (rc < 0)
		return;
	if (first)
		tell_parent(s, IPC_CHILD_READY, 0, NULL, 0);
	else
		resolver_reload(s->resolver);
	if (wants_runner)
		tell_parent(s, IPC_CHILD_RUNNER, 0, NULL, 0);
}

static void take_runner(struct sender *s, struct frame *f)
{
	const struct ipc_peer *peer = (const struct ipc_peer *)f->body;
	int rc;

	if (f->length != sizeof(*peer) || peer->role != IPC_ROLE_RUNNER || f->fd < 0) {
		log_error("a peer that is not for the sender");
		return;
	}
	rc = programs_set_runner(s->programs, steal_fd(&f->fd));
	if (rc < 0)
		log_error("socket to the runner: %s", strerror(-rc));
}

static void on_parent_frame(struct frame *f, void *arg)
{
	struct sender *s = arg;
	const struct ipc_conf *body = (const struct ipc_conf *)f->body;

	switch (f->type) {
	case IPC_PARENT_CONF:
	case IPC_PARENT_COMMIT:
	case IPC_PARENT_ABORT:
		if (f->length != sizeof(*body))
			break;
		if (f->type == IPC_PARENT_CONF)
			check_conf(s, body, f);
		else if (f->type == IPC_PARENT_COMMIT)
			commit_conf(s, body, f);
		else
			drop_candidate(s);
		return;
	case IPC_PARENT_PEER: take_runner(s, f); return;
	case IPC_PARENT_STOP: begin_stop(s); return;
	case IPC_PING: tell_parent(s, IPC_PONG, f->seq, NULL, 0); return;
	case IPC_PONG: return;
	default: break;
	}
	log_error("message %u from the parent: not for the sender, or of a wrong size", f->type);
	s->failed = true;
	leave(s);
}

static void on_parent_end(int error, void *arg)
{
	if (error)
		log_error("the parent's socket: %s", strerror(-error));
	leave(arg);
}

static void sender_fini(struct sender *s)
{
	/* First what could call us: letting go of the resolver takes a turn of the loop. */
	channel_free(s->agent);
	channel_free(s->parent);
	if (s->flush_deadline)
		event_free(s->flush_deadline);
	sinks_free(s->sinks);
	json_decref(s->firing);
	programs_free(s->programs);
	syslog_links_free(s->syslog);
	dialer_free(s->dialer);
	resolver_free(s->resolver);
	drop_candidate(s);
	credentials_free(s->credentials);
	if (s->base)
		event_base_free(s->base);
}

static int sender_init(struct sender *s)
{
	const struct sinks_handlers sink_handlers = {on_result, on_done, on_idle, s};
	const struct channel_handlers parent_handlers = {on_parent_frame, on_parent_end, s};
	int rc;

	s->base = event_base_new();
	if (!s->base)
		return -ENOMEM;
	s->flush_deadline = evtimer_new(s->base, on_flush_deadline, s);
	s->firing = json_object();
	if (!s->flush_deadline || !s->firing)
		return -ENOMEM;
	rc = resolver_new(s->base, &s->resolver);
	if (rc == 0)
		rc = dialer_new(s->base, s->resolver, &s->dialer);
	if (rc == 0)
		rc = programs_new(s->base, &s->programs);
	if (rc == 0)
		rc = syslog_links_new(s->base, s->dialer, &s->syslog);
	if (rc == 0)
		rc = sinks_new(&(struct drivers){.base = s->base,
		                                 .resolver = s->resolver,
		                                 .dialer = s->dialer,
		                                 .firing = s->firing,
		                                 .programs = s->programs,
		                                 .syslog = s->syslog},
		               &sink_handlers, &s->sinks);
	if (rc == 0)
		rc = channel_new(s->base, IPC_PARENT_FD, &parent_handlers, &s->parent);
	return rc;
}

int main(int argc, char **argv)
{
	struct sandbox_spec spec = {.filter = SANDBOX_FILTER_SENDER};
	char why[SANDBOX_ERROR_LEN];
	struct sender s = {0};
	int rc;

	log_init("pprofwall-sender", LOG_LEVEL_INFO);
	if (!startup_read_arguments(argc, argv, &spec, NULL)) {
		log_error("started by pprofwalld, not by hand");
		return 2;
	}
	startup_ignore_signals();
	/* While root may still read them. */
	s.credentials = credentials_load(getenv("CREDENTIALS_DIRECTORY"));
	if (!s.credentials) {
		log_error("cannot read the credentials: %s", strerror(ENOMEM));
		return 1;
	}
	if (sandbox_drop(&spec, why) < 0) {
		log_error("cannot drop privileges: %s", why);
		return 1;
	}

	rc = sender_init(&s);
	if (rc < 0) {
		log_error("cannot start: %s", strerror(-rc));
	} else if ((rc = sandbox_filter(spec.filter, why)) < 0) {
		log_error("cannot filter system calls: %s", why);
	} else if (event_base_dispatch(s.base) < 0) {
		log_error("the event loop failed");
		rc = -EIO;
	}
	sender_fini(&s);
	return rc < 0 || s.failed ? 1 : 0;
}
