/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * One question to the kernel in the network namespace that the thread is in. The socket is made
 * for it and closed after it: one that stays open keeps a deleted namespace, with its interfaces
 * and addresses, alive.
 */
#pragma once

#include <libmnl/libmnl.h>

enum { NETLINK_BUFFER_BYTES = 32 * 1024 };

/*
 * Sends `request` to `bus` (NETLINK_ROUTE, NETLINK_SOCK_DIAG) and gives each message of the answer
 * to `cb` (which may be NULL). Only what the kernel itself sent is looked at: who has NET_ADMIN in
 * that namespace could send to our socket, too. Returns how many datagrams the answer took, or
 * -errno; -EINTR when a dump was overtaken by a change, and must be asked for again.
 */
int netlink_ask(int bus, struct nlmsghdr *request, mnl_cb_t cb, void *arg);
