/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/firewall/divert.h"

#include "common/cleanup.h"
#include "daemon/firewall/refuse.h"
#include "daemon/firewall/road_rule.h"
#include "daemon/firewall/rule.h"
#include "daemon/firewall/set.h"

#include <linux/netfilter/nf_conntrack_common.h>

static const sa_family_t families[] = {AF_INET, AF_INET6};

/* The endpoint that the packet is for, and where that was translated, the one that was named. */
static const enum rule_key keys[] = {RULE_KEY_PACKET_DESTINATION, RULE_KEY_CT_ORIGINAL_DESTINATION};
/* The same of an answer: whose it is, and who was asked. */
static const enum rule_key reply_keys[] = {RULE_KEY_CT_REPLY_SOURCE,
                                           RULE_KEY_CT_ORIGINAL_DESTINATION};

/* Begins a rule that looks an endpoint up by that key. */
static void begin_lookup(struct rule *r, struct nft_batch *batch, const char *chain,
                         sa_family_t family, enum rule_key key)
{
	rule_begin(r, batch, chain);
	rule_match_family(r, family);
	if (key == RULE_KEY_CT_ORIGINAL_DESTINATION)
		rule_match_ct_bits(r, NFT_CT_STATUS, IPS_DST_NAT);
}

/*
 * By the mark that listeners have, and what they accepted has from them. Other sockets are not the
 * filter's; a connection that only begins, or has ended, has no mark that could be seen.
 */
static void add_owner_chain(struct nft_batch *batch, const struct conf *conf)
{
	struct rule r;

	rule_begin(&r, batch, DIVERT_OWNER_CHAIN);
	rule_match_socket_mark(&r, conf->firewall.mark, conf->firewall.mark_mask);
	rule_verdict(&r, NFT_GOTO, DIVERT_END_CHAIN);
	rule_end(&r);
	rule_begin(&r, batch, DIVERT_OWNER_CHAIN);
	rule_match_socket_mark(&r, 0, 0);
	rule_verdict(&r, NFT_RETURN, NULL);
	rule_end(&r);
	rule_begin(&r, batch, DIVERT_OWNER_CHAIN);
	rule_match_socket_transparent(&r);
	rule_verdict(&r, NFT_GOTO, DIVERT_END_CHAIN);
	rule_end(&r);
}

/*
 * Counts connections, by their first packets. What is not for this host itself is, by the mark,
 * routed to it (road_rule.h).
 */
static void add_end_chain(struct nft_batch *batch, const struct conf *conf)
{
	const struct road_spec road = road_spec_from_conf(conf);
	struct rule r;

	for (size_t i = 0; i < ARRAY_LEN(keys); i++) {
		for (size_t k = 0; k < ARRAY_LEN(families); k++) {
			begin_lookup(&r, batch, DIVERT_END_CHAIN, families[k], keys[i]);
			rule_match_tcp_opening(&r);
			rule_match_endpoint(&r, families[k], keys[i], set_hits_name(families[k]));
			rule_end(&r);
		}
	}
	rule_begin(&r, batch, DIVERT_END_CHAIN);
	rule_match_foreign_destination(&r);
	rule_set_mark(&r, road.in_mark, road.mask);
	rule_end(&r);
	rule_begin(&r, batch, DIVERT_END_CHAIN);
	rule_verdict(&r, NF_ACCEPT, NULL);
	rule_end(&r);
}

/*
 * With bridge-nf, what comes from a port of a bridge meets prerouting before it leaves the bridge,
 * and the listener that tproxy gave it is forgotten on the way up: the server itself would get it.
 */
static void add_lost_chain(struct nft_batch *batch, const struct conf *conf)
{
	const struct road_spec road = road_spec_from_conf(conf);
	struct rule r;

	hooks_begin_base_chain(batch, DIVERT_LOST_CHAIN);
	rule_begin(&r, batch, DIVERT_LOST_CHAIN);
	rule_match_mark(&r, road.in_mark, road.mask);
	rule_match_tcp_opening(&r);
	rule_match_socket_transparent(&r);
	rule_verdict(&r, NF_ACCEPT, NULL);
	rule_end(&r);
	rule_begin(&r, batch, DIVERT_LOST_CHAIN);
	rule_match_mark(&r, road.in_mark, road.mask);
	rule_match_tcp_opening(&r);
	rule_verdict(&r, NFT_GOTO, refuse_chain_name(CONF_REFUSE_RESET));
	rule_end(&r);
}

