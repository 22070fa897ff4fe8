/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Between an endpoint that is to be probed and its probe: the guards, one after the other. Items
 * wait here for a guard's answer, or for room in it. Internal to scan_walk.c; one thread.
 */
#pragma once

#include "scanner/scan_walk.h"

struct scan_gate_conf {
	struct event_base *base;
	const struct scan_options *options;
	bool printer, accept_all; /* which guards there are */
	bool found_open;          /* endpoints are known to be */
	struct pacer *pacer;      /* of the guards' knocks */
	guard_may_knock_cb *may_knock;
	guard_note_cb *note;
	/* Both may come from within scan_gate_enter(). The item is the callee's again. */
	void (*passed)(struct scan_item *item, void *arg);
	void (*refused)(struct scan_item *item, const char *why, void *arg);
	/* After a guard has answered, and others have moved up. */
	void (*moved)(void *arg);
	void *arg; /* of all */
};

struct scan_gate;

/* `conf` is copied. Returns 0 or -errno. */
int scan_gate_new(const struct scan_gate_conf *conf, struct scan_gate **out);
/* Frees what waits here, too. NULL is allowed. */
void scan_gate_free(struct scan_gate *gate);
/* The item is in no list; its stage says where it begins. */
void scan_gate_enter(struct scan_gate *gate, struct scan_item *item);
unsigned scan_gate_waiting(const struct scan_gate *gate);
void scan_gate_each(const struct scan_gate *gate,
                    void (*each)(const struct scan_item *item, void *arg), void *arg);
/* What is in the list, not the list. */
void scan_item_list_free(struct scan_item_list *list);
void scan_gate_get_stats(const struct scan_gate *gate, struct guard_accept_all_stats *out);
