/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "scanner/discover/syn_packet.h"

#include <endian.h>
#include <netinet/icmp6.h>
#include <netinet/ip.h>
#include <netinet/ip6.h>
#include <netinet/ip_icmp.h>
#include <netinet/tcp.h>
#include <string.h>

enum {
	TCP_LEN = 24, /* header and the MSS option */
	TCP_MIN_LEN = 20,
	HOPS = 64,
	WINDOW = 64240, /* as Linux offers first on Ethernet */
	MSS_DEFAULT_V4 = 1460,
	QUOTED_TCP_LEN = 8, /* ports and sequence number: all that a router must quote */
	ICMP_LEN = 8,
};

/* RFC 1071. Words may be added in the machine's order, since only the sum's bytes change place. */
static uint64_t sum_bytes(uint64_t sum, const uint8_t *at, size_t length)
{
	for (; length >= 4; at += 4, length -= 4) {
		uint32_t word;

		memcpy(&word, at, 4);
		sum += word;
	}
	if (length >= 2) {
		uint16_t word;

		memcpy(&word, at, 2);
		sum += word;
		at += 2;
		length -= 2;
	}
	if (length)
		sum += htobe16((uint16_t)(at[0] << 8));
	return sum;
}

/* The checksum as it stands in memory. */
static uint16_t sum_finish(uint64_t sum)
{
	sum = (sum & 0xffffffff) + (sum >> 32);
	sum = (sum & 0xffffffff) + (sum >> 32);
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	return (uint16_t)~sum;
}

static size_t address_len(sa_family_t family)
{
	return family == AF_INET ? 4 : 16;
}

/* What the pseudo header adds: addresses that lie side by side in the packet, length, protocol. */
static uint64_t pseudo_sum(const uint8_t *addresses, size_t address, size_t length,
                           uint8_t protocol)
{
	return sum_bytes(htobe16((uint16_t)length) + (uint64_t)htobe16(protocol), addresses,
	                 2 * address);
}

static uint64_t cookie(const struct syn_identity *id, const uint8_t *ours, const uint8_t *theirs,
                       size_t address, uint16_t our_port, uint16_t their_port)
{
	uint8_t message[36];

	memcpy(message, ours, address);
	memcpy(message + address, theirs, address);
	memcpy(message + 2 * address, &our_port, 2);
	memcpy(message + 2 * address + 2, &their_port, 2);
	return siphash_compute(&id->key, message, 2 * address + 4);
}

static void put_16(uint8_t *at, uint16_t value)
{
	value = htobe16(value);
	memcpy(at, &value, 2);
}

static void put_32(uint8_t *at, uint32_t value)
{
	value = htobe32(value);
	memcpy(at, &value, 4);
}

static uint16_t get_16(const uint8_t *at)
{
	uint16_t value;

	memcpy(&value, at, 2);
	return be16toh(value);
}

static uint32_t get_32(const uint8_t *at)
{
	uint32_t value;

	memcpy(&value, at, 4);
	return be32toh(value);
}

/* Returns the header's length. `number` is for the ID field. */
static size_t put_ipv4(uint8_t *ip, const struct endpoint *from, const struct endpoint *to,
                       uint16_t number)
{
	uint16_t checksum;

	memset(ip, 0, sizeof(struct iphdr));
	ip[0] = 0x45;
	put_16(ip + 2, sizeof(struct iphdr) + TCP_LEN);
	put_16(ip + 4, number);
	put_16(ip + 6, IP_DF);
	ip[8] = HOPS;
	ip[9] = IPPROTO_TCP;
	memcpy(ip + 12, from->address, 4);
	memcpy(ip + 16, to->address, 4);
	checksum = sum_finish(sum_bytes(0, ip, sizeof(struct iphdr)));
	memcpy(ip + 10, &checksum, 2);
	return sizeof(struct iphdr);
}

static size_t put_ipv6(uint8_t *ip, const struct endpoint *from, const struct endpoint *to)
{
	put_32(ip, UINT32_C(6) << 28);
	put_16(ip + 4, TCP_LEN);
	ip[6] = IPPROTO_TCP;
	ip[7] = HOPS;
	memcpy(ip + 8, from->address, 16);
	memcpy(ip + 24, to->address, 16);
	return sizeof(struct ip6_hdr);
}

