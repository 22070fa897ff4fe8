/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/firewall/refuse.h"

#include "common/cleanup.h"
#include "daemon/firewall/rule.h"
#include "daemon/firewall/set.h"

#include <linux/netfilter/nf_conntrack_common.h>

static const sa_family_t families[] = {AF_INET, AF_INET6};

enum narrowing { ALL_OF_IT, ONLY_OUTPUT, ONLY_DNAT };

static void count_hit(struct nft_batch *batch, const char *chain, enum rule_traffic traffic,
                      enum narrowing narrowing, enum rule_key key)
{
	for (size_t i = 0; i < ARRAY_LEN(families); i++) {
		struct rule r;

		rule_begin(&r, batch, chain);
		rule_match_family(&r, families[i]);
		rule_match_traffic(&r, traffic);
		if (narrowing == ONLY_OUTPUT)
			rule_match_hook_output(&r);
		if (narrowing == ONLY_DNAT)
			rule_match_ct_bits(&r, NFT_CT_STATUS, IPS_DST_NAT);
		rule_match_endpoint(&r, families[i], key, set_hits_name(families[i]));
		rule_end(&r);
	}
}

static void drop_traffic(struct nft_batch *batch, const char *chain, enum rule_traffic traffic)
{
	struct rule r;

	rule_begin(&r, batch, chain);
	rule_match_traffic(&r, traffic);
	rule_verdict(&r, NF_DROP, NULL);
	rule_end(&r);
}

void refuse_add_chain(struct nft_batch *batch, enum conf_refuse how)
{
	const char *chain = refuse_chain_name(how);
	struct rule r;

	count_hit(batch, chain, RULE_REPLIES, ALL_OF_IT, RULE_KEY_CT_REPLY_SOURCE);
	count_hit(batch, chain, RULE_REPLIES, ONLY_DNAT, RULE_KEY_CT_ORIGINAL_DESTINATION);
	drop_traffic(batch, chain, RULE_REPLIES);

	/* Untracked replies of this host's own servers. */
	count_hit(batch, chain, RULE_UNKNOWN_TRAFFIC, ONLY_OUTPUT, RULE_KEY_PACKET_SOURCE);
	rule_begin(&r, batch, chain);
	rule_match_traffic(&r, RULE_UNKNOWN_TRAFFIC);
	rule_match_hook_output(&r);
	rule_verdict(&r, NF_DROP, NULL);
	rule_end(&r);

	count_hit(batch, chain, RULE_ANY_TRAFFIC, ALL_OF_IT, RULE_KEY_PACKET_DESTINATION);
	if (how == CONF_REFUSE_DROP) {
		drop_traffic(batch, chain, RULE_ANY_TRAFFIC);
		return;
	}
	/* An invalid packet may be a stray reply to somebody else: no reset for it. */
	rule_begin(&r, batch, chain);
	rule_match_ct_bits(&r, NFT_CT_STATE, NF_CT_STATE_INVALID_BIT);
	rule_verdict(&r, NF_DROP, NULL);
	rule_end(&r);
	rule_begin(&r, batch, chain);
	rule_reject_with_reset(&r);
	rule_end(&r);
}

const char *refuse_chain_name(enum conf_refuse how)
{
	return how == CONF_REFUSE_DROP ? "discard" : "refuse";
}

/* One chain for each rule: who is let through */

/* The client asks, or is answered: hooks_add_forward() has marked it. */
static void let_through_bridge(struct nft_batch *batch, const struct conf *conf, const char *chain,
                               sa_family_t family, unsigned bits, const char *set)
{
	const struct {
		uint32_t mark;
		enum rule_key client;
	} ways[] = {
	    {0, RULE_KEY_PACKET_SOURCE},
	    {conf->firewall.mark, RULE_KEY_PACKET_DESTINATION},
	};

	for (size_t i = 0; i < ARRAY_LEN(ways); i++) {
		struct rule r;

		rule_begin(&r, batch, chain);
		rule_match_family(&r, family);
		rule_match_mark(&r, ways[i].mark, conf->firewall.mark_mask);
		rule_match_address(&r, family, ways[i].client, bits, set);
		rule_verdict(&r, NFT_RETURN, NULL);
		rule_end(&r);
	}
}

