/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The connect engine of the discoverer: TCP connections by the kernel, as any program makes them.
 * It needs no privilege. Up to limits.concurrency sockets are under way at once, in one array; the
 * memory is allocated when it opens.
 *
 * An endpoint that is silent for limits.timeout_ms is filtered. Within that time the kernel itself
 * sends the SYN again: after 1, 2, 3 ... seconds, before Linux 6.5 after 1, 3, 7 ... seconds
 * (tcp_syn_linear_timeouts). Those are the retries: limits.retries is how many there may be (0:
 * the wait ends before the first, so after less than a second; -1: as many as the time allows).
 *
 * It slows down for the kernel's connection tracking, see conntrack.h; and where ports,
 * descriptors or memory run out here, it waits: that is no verdict on anybody.
 *
 * System calls, for a filter: socket, setsockopt (SO_LINGER, TCP_SYNCNT, IP_BIND_ADDRESS_NO_PORT,
 * SO_BINDTOIFINDEX), bind, connect, getsockopt (TCP_INFO), getsockname, close, epoll_ctl,
 * epoll_wait, pread64, clock_gettime.
 */
#pragma once

#include "scanner/discover/child.h"

struct discover_connect;

enum { DISCOVER_CONNECT_ERROR_LEN = 256 };

/*
 * Opens what a sandbox would not let it open later, and raises the soft limit of descriptors; if
 * the hard one is too low for limits.concurrency, it makes do with fewer. Returns 0 or -errno and
 * one line in `why`.
 */
int discover_connect_open(const struct discover_limits *limits, struct discover_connect **out,
                          char why[static DISCOVER_CONNECT_ERROR_LEN]);
/* Owns the process's loop until discover_child_turn() ends it: 0, or -EPIPE; or another -errno. */
int discover_connect_run(struct discover_connect *k, struct discover_child *c);
void discover_connect_free(struct discover_connect *k);
/* How many sockets it has at once at most. */
unsigned discover_connect_concurrency(const struct discover_connect *k);
