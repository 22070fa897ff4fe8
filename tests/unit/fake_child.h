/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A discoverer's shell without a parent: it deals windows of endpoints that a function makes up,
 * and gives results to another. For tests and measurements of an engine alone.
 */
#pragma once

#include "scanner/discover/child.h"

struct discover_child {
	struct discover_limits limits;
	uint64_t total; /* endpoints, dealt once in order */
	/* false: to be left out */
	bool (*at)(const struct discover_child *c, uint64_t index, struct endpoint *out);
	void (*result)(struct discover_child *c, const struct endpoint *e,
	               enum discover_state state);
	bool (*turn)(struct discover_child *c); /* or NULL; true: the parent is gone */
	void *arg;
	struct discover_stats stats;
	int fd; /* to be polled; the test's own */
	bool is_behind;
	char note[256]; /* the last one */
	unsigned notes;
	uint64_t dealt;
	unsigned open, most_open;
	struct discover_window windows[DISCOVER_WINDOWS];
	bool is_open[DISCOVER_WINDOWS];
};