static uint16_t segment_size(sa_family_t family, uint16_t mtu)
{
	unsigned headers = family == AF_INET ? 40 : 60;

	if (mtu < (family == AF_INET ? 576 : 1280))
		return (uint16_t)(MSS_DEFAULT_V4 + 40 - headers);
	return (uint16_t)(mtu - headers);
}

size_t syn_packet_build(const struct syn_identity *id, const struct endpoint *from,
                        const struct endpoint *to, unsigned attempt, uint16_t mtu,
                        uint8_t out[static SYN_PACKET_MAX])
{
	size_t address = address_len(to->family);
	uint16_t our_port = (uint16_t)(id->first_port + attempt % SYN_PORTS);
	uint64_t hash = cookie(id, from->address, to->address, address, our_port, to->port);
	size_t length = to->family == AF_INET ? put_ipv4(out, from, to, (uint16_t)(hash >> 32))
	                                      : put_ipv6(out, from, to);
	uint8_t *tcp = out + length;
	uint16_t checksum;

	memset(tcp, 0, TCP_LEN);
	put_16(tcp, our_port);
	put_16(tcp + 2, to->port);
	put_32(tcp + 4, (uint32_t)hash);
	tcp[12] = TCP_LEN / 4 << 4;
	tcp[13] = TH_SYN;
	put_16(tcp + 14, WINDOW);
	tcp[20] = TCPOPT_MAXSEG;
	tcp[21] = TCPOLEN_MAXSEG;
	put_16(tcp + 22, segment_size(to->family, mtu));
	checksum = sum_finish(sum_bytes(
	    pseudo_sum(out + length - 2 * address, address, TCP_LEN, IPPROTO_TCP), tcp, TCP_LEN));
	memcpy(tcp + 16, &checksum, 2);
	return length + TCP_LEN;
}

/* A received packet's network layer. */
struct layer {
	sa_family_t family;
	uint8_t protocol;
	size_t address;      /* length of one */
	const uint8_t *from; /* the destination follows it */
	const uint8_t *payload;
	size_t length;   /* of the payload, as the header has it */
	size_t captured; /* of the payload, at hand */
};

/*
 * `quoted`: inside an ICMP error, where the length may tell of more than was quoted, and where
 * some routers leave it, and the checksum, as they changed them.
 */
static bool read_ipv4(const uint8_t *ip, size_t captured, bool quoted, struct layer *out)
{
	size_t header, total;

	if (captured < sizeof(struct iphdr))
		return false;
	header = (size_t)(ip[0] & 0xf) * 4;
	total = get_16(ip + 2);
	if (header < sizeof(struct iphdr) || header > captured)
		return false;
	if (quoted)
		total = captured;
	else if (total < header || sum_finish(sum_bytes(0, ip, header)) != 0)
		return false;
	if (get_16(ip + 6) & (IP_MF | IP_OFFMASK))
		return false;
	*out = (struct layer){
	    .family = AF_INET,
	    .protocol = ip[9],
	    .address = 4,
	    .from = ip + 12,
	    .payload = ip + header,
	    .length = total - header,
	    .captured = (captured < total ? captured : total) - header,
	};
	return true;
}

/* Extension headers are refused, fragments with them: no stack sends them with what we look for. */
static bool read_ipv6(const uint8_t *ip, size_t captured, bool quoted, struct layer *out)
{
	size_t header = sizeof(struct ip6_hdr), length;

	if (captured < header)
		return false;
	length = quoted ? captured - header : get_16(ip + 4);
	captured -= header;
	*out = (struct layer){
	    .family = AF_INET6,
	    .protocol = ip[6],
	    .address = 16,
	    .from = ip + 8,
	    .payload = ip + header,
	    .length = length,
	    .captured = captured < length ? captured : length,
	};
	return true;
}

static bool read_ip(const uint8_t *ip, size_t captured, bool quoted, struct layer *out)
{
	if (captured == 0)
		return false;
	switch (ip[0] >> 4) {
	case 4: return read_ipv4(ip, captured, quoted, out);
	case 6: return read_ipv6(ip, captured, quoted, out);
	default: return false;
	}
}

static bool is_intact(const struct layer *l, bool pseudo)
{
	uint64_t sum = 0;

	if (l->captured < l->length)
		return true; /* cannot be told; the cookie has the last word */
	if (pseudo)
		sum = pseudo_sum(l->from, l->address, l->length, l->protocol);
	return sum_finish(sum_bytes(sum, l->payload, l->length)) == 0;
}

