/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/firewall/ruleset.h"

#include "daemon/firewall/chain.h"
#include "daemon/firewall/rule.h"
#include "daemon/firewall/set.h"
#include "daemon/firewall/wire.h"

#include <libnftnl/chain.h>
#include <libnftnl/table.h>
#include <linux/netfilter/nf_conntrack_common.h>
#include <linux/netfilter_ipv4.h>
#include <linux/tcp.h>
#include <string.h>

AUTO_CLEANUP(nftnl_table, struct nftnl_table *, nftnl_table_free)
AUTO_CLEANUP(nftnl_chain, struct nftnl_chain *, nftnl_chain_free)

enum {
	LOOPBACK_IFINDEX = 1, /* in every network namespace */
	/* After conntrack (-200); before and after the translation of destinations (-100). */
	PRIORITY_BEFORE_NAT = -150,
	PRIORITY_AFTER_NAT = -90,
};

/* Packets whose direction conntrack cannot tell. */
static const uint32_t unknown_direction = NF_CT_STATE_INVALID_BIT | NF_CT_STATE_UNTRACKED_BIT;

static const sa_family_t families[] = {AF_INET, AF_INET6};

static void add_table(struct nft_batch *batch, bool persist)
{
	__attribute__((cleanup(cleanup_nftnl_table))) struct nftnl_table *table =
	    nftnl_table_alloc();
	struct nlmsghdr *message = nft_batch_message(batch, NFT_MSG_NEWTABLE, NLM_F_CREATE);

	if (!table || nftnl_table_set_str(table, NFTNL_TABLE_NAME, batch->table))
		batch->failed = true;
	if (!message || batch->failed)
		return;
	nftnl_table_set_u32(table, NFTNL_TABLE_FLAGS, persist ? NFT_TABLE_F_OWNED_PERSISTENT : 0);
	nftnl_table_nlmsg_build_payload(message, table);
	nft_batch_end_message(batch, message);
}

/* A base chain when `hook` is not negative. */
static void add_chain(struct nft_batch *batch, const char *name, int hook, int priority)
{
	__attribute__((cleanup(cleanup_nftnl_chain))) struct nftnl_chain *chain =
	    nftnl_chain_alloc();
	struct nlmsghdr *message;

	if (!chain || nftnl_chain_set_str(chain, NFTNL_CHAIN_TABLE, batch->table) ||
	    nftnl_chain_set_str(chain, NFTNL_CHAIN_NAME, name))
		batch->failed = true;
	message = nft_batch_message(batch, NFT_MSG_NEWCHAIN, NLM_F_CREATE);
	if (!message)
		return;
	if (hook >= 0) {
		nftnl_chain_set_str(chain, NFTNL_CHAIN_TYPE, "filter");
		nftnl_chain_set_u32(chain, NFTNL_CHAIN_HOOKNUM, (uint32_t)hook);
		nftnl_chain_set_s32(chain, NFTNL_CHAIN_PRIO, priority);
		nftnl_chain_set_u32(chain, NFTNL_CHAIN_POLICY, NF_ACCEPT);
	}
	nftnl_chain_nlmsg_build_payload(message, chain);
	nft_batch_end_message(batch, message);
}

/* Matches that several rules begin with */

static void match_interface(struct rule *r, uint32_t key, uint32_t index)
{
	rule_match_meta(r, key, &index, sizeof(index));
}

/* In prerouting there is no outgoing interface yet, in output no incoming one. */
static void match_hook_output(struct rule *r)
{
	const uint32_t none = 0;

	rule_match_meta_not(r, NFT_META_OIF, &none, sizeof(none));
}

static void match_hook_prerouting(struct rule *r)
{
	const uint32_t none = 0;

	rule_match_meta_not(r, NFT_META_IIF, &none, sizeof(none));
}

static void begin_base_chain(struct nft_batch *batch, const char *chain)
{
	const uint8_t tcp = IPPROTO_TCP;
	struct rule r;

	rule_begin(&r, batch, chain);
	rule_match_meta_not(&r, NFT_META_L4PROTO, &tcp, sizeof(tcp));
	rule_verdict(&r, NF_ACCEPT, NULL);
	rule_end(&r);
}

/* Which packets a lookup is for. */
enum traffic { TRAFFIC_ANY, TRAFFIC_ORIGINAL, TRAFFIC_REPLY, TRAFFIC_UNKNOWN };

