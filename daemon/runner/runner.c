/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/runner/runner.h"

#include "common/cleanup.h"
#include "common/log.h"
#include "conf/conf.h"
#include "daemon/channel.h"
#include "daemon/ipc.h"
#include "daemon/runner/keeper.h"

#include <errno.h>
#include <string.h>

enum { TIMEOUT_MAX_MS = 300 * 1000 };

struct runner {
	struct event_base *base;
	int sender_sock; /* the channel's, for keepers to answer on */
	struct channel *parent, *sender;
	struct conf *conf, *candidate;
	uint64_t candidate_generation;
	int exit_status;
};

static void leave(struct runner *r, int exit_status)
{
	r->exit_status = exit_status;
	event_base_loopbreak(r->base);
}

static void tell_parent(struct runner *r, enum ipc_type type, uint64_t seq, const void *body,
                        size_t length)
{
	if (channel_send(r->parent, (uint16_t)type, seq, body, length) < 0)
		leave(r, 1);
}

static void answer_conf(struct runner *r, uint64_t seq, int error, const char *text)
{
	struct ipc_result result = {.error = error};

	snprintf(result.text, sizeof(result.text), "%s", text);
	tell_parent(r, IPC_CHILD_CONF, seq, &result, sizeof(result));
}

static void drop_candidate(struct runner *r)
{
	conf_free(r->candidate);
	r->candidate = NULL;
}

static void check_conf(struct runner *r, const struct ipc_conf *body, const struct frame *f)
{
	char error[CONF_ERROR_LEN] = "no file came with it";

	drop_candidate(r);
	if (f->fd >= 0)
		r->candidate = conf_load_fd("pprofwall.yaml", f->fd, error);
	if (r->candidate)
		conf_forget_secrets(r->candidate);
	r->candidate_generation = body->generation;
	answer_conf(r, f->seq, r->candidate ? 0 : -EINVAL, r->candidate ? "" : error);
}

static void commit_conf(struct runner *r, const struct ipc_conf *body, const struct frame *f)
{
	bool first = !r->conf;

	if (!r->candidate || r->candidate_generation != body->generation) {
		answer_conf(r, f->seq, -ESTALE, "not the configuration that was checked");
		return;
	}
	conf_free(r->conf);
	r->conf = steal_ptr(&r->candidate);
	answer_conf(r, f->seq, 0, "");
	if (first)
		tell_parent(r, IPC_CHILD_READY, 0, NULL, 0);
}

static void on_parent_frame(struct frame *f, void *arg)
{
	struct runner *r = arg;
	const struct ipc_conf *body = (const struct ipc_conf *)f->body;

	if (f->type == IPC_PING) {
		tell_parent(r, IPC_PONG, f->seq, NULL, 0);
	} else if (f->type == IPC_PARENT_STOP) {
		leave(r, 0);
	} else if (f->type == IPC_PARENT_CONF && f->length == sizeof(*body)) {
		check_conf(r, body, f);
	} else if (f->type == IPC_PARENT_COMMIT && f->length == sizeof(*body)) {
		commit_conf(r, body, f);
	} else if (f->type == IPC_PARENT_ABORT && f->length == sizeof(*body)) {
		drop_candidate(r);
	} else {
		log_error("message %u from the parent: not for the runner, or of a wrong size",
		          f->type);
		leave(r, 1);
	}
}

static void on_parent_end(int error, void *arg)
{
	if (error)
		log_error("the parent's socket: %s", strerror(-error));
	leave(arg, 0);
}

/* Returns NULL for what the sender may not ask for. */
static const struct conf_alert *find_alert(const struct runner *r, const struct ipc_run *run)
{
	if (!r->conf || !memchr(run->sink, '\0', sizeof(run->sink)) ||
	    !memchr(run->event, '\0', sizeof(run->event)) || run->timeout_ms <= 0 ||
	    run->timeout_ms > TIMEOUT_MAX_MS ||
	    strspn(run->event, "abcdefghijklmnopqrstuvwxyz_") != strlen(run->event))
		return NULL;
	for (size_t i = 0; i < r->conf->n_alerts; i++) {
		const struct conf_alert *alert = &r->conf->alerts[i];

		if (alert->type == CONF_ALERT_EXEC && !strcmp(alert->name, run->sink))
			return alert;
	}
	return NULL;
}

static void start(struct runner *r, const struct frame *f)
{
	const struct ipc_run *run = (const struct ipc_run *)f->body;
	struct ipc_run_done failed = {.error = -EINVAL};
	const struct conf_alert *alert = NULL;

	if (f->length == sizeof(*run) && f->fd >= 0)
		alert = find_alert(r, run);
	if (alert) {
		pid_t own = getpid(), pid = fork();

		if (pid == 0)
			keeper_run(alert, run, f->seq, f->fd, r->sender_sock, own);
		if (pid > 0)
			return; /* it answers, and the kernel reaps it */
		failed.error = -errno;
	}
	if (channel_send(r->sender, IPC_RUN_DONE, f->seq, &failed, sizeof(failed)) < 0)
		leave(r, 1);
}

static void on_sender_frame(struct frame *f, void *arg)
{
	struct runner *r = arg;

	if (f->type == IPC_RUN_START)
		start(r, f);
	else
		log_error("message %u from the sender: not for the runner", f->type);
}

/* Another sender gets another runner: the programs of the old one end with us. */
static void on_sender_end(int error, void *arg)
{
	if (error)
		log_error("the sender's socket: %s", strerror(-error));
	leave(arg, 0);
}

int runner_new(struct event_base *base, int parent_sock, int sender_sock, struct runner **out)
{
	const struct channel_handlers parent = {on_parent_frame, on_parent_end, NULL};
	struct channel_handlers handlers = parent;
	struct runner *r = calloc(1, sizeof(*r));
	int err;

	if (!r)
		return -ENOMEM;
	r->base = base;
	r->sender_sock = sender_sock;
	handlers.arg = r;
	err = channel_new(base, parent_sock, &handlers, &r->parent);
	handlers.frame = on_sender_frame;
	handlers.end = on_sender_end;
	if (err == 0)
		err = channel_new(base, sender_sock, &handlers, &r->sender);
	if (err < 0) {
		runner_free(r);
		return err;
	}
	*out = r;
	return 0;
}

void runner_free(struct runner *r)
{
	if (!r)
		return;
	channel_free(r->sender);
	channel_free(r->parent);
	conf_free(r->candidate);
	conf_free(r->conf);
	free(r);
}

int runner_exit_status(const struct runner *r)
{
	return r->exit_status;
}
