/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The question for a link address, and its answer: ARP (RFC 826) and neighbour discovery (RFC
 * 4861, 4.3 and 4.4), of Ethernet addresses, without the link's own header. Pure; any thread.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

enum {
	MAC_LEN = 6,
	NEIGHBOUR_QUESTION_MAX = 72, /* IPv6, solicitation and one option */
};

/* Who asks, and for whom. */
struct neighbour_question {
	sa_family_t family;
	uint8_t source[16]; /* ours; IPv4 uses the first four bytes */
	uint8_t target[16];
	uint8_t mac[MAC_LEN]; /* ours */
};

/* The packet, and where to it goes (broadcast, or the multicast of RFC 2464). Its length. */
size_t neighbour_question_write(const struct neighbour_question *q,
                                uint8_t packet[static NEIGHBOUR_QUESTION_MAX],
                                uint8_t destination[static MAC_LEN]);

struct neighbour_answer {
	sa_family_t family;
	uint8_t target[16]; /* who has it; IPv4 uses the first four bytes, the rest is zero */
	uint8_t asker[16];  /* to whom it was said; the same */
	uint8_t mac[MAC_LEN];
};

/*
 * Reads a packet as it came (IPv4's `family` means an ARP packet). False for anything but a sound
 * answer with a unicast link address: its checksum, its hop limit of 255 (it was not routed) and
 * its options were checked; whether it was asked for was not.
 */
bool neighbour_answer_read(sa_family_t family, const uint8_t *packet, size_t length,
                           struct neighbour_answer *out);
