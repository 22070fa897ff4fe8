/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/parent/child.h"

#include "common/cleanup.h"
#include "common/clock.h"
#include "common/frame.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>

enum {
	BACKOFF_FIRST_MS = 100,
	BACKOFF_MAX_MS = 30 * 1000,
	LIVED_LONG_MS = 60 * 1000, /* a child that lived so long starts afresh */
};

static const struct {
	const char *name;
	const char *program;
	bool restarts_alone;
} roles[IPC_ROLE_COUNT] = {
    [IPC_ROLE_AGENT] = {"agent", "pprofwall-agent", false},
    [IPC_ROLE_FIREWALL] = {"firewall", "pprofwall-firewall", false},
    [IPC_ROLE_PROBER] = {"prober", "pprofwall-prober", true},
    [IPC_ROLE_SENDER] = {"sender", "pprofwall-sender", true},
};

const char *child_role_name(enum ipc_role role)
{
	return roles[role].name;
}

int child_init(struct child *c, enum ipc_role role, struct child_identity identity)
{
	*c = (struct child){
	    .role = role,
	    .identity = identity,
	    .sock = -1,
	    .peer = -1,
	    .restarts_alone = roles[role].restarts_alone,
	};
	return paths_libexec(roles[role].program, c->program);
}

/* In the child, between fork and exec. */
static void run_program(const struct child *c, int sock, int peer, uid_t prober_uid,
                        const char *config_path)
{
	char uid[16], gid[16], prober[16];
	const char *argv[10] = {roles[c->role].program, "--uid", uid, "--gid", gid};
	size_t n = 5;
	sigset_t none;
	int first, second;

	/* Out of the way of 3 and 4 first, since one of the two may be the other's place. */
	first = fcntl(sock, F_DUPFD, 16);
	second = peer >= 0 ? fcntl(peer, F_DUPFD, 16) : -1;
	if (first < 0 || (peer >= 0 && second < 0) || dup2(first, IPC_PARENT_FD) < 0 ||
	    (second >= 0 && dup2(second, IPC_PEER_FD) < 0) ||
	    close_range(second >= 0 ? IPC_PEER_FD + 1 : IPC_PARENT_FD + 1, ~0U, 0) < 0)
		_exit(126);
	snprintf(uid, sizeof(uid), "%u", c->identity.uid);
	snprintf(gid, sizeof(gid), "%u", c->identity.gid);
	snprintf(prober, sizeof(prober), "%u", prober_uid);
	if (c->role == IPC_ROLE_FIREWALL) {
		argv[n++] = "--prober-uid";
		argv[n++] = prober;
	}
	if (c->role == IPC_ROLE_AGENT) {
		argv[n++] = "--config";
		argv[n++] = config_path;
	}
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	/* exec does not write to them; its prototype is older than const. */
	execv(c->program, (char *const *)(uintptr_t)argv);
	_exit(127);
}

int child_start(struct child *c, uid_t prober_uid, const char *config_path, int64_t now_ms)
{
	int parent_pair[2] = {-1, -1}, agent_pair[2] = {-1, -1};
	auto_close int parent_end = -1, child_end = -1, agent_end = -1, peer_end = -1;
	int err = frame_socketpair(parent_pair);

	if (err < 0)
		return err;
	parent_end = parent_pair[0];
	child_end = parent_pair[1];
	if (c->role != IPC_ROLE_AGENT) {
		err = frame_socketpair(agent_pair);
		if (err < 0)
			return err;
		agent_end = agent_pair[0];
		peer_end = agent_pair[1];
	}
	c->pid = fork();
	if (c->pid < 0) {
		err = -errno;
		c->pid = 0;
		return err;
	}
	if (c->pid == 0)
		run_program(c, child_end, peer_end, prober_uid, config_path);
	c->sock = steal_fd(&parent_end);
	c->peer = steal_fd(&agent_end);
	c->ready = false;
	c->started_ms = now_ms;
	c->restart_at_ms = 0;
	return 0;
}

void child_record_death(struct child *c, int wait_status, int64_t now_ms)
{
	if (c->sock >= 0)
		close(steal_fd(&c->sock));
	if (c->peer >= 0)
		close(steal_fd(&c->peer));
	c->pid = 0;
	c->ready = false;
	c->exit_status = wait_status;
	c->restarts++;
	if (now_ms - c->started_ms > LIVED_LONG_MS || c->backoff_ms == 0)
		c->backoff_ms = BACKOFF_FIRST_MS;
	else if (c->backoff_ms < BACKOFF_MAX_MS)
		c->backoff_ms *= 2;
	c->restart_at_ms = now_ms + c->backoff_ms;
}

int child_ask_conf(struct child *c, uint16_t type, const struct ipc_conf *conf, int fd,
                   struct ipc_result *result)
{
	int64_t deadline = clock_monotonic_ms() + CHILD_ANSWER_TIMEOUT_MS;
	auto_free struct frame *f = malloc(sizeof(*f));
	int err;

	memset(result, 0, sizeof(*result));
	snprintf(result->text, sizeof(result->text), "the %s process does not answer",
	         child_role_name(c->role));
	if (!f)
		return -ENOMEM;
	if (c->sock < 0)
		return -ENOTCONN;
	err = frame_send(c->sock, type, conf->generation, conf, sizeof(*conf), fd);
	while (err == 0) {
		struct pollfd wait = {.fd = c->sock, .events = POLLIN};
		int64_t left = deadline - clock_monotonic_ms();
		int got;

		if (left <= 0)
			return -ETIMEDOUT;
		if (poll(&wait, 1, (int)left) < 0 && errno != EINTR)
			return -errno;
		got = frame_recv(c->sock, f);
		if (got == -EAGAIN)
			continue;
		if (got <= 0)
			return got < 0 ? got : -ECONNRESET;
		if (f->fd >= 0)
			close(f->fd);
		if (f->type == IPC_CHILD_READY)
			c->ready = true;
		/* An answer to a question that was given up on is passed over. */
		if (f->type != IPC_CHILD_CONF || f->seq != conf->generation)
			continue;
		if (f->length != sizeof(*result))
			return -EPROTO;
		memcpy(result, f->body, sizeof(*result));
		result->text[IPC_TEXT_LEN - 1] = '\0';
		return result->error;
	}
	return err;
}
