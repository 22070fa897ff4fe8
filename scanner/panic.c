/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * `pprofwall panic`: every rule gone within a second, whatever state the daemon is in. It asks,
 * then signals, then kills, and believes only what --table-exists says. Each step has a deadline,
 * and none lets the whole go past PANIC_MS.
 */
#include "scanner/panic.h"

#include "common/cleanup.h"
#include "common/clock.h"
#include "common/control.h"
#include "common/panic_marker.h"
#include "conf/conf.h"
#include "scanner/control_client.h"
#include "scanner/helper_run.h"
#include "scanner/verbs.h"

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <libgen.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/wait.h>

enum {
	PANIC_MS = 950,
	ASK_MS = 200,
	MARKER_MS = 150,
	TOOL_MS = 150, /* one run of the helper's program; it takes about 5 */
	SIGNAL_MS = 250,
	KILL_MS = 200,
	POLL_MS = 20,
	COMM_LEN = 16,
};

static const char helper_name[] = HELPER_PROGRAM;

enum table { TABLE_GONE, TABLE_THERE, TABLE_UNKNOWN };

struct panic {
	struct panic_paths paths;
	char helper[PATHS_MAX_LEN];
	int64_t start_ms;
};

static int left_ms(const struct panic *p, int at_most_ms)
{
	int64_t left = p->start_ms + PANIC_MS - clock_monotonic_ms();

	if (left < 1)
		return 1;
	return left < at_most_ms ? (int)left : at_most_ms;
}

/* Waits for the end of the process behind `pidfd`. */
static bool wait_for_end(int pidfd, int timeout_ms)
{
	struct pollfd event = {.fd = pidfd, .events = POLLIN};

	return poll(&event, 1, timeout_ms) == 1;
}

/* Runs the helper's program with one option; its exit status, or -errno. */
static int run_tool(const struct panic *p, const char *option, int at_most_ms)
{
	char name[] = HELPER_PROGRAM, argument[32];
	char *const argv[] = {name, argument, NULL};

	snprintf(argument, sizeof(argument), "%s", option);
	return helper_run(p->helper, argv, -1, left_ms(p, at_most_ms));
}

static enum table check_table(const struct panic *p)
{
	int status = run_tool(p, "--table-exists", TOOL_MS);

	if (status == 0)
		return TABLE_THERE;
	if (status == 1)
		return TABLE_GONE;
	if (status < 0)
		printf("  %s --table-exists: %s\n", p->helper, strerror(-status));
	return TABLE_UNKNOWN;
}

/* In a process of its own: on a disk that hangs, it writes when that goes on, and we do not wait.
 */
static int write_marker(const struct panic *p, const char *who, const char *reason)
{
	auto_close int pidfd = -1;
	int status;
	pid_t pid;

	fflush(NULL);
	pid = fork();
	if (pid < 0)
		return -errno;
	if (pid == 0) {
		/* Nobody is to wait for the end of our output because of it. */
		(void)close_range(0, UINT_MAX, 0);
		_exit(-panic_marker_set(p->paths.state, who, reason));
	}
	pidfd = pidfd_open(pid, 0);
	if (pidfd < 0 || !wait_for_end(pidfd, left_ms(p, MARKER_MS)))
		return -ETIMEDOUT;
	if (waitpid(pid, &status, 0) != pid)
		return -errno;
	return WIFEXITED(status) ? -WEXITSTATUS(status) : -EINTR;
}

static void set_marker(const struct panic *p, const char *reason)
{
	const char *login = getlogin();
	int error;

	if (panic_marker_exists(p->paths.state)) {
		printf("  the marker %s/%s is there already\n", p->paths.state,
		       PPROFWALL_PANIC_MARKER);
		return;
	}
	error = write_marker(p, login ? login : "root", reason);
	printf("  marker %s/%s: %s\n", p->paths.state, PPROFWALL_PANIC_MARKER,
	       error ? strerror(-error) : "written");
}

static void ask_agent(const struct panic *p, const char *reason)
{
	json_t *request = json_pack("{s:s, s:s}", "verb", "panic", "reason", reason);
	json_t *answer = NULL;
	char why[CONTROL_CLIENT_ERROR_LEN];
	const char *said;

	if (!request) /* not UTF-8 */
		request = json_pack("{s:s, s:s}", "verb", "panic", "reason", "");
	if (control_client_ask(p->paths.socket, request, left_ms(p, ASK_MS), &answer, why) != 0) {
		printf("  agent: %s\n", why);
	} else if (json_is_true(json_object_get(answer, "ok"))) {
		printf("  agent: stopped enforcing\n");
	} else {
		said = json_string_value(json_object_get(answer, "error"));
		printf("  agent: refused: %s\n", said ? said : "no reason given");
	}
	json_decref(answer);
	json_decref(request);
}

