/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Writing one rule as a list of expressions, each a line of the virtual machine of nf_tables:
 *
 *	struct rule r;
 *	rule_begin(&r, batch, "output");
 *	rule_match_meta(&r, NFT_META_OIF, &lo, sizeof(lo));
 *	rule_verdict(&r, NF_ACCEPT, NULL);
 *	rule_end(&r);
 *
 * Running out of memory fails the batch (nft_batch_commit() tells); nothing here returns an error.
 */
#pragma once

#include "daemon/firewall/nft.h"

#include <libnftnl/expr.h>
#include <libnftnl/rule.h>
#include <linux/netfilter/nf_tables.h>

enum rule_direction { RULE_ORIGINAL = 0, RULE_REPLY = 1 }; /* IP_CT_DIR_* */

/* Which packets a rule is for; UNKNOWN are those whose direction conntrack cannot tell. */
enum rule_traffic { RULE_ANY_TRAFFIC, RULE_REQUESTS, RULE_REPLIES, RULE_UNKNOWN_TRAFFIC };

enum { RULE_LOOPBACK_IFINDEX = 1 }; /* in every network namespace */

struct rule {
	struct nft_batch *batch;
	struct nftnl_rule *rule;
};

void rule_begin(struct rule *r, struct nft_batch *batch, const char *chain);
void rule_end(struct rule *r);

/* Each stops the rule's evaluation for packets that do not match. Numbers in the host's order. */
void rule_match_meta(struct rule *r, uint32_t key, const void *value, uint32_t length);
void rule_match_meta_not(struct rule *r, uint32_t key, const void *value, uint32_t length);
void rule_match_mark(struct rule *r, uint32_t mark, uint32_t mask);
void rule_match_family(struct rule *r, sa_family_t family);
void rule_match_direction(struct rule *r, enum rule_direction direction);
/* Any of the bits, of NFT_CT_STATE or NFT_CT_STATUS. */
void rule_match_ct_bits(struct rule *r, uint32_t key, uint32_t bits);
void rule_match_traffic(struct rule *r, enum rule_traffic traffic);
/* NFT_META_IIF or NFT_META_OIF is, or is not, this. */
void rule_match_interface(struct rule *r, uint32_t key, uint32_t index);
void rule_match_interface_not(struct rule *r, uint32_t key, uint32_t index);
/* In prerouting there is no outgoing interface yet, in output no incoming one. */
void rule_match_hook_prerouting(struct rule *r);
void rule_match_hook_output(struct rule *r);
void rule_match_tcp_rst(struct rule *r);
/* The first packet of a connection: SYN without ACK. */
void rule_match_tcp_opening(struct rule *r);
/* Anything but that. */
void rule_match_tcp_not_opening(struct rule *r);
/*
 * Of the socket that the packet belongs to, which may be a listener that has nothing to do with the
 * filter: it has IP_TRANSPARENT; its mark is this one (of mask 0: there is one that has a mark at
 * all, which those of connections that only begin or have ended have not).
 */
void rule_match_socket_transparent(struct rule *r);
void rule_match_socket_mark(struct rule *r, uint32_t mark, uint32_t mask);
/* Packets to an address of this host. */
void rule_match_local_destination(struct rule *r);
/* To any other. */
void rule_match_foreign_destination(struct rule *r);
/* The way to its destination leads back to where it came from; not to be asked of what comes in by
 * loopback. */
void rule_match_same_link(struct rule *r);

/* What goes into the registers before a lookup: an address alone, or a key of nft_key. */
enum rule_key {
	RULE_KEY_PACKET_DESTINATION,
	RULE_KEY_PACKET_SOURCE,
	RULE_KEY_CT_ORIGINAL_DESTINATION, /* what the client named, before any translation */
	RULE_KEY_CT_REPLY_SOURCE,         /* who answers: the server itself */
	RULE_KEY_CT_ORIGINAL_SOURCE,      /* the client (address alone) */
};

/* The prefix of `bits` that the packet's address is in is in the set. */
void rule_match_address(struct rule *r, sa_family_t family, enum rule_key key, unsigned bits,
                        const char *set);
/* The key is in the set (which counts it), or in the verdict map, which says how to go on. */
void rule_match_endpoint(struct rule *r, sa_family_t family, enum rule_key key, const char *set);
void rule_jump_by_endpoint(struct rule *r, sa_family_t family, enum rule_key key, const char *map);

/* Counts the packet's source and destination in a set of peers; never ends the rule's evaluation
 * otherwise than by its own end, also when the set is full. */
void rule_count_peer(struct rule *r, sa_family_t family, const char *set, uint64_t timeout_ms);
void rule_set_mark(struct rule *r, uint32_t mark, uint32_t mask);
/* One bit of the connection's label; others' bits stay. */
void rule_set_label(struct rule *r);
void rule_match_label(struct rule *r);
/* NF_ACCEPT, NF_DROP, NFT_RETURN; NFT_JUMP and NFT_GOTO with a chain. */
void rule_verdict(struct rule *r, int code, const char *chain);
void rule_reject_with_reset(struct rule *r);
/*
 * Gives the packet to the connection that it belongs to, or else to who listens on this port of
 * 127.0.0.1 or ::1. Where that is nobody, or a socket without IP_TRANSPARENT, the rule's evaluation
 * ends and the next rule comes. From prerouting hooks only.
 */
void rule_tproxy(struct rule *r, sa_family_t family, uint16_t port);
