/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * One line a message on standard error. Under systemd (JOURNAL_STREAM) each line carries its
 * priority as "<N>" (sd-daemon(3)); otherwise the program's name stands before it. Control
 * characters in a message are shown as '?', since some of them come from the network. Any thread;
 * a line is one write(2). Where standard error is a pipe that nobody reads, lines are lost after a
 * moment: nothing waits for ever in order to say something.
 *
 * Libraries do not log: they return, and the layer that has the context logs, once.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

enum log_level {
	LOG_LEVEL_ERROR = 3,
	LOG_LEVEL_WARNING = 4,
	LOG_LEVEL_INFO = 6,
	LOG_LEVEL_DEBUG = 7
};

/* Call once, first thing in main(). The name is kept, not copied. */
void log_init(const char *program, enum log_level level);

void log_line(enum log_level level, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* As it is, without a name; on the same terms. */
void log_text(const char *text, size_t length);

#define log_error(...)   log_line(LOG_LEVEL_ERROR, __VA_ARGS__)
#define log_warning(...) log_line(LOG_LEVEL_WARNING, __VA_ARGS__)
#define log_info(...)    log_line(LOG_LEVEL_INFO, __VA_ARGS__)
#define log_debug(...)   log_line(LOG_LEVEL_DEBUG, __VA_ARGS__)
