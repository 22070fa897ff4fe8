/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/firewall/divert.h"

#include "common/cleanup.h"
#include "daemon/firewall/refuse.h"
#include "daemon/firewall/rule.h"
#include "daemon/firewall/set.h"

#include <linux/netfilter/nf_conntrack_common.h>

static const sa_family_t families[] = {AF_INET, AF_INET6};

/* The endpoint that the packet is for, and where that was translated, the one that was named. */
static const enum rule_key keys[] = {RULE_KEY_PACKET_DESTINATION, RULE_KEY_CT_ORIGINAL_DESTINATION};

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

/* Counts connections, by their first packets. */
static void add_end_chain(struct nft_batch *batch)
{
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
	rule_verdict(&r, NF_ACCEPT, NULL);
	rule_end(&r);
}

void divert_add_chains(struct nft_batch *batch, const struct hooks_spec *spec)
{
	struct rule r;

	add_owner_chain(batch, spec->conf);
	add_end_chain(batch);
	hooks_begin_base_chain(batch, DIVERT_CHAIN);
	hooks_accept_marked(batch, DIVERT_CHAIN, spec);
	/* Not an opening one: it may be for a connection that has just ended, and begin another. */
	rule_begin(&r, batch, DIVERT_CHAIN);
	rule_match_tcp_not_opening(&r);
	rule_verdict(&r, NFT_JUMP, DIVERT_OWNER_CHAIN);
	rule_end(&r);
	rule_begin(&r, batch, DIVERT_CHAIN);
	rule_match_direction(&r, RULE_REPLY);
	rule_verdict(&r, NF_ACCEPT, NULL);
	rule_end(&r);
	for (size_t i = 0; i < ARRAY_LEN(keys); i++) {
		for (size_t k = 0; k < ARRAY_LEN(families); k++) {
			begin_lookup(&r, batch, DIVERT_CHAIN, families[k], keys[i]);
			rule_jump_by_endpoint(&r, families[k], keys[i],
			                      set_filter_name(families[k]));
			rule_end(&r);
		}
	}
}

/* The chain of a rule */

void divert_begin_rule_chain(struct nft_batch *batch, const char *chain, bool seal_local)
{
	struct rule r;

	rule_begin(&r, batch, chain);
	rule_match_tcp_rst(&r);
	rule_verdict(&r, NFT_RETURN, NULL);
	rule_end(&r);
	if (seal_local)
		return;
	rule_begin(&r, batch, chain);
	rule_match_interface(&r, NFT_META_IIF, RULE_LOOPBACK_IFINDEX);
	rule_verdict(&r, NFT_RETURN, NULL);
	rule_end(&r);
}

/*
 * An endpoint of this host: also what does not open a connection, since the last packet of one that
 * begins may come with a SYN cookie, of which only the listener knows. What belongs to the server
 * itself is left alone by tproxy.
 */
static void divert_local(struct nft_batch *batch, const char *chain, sa_family_t family,
                         uint16_t port)
{
	struct rule r;

	rule_begin(&r, batch, chain);
	rule_match_family(&r, family);
	rule_match_local_destination(&r);
	rule_tproxy(&r, family, port);
	rule_verdict(&r, NFT_GOTO, DIVERT_END_CHAIN);
	rule_end(&r);
}

static void let_drain(struct nft_batch *batch, const char *chain)
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

void divert_end_rule_chain(struct nft_batch *batch, const char *chain,
                           const struct conf_breaker *breaker, struct listener_ports ports)
{
	struct rule r;

	if (ports.v4)
		divert_local(batch, chain, AF_INET, ports.v4);
	if (ports.v6)
		divert_local(batch, chain, AF_INET6, ports.v6);
	if (breaker->filter.on_failure == CONF_ON_FAILURE_OPEN)
		return;
	let_drain(batch, chain);
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
