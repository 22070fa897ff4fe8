/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The discoverer from its fork to its end: sockets, then privileges away, then the engine. */
#include "common/cleanup.h"
#include "common/frame.h"
#include "common/sandbox.h"
#include "scanner/discover/child_internal.h"
#include "scanner/discover/discover_connect.h"
#include "scanner/discover/discover_syn.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

enum {
	SOCKET_AT = 3, /* the first descriptor after the standard ones */
};

AUTO_CLEANUP(child, struct discover_child *, discover_child_free)
#define auto_child __attribute__((cleanup(cleanup_child)))

struct engine {
	struct discover_syn *syn;
	struct discover_connect *connect;
};

/* Nothing of the parent's is kept but its end of the pair; a signal to the group ends the parent,
 * and that ends us. */
static int stand_apart(int sock)
{
	static const int ignored[] = {SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGPIPE};
	int null = open("/dev/null", O_RDWR | O_CLOEXEC);

	for (size_t i = 0; i < ARRAY_LEN(ignored); i++)
		signal(ignored[i], SIG_IGN);
	for (int fd = 0; null >= 0 && fd <= 1; fd++) /* errors still go to standard error */
		dup2(null, fd);
	if (sock != SOCKET_AT && dup3(sock, SOCKET_AT, O_CLOEXEC) < 0)
		return -errno;
	if (close_range(SOCKET_AT + 1, ~0U, 0) < 0)
		return -errno;
	return 0;
}

static int open_engine(const struct discover_conf *conf, struct engine *e, char why[static 256])
{
	if (conf->method == DISCOVER_SYN)
		return discover_syn_open(&conf->limits, &e->syn, why);
	return discover_connect_open(&conf->limits, &e->connect, why);
}

/* As the scan itself: the prober's user where there is one. */
static int drop_privileges(char why[static 256])
{
	struct sandbox_spec spec = {.filter = SANDBOX_FILTER_DISCOVER};
	pid_t parent = getppid();
	int err;

	_Static_assert(SANDBOX_ERROR_LEN <= 256, "it fits");
	if (geteuid() != 0) {
		spec.keep_uid = true;
	} else if (sandbox_find_user("pprofwall-prober", &spec.uid, &spec.gid) < 0 &&
	           sandbox_find_user("nobody", &spec.uid, &spec.gid) < 0) {
		snprintf(why, 256, "there is neither a user pprofwall-prober nor nobody to become");
		return -ENOENT;
	}
	err = sandbox_drop(&spec, why);
	/* After the drop, which resets it; if the parent has died in between, its socket says so.
	 */
	if (!err && prctl(PR_SET_PDEATHSIG, SIGKILL) < 0)
		err = -errno;
	if (!err && getppid() != parent)
		err = -ESRCH;
	return err ? err : sandbox_filter(spec.filter, why);
}

static int run_engine(const struct engine *e, struct discover_child *c)
{
	return e->syn ? discover_syn_run(e->syn, c) : discover_connect_run(e->connect, c);
}

/*
 * What is still in the queue is the end of the sweep. The parent takes it when its probes and
 * guards have room, however late that is; its death ends the wait.
 */
static void say_goodbye(struct discover_child *c, int sock)
{
	struct pollfd writable = {.fd = sock, .events = POLLOUT};

	while (!frame_queue_flush(discover_child_queue(c), sock) &&
	       discover_child_queue(c)->count > 0) {
		if (poll(&writable, 1, -1) < 0 && errno != EINTR)
			return;
	}
}

_Noreturn void discover_child_run(const struct discover_conf *conf, int sock)
{
	struct discover_ready ready = {0};
	struct engine engine = {0};
	auto_child struct discover_child *c = NULL;
	int err = stand_apart(sock);

	if (err)
		_exit(1);
	sock = SOCKET_AT;
	err = open_engine(conf, &engine, ready.why);
	if (!err)
		err = discover_child_new(conf, sock, &c);
	if (!err)
		err = drop_privileges(ready.why);
	ready.error = err;
	if (err && !ready.why[0])
		snprintf(ready.why, sizeof(ready.why), "%s", strerror(-err));
	if (frame_send(sock, DISCOVER_READY, 0, &ready, sizeof(ready), -1) < 0 || err)
		_exit(1);
	err = run_engine(&engine, c);
	if (!err)
		err = discover_child_finish(c);
	if (!err)
		say_goodbye(c, sock);
	discover_syn_free(engine.syn);
	discover_connect_free(engine.connect);
	discover_child_free(steal_ptr(&c));
	_exit(err ? 1 : 0);
}
