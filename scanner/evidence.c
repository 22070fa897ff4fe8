/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "scanner/evidence.h"

#include "common/cleanup.h"
#include "scanner/evidence_writer.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <sha2.h>
#include <stdarg.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>

AUTO_CLEANUP(json, json_t *, json_decref)
#define auto_json __attribute__((cleanup(cleanup_json)))

enum { NAME_ID_LEN = 8 /* of the scan's id; the sweeps of one directory do not meet */ };

struct evidence {
	bool ended; /* the writer has said its last word, */
	int result; /* which is this */
	int socket;
	bool show_secrets;
	char *scan_id;
	uint64_t endpoints;
};

__attribute__((format(printf, 3, 4))) static int fail(char *why, int err, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vsnprintf(why, EVIDENCE_ERROR_LEN, format, args);
	va_end(args);
	return err;
}

/*
 * Whoever owns the directory may have put something else there: a pipe would keep us waiting, and
 * another name of somebody else's file would give that file away. Returns a descriptor or -errno.
 */
static int open_list(int directory, const char *name, const struct stat *owner)
{
	auto_close int fd =
	    openat(directory, name,
	           O_WRONLY | O_CREAT | O_APPEND | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC, 0600);
	struct stat st;

	if (fd < 0 || fstat(fd, &st) < 0)
		return -errno;
	if (!S_ISREG(st.st_mode) || st.st_nlink != 1)
		return -EMLINK;
	if (geteuid() == 0 && fchown(fd, owner->st_uid, owner->st_gid) < 0)
		return -errno;
	return steal_fd(&fd);
}

/* The writer's ends are its own: the scanner keeps the socket only. */
static int start_writer(const char *path, int *out, char *why)
{
	auto_close int directory = -1, sums = -1, index = -1, ours = -1, theirs = -1;
	struct stat st;
	int pair[2], err;
	pid_t pid;

	if (mkdir(path, 0700) < 0 && errno != EEXIST)
		return fail(why, -errno, "%s: %s", path, strerror(errno));
	directory = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (directory < 0 || fstat(directory, &st) < 0)
		return fail(why, -errno, "%s: %s", path, strerror(errno));
	sums = open_list(directory, "SHA256SUMS", &st);
	index = open_list(directory, "index.ndjson", &st);
	err = sums < 0 ? sums : index < 0 ? index : 0;
	if (err == -EMLINK)
		return fail(why, err, "%s: SHA256SUMS or index.ndjson there is no file of its own",
		            path);
	if (err < 0)
		return fail(why, err, "%s: cannot write there: %s", path, strerror(-err));
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0)
		return fail(why, -errno, "socketpair: %s", strerror(errno));
	ours = pair[0];
	theirs = pair[1];
	pid = fork();
	if (pid < 0)
		return fail(why, -errno, "fork: %s", strerror(errno));
	if (pid == 0) {
		struct evidence_writer w = {
		    .socket = theirs, .directory = directory, .sums = sums, .index = index};

		close(ours);
		evidence_writer_run(&w);
	}
	*out = steal_fd(&ours);
	return 0;
}

int evidence_open(const char *directory, const char *scan_id, bool show_secrets,
                  struct evidence **out, char why[static EVIDENCE_ERROR_LEN])
{
	struct evidence *e = calloc(1, sizeof(*e));
	int err;

	if (!e)
		return fail(why, -ENOMEM, "out of memory");
	e->socket = -1;
	e->show_secrets = show_secrets;
	e->scan_id = strdup(scan_id);
	err = e->scan_id ? start_writer(directory, &e->socket, why)
	                 : fail(why, -ENOMEM, "out of memory");
	if (err < 0) {
		free(e->scan_id);
		free(e);
		return err;
	}
	*out = e;
	return 0;
}

static int send_all(int fd, const void *from, size_t length)
{
	const char *bytes = from;

	while (length > 0) {
		ssize_t n = send(fd, bytes, length, MSG_NOSIGNAL);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		bytes += n;
		length -= (size_t)n;
	}
	return 0;
}

/* "3f2a91bc-000017-10.0.0.7-9100-1-index.http" */
static void make_name(const struct evidence *e, const struct finding *f, size_t nth,
                      const struct exchange *x, char name[static EVIDENCE_NAME_LEN])
{
	char address[ENDPOINT_TEXT_LEN];

	endpoint_format_address(&f->endpoint, address);
	for (char *c = address; *c; c++)
		if (*c == ':' || *c == '%')
			*c = '_';
	snprintf(name, EVIDENCE_NAME_LEN, "%.*s-%06" PRIu64 "-%s-%u-%zu-%s.http", NAME_ID_LEN,
	         e->scan_id, e->endpoints, address, (unsigned)f->endpoint.port, nth + 1,
	         exchange_step_name(x->request.step));
}