void refuse_let_through(struct nft_batch *batch, const struct conf *conf, const char *chain,
                        sa_family_t family, unsigned bits, const char *set)
{
	struct rule r;

	if (batch->family == NFPROTO_BRIDGE) {
		let_through_bridge(batch, conf, chain, family, bits, set);
		return;
	}
	rule_begin(&r, batch, chain);
	rule_match_family(&r, family);
	rule_match_address(&r, family, RULE_KEY_CT_ORIGINAL_SOURCE, bits, set);
	rule_verdict(&r, NFT_RETURN, NULL);
	rule_end(&r);
	/* Without conntrack the client is who the packet, or the reply to it, names. */
	rule_begin(&r, batch, chain);
	rule_match_family(&r, family);
	rule_match_traffic(&r, RULE_UNKNOWN_TRAFFIC);
	rule_match_hook_prerouting(&r);
	rule_match_address(&r, family, RULE_KEY_PACKET_SOURCE, bits, set);
	rule_verdict(&r, NFT_RETURN, NULL);
	rule_end(&r);
	rule_begin(&r, batch, chain);
	rule_match_family(&r, family);
	rule_match_traffic(&r, RULE_UNKNOWN_TRAFFIC);
	rule_match_hook_output(&r);
	rule_match_address(&r, family, RULE_KEY_PACKET_DESTINATION, bits, set);
	rule_verdict(&r, NFT_RETURN, NULL);
	rule_end(&r);
}

/* Host-local clients: over loopback, and on their way out to a container. */
static void let_local_through(struct nft_batch *batch, const char *chain)
{
	struct rule r;

	rule_begin(&r, batch, chain);
	rule_match_interface(&r, NFT_META_IIF, RULE_LOOPBACK_IFINDEX);
	rule_verdict(&r, NFT_RETURN, NULL);
	rule_end(&r);
	/* The lookups in output are there for rules with seal_local. */
	rule_begin(&r, batch, chain);
	rule_match_direction(&r, RULE_ORIGINAL);
	rule_match_hook_output(&r);
	rule_verdict(&r, NFT_RETURN, NULL);
	rule_end(&r);
}

/*
 * The resets with which we, or the server, refuse. A rule that is to be silent lets none of them
 * out, but those of clients in.
 */
static void let_resets_through(struct nft_batch *batch, const char *chain, enum conf_refuse how)
{
	struct rule r;

	rule_begin(&r, batch, chain);
	rule_match_tcp_rst(&r);
	if (how == CONF_REFUSE_DROP)
		rule_match_traffic(&r, RULE_REQUESTS);
	rule_verdict(&r, NFT_RETURN, NULL);
	rule_end(&r);
}

void refuse_begin_rule_chain(struct nft_batch *batch, const char *chain, enum conf_refuse how,
                             bool seal_local)
{
	struct rule r;

	if (batch->family == NFPROTO_BRIDGE)
		return;
	let_resets_through(batch, chain, how);
	if (!seal_local)
		let_local_through(batch, chain);
	/* Replies from a container to this host itself, among them those to our own probes: whom
	 * seal_local cuts was refused in output. */
	rule_begin(&r, batch, chain);
	rule_match_direction(&r, RULE_REPLY);
	rule_match_hook_prerouting(&r);
	rule_match_local_destination(&r);
	rule_verdict(&r, NFT_RETURN, NULL);
	rule_end(&r);
}

void refuse_end_rule_chain(struct nft_batch *batch, const char *chain, enum conf_refuse how)
{
	struct rule r;

	rule_begin(&r, batch, chain);
	if (batch->family == NFPROTO_BRIDGE)
		rule_verdict(&r, NF_DROP, NULL);
	else
		rule_verdict(&r, NFT_GOTO, refuse_chain_name(how));
	rule_end(&r);
}
