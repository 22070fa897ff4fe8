/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The thread that enters network namespaces. A process is where its first thread is: that is what
 * /proc/PID/ns/net says, and what is killed by `ip netns pids NAME | xargs kill`, which scripts and
 * container runtimes do before they delete a namespace. So the first thread stays at home, and
 * waits while this one is away: no two of them ever run at a time.
 */
#pragma once

struct visitor;

/*
 * `home` is the namespace to come back to, and stays the caller's. To be called after
 * sandbox_drop(), since privileges are a thread's own, and before the filter, which forbids
 * threads. Returns 0 or -errno.
 */
int visitor_new(int home, struct visitor **out);
void visitor_free(struct visitor *v);

/*
 * Calls `act` in the namespace of this descriptor (-1: at home) and returns what it returned, or
 * -errno when there is no way in. Ends the process if there is no way back.
 */
int visitor_act(struct visitor *v, int netns, int (*act)(void *arg), void *arg);
