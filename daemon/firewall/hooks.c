/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/firewall/hooks.h"

#include "common/cleanup.h"
#include "daemon/firewall/rule.h"
#include "daemon/firewall/set.h"
#include "daemon/firewall/wire.h"

#include <linux/netfilter/nf_conntrack_common.h>

static const sa_family_t families[] = {AF_INET, AF_INET6};

void hooks_begin_base_chain(struct nft_batch *batch, const char *chain)
{
	const uint8_t tcp = IPPROTO_TCP;
	struct rule r;

	rule_begin(&r, batch, chain);
	rule_match_meta_not(&r, NFT_META_L4PROTO, &tcp, sizeof(tcp));
	rule_verdict(&r, NF_ACCEPT, NULL);
	rule_end(&r);
}

/* "Is this endpoint blocked? Then go on in the chain of its rule." */
static void add_lookup(struct nft_batch *batch, const char *chain, enum rule_traffic traffic,
                       bool only_dnat, enum rule_key key)
{
	for (size_t i = 0; i < ARRAY_LEN(families); i++) {
		struct rule r;

		rule_begin(&r, batch, chain);
		rule_match_family(&r, families[i]);
		rule_match_traffic(&r, traffic);
		if (only_dnat)
			rule_match_ct_bits(&r, NFT_CT_STATUS, IPS_DST_NAT);
		rule_jump_by_endpoint(&r, families[i], key, set_map_name(families[i]));
		rule_end(&r);
	}
}

/* The server's answers, by its own address and, where that was translated, by what clients say. */
static void add_reply_lookups(struct nft_batch *batch, const char *chain)
{
	add_lookup(batch, chain, RULE_REPLIES, false, RULE_KEY_CT_REPLY_SOURCE);
	add_lookup(batch, chain, RULE_REPLIES, true, RULE_KEY_CT_ORIGINAL_DESTINATION);
}

/* Our own probes over loopback carry the mark that the output chain gave them. */
void hooks_accept_marked(struct nft_batch *batch, const char *chain, const struct hooks_spec *spec)
{
	struct rule r;

	if (spec->prober_uid == HOOKS_NO_PROBER)
		return;
	rule_begin(&r, batch, chain);
	rule_match_interface(&r, NFT_META_IIF, RULE_LOOPBACK_IFINDEX);
	rule_match_mark(&r, spec->conf->firewall.mark, spec->conf->firewall.mark_mask);
	rule_verdict(&r, NF_ACCEPT, NULL);
	rule_end(&r);
}

/*
 * A refused connection is soon forgotten by conntrack (10 s), but not by the server, to whom nobody
 * sends a reset: it sends its last bytes again, and conntrack would take that for a new connection
 * *from* the server, so that a client which ignores resets could go on. A connection that a
 * server's port does open begins with a SYN and is not touched.
 */
static void drop_picked_up(struct nft_batch *batch, const char *chain)
{
	const uint32_t new_state = NF_CT_STATE_BIT(IP_CT_NEW);

	for (size_t i = 0; i < ARRAY_LEN(families); i++) {
		struct rule r;

		rule_begin(&r, batch, chain);
		rule_match_interface_not(&r, NFT_META_IIF, RULE_LOOPBACK_IFINDEX);
		rule_match_family(&r, families[i]);
		rule_match_ct_bits(&r, NFT_CT_STATE, new_state);
		rule_match_tcp_not_opening(&r);
		rule_match_endpoint(&r, families[i], RULE_KEY_PACKET_SOURCE,
		                    set_hits_name(families[i]));
		rule_verdict(&r, NF_DROP, NULL);
		rule_end(&r);
	}
}

/* New connections go by the ledger: the packets of all others meet one comparison. */
static void note_opening(struct nft_batch *batch, const char *chain, const struct hooks_spec *spec,
                         bool only_dnat)
{
	struct rule r;

	if (!spec->ledger)
		return;
	rule_begin(&r, batch, chain);
	rule_match_tcp_opening(&r);
	if (only_dnat)
		rule_match_ct_bits(&r, NFT_CT_STATUS, IPS_DST_NAT);
	rule_verdict(&r, NFT_JUMP, "ledger");
	rule_end(&r);
}

void hooks_add_ledger(struct nft_batch *batch)
{
	for (size_t i = 0; i < ARRAY_LEN(families); i++) {
		struct rule r;

		rule_begin(&r, batch, "ledger");
		rule_match_family(&r, families[i]);
		rule_match_endpoint(&r, families[i], RULE_KEY_PACKET_DESTINATION,
		                    set_ledger_name(families[i]));
		rule_count_peer(&r, families[i], set_peers_name(families[i]), FIREWALL_LEDGER_MS);
		rule_end(&r);
	}
}

