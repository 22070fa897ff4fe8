/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "scanner/discover/neighbour_packet.h"

#include <arpa/inet.h>
#include <net/if_arp.h>
#include <netinet/icmp6.h>
#include <netinet/if_ether.h>
#include <netinet/ip6.h>
#include <string.h>

enum { HOP_LIMIT = 255, OPTION_UNIT = 8 };

/* The whole of an Ethernet link's solicitation, and the least of its answer. */
struct solicitation {
	struct ip6_hdr ip;
	struct nd_neighbor_solicit nd;
	struct nd_opt_hdr option;
	uint8_t mac[MAC_LEN];
};
_Static_assert(sizeof(struct solicitation) == NEIGHBOUR_QUESTION_MAX, "no padding");
_Static_assert(sizeof(struct ether_arp) <= NEIGHBOUR_QUESTION_MAX, "ARP is shorter");

static uint32_t add_bytes(uint32_t sum, const uint8_t *bytes, size_t length)
{
	size_t i;

	for (i = 0; i + 1 < length; i += 2)
		sum += (uint32_t)bytes[i] << 8 | bytes[i + 1];
	return i < length ? sum + ((uint32_t)bytes[i] << 8) : sum;
}

/* RFC 8200, 8.1; at most 64 KB, so that the sum cannot overflow. 0 for what carries its own. */
static uint16_t icmp6_checksum(const struct ip6_hdr *ip, const uint8_t *icmp, size_t length)
{
	uint32_t sum = (uint32_t)length + IPPROTO_ICMPV6;

	sum = add_bytes(sum, ip->ip6_src.s6_addr, 16);
	sum = add_bytes(sum, ip->ip6_dst.s6_addr, 16);
	sum = add_bytes(sum, icmp, length);
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return (uint16_t)~sum;
}

static size_t write_arp(const struct neighbour_question *q, uint8_t *packet, uint8_t *destination)
{
	struct ether_arp arp = {.ea_hdr = {.ar_hrd = htons(ARPHRD_ETHER),
	                                   .ar_pro = htons(ETHERTYPE_IP),
	                                   .ar_hln = MAC_LEN,
	                                   .ar_pln = 4,
	                                   .ar_op = htons(ARPOP_REQUEST)}};

	memcpy(arp.arp_sha, q->mac, MAC_LEN);
	memcpy(arp.arp_spa, q->source, 4);
	memcpy(arp.arp_tpa, q->target, 4);
	memcpy(packet, &arp, sizeof(arp));
	memset(destination, 0xff, MAC_LEN);
	return sizeof(arp);
}

/* To the solicited-node multicast address (RFC 4291, 2.7.1). */
static size_t write_solicitation(const struct neighbour_question *q, uint8_t *packet,
                                 uint8_t *destination)
{
	static const uint8_t node[13] = {0xff, 0x02, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0xff};
	struct solicitation s = {
	    .ip = {.ip6_plen = htons(sizeof(s) - sizeof(s.ip))},
	    .option = {.nd_opt_type = ND_OPT_SOURCE_LINKADDR, .nd_opt_len = 1},
	};

	s.ip.ip6_flow = htonl(6U << 28);
	s.ip.ip6_nxt = IPPROTO_ICMPV6;
	s.ip.ip6_hlim = HOP_LIMIT;
	memcpy(s.ip.ip6_src.s6_addr, q->source, 16);
	memcpy(s.ip.ip6_dst.s6_addr, node, sizeof(node));
	memcpy(s.ip.ip6_dst.s6_addr + 13, q->target + 13, 3);
	s.nd.nd_ns_type = ND_NEIGHBOR_SOLICIT;
	memcpy(s.nd.nd_ns_target.s6_addr, q->target, 16);
	memcpy(s.mac, q->mac, MAC_LEN);
	memcpy(packet, &s, sizeof(s));
	s.nd.nd_ns_cksum =
	    htons(icmp6_checksum(&s.ip, packet + sizeof(s.ip), sizeof(s) - sizeof(s.ip)));
	memcpy(packet, &s, sizeof(s));

	destination[0] = destination[1] = 0x33;
	memcpy(destination + 2, s.ip.ip6_dst.s6_addr + 12, 4);
	return sizeof(s);
}