static void match_traffic(struct rule *r, enum traffic traffic)
{
	switch (traffic) {
	case TRAFFIC_ANY: break;
	case TRAFFIC_ORIGINAL: rule_match_direction(r, RULE_ORIGINAL); break;
	case TRAFFIC_REPLY: rule_match_direction(r, RULE_REPLY); break;
	case TRAFFIC_UNKNOWN: rule_match_ct_bits(r, NFT_CT_STATE, unknown_direction); break;
	}
}

/* "Is this endpoint blocked? Then go on in the chain of its rule." */
static void add_lookup(struct nft_batch *batch, const char *chain, enum traffic traffic,
                       bool only_dnat, enum rule_key key)
{
	for (size_t i = 0; i < ARRAY_LEN(families); i++) {
		struct rule r;

		rule_begin(&r, batch, chain);
		rule_match_family(&r, families[i]);
		match_traffic(&r, traffic);
		if (only_dnat)
			rule_match_ct_bits(&r, NFT_CT_STATUS, IPS_DST_NAT);
		rule_jump_by_endpoint(&r, families[i], key, set_map_name(families[i]));
		rule_end(&r);
	}
}

/* The server's answers, by its own address and, where that was translated, by what clients say. */
static void add_reply_lookups(struct nft_batch *batch, const char *chain)
{
	add_lookup(batch, chain, TRAFFIC_REPLY, false, RULE_KEY_CT_REPLY_SOURCE);
	add_lookup(batch, chain, TRAFFIC_REPLY, true, RULE_KEY_CT_ORIGINAL_DESTINATION);
}

/* Our own probes over loopback carry the mark that the output chain gave them. */
static void accept_marked(struct nft_batch *batch, const char *chain,
                          const struct ruleset_spec *spec)
{
	struct rule r;

	if (spec->prober_uid == RULESET_NO_PROBER)
		return;
	rule_begin(&r, batch, chain);
	match_interface(&r, NFT_META_IIF, LOOPBACK_IFINDEX);
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
	const uint32_t new_state = NF_CT_STATE_BIT(IP_CT_NEW), lo = LOOPBACK_IFINDEX;

	for (size_t i = 0; i < ARRAY_LEN(families); i++) {
		struct rule r;

		rule_begin(&r, batch, chain);
		rule_match_meta_not(&r, NFT_META_IIF, &lo, sizeof(lo));
		rule_match_family(&r, families[i]);
		rule_match_ct_bits(&r, NFT_CT_STATE, new_state);
		rule_match_tcp_not_opening(&r);
		rule_match_endpoint(&r, families[i], RULE_KEY_PACKET_SOURCE,
		                    set_hits_name(families[i]));
		rule_verdict(&r, NF_DROP, NULL);
		rule_end(&r);
	}
}

static void add_prerouting(struct nft_batch *batch, const struct ruleset_spec *spec)
{
	struct rule r;

	begin_base_chain(batch, "prerouting");
	accept_marked(batch, "prerouting", spec);
	/* A reply's destination may look like a blocked endpoint: a masqueraded connection can
	 * have any source port. */
	rule_begin(&r, batch, "prerouting");
	rule_match_direction(&r, RULE_REPLY);
	rule_verdict(&r, NF_ACCEPT, NULL);
	rule_end(&r);
	drop_picked_up(batch, "prerouting");
	add_lookup(batch, "prerouting", TRAFFIC_ANY, false, RULE_KEY_PACKET_DESTINATION);

	begin_base_chain(batch, "prerouting_nat");
	accept_marked(batch, "prerouting_nat", spec);
	add_lookup(batch, "prerouting_nat", TRAFFIC_ORIGINAL, true, RULE_KEY_PACKET_DESTINATION);
	/* Replies on loopback end with the client's own packets being refused; and among them are
	 * those to our own probes, which carry no mark. */
	rule_begin(&r, batch, "prerouting_nat");
	match_interface(&r, NFT_META_IIF, LOOPBACK_IFINDEX);
	rule_verdict(&r, NF_ACCEPT, NULL);
	rule_end(&r);
	add_reply_lookups(batch, "prerouting_nat");
}

static void accept_prober(struct nft_batch *batch, const char *chain, uid_t prober)
{
	struct rule r;

	if (prober == RULESET_NO_PROBER)
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
	match_interface(&r, NFT_META_OIF, LOOPBACK_IFINDEX);
	rule_verdict(&r, NF_ACCEPT, NULL);
	rule_end(&r);
}

