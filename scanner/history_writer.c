/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "scanner/history_writer.h"

#include "common/cleanup.h"
#include "common/frame.h"
#include "common/log.h"
#include "common/sandbox.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/stat.h>

enum {
	COMMIT_EVERY_MS = 500,
	COMMIT_EVERY = 1000, /* messages */
};

enum message {
	MESSAGE_COVERAGE = 1, /* kind, then network and ports with their NULs */
	MESSAGE_OBSERVATION,  /* struct history_observation, then maybe a finding's line */
	MESSAGE_END,          /* struct history_end */
	MESSAGE_ENDED,        /* the writer's only answer: all is on disk */
};

struct history_writer {
	int socket;
};

/* The child */

static bool is_text(const char *text, size_t size)
{
	return memchr(text, '\0', size) != NULL;
}

static int take_coverage(struct history *h, int64_t sweep, const struct frame *f)
{
	const char *network = (const char *)f->body + 1;
	const char *ports;

	if (f->length < 3 || f->body[f->length - 1] != '\0' || f->body[0] > HISTORY_EXCLUDES)
		return -EPROTO;
	ports = network + strlen(network) + 1;
	if (ports + strlen(ports) + 1 != (const char *)f->body + f->length)
		return -EPROTO;
	return history_add_coverage(h, sweep, f->body[0], network, ports);
}

static int take_observation(struct history *h, int64_t sweep, const struct frame *f)
{
	const char *line = (const char *)f->body + sizeof(struct history_observation);
	struct history_observation o;
	struct finding finding;
	char why[128];
	int err;

	if (f->length < sizeof(o))
		return -EPROTO;
	memcpy(&o, f->body, sizeof(o));
	if (o.verdict >= VERDICT_COUNT || o.severity >= SEVERITY_COUNT || o.high_risk > 1 ||
	    o.walled > 1 || !is_text(o.host, sizeof(o.host)) ||
	    !is_text(o.prefix, sizeof(o.prefix)) || !is_text(o.vantage, sizeof(o.vantage)) ||
	    (o.endpoint.family != AF_INET && o.endpoint.family != AF_INET6))
		return -EPROTO;
	if (f->length == sizeof(o))
		return history_add_observation(h, sweep, &o, NULL);
	err = finding_from_line(line, f->length - sizeof(o), &finding, why);
	if (err)
		return -EPROTO;
	if (endpoint_compare(&finding.endpoint, &o.endpoint) != 0 || finding.verdict != o.verdict)
		err = -EPROTO;
	finding_fini(&finding);
	/* frame_recv() has put a NUL after the body. */
	return err ? err : history_add_observation(h, sweep, &o, line);
}

static int take_end(struct history *h, int64_t sweep, int sock, const struct frame *f)
{
	struct history_end end;
	int err;

	if (f->length != sizeof(end))
		return -EPROTO;
	memcpy(&end, f->body, sizeof(end));
	err = history_end_sweep(h, sweep, &end);
	return err ? err : frame_send(sock, MESSAGE_ENDED, f->seq, NULL, 0, -1);
}

static int take(struct history *h, int64_t sweep, int sock, const struct frame *f)
{
	switch (f->type) {
	case MESSAGE_COVERAGE: return take_coverage(h, sweep, f);
	case MESSAGE_OBSERVATION: return take_observation(h, sweep, f);
	case MESSAGE_END: return take_end(h, sweep, sock, f);
	default: return -EPROTO;
	}
}

/* Until the scanner closes its end, or dies: what came until then is kept either way. */
static int serve(struct history *h, int64_t sweep, int sock)
{
	auto_free struct frame *f = malloc(sizeof(*f));
	unsigned pending = 0;

	if (!f)
		return -ENOMEM;
	for (;;) {
		struct pollfd ready = {.fd = sock, .events = POLLIN};
		int n = poll(&ready, 1, pending ? COMMIT_EVERY_MS : -1);
		int err = 0;

		if (n < 0 && errno != EINTR)
			return -errno;
		if (n > 0) {
			int got = frame_recv(sock, f);

			if (got == 0 || got == -ECONNRESET)
				return history_commit(h);
			err = got < 0 ? got : take(h, sweep, sock, f);
			pending++;
		}
		if (!err && (n == 0 || pending >= COMMIT_EVERY)) {
			err = history_commit(h);
			pending = 0;
		}
		if (err && err != -EAGAIN)
			return err;
	}
}

/*
 * Its uid stays, since the file and the journal beside it are its user's. Root may keep them in a
 * directory that is not root's; it keeps the one capability for that.
 */
static int drop_privileges(char *why)
{
	static const int capabilities[] = {CAP_DAC_OVERRIDE};
	struct sandbox_spec spec = {.keep_uid = true};

	if (geteuid() == 0)
		spec = (struct sandbox_spec){.capabilities = capabilities,
		                             .n_capabilities = ARRAY_LEN(capabilities)};
	return sandbox_drop(&spec, why);
}