/*
 * The server's answers to whoever is not the filter. There are none but to those who may pass, and
 * in connections from before; whoever else has found a way past `divert`, as by IPVS, whose
 * addresses are only translated behind it, gets no answer.
 */
static void add_reply_lookups(struct nft_batch *batch)
{
	struct rule r;

	/* Among them those to the filter itself, and to who was led to it. */
	rule_begin(&r, batch, DIVERT_CHAIN);
	rule_match_direction(&r, RULE_REPLY);
	rule_match_interface(&r, NFT_META_IIF, RULE_LOOPBACK_IFINDEX);
	rule_verdict(&r, NF_ACCEPT, NULL);
	rule_end(&r);
	for (size_t i = 0; i < ARRAY_LEN(reply_keys); i++) {
		for (size_t k = 0; k < ARRAY_LEN(families); k++) {
			begin_lookup(&r, batch, DIVERT_CHAIN, families[k], reply_keys[i]);
			rule_match_traffic(&r, RULE_REPLIES);
			rule_jump_by_endpoint(&r, families[k], reply_keys[i],
			                      set_filter_name(families[k]));
			rule_end(&r);
		}
	}
	rule_begin(&r, batch, DIVERT_CHAIN);
	rule_match_direction(&r, RULE_REPLY);
	rule_verdict(&r, NF_ACCEPT, NULL);
	rule_end(&r);
}

void divert_add_lookups(struct nft_batch *batch, const char *chain,
                        const char *(*map_name)(sa_family_t))
{
	for (size_t i = 0; i < ARRAY_LEN(keys); i++) {
		for (size_t k = 0; k < ARRAY_LEN(families); k++) {
			struct rule r;

			begin_lookup(&r, batch, chain, families[k], keys[i]);
			rule_jump_by_endpoint(&r, families[k], keys[i], map_name(families[k]));
			rule_end(&r);
		}
	}
}

void divert_add_chains(struct nft_batch *batch, const struct hooks_spec *spec)
{
	struct rule r;

	add_owner_chain(batch, spec->conf);
	add_end_chain(batch, spec->conf);
	add_lost_chain(batch, spec->conf);
	hooks_begin_base_chain(batch, DIVERT_CHAIN);
	hooks_accept_marked(batch, DIVERT_CHAIN, spec);
	/* Not an opening one: it may be for a connection that has just ended, and begin another. */
	rule_begin(&r, batch, DIVERT_CHAIN);
	rule_match_tcp_not_opening(&r);
	rule_verdict(&r, NFT_JUMP, DIVERT_OWNER_CHAIN);
	rule_end(&r);
	add_reply_lookups(batch);
	divert_add_lookups(batch, DIVERT_CHAIN, set_filter_name);
}

/* The chain of a rule */

void divert_begin_rule_chain(struct nft_batch *batch, const char *chain, bool seal_local)
{
	struct rule r;

	rule_begin(&r, batch, chain);
	rule_match_tcp_rst(&r);
	rule_verdict(&r, NFT_RETURN, NULL);
	rule_end(&r);
	/* Whom seal_local is for has been led away in output. */
	rule_begin(&r, batch, chain);
	rule_match_direction(&r, RULE_REPLY);
	rule_match_local_destination(&r);
	rule_verdict(&r, NFT_RETURN, NULL);
	rule_end(&r);
	if (seal_local)
		return;
	rule_begin(&r, batch, chain);
	rule_match_interface(&r, NFT_META_IIF, RULE_LOOPBACK_IFINDEX);
	rule_verdict(&r, NFT_RETURN, NULL);
	rule_end(&r);
}

/* Which packets are given to the listeners. */
enum part { LOCAL, FOREIGN_OPENING, FOREIGN };

static void divert_family(struct nft_batch *batch, const char *chain, const struct conf *conf,
                          bool is_closed, enum part part, sa_family_t family, uint16_t port)
{
	const struct road_spec road = road_spec_from_conf(conf);
	struct rule r;

	if (!port)
		return;
	rule_begin(&r, batch, chain);
	rule_match_family(&r, family);
	if (part == FOREIGN_OPENING)
		rule_match_tcp_opening(&r);
	if (part == LOCAL)
		rule_match_local_destination(&r);
	else
		rule_match_foreign_destination(&r);
	rule_tproxy(&r, family, port);
	/* By it the chain in input knows them. */
	if (is_closed)
		rule_set_mark(&r, road.in_mark, road.mask);
	rule_verdict(&r, NFT_GOTO, DIVERT_END_CHAIN);
	rule_end(&r);
}