size_t neighbour_question_write(const struct neighbour_question *q,
                                uint8_t packet[static NEIGHBOUR_QUESTION_MAX],
                                uint8_t destination[static MAC_LEN])
{
	return q->family == AF_INET ? write_arp(q, packet, destination)
	                            : write_solicitation(q, packet, destination);
}

static bool is_unicast(const uint8_t *mac)
{
	static const uint8_t none[MAC_LEN];

	return (mac[0] & 1) == 0 && memcmp(mac, none, MAC_LEN) != 0;
}

static bool read_arp(const uint8_t *packet, size_t length, struct neighbour_answer *out)
{
	struct ether_arp arp;

	if (length < sizeof(arp))
		return false; /* Ethernet pads: longer is usual */
	memcpy(&arp, packet, sizeof(arp));
	if (arp.arp_hrd != htons(ARPHRD_ETHER) || arp.arp_pro != htons(ETHERTYPE_IP) ||
	    arp.arp_hln != MAC_LEN || arp.arp_pln != 4 || arp.arp_op != htons(ARPOP_REPLY) ||
	    !is_unicast(arp.arp_sha))
		return false;
	memcpy(out->target, arp.arp_spa, 4);
	memcpy(out->asker, arp.arp_tpa, 4);
	memcpy(out->mac, arp.arp_sha, MAC_LEN);
	return true;
}

/* The target's link address, which an answer to a multicast question must have (RFC 4861, 4.4). */
static bool read_options(const uint8_t *at, size_t left, uint8_t *mac)
{
	bool has_mac = false;

	while (left > 0) {
		size_t length;

		if (left < OPTION_UNIT)
			return false;
		length = (size_t)at[1] * OPTION_UNIT;
		if (length == 0 || length > left)
			return false;
		if (at[0] == ND_OPT_TARGET_LINKADDR && length == OPTION_UNIT && !has_mac) {
			memcpy(mac, at + 2, MAC_LEN);
			has_mac = true;
		}
		at += length;
		left -= length;
	}
	return has_mac && is_unicast(mac);
}

static bool read_advertisement(const uint8_t *packet, size_t length, struct neighbour_answer *out)
{
	struct nd_neighbor_advert nd;
	struct ip6_hdr ip;
	size_t payload;

	if (length < sizeof(ip) + sizeof(nd))
		return false;
	memcpy(&ip, packet, sizeof(ip));
	memcpy(&nd, packet + sizeof(ip), sizeof(nd));
	payload = ntohs(ip.ip6_plen);
	/* RFC 4861, 7.1.2. Behind an extension header is none that was asked for. */
	if (packet[0] >> 4 != 6 || ip.ip6_nxt != IPPROTO_ICMPV6 || ip.ip6_hlim != HOP_LIMIT ||
	    payload < sizeof(nd) || payload > length - sizeof(ip) ||
	    nd.nd_na_type != ND_NEIGHBOR_ADVERT || nd.nd_na_code != 0 ||
	    (nd.nd_na_flags_reserved & ND_NA_FLAG_SOLICITED) == 0 ||
	    IN6_IS_ADDR_MULTICAST(&nd.nd_na_target) || IN6_IS_ADDR_MULTICAST(&ip.ip6_dst) ||
	    icmp6_checksum(&ip, packet + sizeof(ip), payload) != 0 ||
	    !read_options(packet + sizeof(ip) + sizeof(nd), payload - sizeof(nd), out->mac))
		return false;
	memcpy(out->target, nd.nd_na_target.s6_addr, 16);
	memcpy(out->asker, ip.ip6_dst.s6_addr, 16);
	return true;
}

bool neighbour_answer_read(sa_family_t family, const uint8_t *packet, size_t length,
                           struct neighbour_answer *out)
{
	struct neighbour_answer a = {.family = family};

	if (family == AF_INET ? !read_arp(packet, length, &a)
	                      : !read_advertisement(packet, length, &a))
		return false;
	*out = a;
	return true;
}
