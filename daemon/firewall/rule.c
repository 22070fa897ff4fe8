/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/firewall/rule.h"

#include <arpa/inet.h>
#include <linux/if_ether.h>
#include <linux/netfilter/nf_conntrack_common.h>
#include <linux/rtnetlink.h>
#include <netinet/ip.h>
#include <netinet/ip6.h>
#include <netinet/tcp.h>
#include <stddef.h>

enum { NO_DIRECTION = -1 };

static const uint32_t unknown_direction = NF_CT_STATE_INVALID_BIT | NF_CT_STATE_UNTRACKED_BIT;

void rule_begin(struct rule *r, struct nft_batch *batch, const char *chain)
{
	*r = (struct rule){.batch = batch, .rule = nftnl_rule_alloc()};
	if (!r->rule || nftnl_rule_set_str(r->rule, NFTNL_RULE_TABLE, batch->table) ||
	    nftnl_rule_set_str(r->rule, NFTNL_RULE_CHAIN, chain))
		batch->failed = true;
}

void rule_end(struct rule *r)
{
	struct nlmsghdr *message =
	    nft_batch_message(r->batch, NFT_MSG_NEWRULE, NLM_F_CREATE | NLM_F_APPEND);

	if (message) {
		nftnl_rule_nlmsg_build_payload(message, r->rule);
		nft_batch_end_message(r->batch, message);
	}
	if (r->rule)
		nftnl_rule_free(r->rule);
	r->rule = NULL;
}

/* A new expression, which the rule owns; NULL when memory is out. */
static struct nftnl_expr *add(struct rule *r, const char *name)
{
	struct nftnl_expr *e = r->rule ? nftnl_expr_alloc(name) : NULL;

	if (e)
		nftnl_rule_add_expr(r->rule, e);
	else
		r->batch->failed = true;
	return e;
}

static void load_meta(struct rule *r, uint32_t key)
{
	struct nftnl_expr *e = add(r, "meta");

	if (!e)
		return;
	nftnl_expr_set_u32(e, NFTNL_EXPR_META_KEY, key);
	nftnl_expr_set_u32(e, NFTNL_EXPR_META_DREG, NFT_REG32_00);
}

static void load_ct(struct rule *r, uint32_t key, int direction, uint32_t reg)
{
	struct nftnl_expr *e = add(r, "ct");

	if (!e)
		return;
	nftnl_expr_set_u32(e, NFTNL_EXPR_CT_KEY, key);
	nftnl_expr_set_u32(e, NFTNL_EXPR_CT_DREG, reg);
	if (direction != NO_DIRECTION)
		nftnl_expr_set_u8(e, NFTNL_EXPR_CT_DIR, (uint8_t)direction);
}

static void load_payload(struct rule *r, uint32_t base, size_t offset, uint32_t length,
                         uint32_t reg)
{
	struct nftnl_expr *e = add(r, "payload");

	if (!e)
		return;
	nftnl_expr_set_u32(e, NFTNL_EXPR_PAYLOAD_BASE, base);
	nftnl_expr_set_u32(e, NFTNL_EXPR_PAYLOAD_OFFSET, (uint32_t)offset);
	nftnl_expr_set_u32(e, NFTNL_EXPR_PAYLOAD_LEN, length);
	nftnl_expr_set_u32(e, NFTNL_EXPR_PAYLOAD_DREG, reg);
}

static void compare(struct rule *r, uint32_t op, const void *value, uint32_t length)
{
	struct nftnl_expr *e = add(r, "cmp");

	if (!e)
		return;
	nftnl_expr_set_u32(e, NFTNL_EXPR_CMP_SREG, NFT_REG32_00);
	nftnl_expr_set_u32(e, NFTNL_EXPR_CMP_OP, op);
	nftnl_expr_set(e, NFTNL_EXPR_CMP_DATA, value, length);
}

/* register = (register & mask) ^ xor */
static void mask_bits(struct rule *r, const void *mask, const void * xor, uint32_t length)
{
	struct nftnl_expr *e = add(r, "bitwise");

	if (!e)
		return;
	nftnl_expr_set_u32(e, NFTNL_EXPR_BITWISE_SREG, NFT_REG32_00);
	nftnl_expr_set_u32(e, NFTNL_EXPR_BITWISE_DREG, NFT_REG32_00);
	nftnl_expr_set_u32(e, NFTNL_EXPR_BITWISE_LEN, length);
	nftnl_expr_set(e, NFTNL_EXPR_BITWISE_MASK, mask, length);
	nftnl_expr_set(e, NFTNL_EXPR_BITWISE_XOR, xor, length);
}

