/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/firewall/ruleset.h"

#include "common/cleanup.h"
#include "daemon/firewall/chain.h"
#include "daemon/firewall/hooks.h"
#include "daemon/firewall/refuse.h"
#include "daemon/firewall/set.h"
#include "daemon/firewall/wire.h"

#include <libnftnl/chain.h>
#include <libnftnl/table.h>
#include <string.h>

AUTO_CLEANUP(nftnl_table, struct nftnl_table *, nftnl_table_free)
AUTO_CLEANUP(nftnl_chain, struct nftnl_chain *, nftnl_chain_free)

enum {
	/* After conntrack (-200); before and after the translation of destinations (-100). */
	PRIORITY_BEFORE_NAT = -150,
	PRIORITY_AFTER_NAT = -90,
};

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

/* The chains must exist before elements or rules jump to them. */
static void add_chains(struct nft_batch *batch, const struct conf *conf,
                       const struct hooks_spec *hooks)
{
	char name[NFT_NAME_MAXLEN];

	add_chain(batch, refuse_chain_name(CONF_REFUSE_RESET), -1, 0);
	add_chain(batch, refuse_chain_name(CONF_REFUSE_DROP), -1, 0);
	if (hooks->ledger)
		add_chain(batch, "ledger", -1, 0);
	add_chain(batch, chain_name_of_rule(conf, BLOCKS_RULE_ORPHAN, name), -1, 0);
	for (uint32_t rule = 0; rule <= conf->n_breakers; rule++)
		add_chain(batch, chain_name_of_rule(conf, rule, name), -1, 0);
	add_chain(batch, "prerouting", NF_INET_PRE_ROUTING, PRIORITY_BEFORE_NAT);
	add_chain(batch, "prerouting_nat", NF_INET_PRE_ROUTING, PRIORITY_AFTER_NAT);
	add_chain(batch, "output", NF_INET_LOCAL_OUT, PRIORITY_BEFORE_NAT);
	if (hooks->seal_local)
		add_chain(batch, "output_nat", NF_INET_LOCAL_OUT, PRIORITY_AFTER_NAT);
}

/*
 * The chain of a breaker, with the sets of whom it lets through; `common` says whom every rule
 * does. Up to four numbers of sets are taken from `id` on.
 */
static void add_breaker_chain(struct nft_batch *batch, const struct ruleset_spec *spec,
                              uint32_t rule, uint32_t id, const struct refuse_rule *common)
{
	const struct conf_breaker *b = &spec->conf->breakers[rule - 1];
	char chain[NFT_NAME_MAXLEN], written[2][NFT_NAME_MAXLEN], dynamic[2][NFT_NAME_MAXLEN];
	struct refuse_rule its = *common;

	its.how = b->refuse;
	its.seal_local = b->seal_local;
	for (size_t i = 0; i < ARRAY_LEN(families); i++) {
		struct conf_prefixes said = {0};

		snprintf(written[i], NFT_NAME_MAXLEN, "allow%c_%s", i ? '6' : '4', b->name);
		if (set_add_prefixes(batch, written[i], families[i], id++, b->allow_from.items,
		                     b->allow_from.count))
			its.let_through[1][i] = written[i];
		if (!b->allow_dynamic)
			continue;
		if (spec->allowed)
			said = allowed_get(spec->allowed, rule, families[i]);
		/* Also an empty one: it will be filled. */
		ruleset_allowed_name(spec->conf, rule, families[i], dynamic[i]);
		set_add(batch, dynamic[i], SET_ADDRESSES, families[i], id++);
		set_put_prefixes(batch, NFT_MSG_NEWSETELEM, dynamic[i], said.items, said.count);
		its.let_through[2][i] = dynamic[i];
	}
	refuse_add_rule_chain(batch, chain_name_of_rule(spec->conf, rule, chain), &its);
}

static void add_rule_chains(struct nft_batch *batch, const struct ruleset_spec *spec,
                            uint32_t next_id)
{
	const struct conf *conf = spec->conf;
	struct refuse_rule common = {.how = CONF_REFUSE_RESET};
	char chain[NFT_NAME_MAXLEN];

	for (size_t i = 0; i < ARRAY_LEN(families); i++) {
		const char *name = i ? "protect6" : "protect4";

		if (set_add_prefixes(batch, name, families[i], next_id++,
		                     conf->protect.sources.items, conf->protect.sources.count))
			common.let_through[0][i] = name;
	}
	refuse_add_rule_chain(batch, chain_name_of_rule(conf, BLOCKS_RULE_ORPHAN, chain), &common);
	refuse_add_rule_chain(batch, chain_name_of_rule(conf, FIREWALL_RULE_MANUAL, chain),
	                      &common);
	for (uint32_t rule = 1; rule <= conf->n_breakers; rule++, next_id += 4)
		add_breaker_chain(batch, spec, rule, next_id, &common);
}