static void mark_prober(struct nft_batch *batch, const struct ruleset_spec *spec)
{
	struct rule r;

	if (spec->prober_uid == RULESET_NO_PROBER)
		return;
	rule_begin(&r, batch, "output");
	match_interface(&r, NFT_META_OIF, LOOPBACK_IFINDEX);
	rule_match_meta(&r, NFT_META_SKUID, &spec->prober_uid, sizeof(spec->prober_uid));
	rule_set_mark(&r, spec->conf->firewall.mark, spec->conf->firewall.mark_mask);
	rule_end(&r);
}

static void add_output(struct nft_batch *batch, const struct ruleset_spec *spec, bool seal_local)
{
	begin_base_chain(batch, "output");
	mark_prober(batch, spec);
	accept_prober(batch, "output", spec->prober_uid);
	/* What goes over loopback is seen again in prerouting. */
	accept_loopback_output(batch, "output");
	drop_picked_up(batch, "output");
	if (seal_local)
		add_lookup(batch, "output", TRAFFIC_ORIGINAL, false, RULE_KEY_PACKET_DESTINATION);
	add_reply_lookups(batch, "output");
	add_lookup(batch, "output", TRAFFIC_UNKNOWN, false, RULE_KEY_PACKET_SOURCE);
	if (!seal_local)
		return;
	begin_base_chain(batch, "output_nat");
	accept_prober(batch, "output_nat", spec->prober_uid);
	accept_loopback_output(batch, "output_nat");
	add_lookup(batch, "output_nat", TRAFFIC_ORIGINAL, true, RULE_KEY_PACKET_DESTINATION);
}

/* refuse: counts, and ends the packet's way */

enum narrowing { ALL_OF_IT, ONLY_OUTPUT, ONLY_DNAT };

static void count_hit(struct nft_batch *batch, enum traffic traffic, enum narrowing narrowing,
                      enum rule_key key)
{
	for (size_t i = 0; i < ARRAY_LEN(families); i++) {
		struct rule r;

		rule_begin(&r, batch, "refuse");
		rule_match_family(&r, families[i]);
		match_traffic(&r, traffic);
		if (narrowing == ONLY_OUTPUT)
			match_hook_output(&r);
		if (narrowing == ONLY_DNAT)
			rule_match_ct_bits(&r, NFT_CT_STATUS, IPS_DST_NAT);
		rule_match_endpoint(&r, families[i], key, set_hits_name(families[i]));
		rule_end(&r);
	}
}

static void drop_traffic(struct nft_batch *batch, enum traffic traffic)
{
	struct rule r;

	rule_begin(&r, batch, "refuse");
	match_traffic(&r, traffic);
	rule_verdict(&r, NF_DROP, NULL);
	rule_end(&r);
}

static void add_refuse(struct nft_batch *batch)
{
	struct rule r;

	count_hit(batch, TRAFFIC_REPLY, ALL_OF_IT, RULE_KEY_CT_REPLY_SOURCE);
	count_hit(batch, TRAFFIC_REPLY, ONLY_DNAT, RULE_KEY_CT_ORIGINAL_DESTINATION);
	drop_traffic(batch, TRAFFIC_REPLY);

	/* Untracked replies of this host's own servers. */
	count_hit(batch, TRAFFIC_UNKNOWN, ONLY_OUTPUT, RULE_KEY_PACKET_SOURCE);
	rule_begin(&r, batch, "refuse");
	match_traffic(&r, TRAFFIC_UNKNOWN);
	match_hook_output(&r);
	rule_verdict(&r, NF_DROP, NULL);
	rule_end(&r);

	count_hit(batch, TRAFFIC_ANY, ALL_OF_IT, RULE_KEY_PACKET_DESTINATION);
	/* An invalid packet may be a stray reply to somebody else: no reset for it. */
	rule_begin(&r, batch, "refuse");
	rule_match_ct_bits(&r, NFT_CT_STATE, NF_CT_STATE_INVALID_BIT);
	rule_verdict(&r, NF_DROP, NULL);
	rule_end(&r);
	rule_begin(&r, batch, "refuse");
	rule_reject_with_reset(&r);
	rule_end(&r);
}

/* One chain for each rule: who is let through */

