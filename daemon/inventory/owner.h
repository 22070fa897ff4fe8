/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Which process holds a socket, and what it is called. Everything of one process is read through
 * one descriptor of its folder in /proc, so that a pid that is used again in between is no longer
 * that process: reading fails then, and nothing is mixed up.
 */
#pragma once

#include "daemon/inventory/namespaces.h"
#include "daemon/inventory/wire.h"

struct owner {
	pid_t pid;      /* 0: not found */
	uint32_t zero;  /* no padding: owners are compared whole */
	uint64_t start; /* in clock ticks since boot: with the pid, its identity */
	char command[INVENTORY_COMMAND_LEN];
	char executable[INVENTORY_TEXT_LEN];
	char cgroup[INVENTORY_TEXT_LEN];
	char unit[INVENTORY_UNIT_LEN];
	char container[INVENTORY_CONTAINER_LEN];
	char runtime[16];
};

struct owner_search {
	uint32_t inode;     /* the search is given; sorted by it, each once */
	struct owner owner; /* the answer */
};

/*
 * How far a search has come, and how much more may be read now. Nobody holds a socket that is on
 * its way from one process to another: looking for it reads every descriptor there is. So a search
 * that uses up what it was given stops, and the next one goes on behind it.
 */
struct owner_walk {
	bool others; /* through with the namespace's own processes */
	pid_t after; /* and with these */
	size_t hint_budget, budget;
};

/* Anew: for some tenth of a second. */
void owner_walk_refill(struct owner_walk *w);

/*
 * Looks for all of them at once: `hint` first (0: none), then the processes of the namespace, then
 * all others, each by pid; a socket may be held from elsewhere, as with systemd's socket units.
 * Returns false when it had to stop before the last of them.
 */
bool owner_find(int proc_fd, const struct namespaces *all, uint64_t netns, pid_t hint,
                struct owner_walk *walk, struct owner_search *searches, size_t count);
/* With that process alone. */
void owner_find_at(int proc_fd, pid_t pid, struct owner_walk *walk, struct owner_search *searches,
                   size_t count);
/* Reads it anew. Returns false when that process is gone. */
bool owner_refresh(int proc_fd, struct owner *o);
