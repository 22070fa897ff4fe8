/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A received packet. It is parsed as it is, and again with the cookie that it would need, so that
 * what lies behind the cookie is reached too. An answer must be about an endpoint to which a SYN
 * with the very same cookie would have been built.
 */
#include "scanner/discover/syn_packet.h"

#include <stdlib.h>
#include <string.h>

#define CHECK(condition)                                                                           \
	do {                                                                                       \
		if (!(condition))                                                                  \
			abort();                                                                   \
	} while (0)

static const struct syn_identity identity = {.key = {1, 2}, .first_port = 40000};

static void check(const uint8_t *packet, size_t length, bool verified)
{
	struct syn_answer a = {0};
	enum syn_answer_kind kind = syn_packet_parse(&identity, packet, length, verified, &a);

	if (kind == SYN_ANSWER_NONE) {
		CHECK(a.endpoint.family == 0);
		return;
	}
	CHECK(a.endpoint.family == AF_INET || a.endpoint.family == AF_INET6);
	CHECK(a.endpoint.port != 0 && a.attempt < SYN_PORTS);
	CHECK(length >= (a.endpoint.family == AF_INET ? 40 : 60));
}

/* Puts the number that our SYN has into a TCP answer without options of IP. */
static void make_valid(uint8_t *packet, size_t length)
{
	bool v6 = packet[0] >> 4 == 6;
	size_t header = v6 ? 40 : 20, address = v6 ? 16 : 4;
	struct endpoint ours = {.family = v6 ? AF_INET6 : AF_INET}, theirs = ours;
	uint8_t syn[SYN_PACKET_MAX], *tcp = packet + header;
	uint32_t number;

	if (length < header + 20)
		return;
	memcpy(theirs.address, tcp - 2 * address, address);
	memcpy(ours.address, tcp - address, address);
	theirs.port = (uint16_t)(tcp[0] << 8 | tcp[1]);
	tcp[2] = (uint8_t)(identity.first_port >> 8);
	tcp[3] = (uint8_t)(identity.first_port | (tcp[3] & (SYN_PORTS - 1)));
	syn_packet_build(&identity, &ours, &theirs, tcp[3] & (SYN_PORTS - 1), 1500, syn);
	memcpy(&number, syn + header + 4, 4);
	number = __builtin_bswap32(__builtin_bswap32(number) + 1);
	memcpy(tcp + 8, &number, 4);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	uint8_t *packet;

	if (size == 0 || size > SYN_ANSWER_MAX)
		return 0;
	/* Of just that size, so that a read beyond is seen. */
	packet = malloc(size);
	if (!packet)
		return 0;
	memcpy(packet, data, size);
	check(packet, size, false);
	check(packet, size, true);
	make_valid(packet, size);
	check(packet, size, false);
	check(packet, size, true);
	free(packet);
	return 0;
}