/* Clients in this set pass, in both directions. */
static void let_through(struct nft_batch *batch, const char *chain, sa_family_t family,
                        const char *set)
{
	struct rule r;

	rule_begin(&r, batch, chain);
	rule_match_family(&r, family);
	rule_match_address(&r, family, RULE_KEY_CT_ORIGINAL_SOURCE, set);
	rule_verdict(&r, NFT_RETURN, NULL);
	rule_end(&r);
	/* Without conntrack the client is who the packet, or the reply to it, names. */
	rule_begin(&r, batch, chain);
	rule_match_family(&r, family);
	match_traffic(&r, TRAFFIC_UNKNOWN);
	match_hook_prerouting(&r);
	rule_match_address(&r, family, RULE_KEY_PACKET_SOURCE, set);
	rule_verdict(&r, NFT_RETURN, NULL);
	rule_end(&r);
	rule_begin(&r, batch, chain);
	rule_match_family(&r, family);
	match_traffic(&r, TRAFFIC_UNKNOWN);
	match_hook_output(&r);
	rule_match_address(&r, family, RULE_KEY_PACKET_DESTINATION, set);
	rule_verdict(&r, NFT_RETURN, NULL);
	rule_end(&r);
}

/* Host-local clients: over loopback, and on their way out to a container. */
static void let_local_through(struct nft_batch *batch, const char *chain)
{
	struct rule r;

	rule_begin(&r, batch, chain);
	match_interface(&r, NFT_META_IIF, LOOPBACK_IFINDEX);
	rule_verdict(&r, NFT_RETURN, NULL);
	rule_end(&r);
	/* The lookups in output are there for rules with seal_local. */
	rule_begin(&r, batch, chain);
	rule_match_direction(&r, RULE_ORIGINAL);
	match_hook_output(&r);
	rule_verdict(&r, NFT_RETURN, NULL);
	rule_end(&r);
}

static void add_rule_chain(struct nft_batch *batch, const char *chain, bool seal_local,
                           const char *const protected[static 2],
                           const char *const allowed[static 2])
{
	struct rule r;

	/* The resets with which we, or the server, refuse. */
	rule_begin(&r, batch, chain);
	rule_match_tcp_rst(&r);
	rule_verdict(&r, NFT_RETURN, NULL);
	rule_end(&r);
	if (!seal_local)
		let_local_through(batch, chain);
	/* Replies from a container to this host itself, among them those to our own probes: whom
	 * seal_local cuts was refused in output. */
	rule_begin(&r, batch, chain);
	rule_match_direction(&r, RULE_REPLY);
	match_hook_prerouting(&r);
	rule_match_local_destination(&r);
	rule_verdict(&r, NFT_RETURN, NULL);
	rule_end(&r);
	for (size_t i = 0; i < ARRAY_LEN(families); i++) {
		if (protected[i])
			let_through(batch, chain, families[i], protected[i]);
		if (allowed[i])
			let_through(batch, chain, families[i], allowed[i]);
	}
	rule_begin(&r, batch, chain);
	rule_verdict(&r, NFT_GOTO, "refuse");
	rule_end(&r);
}

/* The chains must exist before elements or rules jump to them. */
static bool add_chains(struct nft_batch *batch, const struct conf *conf)
{
	char name[NFT_NAME_MAXLEN];
	bool seal_local = false;

	for (size_t i = 0; i < conf->n_breakers; i++)
		seal_local |= conf->breakers[i].seal_local;
	add_chain(batch, "refuse", -1, 0);
	add_chain(batch, chain_name_of_rule(conf, BLOCKS_RULE_ORPHAN, name), -1, 0);
	for (uint32_t rule = 0; rule <= conf->n_breakers; rule++)
		add_chain(batch, chain_name_of_rule(conf, rule, name), -1, 0);
	add_chain(batch, "prerouting", NF_INET_PRE_ROUTING, PRIORITY_BEFORE_NAT);
	add_chain(batch, "prerouting_nat", NF_INET_PRE_ROUTING, PRIORITY_AFTER_NAT);
	add_chain(batch, "output", NF_INET_LOCAL_OUT, PRIORITY_BEFORE_NAT);
	if (seal_local)
		add_chain(batch, "output_nat", NF_INET_LOCAL_OUT, PRIORITY_AFTER_NAT);
	return seal_local;
}

