/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/parent/child.h"

#include "common/cleanup.h"
#include "common/clock.h"
#include "common/frame.h"
#include "daemon/parent/spawner.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/close_range.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/resource.h>

enum {
	BACKOFF_FIRST_MS = 100,
	BACKOFF_MAX_MS = 30 * 1000,
	LIVED_LONG_MS = 60 * 1000, /* a child that lived so long starts afresh */
};

static const struct {
	const char *name;
	const char *program;
	bool restarts_alone;
	const char *data; /* a file of ours that it reads, or NULL */
} roles[IPC_ROLE_COUNT] = {
    [IPC_ROLE_AGENT] = {"agent", "pprofwall-agent", false, NULL},
    [IPC_ROLE_FIREWALL] = {"firewall", "pprofwall-firewall", false, NULL},
    [IPC_ROLE_PROBER] = {"prober", "pprofwall-prober", true, "signatures.yaml"},
    [IPC_ROLE_SENDER] = {"sender", "pprofwall-sender", true, NULL},
    [IPC_ROLE_INVENTORY] = {"inventory", "pprofwall-inventory", true, NULL},
    [IPC_ROLE_FILTER] = {"filter", "pprofwall-filter", true, "signatures.yaml"},
    [IPC_ROLE_RUNNER] = {"runner", "pprofwall-runner", true, NULL},
};

const char *child_role_name(enum ipc_role role)
{
	return roles[role].name;
}

/* Without it the child says what is missing, and goes on. */
static int open_data(const char *name)
{
	char path[PATHS_MAX_LEN];

	return paths_data(name, path) < 0 ? -1 : open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
}

int child_init(struct child *c, enum ipc_role role, struct child_identity identity)
{
	char directory[PATHS_MAX_LEN];
	int err;

	*c = (struct child){
	    .role = role,
	    .identity = identity,
	    .sock = -1,
	    .peer = -1,
	    .restarts_alone = roles[role].restarts_alone,
	    .wanted = role != IPC_ROLE_RUNNER && role != IPC_ROLE_FILTER,
	    .programs = -1,
	    .data = -1,
	};
	err = paths_libexec(roles[role].program, c->program);
	if (err == 0)
		err = paths_libexec("", directory);
	if (err < 0)
		return err;
	c->programs = open(directory, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (c->programs < 0 || faccessat(c->programs, roles[role].program, X_OK, 0) < 0)
		return -errno;
	if (roles[role].data)
		c->data = open_data(roles[role].data);
	return 0;
}

/*
 * In the child: 3, 4 and 5, the program's directory, and nothing else. Out of the way of these
 * first, since one of them may be another's place. Returns the directory, or -1.
 */
static int place_descriptors(const struct child *c, int sock, int peer)
{
	const int from[] = {sock, peer, c->data};
	int moved[ARRAY_LEN(from)];
	int programs = fcntl(c->programs, F_DUPFD_CLOEXEC, 16);

	for (size_t i = 0; i < ARRAY_LEN(from); i++) {
		moved[i] = from[i] >= 0 ? fcntl(from[i], F_DUPFD, 16) : -1;
		if (from[i] >= 0 && moved[i] < 0)
			return -1;
	}
	/* Up to the exec, which needs the directory. */
	if (close_range(IPC_PARENT_FD, ~0U, CLOSE_RANGE_CLOEXEC) < 0)
		return -1;
	for (size_t i = 0; i < ARRAY_LEN(from); i++) {
		if (moved[i] >= 0 && dup2(moved[i], IPC_PARENT_FD + (int)i) < 0)
			return -1;
	}
	return programs;
}

/*
 * The unit starts us before others when processors are scarce (Nice=), for the firewall's sake: it
 * puts back what somebody else has flushed. Who probes or writes alerts can wait.
 */
static void take_usual_priority(void)
{
	if (getpriority(PRIO_PROCESS, 0) < 0)
		(void)setpriority(PRIO_PROCESS, 0, 0);
}

void child_run_program(const struct child *c, int sock, int peer, const char *config_path)
{
	char uid[16], gid[16], prober[16], filter[16];
	const char *argv[10] = {roles[c->role].program, "--uid", uid, "--gid", gid};
	size_t n = 5;
	int programs = place_descriptors(c, sock, peer);
	sigset_t none;

	_Static_assert((int)IPC_PEER_FD == (int)IPC_PARENT_FD + 1 &&
	                   (int)IPC_DATA_FD == (int)IPC_PARENT_FD + 2,
	               "in the order of place_descriptors()");
	if (programs < 0)
		_exit(126);
	snprintf(uid, sizeof(uid), "%u", c->identity.uid);
	snprintf(gid, sizeof(gid), "%u", c->identity.gid);
	snprintf(prober, sizeof(prober), "%u", c->prober_uid);
	snprintf(filter, sizeof(filter), "%u", c->filter_uid);
	if (c->role == IPC_ROLE_FIREWALL) {
		argv[n++] = "--prober-uid";
		argv[n++] = prober;
		argv[n++] = "--filter-uid";
		argv[n++] = filter;
	}
	if (c->role == IPC_ROLE_AGENT) {
		argv[n++] = "--config";
		argv[n++] = config_path;
	}
	if (c->verify)
		argv[n++] = "--verify";
	if (c->role != IPC_ROLE_FIREWALL)
		take_usual_priority();
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	/* exec does not write to them; its prototype is older than const. */
	execveat(programs, roles[c->role].program, (char *const *)(uintptr_t)argv, environ, 0);
	_exit(127);
}

int child_start(struct child *c, const char *config_path, int64_t now_ms)
{
	int parent_pair[2] = {-1, -1}, agent_pair[2] = {-1, -1};
	auto_close int parent_end = -1, child_end = -1, agent_end = -1, peer_end = -1;
	int err = frame_socketpair(parent_pair);
	pid_t pid;

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
	pid = c->spawner ? spawner_start_child(c->spawner, child_end, peer_end, c->data) : fork();
	if (pid < 0)
		return c->spawner ? pid : -errno;
	if (pid == 0)
		child_run_program(c, child_end, peer_end, config_path);
	c->pid = pid;
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
	/* The filter checks nothing that others do not: nobody waits long for it. */
	int64_t deadline =
	    clock_monotonic_ms() +
	    (c->role == IPC_ROLE_FILTER ? FILTER_ANSWER_TIMEOUT_MS : CHILD_ANSWER_TIMEOUT_MS);
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