static uint32_t add_sets(struct nft_batch *batch, bool ledger)
{
	uint32_t id = 1;

	for (size_t i = 0; i < ARRAY_LEN(families); i++) {
		set_add(batch, set_map_name(families[i]), SET_BLOCKS, families[i], id++);
		set_add(batch, set_hits_name(families[i]), SET_HITS, families[i], id++);
		if (!ledger)
			continue;
		set_add(batch, set_ledger_name(families[i]), SET_LEDGER, families[i], id++);
		set_add(batch, set_peers_name(families[i]), SET_PEERS, families[i], id++);
	}
	return id;
}

static bool is_any_sealed(const struct conf *conf)
{
	bool seal_local = false;

	for (size_t i = 0; i < conf->n_breakers; i++)
		seal_local |= conf->breakers[i].seal_local;
	return seal_local;
}

static void add_ledger(struct nft_batch *batch, const struct ruleset_spec *spec, int64_t now_ms)
{
	for (size_t i = 0; i < ARRAY_LEN(families); i++) {
		set_put_ledger(batch, NFT_MSG_NEWSETELEM, families[i], spec->ledger, spec->n_ledger,
		               now_ms);
		set_put_peers(batch, families[i], spec->peers->items, spec->peers->count);
	}
	hooks_add_ledger(batch);
}

void ruleset_add_table(struct nft_batch *batch, const struct ruleset_spec *spec,
                       struct block *const *blocks, size_t count, int64_t now_ms)
{
	const struct conf *conf = spec->conf;
	const struct hooks_spec hooks = {.conf = conf,
	                                 .prober_uid = spec->prober_uid,
	                                 .seal_local = is_any_sealed(conf),
	                                 .ledger = spec->peers != NULL};
	uint32_t next_id;

	add_table(batch, spec->persist);
	add_chains(batch, conf, &hooks);
	next_id = add_sets(batch, hooks.ledger);
	refuse_add_chain(batch, CONF_REFUSE_RESET);
	refuse_add_chain(batch, CONF_REFUSE_DROP);
	add_rule_chains(batch, spec, next_id);
	for (size_t i = 0; i < ARRAY_LEN(families); i++)
		set_put_blocks(batch, conf, NFT_MSG_NEWSETELEM, families[i], blocks, count, now_ms);
	if (hooks.ledger)
		add_ledger(batch, spec, now_ms);
	hooks_add_prerouting(batch, &hooks);
	hooks_add_output(batch, &hooks);
}

void ruleset_add_rule(struct nft_batch *batch, const struct conf *conf, uint32_t rule)
{
	const struct refuse_rule nobody = {.how = CONF_REFUSE_RESET};
	const struct ruleset_spec spec = {.conf = conf};
	char name[NFT_NAME_MAXLEN];

	add_chain(batch, chain_name_of_rule(conf, rule, name), -1, 0);
	add_breaker_chain(batch, &spec, rule, 1, &nobody);
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

void ruleset_remove_ledger(struct nft_batch *batch, const struct block *endpoint, int64_t now_ms)
{
	struct block present = *endpoint;
	struct block *list[] = {&present};

	set_put_ledger(batch, NFT_MSG_NEWSETELEM, endpoint->endpoint.family, list, 1, now_ms);
	set_put_ledger(batch, NFT_MSG_DELSETELEM, endpoint->endpoint.family, list, 1, now_ms);
}

void ruleset_put_ledger(struct nft_batch *batch, const struct block *endpoint, int64_t now_ms)
{
	struct block next = *endpoint;
	struct block *list[] = {&next};

	ruleset_remove_ledger(batch, endpoint, now_ms);
	set_put_ledger(batch, NFT_MSG_NEWSETELEM, endpoint->endpoint.family, list, 1, now_ms);
}

const char *ruleset_allowed_name(const struct conf *conf, uint32_t rule, sa_family_t family,
                                 char text[static NFT_NAME_MAXLEN])
{
	snprintf(text, NFT_NAME_MAXLEN, "dynamic%c_%s", family == AF_INET ? '4' : '6',
	         conf->breakers[rule - 1].name);
	return text;
}

void ruleset_change_allowed(struct nft_batch *batch, const struct conf *conf, uint32_t rule,
                            sa_family_t family, const struct conf_prefixes *from,
                            const struct conf_prefixes *to)
{
	auto_free struct prefix *gone = calloc(from->count + 1, sizeof(*gone));
	auto_free struct prefix *added = calloc(to->count + 1, sizeof(*added));
	char name[NFT_NAME_MAXLEN];

	if (!gone || !added) {
		batch->failed = true;
		return;
	}
	ruleset_allowed_name(conf, rule, family, name);
	set_put_prefixes(batch, NFT_MSG_DELSETELEM, name, gone, allowed_subtract(from, to, gone));
	set_put_prefixes(batch, NFT_MSG_NEWSETELEM, name, added, allowed_subtract(to, from, added));
}
