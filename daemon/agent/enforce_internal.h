/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What enforce.c (from decisions to the wall) and enforce_restore.c (from what is found) share. */
#pragma once

#include "daemon/agent/agent.h"

/* enforce_wanted.c */
struct enforce_wanted {
	bool block;
	uint32_t rule; /* as wall_block() takes it */
	int64_t timeout_ms;
};

/* One winner: panic, then a person, then the rule (docs/design.md). */
struct enforce_wanted enforce_find_wanted(const struct agent *a, const struct watch *w);

/* enforce.c */
/* Applies what is wanted then, or forgets a block that nobody wants and that has run out. */
void enforce_look_again(struct agent *a, struct watch *w, int64_t in_ms);
/* Puts a copy of a decision in force, made now or restored. Returns false when out of memory. */
bool enforce_hold(struct agent *a, struct watch *w, const struct state_manual *decision);
/* The same with the decision itself, which is the watch's from now on. */
void enforce_hold_taken(struct agent *a, struct watch *w, struct state_manual *decision);
