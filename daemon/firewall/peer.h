/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * One of our sockets, with what could not be sent yet. While something waits, the peer's
 * requests are not read: who does not listen does not get to ask. Single-threaded.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/queue.h>

STAILQ_HEAD(peer_queue, peer_message);

struct peer {
	int fd; /* the caller's; -1 when the peer is gone */
	struct peer_queue waiting;
};

void peer_init(struct peer *peer, int fd);
void peer_fini(struct peer *peer);
bool peer_is_waiting(const struct peer *peer);
/* Sends now, or later in order. Returns 0 or -errno. */
int peer_send(struct peer *peer, uint16_t type, uint64_t seq, const void *body, size_t length);
/* With a descriptor, which is the peer's from now on, or closed; or -1. */
int peer_send_fd(struct peer *peer, uint16_t type, uint64_t seq, const void *body, size_t length,
                 int fd);
/* Sends what waits, as far as the socket takes it. Returns 0 or -errno. */
int peer_flush(struct peer *peer);