static void match_any_bit(struct rule *r, uint32_t bits)
{
	const uint32_t zero = 0;

	mask_bits(r, &bits, &zero, sizeof(bits));
	compare(r, NFT_CMP_NEQ, &zero, sizeof(zero));
}

void rule_match_meta(struct rule *r, uint32_t key, const void *value, uint32_t length)
{
	load_meta(r, key);
	compare(r, NFT_CMP_EQ, value, length);
}

void rule_match_meta_not(struct rule *r, uint32_t key, const void *value, uint32_t length)
{
	load_meta(r, key);
	compare(r, NFT_CMP_NEQ, value, length);
}

void rule_match_mark(struct rule *r, uint32_t mark, uint32_t mask)
{
	const uint32_t zero = 0;

	load_meta(r, NFT_META_MARK);
	mask_bits(r, &mask, &zero, sizeof(mask));
	compare(r, NFT_CMP_EQ, &mark, sizeof(mark));
}

void rule_match_family(struct rule *r, sa_family_t family)
{
	const uint8_t protocol = family == AF_INET ? NFPROTO_IPV4 : NFPROTO_IPV6;
	const uint16_t ether_type = htons(family == AF_INET ? ETH_P_IP : ETH_P_IPV6);

	if (r->batch->family == NFPROTO_BRIDGE) {
		rule_match_meta(r, NFT_META_PROTOCOL, &ether_type, sizeof(ether_type));
		return;
	}
	rule_match_meta(r, NFT_META_NFPROTO, &protocol, sizeof(protocol));
}

void rule_match_direction(struct rule *r, enum rule_direction direction)
{
	const uint8_t value = (uint8_t)direction;

	load_ct(r, NFT_CT_DIRECTION, NO_DIRECTION, NFT_REG32_00);
	compare(r, NFT_CMP_EQ, &value, sizeof(value));
}

void rule_match_ct_bits(struct rule *r, uint32_t key, uint32_t bits)
{
	load_ct(r, key, NO_DIRECTION, NFT_REG32_00);
	match_any_bit(r, bits);
}

void rule_match_traffic(struct rule *r, enum rule_traffic traffic)
{
	switch (traffic) {
	case RULE_ANY_TRAFFIC: break;
	case RULE_REQUESTS: rule_match_direction(r, RULE_ORIGINAL); break;
	case RULE_REPLIES: rule_match_direction(r, RULE_REPLY); break;
	case RULE_UNKNOWN_TRAFFIC: rule_match_ct_bits(r, NFT_CT_STATE, unknown_direction); break;
	}
}

void rule_match_interface(struct rule *r, uint32_t key, uint32_t index)
{
	rule_match_meta(r, key, &index, sizeof(index));
}

void rule_match_interface_not(struct rule *r, uint32_t key, uint32_t index)
{
	rule_match_meta_not(r, key, &index, sizeof(index));
}

void rule_match_hook_output(struct rule *r)
{
	rule_match_interface_not(r, NFT_META_OIF, 0);
}

void rule_match_hook_prerouting(struct rule *r)
{
	rule_match_interface_not(r, NFT_META_IIF, 0);
}

/* (flags & mask) OP value; the protocol is there for nft(8), which then shows the flags by name. */
static void match_tcp_flags(struct rule *r, uint8_t mask, uint32_t op, uint8_t value)
{
	enum { FLAGS_OFFSET = 13 }; /* RFC 9293, 3.1 */
	const uint8_t tcp = IPPROTO_TCP, zero = 0;

	rule_match_meta(r, NFT_META_L4PROTO, &tcp, sizeof(tcp));
	load_payload(r, NFT_PAYLOAD_TRANSPORT_HEADER, FLAGS_OFFSET, sizeof(mask), NFT_REG32_00);
	mask_bits(r, &mask, &zero, sizeof(mask));
	compare(r, op, &value, sizeof(value));
}

void rule_match_tcp_rst(struct rule *r)
{
	match_tcp_flags(r, TH_RST, NFT_CMP_NEQ, 0);
}

