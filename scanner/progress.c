/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "scanner/progress.h"

#include "common/clock.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

enum { DRAW_EVERY_MS = 250, COLUMNS_DEFAULT = 80 };

struct progress {
	int fd;
	progress_ask_cb *ask;
	void *arg;
	struct event *timer;
	bool shown;
	int64_t started_ms; /* monotonic */
	int64_t drawn_ms;
	uint64_t drawn_done;
	double per_second; /* smoothed */
};

static void format_duration(double seconds, char text[static 32])
{
	uint64_t s = seconds > 0 ? (uint64_t)(seconds + 0.5) : 0;

	if (s >= 3600)
		snprintf(text, 32, "%" PRIu64 " h %02" PRIu64 " min", s / 3600, s / 60 % 60);
	else if (s >= 60)
		snprintf(text, 32, "%" PRIu64 " min %02" PRIu64 " s", s / 60, s % 60);
	else
		snprintf(text, 32, "%" PRIu64 " s", s);
}

void progress_format(const struct progress_state *state, int64_t elapsed_ms, double per_second,
                     int columns, char line[static PROGRESS_LINE_LEN])
{
	char left[32] = "?", of[64] = "";
	uint64_t total = state->total;
	uint64_t rest = total > state->done ? total - state->done : 0;

	/* names may have more addresses than the one that each was counted as */
	if (total > 0)
		snprintf(of, sizeof(of), " of %" PRIu64 " (%.1f%%)", total,
		         100.0 * (double)(total - rest) / (double)total);
	if (per_second > 0)
		format_duration((double)rest / per_second, left);
	snprintf(line, PROGRESS_LINE_LEN,
	         "%" PRIu64 "%s endpoints, %" PRIu64 " exposed, %.0f/s, %" PRId64 " s", state->done,
	         of, state->exposed, per_second, elapsed_ms / 1000);
	if (total > 0) {
		size_t used = strlen(line);

		snprintf(line + used, PROGRESS_LINE_LEN - used, ", %s left", left);
	}
	/* A line that wraps could not be taken away again. Plain ASCII: a byte is a column. */
	if (columns > 0 && columns < PROGRESS_LINE_LEN)
		line[columns - 1] = '\0';
}

static void put(const struct progress *p, const char *text)
{
	if (write(p->fd, text, strlen(text)) < 0)
		return; /* a terminal that is gone: nobody looks */
}

static void on_timer(evutil_socket_t fd, short what, void *arg)
{
	struct progress *p = arg;
	struct progress_state state = {0};
	char line[PROGRESS_LINE_LEN], drawn[PROGRESS_LINE_LEN + 8];
	struct winsize size = {0};
	int64_t now_ms = clock_monotonic_ms(), since_ms = now_ms - p->drawn_ms;

	(void)fd;
	(void)what;
	p->ask(&state, p->arg);
	if (since_ms > 0) {
		double now = (double)(state.done - p->drawn_done) * 1000 / (double)since_ms;

		p->per_second = p->per_second > 0 ? p->per_second * 0.8 + now * 0.2 : now;
	}
	p->drawn_ms = now_ms;
	p->drawn_done = state.done;
	if (ioctl(p->fd, TIOCGWINSZ, &size) < 0 || size.ws_col == 0)
		size.ws_col = COLUMNS_DEFAULT;
	progress_format(&state, now_ms - p->started_ms, p->per_second, size.ws_col, line);
	snprintf(drawn, sizeof(drawn), "\r%s\033[K", line);
	put(p, drawn);
	p->shown = true;
}

struct progress *progress_new(struct event_base *base, int fd, progress_ask_cb *ask, void *arg)
{
	const struct timeval every = {.tv_usec = DRAW_EVERY_MS * 1000};
	const char *kind = getenv("TERM");
	struct progress *p;

	if (!isatty(fd) || (kind && strcmp(kind, "dumb") == 0))
		return NULL;
	p = calloc(1, sizeof(*p));
	if (!p)
		return NULL;
	p->fd = fd;
	p->ask = ask;
	p->arg = arg;
	p->started_ms = clock_monotonic_ms();
	p->drawn_ms = p->started_ms;
	p->timer = event_new(base, -1, EV_PERSIST, on_timer, p);
	if (!p->timer || event_add(p->timer, &every) < 0) {
		progress_free(p);
		return NULL;
	}
	return p;
}

void progress_hide(struct progress *p)
{
	if (!p || !p->shown)
		return;
	put(p, "\r\033[K");
	p->shown = false;
}

void progress_free(struct progress *p)
{
	if (!p)
		return;
	progress_hide(p);
	if (p->timer)
		event_free(p->timer);
	free(p);
}
