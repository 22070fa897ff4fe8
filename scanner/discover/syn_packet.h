/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * TCP SYNs as bytes, and what comes back for them. Nothing is remembered about a packet that was
 * sent: its sequence number is a keyed hash of its addresses and ports, and whoever answers must
 * bring it along. Pure; nothing is allocated; any thread.
 */
#pragma once

#include "common/endpoint.h"
#include "common/siphash.h"

enum {
	SYN_PORTS = 8,        /* source ports in a row: which of them tells which try it is */
	SYN_PACKET_MAX = 64,  /* bytes of an IPv6 SYN with one option */
	SYN_ANSWER_MAX = 160, /* of an answer, more of its bytes are never looked at */
};

struct syn_identity {
	struct siphash_key key;
	uint16_t first_port;
};

/*
 * Writes an IP packet: `from` gives the address, `attempt` (0..SYN_PORTS-1) the source port. Both
 * endpoints are of one family. Returns its length.
 */
size_t syn_packet_build(const struct syn_identity *id, const struct endpoint *from,
                        const struct endpoint *to, unsigned attempt, uint16_t mtu,
                        uint8_t out[static SYN_PACKET_MAX]);

enum syn_answer_kind {
	SYN_ANSWER_NONE = 0,    /* not an answer to us */
	SYN_ANSWER_OPEN,        /* SYN-ACK */
	SYN_ANSWER_CLOSED,      /* RST */
	SYN_ANSWER_UNREACHABLE, /* an ICMP error, from the endpoint or from a router before it */
};

struct syn_answer {
	struct endpoint endpoint; /* whom we asked; scope_id is 0 */
	unsigned attempt;
};

/*
 * Reads a received IP packet of which `captured` bytes are at hand. `verified`: the kernel has
 * seen to its checksum (or it never left this machine); else it is checked here, as far as the
 * packet was captured whole. *out is untouched when it is none of ours.
 */
enum syn_answer_kind syn_packet_parse(const struct syn_identity *id, const uint8_t *packet,
                                      size_t captured, bool verified, struct syn_answer *out);
