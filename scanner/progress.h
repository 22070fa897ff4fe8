/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * One line on a terminal that says how far a scan is. It is taken away before anything else is
 * written there (progress_hide()) and comes back by itself. One thread.
 */
#pragma once

#include <event2/event.h>
#include <stdbool.h>
#include <stdint.h>

/* Asked for when the line is drawn. */
struct progress_state {
	uint64_t done;    /* endpoints */
	uint64_t total;   /* 0: not known, as where targets come through a pipe */
	uint64_t exposed; /* found so far */
};

typedef void progress_ask_cb(struct progress_state *out, void *arg);

struct progress;

/*
 * NULL when `fd` is no terminal or memory is out: then nothing is shown, and the calls below do
 * nothing.
 */
struct progress *progress_new(struct event_base *base, int fd, progress_ask_cb *ask, void *arg);
void progress_hide(struct progress *p);
/* Hides it for good. */
void progress_free(struct progress *p);

enum { PROGRESS_LINE_LEN = 160 };
/* The text of the line, at most `columns` wide. Pure: for progress.c and its test. */
void progress_format(const struct progress_state *state, int64_t elapsed_ms, double per_second,
                     int columns, char line[static PROGRESS_LINE_LEN]);
