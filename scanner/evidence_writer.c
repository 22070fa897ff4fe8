/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "scanner/evidence_writer.h"

#include "common/cleanup.h"
#include "scanner/writer.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>

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

	return fd < 0 ? -errno : writer_write_all(fd, bytes, length);
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
		err = writer_write_all(w->sums, sum, strlen(sum));
	return err ? err : writer_write_all(w->index, bytes + m.file_bytes, m.line_bytes);
}

_Noreturn void evidence_writer_run(struct evidence_writer *w)
{
	int descriptors[] = {w->socket, w->directory, w->sums, w->index};
	char why[SANDBOX_ERROR_LEN];
	int32_t result = writer_stand_apart(descriptors, ARRAY_LEN(descriptors));

	if (result < 0)
		_exit(1);
	*w = (struct evidence_writer){descriptors[0], descriptors[1], descriptors[2],
	                              descriptors[3]};
	result = writer_drop_privileges(&w->directory, 1, SANDBOX_FILTER_FILES, why);
	while (result == 0)
		result = take_message(w);
	if (result == -ENODATA)
		result = 0;
	if (send(w->socket, &result, sizeof(result), MSG_NOSIGNAL) < 0)
		result = -errno; /* nobody waits any more */
	_exit(result ? 1 : 0);
}
