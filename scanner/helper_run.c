/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "scanner/helper_run.h"

#include "common/cleanup.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/pidfd.h>
#include <sys/wait.h>

static int start(const char *program, char *const argv[], int output, pid_t *pid)
{
	posix_spawn_file_actions_t actions;
	int error;

	if (output < 0)
		return posix_spawn(pid, program, NULL, NULL, argv, environ);
	error = posix_spawn_file_actions_init(&actions);
	if (error)
		return error;
	error = posix_spawn_file_actions_adddup2(&actions, output, STDOUT_FILENO);
	if (!error)
		error = posix_spawn(pid, program, &actions, NULL, argv, environ);
	posix_spawn_file_actions_destroy(&actions);
	return error;
}

int helper_run(const char *program, char *const argv[], int output, int timeout_ms)
{
	auto_close int pidfd = -1;
	struct pollfd end = {.events = POLLIN};
	int status = 0, error;
	pid_t pid;

	error = start(program, argv, output, &pid);
	if (error)
		return -error;
	pidfd = pidfd_open(pid, 0);
	end.fd = pidfd;
	if (pidfd < 0 || poll(&end, 1, timeout_ms) != 1) {
		kill(pid, SIGKILL);
		/* It may hang in the kernel: then init buries it. */
		(void)waitpid(pid, &status, WNOHANG);
		return -ETIMEDOUT;
	}
	if (waitpid(pid, &status, 0) != pid)
		return -errno;
	return WIFEXITED(status) ? WEXITSTATUS(status) : -EINTR;
}
