/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The sockets of a SYN sweep: senders and a receiver below the host's own TCP and connection
 * tracking (AF_PACKET), a raw socket for what goes to this host itself, and the source ports,
 * bound so that no connection of the host gets them. Nothing listens on them, so the host resets
 * what is answered to them by itself, and the other side keeps nothing half open.
 *
 * Opened with CAP_NET_RAW, used without. One thread. Nothing is allocated once it is open.
 */
#pragma once

#include "scanner/discover/next_hop.h"
#include "scanner/discover/syn_packet.h"

enum { SYN_BATCH = 128 };

struct syn_socket;

/* Returns 0; or -errno and one line in `why`. */
int syn_socket_open(struct syn_socket **out, char why[static 256]);
void syn_socket_free(struct syn_socket *s);
/* The ports are bound, the key is random. */
const struct syn_identity *syn_socket_identity(const struct syn_socket *s);

/*
 * Puts a SYN to `to` in the batch. `hop` NULL: `to` is an address of this host, and its source.
 * False: flush first (the batch is full, or goes by another socket).
 */
bool syn_socket_add(struct syn_socket *s, const struct endpoint *to, const struct next_hop *hop,
                    unsigned attempt);
/* How many wait. */
unsigned syn_socket_waiting(const struct syn_socket *s);
/*
 * Sends what waits and adds to *sent. Returns 0: all of it; -ENOBUFS: the device takes no more
 * now, call it again later; another -errno: the kernel refused one, which is dropped (the rest
 * waits).
 */
int syn_socket_flush(struct syn_socket *s, uint64_t *sent);

/* Readable when something was received. */
int syn_socket_descriptor(const struct syn_socket *s);
/* The next answer of those received: anything but SYN_ANSWER_NONE; false: no more for now. */
bool syn_socket_receive(struct syn_socket *s, enum syn_answer_kind *kind, struct syn_answer *out);
/* Answers that the kernel dropped since the last call, because they were not taken in time. */
uint64_t syn_socket_drops(struct syn_socket *s);
