/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "scanner/evidence_writer.h"

#include "common/cleanup.h"
#include "common/sandbox.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>

/* Returns 0, -ENODATA at a clean end, or -errno. */
static int read_all(int fd, void *to, size_t length)
{
	char *bytes = to;
	size_t got = 0;

	while (got < length) {
		ssize_t n = read(fd, bytes + got, length - got);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		if (n == 0)
			return got == 0 ? -ENODATA : -EPIPE;
		got += (size_t)n;
	}
	return 0;
}

static int write_all(int fd, const char *bytes, size_t length)
{
	while (length > 0) {
		ssize_t n = write(fd, bytes, length);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		bytes += n;
		length -= (size_t)n;
	}
	return 0;
}

static bool is_safe(const struct evidence_message *m)
{
	static const char name_bytes[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
	                                 "0123456789.-_";
	const char *name = m->file.name;
	const char *sum = m->file.sha256;

	return memchr(name, '\0', sizeof(m->file.name)) && *name && *name != '.' &&
	       name[strspn(name, name_bytes)] == '\0' &&
	       memchr(sum, '\0', sizeof(m->file.sha256)) && strspn(sum, "0123456789abcdef") == 64 &&
	       m->file_bytes <= EVIDENCE_FILE_MAX_BYTES && m->line_bytes <= EVIDENCE_LINE_MAX_BYTES;
}

static int write_file(const struct evidence_writer *w, const char *name, const char *bytes,
                      size_t length)
{
	auto_close int fd =
	    openat(w->directory, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);

	return fd < 0 ? -errno : write_all(fd, bytes, length);
}

static int take_message(const struct evidence_writer *w)
{
	struct evidence_message m;
	auto_free char *bytes = NULL;
	char sum[sizeof(m.file) + 4];
	int err = read_all(w->socket, &m, sizeof(m));

	if (err < 0)
		return err;
	if (!is_safe(&m))
		return -EBADMSG;
	bytes = malloc((size_t)m.file_bytes + m.line_bytes + 1);
	if (!bytes)
		return -ENOMEM;
	err = read_all(w->socket, bytes, (size_t)m.file_bytes + m.line_bytes);
	if (!err)
		err = write_file(w, m.file.name, bytes, m.file_bytes);
	/* the form that `sha256sum -c` reads */
	snprintf(sum, sizeof(sum), "%s  %s\n", m.file.sha256, m.file.name);
	if (!err)
		err = write_all(w->sums, sum, strlen(sum));
	return err ? err : write_all(w->index, bytes + m.file_bytes, m.line_bytes);
}

enum { NOGROUP = 65534 };

/* As root it becomes the directory's owner, who may write there without any privilege. */
static int drop_privileges(const struct evidence_writer *w)
{
	char why[SANDBOX_ERROR_LEN];
	struct sandbox_spec spec = {.filter = SANDBOX_FILTER_FILES};
	struct stat st;
	int err;

	if (fstat(w->directory, &st) < 0)
		return -errno;
	if (geteuid() != 0) {
		spec.keep_uid = true;
	} else if (st.st_uid != 0) {
		spec.uid = st.st_uid;
		spec.gid = st.st_gid ? st.st_gid : NOGROUP;
	}
	err = sandbox_drop(&spec, why);
	return err < 0 ? err : sandbox_filter(spec.filter, why);
}

/* What ends the scan is not to end a file in its middle; the closed socket ends us. */
static void stand_apart(void)
{
	static const int ignored[] = {SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGPIPE};
	int null = open("/dev/null", O_RDWR | O_CLOEXEC);

	setsid();
	for (size_t i = 0; i < ARRAY_LEN(ignored); i++)
		signal(ignored[i], SIG_IGN);
	/* who reads the scan's output is not to wait for us */
	for (int fd = 0; null >= 0 && fd <= 2; fd++)
		dup2(null, fd);
}

_Noreturn void evidence_writer_run(const struct evidence_writer *w)
{
	int32_t result;

	stand_apart();
	result = drop_privileges(w);
	while (result == 0)
		result = take_message(w);
	if (result == -ENODATA)
		result = 0;
	if (send(w->socket, &result, sizeof(result), MSG_NOSIGNAL) < 0)
		result = -errno; /* nobody waits any more */
	_exit(result ? 1 : 0);
}