__attribute__((noreturn)) static void child(struct history *h, int64_t sweep, const char *path,
                                            int sock)
{
	char why[SANDBOX_ERROR_LEN];
	int err;

	/* The terminal's signals go to the whole group; what the scanner said is still to be kept.
	 */
	signal(SIGHUP, SIG_IGN);
	signal(SIGQUIT, SIG_IGN);
	signal(SIGINT, SIG_IGN);
	signal(SIGTERM, SIG_IGN);
	signal(SIGPIPE, SIG_IGN);
	if (drop_privileges(why) < 0) {
		log_error("history: cannot drop privileges: %s", why);
		_exit(1);
	}
	err = serve(h, sweep, sock);
	if (err < 0)
		log_error("%s: %s", path, err == -EIO ? history_error(h) : strerror(-err));
	history_close(h);
	_exit(err ? 1 : 0);
}

/* The scanner */

static int begin(const char *path, const struct history_begin *begin, struct history **h,
                 int64_t *sweep, char *why)
{
	int err = history_open(path, HISTORY_WRITE, h, why);

	if (err)
		return err;
	err = history_begin_sweep(*h, begin, sweep);
	if (!err)
		err = history_commit(*h);
	if (err) {
		snprintf(why, HISTORY_ERROR_LEN, "%s",
		         err == -EEXIST ? "this sweep is complete in it; a new one needs another "
		                          "--seed"
		                        : history_error(*h));
		history_close(*h);
	}
	return err;
}

static void set_blocking(int fd)
{
	int flags = fcntl(fd, F_GETFL);

	if (flags >= 0)
		fcntl(fd, F_SETFL, flags & ~O_NONBLOCK);
}

/*
 * SQLite's handles must not cross a fork: the child opens the file itself, and says by the first
 * byte whether it could.
 */
__attribute__((noreturn)) static void start_child(const char *path, const struct history_begin *b,
                                                  int sock)
{
	char why[HISTORY_ERROR_LEN] = "";
	struct history *h = NULL;
	int64_t sweep = 0;
	int err;

	/* A list of weaknesses, and of command lines, is for whoever the user lets see it. */
	umask(0077);
	err = begin(path, b, &h, &sweep, why);

	/* An error's text; or nothing, which is success. */
	if (frame_send(sock, MESSAGE_ENDED, 0, why, strlen(why), -1) < 0 || err < 0)
		_exit(1);
	child(h, sweep, path, sock);
}

/* Waits for the child's answer. */
static int receive_ended(int sock, char *why)
{
	auto_free struct frame *f = malloc(sizeof(*f));
	int got;

	if (!f)
		return -ENOMEM;
	got = frame_recv(sock, f);
	if (got != 1)
		return got < 0 ? got : -EPIPE;
	if (f->type != MESSAGE_ENDED)
		return -EPROTO;
	if (f->length == 0)
		return 0;
	if (why)
		snprintf(why, HISTORY_ERROR_LEN, "%.*s", HISTORY_ERROR_LEN - 1,
		         (const char *)f->body);
	return -EIO;
}

int history_writer_start(const char *path, const struct history_begin *begin,
                         struct history_writer **out, char why[static HISTORY_ERROR_LEN])
{
	auto_free struct history_writer *w = calloc(1, sizeof(*w));
	int pair[2];
	pid_t pid;
	int err = w ? frame_socketpair(pair) : -ENOMEM;

	snprintf(why, HISTORY_ERROR_LEN, "%s", strerror(-err));
	if (err)
		return err;
	set_blocking(pair[0]);
	set_blocking(pair[1]);
	fflush(NULL);
	pid = fork();
	if (pid == 0) {
		close(pair[0]);
		start_child(path, begin, pair[1]);
	}
	close(pair[1]);
	w->socket = pair[0];
	err = pid < 0 ? -errno : receive_ended(w->socket, why);
	if (err) {
		close(w->socket);
		return err;
	}
	*out = steal_ptr(&w);
	return 0;
}

int history_writer_cover(struct history_writer *w, enum history_coverage kind, const char *network,
                         const char *ports)
{
	auto_free char *body = NULL;
	size_t n = strlen(network) + 1, p = strlen(ports) + 1;
	int err;

	body = malloc(1 + n + p);
	if (!body)
		return -ENOMEM;
	body[0] = (char)kind;
	memcpy(body + 1, network, n);
	memcpy(body + 1 + n, ports, p);
	err = frame_send(w->socket, MESSAGE_COVERAGE, 0, body, 1 + n + p, -1);
	return err;
}

int history_writer_observe(struct history_writer *w, const struct history_observation *o,
                           const char *finding)
{
	size_t length = finding ? strlen(finding) : 0;
	auto_free char *body = NULL;

	if (length == 0)
		return frame_send(w->socket, MESSAGE_OBSERVATION, 0, o, sizeof(*o), -1);
	body = malloc(sizeof(*o) + length + 1);
	if (!body)
		return -ENOMEM;
	memcpy(body, o, sizeof(*o));
	memcpy(body + sizeof(*o), finding, length + 1); /* the NUL stays here */
	return frame_send(w->socket, MESSAGE_OBSERVATION, 0, body, sizeof(*o) + length, -1);
}

int history_writer_end(struct history_writer *w, const struct history_end *end)
{
	int err = frame_send(w->socket, MESSAGE_END, 0, end, sizeof(*end), -1);

	return err ? err : receive_ended(w->socket, NULL);
}

void history_writer_free(struct history_writer *w)
{
	if (!w)
		return;
	close(w->socket);
	free(w);
}