static json_t *request_lines(const struct exchange *x)
{
	auto_json json_t *lines = json_array();
	auto_free char *copy = strdup(x->sent);
	char *rest = copy, *line;

	while (copy && (line = strsep(&rest, "\n"))) {
		line[strcspn(line, "\r")] = '\0';
		if (*line && json_array_append_new(lines, json_string(line)) < 0)
			return NULL;
	}
	return copy ? steal_ptr(&lines) : NULL;
}

static void format_time(int64_t ms, char text[static 32])
{
	time_t seconds = (time_t)(ms / 1000);
	struct tm tm = {0};
	size_t n;

	gmtime_r(&seconds, &tm);
	n = strftime(text, 32, "%Y-%m-%dT%H:%M:%S", &tm);
	snprintf(text + n, 32 - n, ".%03dZ", (int)(ms % 1000));
}

static char *make_line(const struct evidence *e, const struct finding *f, const struct exchange *x,
                       const struct evidence_file *file, size_t bytes)
{
	char endpoint[ENDPOINT_TEXT_LEN], when[32];
	const struct http_answer *a = &x->answer;
	auto_json json_t *line = NULL;
	char *text, *ended = NULL;

	format_time(x->time_ms, when);
	line = json_pack(
	    "{s:s, s:s, s:s, s:s?, s:s?, s:s, s:s, s:o, s:i, s:s?, s:b, s:f, s:s, s:i, s:s}",
	    "time", when, "scan_id", e->scan_id, "endpoint",
	    endpoint_format(&f->endpoint, endpoint), "host", f->host, "vantage", f->vantage,
	    "verdict", finding_verdict_name(f->verdict), "step",
	    exchange_step_name(x->request.step), "request", request_lines(x), "status", a->status,
	    "error", a->error ? strerrordesc_np(-a->error) : NULL, "truncated", a->truncated,
	    "took_ms", (double)x->took_us / 1000, "file", file->name, "bytes", (int)bytes, "sha256",
	    file->sha256);
	if (!line)
		return NULL;
	text = json_dumps(line, JSON_COMPACT | JSON_REAL_PRECISION(6));
	if (text && asprintf(&ended, "%s\n", text) < 0)
		ended = NULL;
	free(text);
	return ended;
}

static int keep_one(struct evidence *e, const struct finding *f, const struct exchange *x,
                    struct evidence_file *file)
{
	auto_free char *bytes = NULL, *line = NULL;
	size_t length = 0;
	FILE *to = open_memstream(&bytes, &length);
	struct evidence_message m = {0};
	int err;

	if (!to)
		return -ENOMEM;
	exchange_write_head(to, x, e->show_secrets);
	exchange_write_body(to, x, e->show_secrets);
	if (fclose(to) != 0)
		return -ENOMEM;
	/* redaction may lengthen, but not without limit */
	if (length > EVIDENCE_FILE_MAX_BYTES)
		length = EVIDENCE_FILE_MAX_BYTES;
	SHA256Data((const uint8_t *)bytes, length, file->sha256);
	line = make_line(e, f, x, file, length);
	if (!line || strlen(line) > EVIDENCE_LINE_MAX_BYTES)
		return -ENOMEM;
	m.file = *file;
	m.file_bytes = (uint32_t)length;
	m.line_bytes = (uint32_t)strlen(line);
	err = send_all(e->socket, &m, sizeof(m));
	if (!err)
		err = send_all(e->socket, bytes, length);
	return err ? err : send_all(e->socket, line, m.line_bytes);
}

/*
 * The writer's last word. It may have ended over an earlier file, with later ones unread in its
 * socket: then the first thing that is read here is the reset, and its word comes after that.
 */
static int take_result(struct evidence *e)
{
	int32_t result = 0;

	for (int tries = 0; tries < 2 && !e->ended; tries++) {
		ssize_t n = recv(e->socket, &result, sizeof(result), MSG_WAITALL);

		if (n < 0 && errno == ECONNRESET)
			continue;
		e->ended = true;
		e->result = n == (ssize_t)sizeof(result) ? result : -EPIPE;
	}
	return e->ended ? e->result : -EPIPE;
}

int evidence_keep(struct evidence *e, const struct finding *f, const struct exchange_log *log,
                  struct evidence_files *out)
{
	*out = (struct evidence_files){0};
	if (!log)
		return 0;
	e->endpoints++;
	for (size_t i = 0; i < log->count; i++) {
		struct evidence_file *file = &out->items[out->count];
		const struct exchange *x = &log->items[i];
		int err;

		/* nothing came: nothing to keep */
		if (x->head_length == 0 && x->answer.body_length == 0)
			continue;
		make_name(e, f, i, x, file->name);
		err = keep_one(e, f, x, file);
		if (err == -EPIPE || err == -ECONNRESET) {
			int why = take_result(e);

			return why < 0 ? why : err;
		}
		if (err < 0)
			return err;
		out->count++;
	}
	return 0;
}

int evidence_close(struct evidence *e)
{
	int err;

	if (!e)
		return 0;
	shutdown(e->socket, SHUT_WR);
	err = take_result(e);
	close(e->socket);
	free(e->scan_id);
	free(e);
	return err;
}
