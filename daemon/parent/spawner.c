/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/parent/spawner.h"

#include "common/cleanup.h"
#include "common/log.h"
#include "common/sandbox.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>

enum { ANSWER_TIMEOUT_MS = 1000, MAX_FDS = 3, OWN_SOCK = 3, OWN_PROGRAMS = 4 };

/* Room for one control message with the descriptors, aligned as the kernel wants it. */
union fds_control {
	struct cmsghdr header;
	char bytes[CMSG_SPACE(MAX_FDS * sizeof(int))];
};

/* Receives what to start with: fds[0..n). Returns n, 0 at the end of the parent, or -errno. */
static int receive_order(int sock, int fds[static MAX_FDS])
{
	char byte;
	struct iovec iov = {.iov_base = &byte, .iov_len = 1};
	union fds_control control = {0};
	struct msghdr msg = {.msg_iov = &iov,
	                     .msg_iovlen = 1,
	                     .msg_control = &control,
	                     .msg_controllen = sizeof(control)};
	const struct cmsghdr *c;
	ssize_t n;
	size_t bytes;

	do
		n = recvmsg(sock, &msg, MSG_CMSG_CLOEXEC);
	while (n < 0 && errno == EINTR);
	if (n <= 0)
		return n < 0 ? -errno : 0;
	c = CMSG_FIRSTHDR(&msg);
	if (!c || c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
		return -EPROTO;
	bytes = c->cmsg_len - CMSG_LEN(0);
	if (bytes > MAX_FDS * sizeof(int)) /* alignment leaves room for one more */
		return -EPROTO;
	memcpy(fds, CMSG_DATA(c), bytes);
	return (int)(bytes / sizeof(int));
}

/* Our parent becomes its parent; one thread, and exec follows at once. */
static pid_t clone_sibling(void)
{
	return (pid_t)syscall(SYS_clone, CLONE_PARENT | SIGCHLD, 0, 0, 0, 0);
}

static _Noreturn void serve(struct child *c)
{
	for (;;) {
		int fds[MAX_FDS] = {-1, -1, -1};
		int n = receive_order(OWN_SOCK, fds);
		int32_t pid;

		if (n < 2)
			_exit(n == 0 ? 0 : 1);
		pid = clone_sibling();
		if (pid == 0) {
			c->data = fds[2];
			child_run_program(c, fds[0], fds[1], NULL);
		}
		if (pid < 0)
			pid = -errno;
		for (int i = 0; i < MAX_FDS && fds[i] >= 0; i++)
			close(fds[i]);
		if (send(OWN_SOCK, &pid, sizeof(pid), MSG_NOSIGNAL) != (ssize_t)sizeof(pid))
			_exit(1);
	}
}

/* In the spawner: nothing of the parent's stays open, least of all its lock. */
static int keep_only(int sock, int *programs)
{
	int high_sock = fcntl(sock, F_DUPFD_CLOEXEC, 16);
	int high_programs = fcntl(*programs, F_DUPFD_CLOEXEC, 16);

	if (high_sock < 0 || high_programs < 0 || dup3(high_sock, OWN_SOCK, O_CLOEXEC) < 0 ||
	    dup3(high_programs, OWN_PROGRAMS, O_CLOEXEC) < 0 ||
	    close_range(OWN_PROGRAMS + 1, ~0U, 0) < 0)
		return -errno;
	*programs = OWN_PROGRAMS;
	return 0;
}

static _Noreturn void run(const struct child *c, int sock)
{
	/* What the inventory needs, and what it takes to become it. */
	static const int wanted[] = {CAP_SETUID,     CAP_SETGID,    CAP_SETPCAP,
	                             CAP_SYS_PTRACE, CAP_SYS_ADMIN, CAP_DAC_READ_SEARCH,
	                             CAP_PERFMON};
	int held[ARRAY_LEN(wanted)];
	const struct sandbox_spec spec = {
	    .capabilities = held,
	    .n_capabilities = sandbox_choose_held(wanted, ARRAY_LEN(wanted), held),
	};
	struct child own = *c;
	char why[SANDBOX_ERROR_LEN];

	prctl(PR_SET_NAME, "pprofwall-spawn");
	if (keep_only(sock, &own.programs) < 0 || sandbox_drop(&spec, why) < 0) {
		log_error("the spawner of the inventory process cannot start");
		_exit(1);
	}
	serve(&own);
}

int spawner_start(struct spawner *s, const struct child *c)
{
	int pair[2];
	pid_t pid;

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
		return -errno;
	pid = fork();
	if (pid < 0) {
		int err = -errno;

		close(pair[0]);
		close(pair[1]);
		return err;
	}
	if (pid == 0)
		run(c, pair[1]);
	close(pair[1]);
	*s = (struct spawner){.sock = pair[0], .pid = pid};
	return 0;
}

static int send_order(int to, const int *fds, size_t n)
{
	char byte = 0;
	struct iovec iov = {.iov_base = &byte, .iov_len = 1};
	union fds_control control = {0};
	struct msghdr msg = {.msg_iov = &iov,
	                     .msg_iovlen = 1,
	                     .msg_control = &control,
	                     .msg_controllen = CMSG_SPACE(n * sizeof(int))};
	struct cmsghdr *c = CMSG_FIRSTHDR(&msg);

	c->cmsg_level = SOL_SOCKET;
	c->cmsg_type = SCM_RIGHTS;
	c->cmsg_len = CMSG_LEN(n * sizeof(int));
	memcpy(CMSG_DATA(c), fds, n * sizeof(int));
	return sendmsg(to, &msg, MSG_NOSIGNAL | MSG_DONTWAIT) == 1 ? 0 : -errno;
}

pid_t spawner_start_child(const struct spawner *s, int sock, int peer, int data)
{
	const int fds[MAX_FDS] = {sock, peer, data};
	struct pollfd wait = {.fd = s->sock, .events = POLLIN};
	int32_t pid;
	int err = send_order(s->sock, fds, data >= 0 ? 3 : 2);

	if (err < 0)
		return err;
	if (poll(&wait, 1, ANSWER_TIMEOUT_MS) <= 0)
		err = -ETIMEDOUT;
	else if (recv(s->sock, &pid, sizeof(pid), MSG_DONTWAIT) != (ssize_t)sizeof(pid))
		err = -ECONNRESET;
	if (err < 0) {
		/* It must not start anybody later: without it, the service ends. */
		kill(s->pid, SIGKILL);
		return err;
	}
	return pid;
}

void spawner_end(struct spawner *s)
{
	if (s->sock >= 0)
		close(steal_fd(&s->sock));
	if (s->pid > 0)
		waitpid(s->pid, NULL, 0);
	s->pid = 0;
}
