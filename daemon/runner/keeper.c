/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/runner/keeper.h"

#include "common/clock.h"
#include "common/finding.h"
#include "common/frame.h"
#include "common/log.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>

enum {
	OUTPUT_KEPT_BYTES = 256,        /* of what it says on standard error */
	OUTPUT_MAX_BYTES = 1024 * 1024, /* that is read at all; then it hears SIGPIPE */
	KILLING_MAX_MS = 5000,
};

struct keeper {
	int sock;
	int runner; /* a pidfd */
	int output; /* standard error of the program, or -1 */
	int pidfd;
	pid_t program; /* and its process group */
	size_t output_bytes, kept;
	char text[OUTPUT_KEPT_BYTES];
};

static void limit(int resource, rlim_t most)
{
	const struct rlimit both = {most, most};

	setrlimit((__rlimit_resource_t)resource, &both);
}

/* Between fork and exec. */
static _Noreturn void become_program(char *const *command, const struct ipc_run *run, int input,
                                     int output)
{
	static const int to_default[] = {SIGPIPE, SIGINT, SIGTERM, SIGHUP, SIGCHLD};
	char event[sizeof(run->event) + 32];
	char *const environment[] = {
	    (char[]){"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}, event,
	    NULL};
	int nowhere = open("/dev/null", O_WRONLY | O_CLOEXEC);

	snprintf(event, sizeof(event), "PPROFWALL_EVENT=%s", run->event);
	for (size_t i = 0; i < ARRAY_LEN(to_default); i++)
		signal(to_default[i], SIG_DFL);
	limit(RLIMIT_CORE, 0);
	limit(RLIMIT_NOFILE, 256);
	limit(RLIMIT_CPU, (rlim_t)(run->timeout_ms / 1000 + 1));
	if (dup2(output, STDERR_FILENO) >= 0 && prctl(PR_SET_PDEATHSIG, SIGKILL) == 0 &&
	    setsid() >= 0 && chdir("/") == 0 && nowhere >= 0 && dup2(input, STDIN_FILENO) >= 0 &&
	    dup2(nowhere, STDOUT_FILENO) >= 0 && close_range(STDERR_FILENO + 1, ~0U, 0) == 0)
		execve(command[0], command, environment);
	dprintf(STDERR_FILENO, "cannot be executed: %s\n", strerror(errno));
	_exit(IPC_RUN_NOT_STARTED);
}

/* Returns 0 or -errno. */
static int start_program(struct keeper *k, const struct conf_alert *alert,
                         const struct ipc_run *run, int input)
{
	auto_free char **command = calloc(alert->command.count + 1, sizeof(*command));
	int ends[2];

	if (!command || pipe2(ends, O_CLOEXEC) < 0)
		return command ? -errno : -ENOMEM;
	memcpy(command, alert->command.items, alert->command.count * sizeof(*command));
	k->program = fork();
	if (k->program == 0)
		become_program(command, run, input, ends[1]);
	close(ends[1]);
	k->output = ends[0];
	if (k->program < 0)
		return -errno;
	k->pidfd = (int)syscall(SYS_pidfd_open, k->program, 0);
	return k->pidfd < 0 ? -errno : 0;
}

/* Keeps the beginning and throws away the rest. Closes its end when there is too much. */
static void read_output(struct keeper *k)
{
	char bytes[4096];
	ssize_t n = read(k->output, bytes, sizeof(bytes));
	size_t room = sizeof(k->text) - k->kept;

	if (n < 0 && (errno == EINTR || errno == EAGAIN))
		return;
	if (n > 0) {
		memcpy(k->text + k->kept, bytes, (size_t)n < room ? (size_t)n : room);
		k->kept += (size_t)n < room ? (size_t)n : room;
		k->output_bytes += (size_t)n;
	}
	if (n <= 0 || k->output_bytes > OUTPUT_MAX_BYTES)
		close(steal_fd(&k->output));
}

/* Returns 0 when the program has ended, -ETIMEDOUT, or -EPIPE when nobody waits for it. */
static int wait_for_end(struct keeper *k, int64_t deadline_ms)
{
	for (;;) {
		struct pollfd fds[] = {{.fd = k->pidfd, .events = POLLIN},
		                       {.fd = k->output, .events = POLLIN},
		                       {.fd = k->sock},
		                       {.fd = k->runner, .events = POLLIN}};
		int64_t left_ms = deadline_ms - clock_monotonic_ms();

		if (left_ms <= 0)
			return -ETIMEDOUT;
		if (poll(fds, ARRAY_LEN(fds), (int)left_ms) < 0) {
			if (errno == EINTR)
				continue;
			return -errno;
		}
		if (fds[1].revents)
			read_output(k);
		if (fds[2].revents & (POLLHUP | POLLERR) || fds[3].revents)
			return -EPIPE;
		if (fds[0].revents)
			return 0;
	}
}

/* Most of them: the list is no snapshot (proc_pid_children(5)), and children have children. */
static void kill_children(void)
{
	auto_fclose FILE *file = NULL;
	auto_free char *number = NULL;
	char path[64];
	size_t room = 0;

	snprintf(path, sizeof(path), "/proc/self/task/%d/children", getpid());
	file = fopen(path, "re");
	while (file && getdelim(&number, &room, ' ', file) > 0) {
		long pid = strtol(number, NULL, 10);

		if (pid > 1)
			kill((pid_t)pid, SIGKILL);
	}
}

/*
 * The group dies at once. The orphans of whoever dies become our children, since we are their
 * subreaper: until there is none.
 */
static int kill_all(const struct keeper *k)
{
	int64_t until_ms = clock_monotonic_ms() + KILLING_MAX_MS;
	int status = 0;

	kill(-k->program, SIGKILL); /* its leader was not reaped yet: no other has the number */
	kill(k->program, SIGKILL);
	waitpid(k->program, &status, 0);
	do {
		pid_t pid;

		kill_children();
		while ((pid = waitpid(-1, NULL, WNOHANG)) > 0)
			;
		if (pid < 0)
			break;
		poll(NULL, 0, 1);
	} while (clock_monotonic_ms() < until_ms);
	return status;
}

/* The first line, for the log. */
static void tell_output(struct keeper *k, const char *sink)
{
	auto_free char *clean = NULL;
	const char *end = memchr(k->text, '\n', k->kept);
	size_t length = end ? (size_t)(end - k->text) : k->kept;

	if (length > 0 && finding_set_bytes(&clean, k->text, length) == 0 && clean)
		log_warning("alert %s: the program says: %s", sink, clean);
}

_Noreturn void keeper_run(const struct conf_alert *alert, const struct ipc_run *run, uint64_t seq,
                          int input, int sock, pid_t runner)
{
	struct keeper k = {.sock = sock, .runner = -1, .output = -1, .pidfd = -1};
	int64_t deadline_ms = clock_monotonic_ms() + run->timeout_ms;
	struct ipc_run_done done = {0};

	signal(SIGCHLD, SIG_DFL);
	/* No signal at the runner's death: what the program has started must end first. */
	k.runner = (int)syscall(SYS_pidfd_open, runner, 0);
	if (k.runner < 0 || prctl(PR_SET_CHILD_SUBREAPER, 1) < 0 || getppid() != runner)
		_exit(1);
	done.error = start_program(&k, alert, run, input);
	close(input);
	if (done.error == 0)
		done.error = wait_for_end(&k, deadline_ms);
	if (k.program > 0)
		done.wait_status = kill_all(&k);
	if (k.output >= 0 && fcntl(k.output, F_SETFL, O_NONBLOCK) == 0)
		read_output(&k);
	if (done.error || done.wait_status)
		tell_output(&k, alert->name);
	if (done.error != -EPIPE)
		frame_send(sock, IPC_RUN_DONE, seq, &done, sizeof(done), -1);
	_exit(0);
}
