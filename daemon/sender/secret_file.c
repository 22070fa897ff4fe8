/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/sender/secret_file.h"

#include "common/cleanup.h"
#include "common/read_all.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

void secret_free(char *bytes, size_t length)
{
	if (bytes)
		explicit_bzero(bytes, length);
	free(bytes);
}

int secret_read_at(int directory, const char *path, size_t max, char **bytes, size_t *length,
                   const char **why)
{
	/* A pipe must not hold us up. */
	auto_close int fd = openat(directory, path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	struct stat status;
	ssize_t n = -EINVAL;
	char *buffer;

	if (fd < 0 || fstat(fd, &status) < 0) {
		n = -errno;
		*why = strerror(errno);
		return (int)n;
	}
	*why = "is no regular file";
	if (!S_ISREG(status.st_mode))
		return -EINVAL;
	buffer = malloc(max + 1);
	*why = strerror(ENOMEM);
	if (!buffer)
		return -ENOMEM;
	n = read_all(fd, buffer, max + 1);
	if (n <= 0 || (size_t)n > max) {
		*why = n < 0 ? strerror((int)-n) : n == 0 ? "is empty" : "is too long";
		secret_free(buffer, max + 1);
		return n < 0 ? (int)n : -EINVAL;
	}
	*bytes = malloc((size_t)n + 1);
	if (*bytes) {
		memcpy(*bytes, buffer, (size_t)n);
		(*bytes)[n] = '\0';
		*length = (size_t)n;
	}
	secret_free(buffer, max + 1);
	return *bytes ? 0 : -ENOMEM;
}
