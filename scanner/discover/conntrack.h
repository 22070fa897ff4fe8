/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The kernel's connection tracking of this network namespace: every connect takes an entry of its
 * table, a silent one for two minutes (nf_conntrack_tcp_timeout_syn_sent). When the table is full
 * the kernel drops packets, of everybody on this host. So new connects stop short of that.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

enum { CONNTRACK_SHARE_PERCENT = 75 }; /* of the table: no connect of ours goes beyond */

/* A plain value; conntrack_init() before anything else. */
struct conntrack {
	int count_fd, max_fd; /* -1: there is no connection tracking */
	uint64_t allowed;     /* connects until the next look */
	int64_t look_ns;      /* when to look again */
	uint64_t count, max;  /* as last seen */
};

/*
 * Opens what is read later: descriptors serve in a sandbox that opens no files. Returns 0, also
 * where nothing is tracked, or -errno.
 */
int conntrack_init(struct conntrack *c);
void conntrack_fini(struct conntrack *c);
/* How many connects of `want` may begin now (CLOCK_MONOTONIC nanoseconds). Books them. */
unsigned conntrack_take(struct conntrack *c, int64_t now_ns, unsigned want);
/* Gives back what was booked and not used. */
void conntrack_return(struct conntrack *c, unsigned unused);
/* Nanoseconds until conntrack_take() may say something else; 0: now. */
int64_t conntrack_wait_ns(const struct conntrack *c, int64_t now_ns);
/* The pure part: how many more entries an engine may make. */
uint64_t conntrack_room(uint64_t count, uint64_t max);
