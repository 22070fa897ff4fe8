/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What scan_walk.c and scan_walk_discover.c share. */
#pragma once

#include "scanner/scan_gate.h"

struct scan_walk {
	struct scan_walk_conf conf;
	struct scan_feed *feed;
	bool feed_ended;
	struct scan_batch_list batches; /* in the input's order */
	unsigned n_batches;
	unsigned n_started; /* parts that the discoverer has */
	uint32_t last_id;
	struct scan_item_list ready, probing, idle;
	unsigned n_ready, n_probing;
	bool paused, discover_ended;
	struct scan_gate *gate;
	struct event *later;
	uint64_t visited;
	/* Direct: the endpoint that several particular targets share. */
	struct {
		struct scan_part *part; /* NULL: none */
		struct endpoint endpoint;
		uint64_t position;
		size_t at;
	} shared;
};

void scan_walk_fail(struct scan_walk *walk, int err, const char *what);
/* What is done is forgotten; batches end in any order, but go from the front. */
void scan_walk_drop_batches(struct scan_walk *walk);
/* More batches are wanted as long as the discoverer could take a part of them. */
void scan_walk_take_batches(struct scan_walk *walk);
/* Excluded, or another address of a name than the user has given for this port. */
bool scan_walk_leaves_out(const struct scan_walk *walk, const struct endpoint *e,
                          const struct scan_target *target);
/* An endpoint of a part is to be probed for this target, unless it is left out. */
void scan_walk_add(struct scan_walk *walk, struct scan_part *part, const struct endpoint *e,
                   uint64_t position, const struct scan_target *target);

/* scan_walk_discover.c */

int scan_walk_attach(struct scan_walk *walk);
/* Gives the discoverer what it can take. */
void scan_walk_start_parts(struct scan_walk *walk);
/* Has it wait while too much of what it found is waiting here. */
void scan_walk_pace_discover(struct scan_walk *walk);