void rule_match_tcp_opening(struct rule *r)
{
	match_tcp_flags(r, TH_SYN | TH_ACK, NFT_CMP_EQ, TH_SYN);
}

void rule_match_tcp_not_opening(struct rule *r)
{
	match_tcp_flags(r, TH_SYN | TH_ACK, NFT_CMP_NEQ, TH_SYN);
}

static void load_socket(struct rule *r, uint32_t key)
{
	struct nftnl_expr *e = add(r, "socket");

	if (!e)
		return;
	nftnl_expr_set_u32(e, NFTNL_EXPR_SOCKET_KEY, key);
	nftnl_expr_set_u32(e, NFTNL_EXPR_SOCKET_DREG, NFT_REG32_00);
}

void rule_match_socket_transparent(struct rule *r)
{
	const uint8_t transparent = 1;

	load_socket(r, NFT_SOCKET_TRANSPARENT);
	compare(r, NFT_CMP_EQ, &transparent, sizeof(transparent));
}

void rule_match_socket_mark(struct rule *r, uint32_t mark, uint32_t mask)
{
	const uint32_t zero = 0;

	load_socket(r, NFT_SOCKET_MARK);
	mask_bits(r, &mask, &zero, sizeof(mask));
	compare(r, NFT_CMP_EQ, &mark, sizeof(mark));
}

static void load_fib(struct rule *r, uint32_t result, uint32_t flags)
{
	struct nftnl_expr *e = add(r, "fib");

	if (!e)
		return;
	nftnl_expr_set_u32(e, NFTNL_EXPR_FIB_RESULT, result);
	nftnl_expr_set_u32(e, NFTNL_EXPR_FIB_FLAGS, flags);
	nftnl_expr_set_u32(e, NFTNL_EXPR_FIB_DREG, NFT_REG32_00);
}

static void match_destination(struct rule *r, uint32_t op)
{
	const uint32_t local = RTN_LOCAL;

	load_fib(r, NFT_FIB_RESULT_ADDRTYPE, NFTA_FIB_F_DADDR);
	compare(r, op, &local, sizeof(local));
}

void rule_match_local_destination(struct rule *r)
{
	match_destination(r, NFT_CMP_EQ);
}

void rule_match_foreign_destination(struct rule *r)
{
	match_destination(r, NFT_CMP_NEQ);
}

void rule_match_same_link(struct rule *r)
{
	const uint32_t none = 0;

	load_fib(r, NFT_FIB_RESULT_OIF, NFTA_FIB_F_DADDR | NFTA_FIB_F_IIF);
	compare(r, NFT_CMP_NEQ, &none, sizeof(none));
}

static void load_packet_address(struct rule *r, sa_family_t family, enum rule_key key, uint32_t reg)
{
	const bool is_source = key == RULE_KEY_PACKET_SOURCE;

	if (family == AF_INET)
		load_payload(r, NFT_PAYLOAD_NETWORK_HEADER,
		             is_source ? offsetof(struct iphdr, saddr)
		                       : offsetof(struct iphdr, daddr),
		             4, reg);
	else
		load_payload(r, NFT_PAYLOAD_NETWORK_HEADER,
		             is_source ? offsetof(struct ip6_hdr, ip6_src)
		                       : offsetof(struct ip6_hdr, ip6_dst),
		             16, reg);
}

static void load_address(struct rule *r, sa_family_t family, enum rule_key key)
{
	const bool is4 = family == AF_INET;

	switch (key) {
	case RULE_KEY_PACKET_DESTINATION:
	case RULE_KEY_PACKET_SOURCE: load_packet_address(r, family, key, NFT_REG32_00); break;
	case RULE_KEY_CT_ORIGINAL_DESTINATION:
		load_ct(r, is4 ? NFT_CT_DST_IP : NFT_CT_DST_IP6, RULE_ORIGINAL, NFT_REG32_00);
		break;
	case RULE_KEY_CT_REPLY_SOURCE:
		load_ct(r, is4 ? NFT_CT_SRC_IP : NFT_CT_SRC_IP6, RULE_REPLY, NFT_REG32_00);
		break;
	case RULE_KEY_CT_ORIGINAL_SOURCE:
		load_ct(r, is4 ? NFT_CT_SRC_IP : NFT_CT_SRC_IP6, RULE_ORIGINAL, NFT_REG32_00);
		break;
	}
}

