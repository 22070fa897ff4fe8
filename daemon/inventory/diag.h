/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * TCP sockets of the network namespace that the thread is in, by sock_diag(7).
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
	/* More sockets of a namespace are not kept: listeners that share an address are many. */
	DIAG_MAX_LISTENERS = 256 * 1024,
};

struct diag_socket {
	uint8_t family;      /* as the socket was made */
	bool v6only;         /* AF_INET6 */
	uint16_t port;       /* host byte order; of a peer: the peer's */
	uint8_t address[16]; /* its own; of a peer: the peer's. IPv4 uses the first four */
	uint32_t inode;      /* on sockfs, as in /proc/PID/fd; 0: no process holds it */
	uint32_t uid;
};

struct diag_list {
	struct diag_socket *items;
	size_t count, room;
	/* The answer came in more than one piece: what was not in it may have been overlooked. */
	bool in_pieces;
	bool cut; /* there are more than it may hold */
};

/* What is left after a failure need not be freed, but may. */
void diag_list_free(struct diag_list *list);

/*
 * Lists who listens, sorted by family, address, port, inode. IPv4-mapped addresses are IPv4 ones.
 * At most DIAG_MAX_LISTENERS. Returns 0 or -errno, *out being empty then.
 */
int diag_list_listeners(struct diag_list *out);
/*
 * The same for listeners of MPTCP (Linux 5.19; -errno before): a program that asks for them, as Go
 * 1.24 does by itself, holds these, and not the TCP sockets beneath, which are the ones listed
 * above.
 */
int diag_list_mptcp(struct diag_list *out);
/*
 * Lists the other ends of established connections to a local port. `address` may be unspecified:
 * connections to any; IPv4-mapped peers are told as IPv4. At most `max`.
 */
int diag_list_peers(uint8_t family, const uint8_t address[static 16], uint16_t port, size_t max,
                    struct diag_list *out);
/*
 * Lists the local ends of what listens and of established connections, of these sockets alone
 * (`inodes` is sorted), each address and port once, sorted. As diag_list_listeners().
 */
int diag_list_held(const uint32_t *inodes, size_t n_inodes, struct diag_list *out);
/* For qsort(3) and bsearch(3): family, address, port; not the inode. */
int diag_compare(const struct diag_socket *a, const struct diag_socket *b);
