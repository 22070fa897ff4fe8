/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The packet sockets that ask for link addresses and hear the answers, of all interfaces. Opening
 * needs CAP_NET_RAW, the rest nothing. Nothing here blocks. One thread.
 */
#pragma once

#include "scanner/discover/neighbour_packet.h"

struct neighbour_socket {
	int arp, ndp, epoll; /* epoll is readable when answers have come */
};

void neighbour_socket_init(struct neighbour_socket *s);
/* Returns 0 or -errno; close() is right after either. */
int neighbour_socket_open(struct neighbour_socket *s);
void neighbour_socket_close(struct neighbour_socket *s);

/* A question that cannot be sent is like one that was lost. */
void neighbour_socket_ask(const struct neighbour_socket *s, unsigned index,
                          const struct neighbour_question *q);

typedef void neighbour_answer_fn(void *context, unsigned index,
                                 const struct neighbour_answer *answer);
/* Calls `fn` for sound answers that came to this host on an interface; a bounded number of them. */
void neighbour_socket_receive(const struct neighbour_socket *s, neighbour_answer_fn *fn,
                              void *context);