/* Whether `number` is what we sent from our port to theirs; then who it was. */
static bool is_ours(const struct syn_identity *id, const struct layer *l, const uint8_t *ours,
                    const uint8_t *theirs, uint16_t our_port, uint16_t their_port, uint32_t number,
                    struct syn_answer *out)
{
	unsigned attempt = (uint16_t)(our_port - id->first_port);

	if (attempt >= SYN_PORTS || their_port == 0 ||
	    (uint32_t)cookie(id, ours, theirs, l->address, our_port, their_port) != number)
		return false;
	*out = (struct syn_answer){
	    .endpoint = {.family = l->family, .port = their_port},
	    .attempt = attempt,
	};
	memcpy(out->endpoint.address, theirs, l->address);
	return true;
}

static enum syn_answer_kind read_tcp(const struct syn_identity *id, const struct layer *l,
                                     bool verified, struct syn_answer *out)
{
	const uint8_t *tcp = l->payload;
	enum syn_answer_kind kind;
	size_t header;

	if (l->captured < TCP_MIN_LEN)
		return SYN_ANSWER_NONE;
	header = (size_t)(tcp[12] >> 4) * 4;
	if (header < TCP_MIN_LEN || header > l->length)
		return SYN_ANSWER_NONE;
	switch (tcp[13] & (TH_SYN | TH_RST | TH_ACK | TH_FIN)) {
	case TH_SYN | TH_ACK: kind = SYN_ANSWER_OPEN; break;
	case TH_RST | TH_ACK: kind = SYN_ANSWER_CLOSED; break;
	default: return SYN_ANSWER_NONE;
	}
	if (!verified && !is_intact(l, true))
		return SYN_ANSWER_NONE;
	if (!is_ours(id, l, l->from + l->address, l->from, get_16(tcp + 2), get_16(tcp),
	             get_32(tcp + 8) - 1, out))
		return SYN_ANSWER_NONE;
	return kind;
}

static bool is_error(const struct layer *l)
{
	uint8_t type = l->payload[0], code = l->payload[1];

	if (l->family == AF_INET)
		return (type == ICMP_DEST_UNREACH && code <= NR_ICMP_UNREACH &&
		        code != ICMP_FRAG_NEEDED) ||
		       (type == ICMP_TIME_EXCEEDED && code == ICMP_EXC_TTL);
	return type == ICMP6_DST_UNREACH ||
	       (type == ICMP6_TIME_EXCEEDED && code == ICMP6_TIME_EXCEED_TRANSIT);
}

static enum syn_answer_kind read_icmp(const struct syn_identity *id, const struct layer *l,
                                      bool verified, struct syn_answer *out)
{
	const uint8_t *tcp;
	struct layer quoted;

	if (l->captured < ICMP_LEN || !is_error(l))
		return SYN_ANSWER_NONE;
	if (!verified && !is_intact(l, l->family == AF_INET6))
		return SYN_ANSWER_NONE;
	if (!read_ip(l->payload + ICMP_LEN, l->captured - ICMP_LEN, true, &quoted) ||
	    quoted.family != l->family || quoted.protocol != IPPROTO_TCP ||
	    quoted.captured < QUOTED_TCP_LEN ||
	    memcmp(quoted.from, l->from + l->address, l->address) != 0)
		return SYN_ANSWER_NONE;
	tcp = quoted.payload;
	if (!is_ours(id, &quoted, quoted.from, quoted.from + quoted.address, get_16(tcp),
	             get_16(tcp + 2), get_32(tcp + 4), out))
		return SYN_ANSWER_NONE;
	return SYN_ANSWER_UNREACHABLE;
}

enum syn_answer_kind syn_packet_parse(const struct syn_identity *id, const uint8_t *packet,
                                      size_t captured, bool verified, struct syn_answer *out)
{
	struct layer l;

	if (!read_ip(packet, captured, false, &l))
		return SYN_ANSWER_NONE;
	/* Shorter than its header has it, and not by our capture's limit. */
	if (l.captured < l.length && captured < SYN_ANSWER_MAX)
		return SYN_ANSWER_NONE;
	if (l.protocol == IPPROTO_TCP)
		return read_tcp(id, &l, verified, out);
	if (l.protocol == (l.family == AF_INET ? IPPROTO_ICMP : IPPROTO_ICMPV6))
		return read_icmp(id, &l, verified, out);
	return SYN_ANSWER_NONE;
}
