/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The kernel's word that a socket begins or ceases to listen, in any namespace: the tracepoint
 * sock:inet_sock_set_state (Linux 4.16), read by perf_event_open(2). A record says when, and which
 * task it was; the rest is asked for elsewhere.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

struct events;

enum { EVENTS_WHY_LEN = 128 };

struct events_record {
	pid_t task, process; /* 0 or less: of another pid namespace, or already gone */
	int64_t time_ns;     /* CLOCK_MONOTONIC */
};

/*
 * Opens one ring for each CPU, and makes sure by a listen() of its own, in a namespace that is left
 * again, that events come. Needs CAP_PERFMON or CAP_SYS_ADMIN; reading does not. Returns 0, or
 * -errno with one line in `why`.
 */
int events_open(struct events **out, char why[static EVENTS_WHY_LEN]);
void events_free(struct events *e);

/* An epoll(7) descriptor: readable when there are records. Remains events'. */
int events_fd(const struct events *e);
/* Are there any now? events_fd() tells only of those that come while somebody waits. */
bool events_are_waiting(const struct events *e);
/*
 * Calls `record` for each that there is. Returns how many the kernel had to drop since the last
 * time.
 */
uint64_t events_read(struct events *e, void (*record)(const struct events_record *r, void *arg),
                     void *arg);
