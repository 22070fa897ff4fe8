/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Who starts the inventory again. The parent gives up everything but SETUID, SETGID and KILL, so
 * that nothing it reads can be turned against the host; but what it has not, no child of it can
 * get, and the inventory needs more. So a process that was forked before keeps these capabilities,
 * and can do nothing with them but execute that one program: it reads one byte and three
 * descriptors from the parent, nothing from anybody else. What it starts is the parent's own child
 * (CLONE_PARENT), to be reaped and signalled there. It ends with the parent.
 */
#pragma once

#include "daemon/parent/child.h"

struct spawner {
	int sock; /* -1: there is none */
	pid_t pid;
};

/*
 * To be called before the parent drops anything or has started a child; `c` is what can be
 * started, inited by child_init(). Returns 0 or -errno.
 */
int spawner_start(struct spawner *s, const struct child *c);
/*
 * Starts the program with these descriptors (data may be -1), which stay the caller's. Returns its
 * pid or -errno; waits for a second at most.
 */
pid_t spawner_start_child(const struct spawner *s, int sock, int peer, int data);
/* The parent is about to end; waits for the end of the spawner. */
void spawner_end(struct spawner *s);
