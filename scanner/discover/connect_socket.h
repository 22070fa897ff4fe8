/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * One TCP socket of the connect engine. After a refusal it connects anew: two system calls an
 * endpoint, where socket, connect, epoll_ctl, getsockopt and close would be five. One thread.
 */
#pragma once

#include "common/endpoint.h"
#include "scanner/discover/child.h"

/* What every socket is set to. A plain value. */
struct connect_options {
	int epoll_fd;
	unsigned interface;     /* 0: the routing table's choice */
	unsigned syn_retries;   /* at most so many, by the kernel; 0: its own number */
	struct endpoint source; /* family 0: the kernel's choice */
	int way_fd[2];          /* datagram sockets, IPv4 and IPv6: see connect_is_starved() */
};

struct connect_socket {
	int fd; /* -1: none */
	sa_family_t family;
};

/*
 * Opens way_fd, when the rest is set: in a sandbox, only sockets of TCP may be opened. A family
 * that the kernel has not stays -1. Returns 0 or -errno.
 */
int connect_options_open(struct connect_options *o);
void connect_options_close(struct connect_options *o);
/* Opens it and sets it up, as connect_socket_begin() does at need. Returns 0 or -errno. */
int connect_socket_prepare(struct connect_socket *s, const struct connect_options *o,
                           sa_family_t family);
/*
 * Begins to connect; the answer is an event of the epoll descriptor that carries `tag`, once.
 * Returns -EINPROGRESS, 0 (connected), or another -errno.
 */
int connect_socket_begin(struct connect_socket *s, const struct connect_options *o,
                         const struct endpoint *e, void *tag);
/* How it went, with the same endpoint: -EALREADY (nothing is known yet), 0 (connected), -errno. */
int connect_socket_finish(struct connect_socket *s, const struct endpoint *e);
/* How many SYNs the kernel has sent again; before connect_socket_finish(). */
unsigned connect_socket_retransmits(const struct connect_socket *s);
/* Ends whatever it was at. */
void connect_socket_close(struct connect_socket *s);
/* A connection of this host with itself: both ends are one socket, and nobody listens. */
bool connect_socket_is_own_peer(const struct connect_socket *s, const struct endpoint *e);

/*
 * Whether an error of connect_socket_begin() says something of this host, now, and nothing of the
 * endpoint: no ports, descriptors or memory are left.
 */
bool connect_is_starved(const struct connect_options *o, const struct endpoint *e, int error);
/* What an error, or 0, says of the endpoint; for all but -EINPROGRESS, -EALREADY and starvation. */
enum discover_state connect_judge(int error);
