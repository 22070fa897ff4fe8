/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Sockets on which the filter process asks endpoints of other network namespaces in the name of
 * their clients: with IP_TRANSPARENT, which needs CAP_NET_ADMIN, and the mark that brings the
 * answers back (divert.c). Single-threaded.
 */
#pragma once

#include "common/frame.h"
#include "daemon/firewall/peer.h"

enum { UPSTREAM_PER_SEC = 20000 }; /* more than one process can serve: no more are made */

struct upstream {
	int64_t second; /* that is being counted */
	uint32_t count;
};

/*
 * Answers FILTER_ASK_SOCKET with a socket, or with an error: -EAGAIN for more than
 * UPSTREAM_PER_SEC. Returns 0, -EPROTO for what is malformed, or what peer_send_fd() says.
 */
int upstream_answer(struct upstream *u, struct peer *filter, const struct frame *f, uint32_t mark,
                    int64_t now_ms);