static void load_port(struct rule *r, enum rule_key key, uint32_t reg)
{
	switch (key) {
	case RULE_KEY_PACKET_DESTINATION:
		load_payload(r, NFT_PAYLOAD_TRANSPORT_HEADER, offsetof(struct tcphdr, th_dport), 2,
		             reg);
		break;
	case RULE_KEY_PACKET_SOURCE:
		load_payload(r, NFT_PAYLOAD_TRANSPORT_HEADER, offsetof(struct tcphdr, th_sport), 2,
		             reg);
		break;
	case RULE_KEY_CT_ORIGINAL_DESTINATION:
		load_ct(r, NFT_CT_PROTO_DST, RULE_ORIGINAL, reg);
		break;
	case RULE_KEY_CT_REPLY_SOURCE: load_ct(r, NFT_CT_PROTO_SRC, RULE_REPLY, reg); break;
	case RULE_KEY_CT_ORIGINAL_SOURCE: load_ct(r, NFT_CT_PROTO_SRC, RULE_ORIGINAL, reg); break;
	}
}

static void load_endpoint(struct rule *r, sa_family_t family, enum rule_key key)
{
	const uint32_t protocol_reg = family == AF_INET ? NFT_REG32_01 : NFT_REG32_04;
	struct nftnl_expr *e;

	load_address(r, family, key);
	e = add(r, "meta");
	if (!e)
		return;
	nftnl_expr_set_u32(e, NFTNL_EXPR_META_KEY, NFT_META_L4PROTO);
	nftnl_expr_set_u32(e, NFTNL_EXPR_META_DREG, protocol_reg);
	load_port(r, key, protocol_reg + 1);
}

static struct nftnl_expr *lookup(struct rule *r, const char *set)
{
	struct nftnl_expr *e = add(r, "lookup");

	if (!e)
		return NULL;
	nftnl_expr_set_u32(e, NFTNL_EXPR_LOOKUP_SREG, NFT_REG32_00);
	if (nftnl_expr_set_str(e, NFTNL_EXPR_LOOKUP_SET, set))
		r->batch->failed = true;
	return e;
}

void rule_match_address(struct rule *r, sa_family_t family, enum rule_key key, unsigned bits,
                        const char *set)
{
	const uint32_t length = family == AF_INET ? 4 : 16;
	const uint8_t none[16] = {0};
	uint8_t mask[16] = {0};

	load_address(r, family, key);
	for (unsigned bit = 0; bit < bits; bit++)
		mask[bit / 8] |= (uint8_t)(0x80U >> bit % 8);
	if (bits < 8 * length)
		mask_bits(r, mask, none, length);
	lookup(r, set);
}

void rule_match_endpoint(struct rule *r, sa_family_t family, enum rule_key key, const char *set)
{
	load_endpoint(r, family, key);
	lookup(r, set);
}

void rule_jump_by_endpoint(struct rule *r, sa_family_t family, enum rule_key key, const char *map)
{
	struct nftnl_expr *e;

	load_endpoint(r, family, key);
	e = lookup(r, map);
	if (e)
		nftnl_expr_set_u32(e, NFTNL_EXPR_LOOKUP_DREG, NFT_REG_VERDICT);
}

void rule_count_peer(struct rule *r, sa_family_t family, const char *set, uint64_t timeout_ms)
{
	const uint32_t words = family == AF_INET ? 1 : 4;
	struct nftnl_expr *counter = nftnl_expr_alloc("counter");
	struct nftnl_expr *e;

	load_packet_address(r, family, RULE_KEY_PACKET_SOURCE, NFT_REG32_00);
	load_packet_address(r, family, RULE_KEY_PACKET_DESTINATION, NFT_REG32_00 + words);
	load_port(r, RULE_KEY_PACKET_DESTINATION, NFT_REG32_00 + 2 * words);
	e = add(r, "dynset");
	if (!e || !counter || nftnl_expr_set_str(e, NFTNL_EXPR_DYNSET_SET_NAME, set)) {
		r->batch->failed = true;
		nftnl_expr_free(counter);
		return;
	}
	nftnl_expr_set_u32(e, NFTNL_EXPR_DYNSET_OP, NFT_DYNSET_OP_UPDATE);
	nftnl_expr_set_u32(e, NFTNL_EXPR_DYNSET_SREG_KEY, NFT_REG32_00);
	nftnl_expr_set_u64(e, NFTNL_EXPR_DYNSET_TIMEOUT, timeout_ms);
	nftnl_expr_add_expr(e, NFTNL_EXPR_DYNSET_EXPRESSIONS, counter);
}

