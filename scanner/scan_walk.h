/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A scan's way through its targets: batches from the feed are walked in their order, by the
 * discoverer or directly, past exclusions and guards, and come out as endpoints that are ready to
 * be probed. How far it is can be written down and gone on from (struct scan_mark). One thread.
 */
#pragma once

#include "scanner/discover/discover.h"
#include "scanner/guard_accept_all.h"
#include "scanner/scan_feed.h"

/* Which guard it is to pass next. */
enum scan_item_stage { SCAN_ITEM_ACCEPT_ALL, SCAN_ITEM_PRINTER, SCAN_ITEM_PASSED };

struct scan_item;
TAILQ_HEAD(scan_item_list, scan_item);

/* An endpoint that is to be probed, or is. */
struct scan_item {
	struct scan_part *part;
	const struct scan_target *target; /* NULL: nothing to say */
	struct endpoint endpoint;
	uint64_t position; /* of the shard's */
	enum scan_item_stage stage;
	unsigned tries;         /* the prober's */
	struct scan_gate *gate; /* where it waits, or did */
	TAILQ_ENTRY(scan_item) link;
};

struct scan_walk_conf {
	struct scan_feed_conf feed;         /* `changed` is ours */
	const struct exclude_set *excludes; /* or NULL */
	struct discover *discover;          /* or NULL: every endpoint is ready at once */
	bool printer_guard, accept_all_guard;
	struct pacer *pacer; /* of the guards' knocks; outlives the walk */
	/* Something may be ready, or it is over. */
	void (*changed)(void *arg);
	/* An endpoint is known without a probe; only where the discoverer's conf wants that. */
	void (*discovered)(const struct endpoint *e, const struct scan_target *target,
	                   enum discover_state state, void *arg);
	/* Not to be probed: a guard's word, of the endpoint. */
	void (*set_aside)(const struct endpoint *e, const char *why, void *arg);
	void (*note)(const char *text, void *arg);
	/* It cannot go on: -errno. */
	void (*failed)(int err, const char *what, void *arg);
	void *arg; /* of all, the feed's included */
};

struct scan_walk;

/* `conf` is copied; what it points to must outlive the walk. Returns 0 or -errno. */
int scan_walk_new(const struct scan_walk_conf *conf, struct scan_walk **out);
void scan_walk_free(struct scan_walk *walk);

/* An endpoint to probe, or NULL: none now. The caller owes scan_walk_done() or _put_back(). */
struct scan_item *scan_walk_next(struct scan_walk *walk);
/* It is the next one again: the prober has no room. */
void scan_walk_put_back(struct scan_walk *walk, struct scan_item *item);
/* Its finding is written. */
void scan_walk_done(struct scan_walk *walk, struct scan_item *item);
/* Nothing is left, under way, or to come. */
bool scan_walk_is_over(const struct scan_walk *walk);

/* Everything before it is done. */
void scan_walk_mark(const struct scan_walk *walk, struct scan_mark *out);
/* Endpoints that are done, about; duplicates and excluded ones included. */
uint64_t scan_walk_visited(const struct scan_walk *walk);
void scan_walk_get_guard_stats(const struct scan_walk *walk, struct guard_accept_all_stats *out);
