/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "fake_child.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

const struct discover_limits *discover_child_limits(const struct discover_child *c)
{
	return &c->limits;
}

int discover_child_turn(struct discover_child *c)
{
	if (c->turn && c->turn(c))
		return -EPIPE;
	return c->dealt == c->total && !c->open;
}

int discover_child_descriptor(const struct discover_child *c, bool *writable)
{
	*writable = false;
	return c->fd;
}

bool discover_child_is_behind(const struct discover_child *c)
{
	return c->is_behind;
}

struct discover_window *discover_child_window(struct discover_child *c, uint32_t max)
{
	struct discover_window *w;
	unsigned slot = 0;

	if (c->dealt == c->total || c->open == DISCOVER_WINDOWS)
		return NULL;
	while (c->is_open[slot])
		slot++;
	w = &c->windows[slot];
	*w = (struct discover_window){.first = c->dealt, .slot = slot};
	w->count = c->total - c->dealt < max ? (uint32_t)(c->total - c->dealt) : max;
	c->dealt += w->count;
	c->is_open[slot] = true;
	c->open++;
	if (c->open > c->most_open)
		c->most_open = c->open;
	return w;
}

bool discover_window_at(const struct discover_child *c, const struct discover_window *w,
                        uint32_t offset, struct endpoint *out)
{
	if (!c->is_open[w->slot] || offset >= w->count)
		abort();
	return c->at(c, w->first + offset, out);
}

void discover_child_result(struct discover_child *c, const struct discover_window *w,
                           const struct endpoint *e, enum discover_state state, int64_t rtt_us)
{
	(void)rtt_us;
	if (!c->is_open[w->slot])
		abort();
	c->result(c, e, state);
}

void discover_child_close(struct discover_child *c, struct discover_window *w)
{
	if (!c->is_open[w->slot])
		abort();
	c->is_open[w->slot] = false;
	c->open--;
}

struct discover_stats *discover_child_stats(struct discover_child *c)
{
	return &c->stats;
}

void discover_child_note(struct discover_child *c, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vsnprintf(c->note, sizeof(c->note), format, args);
	va_end(args);
	c->notes++;
}