void hooks_add_prerouting(struct nft_batch *batch, const struct hooks_spec *spec)
{
	struct rule r;

	hooks_begin_base_chain(batch, "prerouting");
	hooks_accept_marked(batch, "prerouting", spec);
	/* A reply's destination may look like a blocked endpoint: a masqueraded connection can
	 * have any source port. */
	rule_begin(&r, batch, "prerouting");
	rule_match_direction(&r, RULE_REPLY);
	rule_verdict(&r, NF_ACCEPT, NULL);
	rule_end(&r);
	note_opening(batch, "prerouting", spec, false);
	drop_picked_up(batch, "prerouting");
	add_lookup(batch, "prerouting", RULE_ANY_TRAFFIC, false, RULE_KEY_PACKET_DESTINATION);

	hooks_begin_base_chain(batch, "prerouting_nat");
	hooks_accept_marked(batch, "prerouting_nat", spec);
	note_opening(batch, "prerouting_nat", spec, true);
	add_lookup(batch, "prerouting_nat", RULE_REQUESTS, true, RULE_KEY_PACKET_DESTINATION);
	/* Replies on loopback end with the client's own packets being refused; and among them are
	 * those to our own probes, which carry no mark. */
	rule_begin(&r, batch, "prerouting_nat");
	rule_match_interface(&r, NFT_META_IIF, RULE_LOOPBACK_IFINDEX);
	rule_verdict(&r, NF_ACCEPT, NULL);
	rule_end(&r);
	add_reply_lookups(batch, "prerouting_nat");
}

static void accept_prober(struct nft_batch *batch, const char *chain, uid_t prober)
{
	struct rule r;

	if (prober == HOOKS_NO_PROBER)
		return;
	rule_begin(&r, batch, chain);
	rule_match_meta(&r, NFT_META_SKUID, &prober, sizeof(prober));
	rule_verdict(&r, NF_ACCEPT, NULL);
	rule_end(&r);
}

static void accept_loopback_output(struct nft_batch *batch, const char *chain)
{
	struct rule r;

	rule_begin(&r, batch, chain);
	rule_match_interface(&r, NFT_META_OIF, RULE_LOOPBACK_IFINDEX);
	rule_verdict(&r, NF_ACCEPT, NULL);
	rule_end(&r);
}

/* The filter, too, asks the endpoint itself, where that is this host's own. */
static void mark_own(struct nft_batch *batch, const struct hooks_spec *spec, uid_t uid)
{
	struct rule r;

	if (uid == HOOKS_NO_PROBER)
		return;
	rule_begin(&r, batch, "output");
	rule_match_interface(&r, NFT_META_OIF, RULE_LOOPBACK_IFINDEX);
	rule_match_meta(&r, NFT_META_SKUID, &uid, sizeof(uid));
	rule_set_mark(&r, spec->conf->firewall.mark, spec->conf->firewall.mark_mask);
	rule_end(&r);
}

void hooks_add_output(struct nft_batch *batch, const struct hooks_spec *spec)
{
	hooks_begin_base_chain(batch, "output");
	mark_own(batch, spec, spec->prober_uid);
	mark_own(batch, spec, spec->filter_uid);
	accept_prober(batch, "output", spec->prober_uid);
	/* What goes over loopback is seen again in prerouting. */
	accept_loopback_output(batch, "output");
	note_opening(batch, "output", spec, false);
	drop_picked_up(batch, "output");
	if (spec->seal_local)
		add_lookup(batch, "output", RULE_REQUESTS, false, RULE_KEY_PACKET_DESTINATION);
	add_reply_lookups(batch, "output");
	add_lookup(batch, "output", RULE_UNKNOWN_TRAFFIC, false, RULE_KEY_PACKET_SOURCE);
	if (!spec->seal_local)
		return;
	hooks_begin_base_chain(batch, "output_nat");
	accept_prober(batch, "output_nat", spec->prober_uid);
	/* The host's own way to a published port: it begins towards loopback, where the address is
	 * the host's, and ends in a container without passing prerouting. */
	add_lookup(batch, "output_nat", RULE_REQUESTS, true, RULE_KEY_CT_ORIGINAL_DESTINATION);
	add_lookup(batch, "output_nat", RULE_REQUESTS, true, RULE_KEY_PACKET_DESTINATION);
}

static void set_mark(struct nft_batch *batch, const struct conf *conf, uint32_t mark)
{
	struct rule r;

	rule_begin(&r, batch, "forward");
	rule_set_mark(&r, mark, conf->firewall.mark_mask);
	rule_end(&r);
}

/*
 * There is no conntrack: the packet's own addresses say what is asked for, or who answers. An
 * address and port that a container both serves and connects from would be taken for the former.
 * Which of the two it was a rule's chain sees by the mark, whose bits, also where others had set
 * them, are zero afterwards.
 */
void hooks_add_forward(struct nft_batch *batch, const struct conf *conf)
{
	hooks_begin_base_chain(batch, "forward");
	set_mark(batch, conf, 0);
	add_lookup(batch, "forward", RULE_ANY_TRAFFIC, false, RULE_KEY_PACKET_DESTINATION);
	set_mark(batch, conf, conf->firewall.mark);
	add_lookup(batch, "forward", RULE_ANY_TRAFFIC, false, RULE_KEY_PACKET_SOURCE);
	set_mark(batch, conf, 0);
}
