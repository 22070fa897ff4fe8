/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "common/log.h"

#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum { PATIENCE_MS = 200 };

/* Set once by log_init() before any thread starts; read only after that. */
static const char *program_name = "pprofwall";
static enum log_level max_level = LOG_LEVEL_INFO;
static bool with_priority;

void log_init(const char *program, enum log_level level)
{
	program_name = program;
	max_level = level;
	with_priority = getenv("JOURNAL_STREAM") != NULL;
}

void log_line(enum log_level level, const char *format, ...)
{
	int saved_errno = errno;
	char line[2048];
	int prefix, body;
	size_t len;
	va_list args;

	if (level > max_level)
		return;
	if (with_priority)
		prefix = snprintf(line, sizeof(line), "<%d>%s: ", (int)level, program_name);
	else
		prefix = snprintf(line, sizeof(line), "%s: ", program_name);
	if (prefix < 0)
		return;
	va_start(args, format);
	body = vsnprintf(line + prefix, sizeof(line) - (size_t)prefix - 1, format, args);
	va_end(args);
	if (body < 0)
		return;
	len = (size_t)prefix + (size_t)body;
	if (len > sizeof(line) - 2)
		len = sizeof(line) - 2;
	for (size_t i = 0; i < len; i++) {
		unsigned char c = (unsigned char)line[i];

		if (c < 0x20 || c == 0x7f)
			line[i] = '?';
	}
	line[len++] = '\n';
	log_text(line, len);
	errno = saved_errno;
}

/*
 * Whether a write of at most PIPE_BUF bytes would not wait (pipe(7)). Once it has been waited for
 * in vain, it is not waited for again until somebody reads.
 */
static bool has_reader(void)
{
	static atomic_bool is_stuck;
	struct pollfd out = {.fd = STDERR_FILENO, .events = POLLOUT};
	int n;

	do
		n = poll(&out, 1, is_stuck ? 0 : PATIENCE_MS);
	while (n < 0 && errno == EINTR);
	is_stuck = n == 0;
	return n != 0;
}

void log_text(const char *text, size_t length)
{
	while (length > 0 && has_reader()) {
		ssize_t n = write(STDERR_FILENO, text, length < PIPE_BUF ? length : PIPE_BUF);

		if (n < 0 && errno != EINTR)
			return;
		if (n > 0) {
			text += n;
			length -= (size_t)n;
		}
	}
}