static void divert_part(struct nft_batch *batch, const char *chain, const struct conf *conf,
                        bool is_closed, enum part part, struct listener_ports ports)
{
	divert_family(batch, chain, conf, is_closed, part, AF_INET, ports.v4);
	divert_family(batch, chain, conf, is_closed, part, AF_INET6, ports.v6);
}

/*
 * The server would answer a client on its own link without us, who have asked in the client's name.
 */
static void end_same_link(struct nft_batch *batch, const char *chain,
                          const struct conf_breaker *breaker, bool is_closed)
{
	struct rule r;

	rule_begin(&r, batch, chain);
	rule_match_interface_not(&r, NFT_META_IIF, RULE_LOOPBACK_IFINDEX);
	rule_match_tcp_opening(&r);
	rule_match_foreign_destination(&r);
	rule_match_same_link(&r);
	if (is_closed)
		rule_verdict(&r, NFT_GOTO, refuse_chain_name(breaker->refuse));
	else
		rule_verdict(&r, NFT_RETURN, NULL);
	rule_end(&r);
}

void divert_let_drain(struct nft_batch *batch, const char *chain)
{
	for (size_t i = 0; i < ARRAY_LEN(keys); i++) {
		for (size_t k = 0; k < ARRAY_LEN(families); k++) {
			struct rule r;

			begin_lookup(&r, batch, chain, families[k], keys[i]);
			rule_match_tcp_not_opening(&r);
			rule_match_endpoint(&r, families[k], keys[i], set_drain_name(families[k]));
			rule_verdict(&r, NFT_RETURN, NULL);
			rule_end(&r);
		}
	}
}

static void end_replies(struct nft_batch *batch, const char *chain,
                        const struct conf_breaker *breaker, bool is_closed)
{
	struct rule r;

	for (size_t i = 0; is_closed && i < ARRAY_LEN(reply_keys); i++) {
		for (size_t k = 0; k < ARRAY_LEN(families); k++) {
			begin_lookup(&r, batch, chain, families[k], reply_keys[i]);
			rule_match_traffic(&r, RULE_REPLIES);
			rule_match_endpoint(&r, families[k], reply_keys[i],
			                    set_drain_name(families[k]));
			rule_verdict(&r, NFT_RETURN, NULL);
			rule_end(&r);
		}
	}
	rule_begin(&r, batch, chain);
	rule_match_direction(&r, RULE_REPLY);
	if (is_closed)
		rule_verdict(&r, NFT_GOTO, refuse_chain_name(breaker->refuse));
	else
		rule_verdict(&r, NFT_RETURN, NULL);
	rule_end(&r);
}

/*
 * Also what does not open a connection: the last packet of one that begins may come with a SYN
 * cookie, of which only the listener knows. What belongs to this host's own server is left alone by
 * tproxy; of other servers' connections it knows nothing, so that those have to drain before.
 */
void divert_end_rule_chain(struct nft_batch *batch, const char *chain, const struct conf *conf,
                           const struct conf_breaker *breaker, struct listener_ports ports)
{
	const bool is_closed = breaker->filter.on_failure == CONF_ON_FAILURE_CLOSED;
	struct rule r;

	end_replies(batch, chain, breaker, is_closed);
	divert_part(batch, chain, conf, is_closed, LOCAL, ports);
	end_same_link(batch, chain, breaker, is_closed);
	divert_part(batch, chain, conf, is_closed, FOREIGN_OPENING, ports);
	if (!is_closed)
		return;
	divert_let_drain(batch, chain);
	divert_part(batch, chain, conf, is_closed, FOREIGN, ports);
	rule_begin(&r, batch, chain);
	rule_verdict(&r, NFT_GOTO, refuse_chain_name(breaker->refuse));
	rule_end(&r);
}

void divert_clear_rule_chain(struct nft_batch *batch, const char *chain)
{
	struct nlmsghdr *message = nft_batch_message(batch, NFT_MSG_DELRULE, 0);

	if (!message)
		return;
	mnl_attr_put_strz(message, NFTA_RULE_TABLE, batch->table);
	mnl_attr_put_strz(message, NFTA_RULE_CHAIN, chain);
	nft_batch_end_message(batch, message);
}
