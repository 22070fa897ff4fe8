/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "common/log.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

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
	while (write(STDERR_FILENO, line, len) < 0 && errno == EINTR)
		;
	errno = saved_errno;
}