void rule_set_mark(struct rule *r, uint32_t mark, uint32_t mask)
{
	const uint32_t others = ~mask;
	struct nftnl_expr *e;

	load_meta(r, NFT_META_MARK);
	mask_bits(r, &others, &mark, sizeof(mark));
	e = add(r, "meta");
	if (!e)
		return;
	nftnl_expr_set_u32(e, NFTNL_EXPR_META_KEY, NFT_META_MARK);
	nftnl_expr_set_u32(e, NFTNL_EXPR_META_SREG, NFT_REG32_00);
}

void rule_verdict(struct rule *r, int code, const char *chain)
{
	struct nftnl_expr *e = add(r, "immediate");

	if (!e)
		return;
	nftnl_expr_set_u32(e, NFTNL_EXPR_IMM_DREG, NFT_REG_VERDICT);
	nftnl_expr_set_u32(e, NFTNL_EXPR_IMM_VERDICT, (uint32_t)code);
	if (chain && nftnl_expr_set_str(e, NFTNL_EXPR_IMM_CHAIN, chain))
		r->batch->failed = true;
}

void rule_reject_with_reset(struct rule *r)
{
	struct nftnl_expr *e = add(r, "reject");

	if (!e)
		return;
	nftnl_expr_set_u32(e, NFTNL_EXPR_REJECT_TYPE, NFT_REJECT_TCP_RST);
	nftnl_expr_set_u8(e, NFTNL_EXPR_REJECT_CODE, 0);
}

static void load_value(struct rule *r, uint32_t reg, const void *value, uint32_t length)
{
	struct nftnl_expr *e = add(r, "immediate");

	if (!e)
		return;
	nftnl_expr_set_u32(e, NFTNL_EXPR_IMM_DREG, reg);
	nftnl_expr_set(e, NFTNL_EXPR_IMM_DATA, value, length);
}

void rule_tproxy(struct rule *r, sa_family_t family, uint16_t port)
{
	const struct in_addr loopback4 = {htonl(INADDR_LOOPBACK)};
	const uint16_t port_be = htons(port);
	struct nftnl_expr *e;

	if (family == AF_INET)
		load_value(r, NFT_REG32_00, &loopback4, sizeof(loopback4));
	else
		load_value(r, NFT_REG32_00, &in6addr_loopback, sizeof(in6addr_loopback));
	load_value(r, NFT_REG32_04, &port_be, sizeof(port_be));
	e = add(r, "tproxy");
	if (!e)
		return;
	nftnl_expr_set_u32(e, NFTNL_EXPR_TPROXY_FAMILY,
	                   family == AF_INET ? NFPROTO_IPV4 : NFPROTO_IPV6);
	nftnl_expr_set_u32(e, NFTNL_EXPR_TPROXY_REG_ADDR, NFT_REG32_00);
	nftnl_expr_set_u32(e, NFTNL_EXPR_TPROXY_REG_PORT, NFT_REG32_04);
}

/* The last bit: those who use labels begin with the first. */
static const uint8_t label[16] = {[15] = 0x80};

void rule_set_label(struct rule *r)
{
	struct nftnl_expr *e;

	load_value(r, NFT_REG32_00, label, sizeof(label));
	e = add(r, "ct");
	if (!e)
		return;
	nftnl_expr_set_u32(e, NFTNL_EXPR_CT_KEY, NFT_CT_LABELS);
	nftnl_expr_set_u32(e, NFTNL_EXPR_CT_SREG, NFT_REG32_00);
}

void rule_match_label(struct rule *r)
{
	const uint8_t none[sizeof(label)] = {0};

	load_ct(r, NFT_CT_LABELS, NO_DIRECTION, NFT_REG32_00);
	mask_bits(r, label, none, sizeof(label));
	compare(r, NFT_CMP_NEQ, none, sizeof(none));
}