/* Of a breaker, with its sets; two numbers of sets are taken from `id` on. */
static void add_breaker_chain(struct nft_batch *batch, const struct conf *conf, uint32_t rule,
                              uint32_t id, const char *const protected[static 2])
{
	const struct conf_breaker *b = &conf->breakers[rule - 1];
	char chain[NFT_NAME_MAXLEN], names[2][NFT_NAME_MAXLEN];
	const char *allowed[2] = {NULL, NULL};

	for (size_t i = 0; i < 2; i++) {
		snprintf(names[i], sizeof(names[i]), "allow%c_%s", i ? '6' : '4', b->name);
		if (set_add_prefixes(batch, names[i], families[i], id++, b->allow_from.items,
		                     b->allow_from.count))
			allowed[i] = names[i];
	}
	add_rule_chain(batch, chain_name_of_rule(conf, rule, chain), b->seal_local, protected,
	               allowed);
}

static void add_rule_chains(struct nft_batch *batch, const struct conf *conf, uint32_t next_id)
{
	const char *const nobody[2] = {NULL, NULL};
	const char *protected[2] = {NULL, NULL};
	char chain[NFT_NAME_MAXLEN];

	for (size_t i = 0; i < 2; i++) {
		const char *name = i ? "protect6" : "protect4";

		if (set_add_prefixes(batch, name, families[i], next_id++,
		                     conf->protect.sources.items, conf->protect.sources.count))
		protected[i] = name;
	}
	add_rule_chain(batch, chain_name_of_rule(conf, BLOCKS_RULE_ORPHAN, chain), false, protected,
	               nobody);
	add_rule_chain(batch, chain_name_of_rule(conf, FIREWALL_RULE_MANUAL, chain), false,
	               protected, nobody);
	for (uint32_t rule = 1; rule <= conf->n_breakers; rule++, next_id += 2)
		add_breaker_chain(batch, conf, rule, next_id, protected);
}

void ruleset_add_table(struct nft_batch *batch, const struct ruleset_spec *spec,
                       struct block *const *blocks, size_t count, int64_t now_ms)
{
	const struct conf *conf = spec->conf;
	uint32_t id = 1;
	bool seal_local;

	add_table(batch, spec->persist);
	seal_local = add_chains(batch, conf);
	for (size_t i = 0; i < ARRAY_LEN(families); i++) {
		set_add(batch, set_map_name(families[i]), SET_BLOCKS, families[i], id++);
		set_add(batch, set_hits_name(families[i]), SET_HITS, families[i], id++);
	}
	add_refuse(batch);
	add_rule_chains(batch, conf, id);
	for (size_t i = 0; i < ARRAY_LEN(families); i++)
		set_put_blocks(batch, conf, NFT_MSG_NEWSETELEM, families[i], blocks, count, now_ms);
	add_prerouting(batch, spec);
	add_output(batch, spec, seal_local);
}

void ruleset_add_rule(struct nft_batch *batch, const struct conf *conf, uint32_t rule)
{
	const char *const nobody[2] = {NULL, NULL};
	char name[NFT_NAME_MAXLEN];

	add_chain(batch, chain_name_of_rule(conf, rule, name), -1, 0);
	add_breaker_chain(batch, conf, rule, 1, nobody);
}

/*
 * Adding what is there already succeeds and does not extend its timeout; deleting what has expired
 * fails, and the transaction with it. Adding before deleting is right in both cases.
 */
static void replace_block(struct nft_batch *batch, const struct conf *conf,
                          const struct block *block, uint32_t present_rule, int64_t now_ms)
{
	struct block present = *block;
	struct block *list[] = {&present};

	present.rule = present_rule;
	set_put_blocks(batch, conf, NFT_MSG_NEWSETELEM, block->endpoint.family, list, 1, now_ms);
	set_put_blocks(batch, conf, NFT_MSG_DELSETELEM, block->endpoint.family, list, 1, now_ms);
}

void ruleset_put_block(struct nft_batch *batch, const struct conf *conf, const struct block *block,
                       uint32_t present_rule, int64_t now_ms)
{
	struct block next = *block;
	struct block *list[] = {&next};

	replace_block(batch, conf, block, present_rule, now_ms);
	set_put_blocks(batch, conf, NFT_MSG_NEWSETELEM, block->endpoint.family, list, 1, now_ms);
}

void ruleset_remove_block(struct nft_batch *batch, const struct conf *conf,
                          const struct block *block, int64_t now_ms)
{
	replace_block(batch, conf, block, block->rule, now_ms);
}