static int read_pid(const struct panic *p, pid_t *out)
{
	char socket[PATHS_MAX_LEN], path[PATHS_MAX_LEN + 32], text[32];
	auto_close int fd = -1;
	uint64_t pid;
	ssize_t n;

	memcpy(socket, p->paths.socket, sizeof(socket));
	snprintf(path, sizeof(path), "%s/%s", dirname(socket), PPROFWALL_FIREWALL_PIDFILE);
	fd = open(path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	n = read(fd, text, sizeof(text) - 1);
	if (n < 0)
		return -errno;
	text[n] = '\0';
	text[strcspn(text, "\n")] = '\0';
	if (conf_parse_number(text, INT32_MAX, &pid) != 0 || pid < 2)
		return -EINVAL;
	*out = (pid_t)pid;
	return 0;
}

/* By its program; by its name when that was replaced by an update meanwhile. */
static bool is_helper(const struct panic *p, pid_t pid)
{
	char path[64], exe[PATHS_MAX_LEN], comm[COMM_LEN + 1] = "";
	auto_close int fd = -1;
	ssize_t n;

	snprintf(path, sizeof(path), "/proc/%d/exe", (int)pid);
	n = readlink(path, exe, sizeof(exe) - 1);
	exe[n > 0 ? n : 0] = '\0';
	if (strcmp(exe, p->helper) == 0)
		return true;
	snprintf(path, sizeof(path), "/proc/%d/comm", (int)pid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0 || read(fd, comm, COMM_LEN) <= 0)
		return false;
	comm[strcspn(comm, "\n")] = '\0';
	return strncmp(comm, helper_name, COMM_LEN - 1) == 0;
}

/* A handle to the running helper, or -errno. The check comes after the handle: no pid is reused
 * in between. */
static int find_helper(const struct panic *p, pid_t *pid)
{
	auto_close int pidfd = -1;
	int error = read_pid(p, pid);

	if (error)
		return error;
	pidfd = pidfd_open(*pid, 0);
	if (pidfd < 0)
		return -errno;
	return is_helper(p, *pid) ? steal_fd(&pidfd) : -ESRCH;
}

static enum table signal_helper(const struct panic *p, int pidfd, pid_t pid)
{
	int64_t until_ms = clock_monotonic_ms() + left_ms(p, SIGNAL_MS);
	enum table table = TABLE_THERE;

	if (pidfd_send_signal(pidfd, SIGUSR1, NULL, 0) < 0) {
		printf("  firewall helper (pid %d): SIGUSR1: %s\n", (int)pid, strerror(errno));
		return table;
	}
	while (table == TABLE_THERE && clock_monotonic_ms() < until_ms) {
		if (wait_for_end(pidfd, POLL_MS))
			break;
		table = check_table(p);
	}
	printf("  firewall helper (pid %d): SIGUSR1: %s\n", (int)pid,
	       table == TABLE_GONE ? "removed the table" : "did not remove the table");
	return table;
}

static void kill_helper(const struct panic *p, int pidfd, pid_t pid)
{
	bool ended;

	if (pidfd_send_signal(pidfd, SIGKILL, NULL, 0) < 0 && errno != ESRCH) {
		printf("  firewall helper (pid %d): SIGKILL: %s\n", (int)pid, strerror(errno));
		return;
	}
	ended = wait_for_end(pidfd, left_ms(p, KILL_MS));
	printf("  firewall helper (pid %d): SIGKILL: %s\n", (int)pid,
	       ended ? "ended" : "still there");
}

static enum table remove_table(const struct panic *p)
{
	enum table table = check_table(p);
	auto_close int pidfd = -1;
	pid_t pid = 0;
	int status;

	if (table == TABLE_GONE)
		return table;
	pidfd = find_helper(p, &pid);
	if (pidfd < 0) {
		printf("  firewall helper: %s\n",
		       pidfd == -ENOENT || pidfd == -ESRCH ? "not running" : strerror(-pidfd));
	} else {
		table = signal_helper(p, pidfd, pid);
		if (table == TABLE_GONE)
			return table;
		/* An owned table can be deleted by others only when its owner is gone. */
		kill_helper(p, pidfd, pid);
	}
	status = run_tool(p, "--delete-table", TOOL_MS);
	if (status < 0)
		printf("  %s --delete-table: %s\n", p->helper, strerror(-status));
	else
		printf("  --delete-table: %s\n", status == 0 ? "done" : "failed");
	return check_table(p);
}

/* What `pprofwall block --standalone` made; no process owns it. */
static enum table remove_standalone(const struct panic *p)
{
	/* The last step: whatever time is left. */
	int status = run_tool(p, "--delete-standalone", PANIC_MS);

	if (status == 0)
		return TABLE_GONE;
	if (status < 0)
		printf("  %s --delete-standalone: %s\n", p->helper, strerror(-status));
	else
		printf("  --delete-standalone: failed\n");
	return TABLE_UNKNOWN;
}

static void use_configured(const struct conf *conf, struct panic_paths *out)
{
	snprintf(out->state, sizeof(out->state), "%s", conf->state.directory);
	snprintf(out->socket, sizeof(out->socket), "%s", conf->control.socket);
}

void panic_find_paths(const char *config, const char *socket, struct panic_paths *out)
{
	char installed[PATHS_MAX_LEN] = "/etc/pprofwall/pprofwall.yaml", error[CONF_ERROR_LEN];
	auto_conf struct conf *conf = NULL;
	auto_close int fd = -1;

	if (!config)
		(void)paths_sysconf("pprofwall.yaml", installed);
	config = config ? config : installed;
	fd = open(config, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	if (fd < 0)
		snprintf(error, sizeof(error), "%.256s: %s", config, strerror(errno));
	else
		conf = conf_load_fd(config, fd, error);
	if (conf) {
		use_configured(conf, out);
	} else {
		fprintf(stderr, "pprofwall: %s; going on with %s and %s\n", error,
		        PPROFWALL_STATE_DIRECTORY, CONTROL_DEFAULT_SOCKET);
		snprintf(out->state, sizeof(out->state), "%s", PPROFWALL_STATE_DIRECTORY);
		snprintf(out->socket, sizeof(out->socket), "%s", CONTROL_DEFAULT_SOCKET);
	}
	if (socket)
		snprintf(out->socket, sizeof(out->socket), "%s", socket);
}

static int report(const struct panic *p, enum table table, enum table standalone)
{
	bool marked = panic_marker_exists(p->paths.state);
	int64_t took_ms = clock_monotonic_ms() - p->start_ms;

	if (table == TABLE_GONE && standalone == TABLE_GONE)
		printf("no rule of pprofwall is in the kernel; it took %lld ms\n",
		       (long long)took_ms);
	else
		printf("THE RULES ARE %s after %lld ms; try: nft delete table inet pprofwall%s\n",
		       table == TABLE_THERE ? "STILL THERE" : "PERHAPS STILL THERE",
		       (long long)took_ms, table == TABLE_GONE ? "-standalone" : "");
	if (!marked)
		printf("WITHOUT THE MARKER the daemon blocks again when it starts; stop it: "
		       "systemctl stop pprofwalld\n");
	fflush(stdout);
	/* Last, and outside the second: a disk may be slow. */
	if (marked)
		(void)panic_marker_sync(p->paths.state);
	return table == TABLE_GONE && standalone == TABLE_GONE && marked ? VERB_OK : VERB_REFUSED;
}

struct options {
	const char *reason, *config, *socket;
};

static int parse_options(int argc, char **argv, struct options *o)
{
	static const struct option known[] = {
	    {"reason", required_argument, NULL, 'r'},
	    {"config", required_argument, NULL, 'c'},
	    {"socket", required_argument, NULL, 's'},
	    {"help", no_argument, NULL, 'h'},
	    {NULL, 0, NULL, 0},
	};
	static const char usage[] =
	    "usage: pprofwall panic [--reason TEXT] [--config FILE] [--socket PATH]\n"
	    "  As root: removes every rule within a second, even when the daemon hangs, and keeps\n"
	    "  enforcement off until `pprofwall resume`.\n";
	int c;

	optind = 0;
	while ((c = getopt_long(argc, argv, "", known, NULL)) != -1) {
		switch (c) {
		case 'r': o->reason = optarg; break;
		case 'c': o->config = optarg; break;
		case 's': o->socket = optarg; break;
		default: fputs(usage, c == 'h' ? stdout : stderr); return c == 'h' ? 0 : VERB_USAGE;
		}
	}
	if (optind != argc) {
		fputs(usage, stderr);
		return VERB_USAGE;
	}
	return -1;
}

int panic_main(int argc, char **argv)
{
	struct options o = {.reason = ""};
	struct panic p = {.start_ms = clock_monotonic_ms()};
	int status = parse_options(argc, argv, &o);
	enum table table;
	int error;

	if (status >= 0)
		return status;
	if (geteuid() != 0) {
		fputs("pprofwall panic: must be run by root\n", stderr);
		return VERB_UNREACHABLE;
	}
	/* Nobody may stop it half-way by closing a terminal or a pipe. */
	signal(SIGPIPE, SIG_IGN);
	signal(SIGHUP, SIG_IGN);
	panic_find_paths(o.config, o.socket, &p.paths);
	error = paths_libexec(helper_name, p.helper);
	if (error)
		printf("  %s: %s\n", helper_name, strerror(-error));
	set_marker(&p, o.reason);
	ask_agent(&p, o.reason);
	table = remove_table(&p);
	return report(&p, table, remove_standalone(&p));
}
