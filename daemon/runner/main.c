/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * pprofwall-runner --uid N --gid N: started by the parent when the sender asks for it, with its
 * sockets to parent and sender on descriptors 3 and 4. It has no filter of system calls: that would
 * be its programs', too, which nobody knows beforehand.
 */
#include "common/cleanup.h"
#include "common/log.h"
#include "daemon/ipc.h"
#include "daemon/runner/runner.h"
#include "daemon/startup.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/resource.h>

AUTO_CLEANUP(base, struct event_base *, event_base_free)
AUTO_CLEANUP(runner, struct runner *, runner_free)
#define auto_base   __attribute__((cleanup(cleanup_base)))
#define auto_runner __attribute__((cleanup(cleanup_runner)))

enum { EXIT_USAGE = 2, PROCESSES_MAX = 128 };

/* Where memory runs out, a program of the user's ends, and nobody who watches. */
static void be_first_to_go(void)
{
	auto_close int fd = open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);

	if (fd >= 0 && write(fd, "500", 3) < 0)
		log_warning("oom_score_adj: %s", strerror(errno));
}

/* Of this uid: what the unit allows (TasksMax) is for the others as well. */
static void limit_processes(void)
{
	static const struct rlimit most = {PROCESSES_MAX, PROCESSES_MAX};

	if (setrlimit(RLIMIT_NPROC, &most) < 0)
		log_warning("RLIMIT_NPROC: %s", strerror(errno));
}

int main(int argc, char **argv)
{
	struct sandbox_spec spec = {0};
	auto_base struct event_base *base = NULL;
	auto_runner struct runner *runner = NULL;
	char why[SANDBOX_ERROR_LEN];
	int err;

	log_init("pprofwall-runner", LOG_LEVEL_INFO);
	if (!startup_read_arguments(argc, argv, &spec, NULL)) {
		log_error("started by pprofwalld, not by hand");
		return EXIT_USAGE;
	}
	startup_ignore_signals();
	signal(SIGCHLD, SIG_IGN); /* the kernel reaps keepers */
	be_first_to_go();
	if (sandbox_drop(&spec, why) < 0) {
		log_error("cannot drop privileges: %s", why);
		return EXIT_FAILURE;
	}
	limit_processes();
	base = event_base_new();
	err = base ? runner_new(base, IPC_PARENT_FD, IPC_PEER_FD, &runner) : -ENOMEM;
	if (err < 0) {
		log_error("cannot start: %s", strerror(-err));
		return EXIT_FAILURE;
	}
	event_base_dispatch(base);
	return runner_exit_status(runner);
}
