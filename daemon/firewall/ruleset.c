/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/firewall/ruleset.h"

#include "common/cleanup.h"
#include "daemon/firewall/chain.h"
#include "daemon/firewall/clients.h"
#include "daemon/firewall/divert.h"
#include "daemon/firewall/hooks.h"
#include "daemon/firewall/policy.h"
#include "daemon/firewall/refuse.h"
#include "daemon/firewall/seal.h"
#include "daemon/firewall/set.h"
#include "daemon/firewall/wire.h"

#include <libnftnl/chain.h>
#include <libnftnl/table.h>
#include <linux/netfilter_bridge.h>
#include <string.h>

AUTO_CLEANUP(nftnl_table, struct nftnl_table *, nftnl_table_free)
AUTO_CLEANUP(nftnl_chain, struct nftnl_chain *, nftnl_chain_free)

enum {
	/* After conntrack (-200); before and after the translation of destinations (-100). */
	PRIORITY_BEFORE_NAT = -150,
	PRIORITY_AFTER_NAT = -90,
	/* Behind the walls, and where packets have the addresses that sockets know them by. */
	PRIORITY_DIVERT = -80,
	PRIORITY_BRIDGE = -200, /* as ebtables' own filter */

	SIZED_FROM = 4096, /* blocks of one family */
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

void ruleset_own_table(struct nft_batch *batch)
{
	add_table(batch, true);
	if (!batch->bridge)
		return;
	batch->family = NFPROTO_BRIDGE;
	add_table(batch, true);
	batch->family = NFPROTO_INET;
}

/* A base chain when `hook` is not negative. */
static void add_chain_of(struct nft_batch *batch, const char *type, const char *name, int hook,
                         int priority)
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
		nftnl_chain_set_str(chain, NFTNL_CHAIN_TYPE, type);
		nftnl_chain_set_u32(chain, NFTNL_CHAIN_HOOKNUM, (uint32_t)hook);
		nftnl_chain_set_s32(chain, NFTNL_CHAIN_PRIO, priority);
		nftnl_chain_set_u32(chain, NFTNL_CHAIN_POLICY, NF_ACCEPT);
	}
	nftnl_chain_nlmsg_build_payload(message, chain);
	nft_batch_end_message(batch, message);
}

static void add_chain(struct nft_batch *batch, const char *name, int hook, int priority)
{
	add_chain_of(batch, "filter", name, hook, priority);
}

static bool is_sealed_filter(const struct conf *conf, uint32_t rule)
{
	return policy_is_filter(conf, rule) && conf->breakers[rule - 1].seal_local;
}

/* The chains must exist before elements or rules jump to them. */
static void add_rules_own_chains(struct nft_batch *batch, const struct conf *conf)
{
	char name[NFT_NAME_MAXLEN];

	add_chain(batch, chain_name_of_rule(conf, BLOCKS_RULE_ORPHAN, name), -1, 0);
	for (uint32_t rule = 0; rule <= conf->n_breakers; rule++) {
		add_chain(batch, chain_name_of_rule(conf, rule, name), -1, 0);
		if (batch->family != NFPROTO_BRIDGE && policy_is_filter(conf, rule))
			add_chain(batch, chain_name_of_filter(conf, rule, name), -1, 0);
		if (batch->family != NFPROTO_BRIDGE && is_sealed_filter(conf, rule))
			add_chain(batch, chain_name_of_seal(conf, rule, name), -1, 0);
	}
}

static void add_chains(struct nft_batch *batch, const struct conf *conf,
                       const struct hooks_spec *hooks)
{
	add_chain(batch, refuse_chain_name(CONF_REFUSE_RESET), -1, 0);
	add_chain(batch, refuse_chain_name(CONF_REFUSE_DROP), -1, 0);
	if (hooks->ledger)
		add_chain(batch, "ledger", -1, 0);
	add_rules_own_chains(batch, conf);
	add_chain(batch, "prerouting", NF_INET_PRE_ROUTING, PRIORITY_BEFORE_NAT);
	add_chain(batch, "prerouting_nat", NF_INET_PRE_ROUTING, PRIORITY_AFTER_NAT);
	add_chain(batch, "output", NF_INET_LOCAL_OUT, PRIORITY_BEFORE_NAT);
	if (hooks->seal_local)
		add_chain(batch, "output_nat", NF_INET_LOCAL_OUT, PRIORITY_AFTER_NAT);
	if (!conf_has_filter(conf))
		return;
	add_chain(batch, DIVERT_END_CHAIN, -1, 0);
	add_chain(batch, DIVERT_OWNER_CHAIN, -1, 0);
	add_chain(batch, DIVERT_CHAIN, NF_INET_PRE_ROUTING, PRIORITY_DIVERT);
	add_chain(batch, DIVERT_LOST_CHAIN, NF_INET_LOCAL_IN, PRIORITY_DIVERT);
	if (hooks->seal_local)
		add_chain_of(batch, "route", SEAL_CHAIN, NF_INET_LOCAL_OUT, PRIORITY_DIVERT);
}

/* The sets of protected sources are added by the first rule's chain. */
static void add_protected(const struct clients_place *to)
{
	clients_add(to, "protect", "", &to->conf->protect.sources);
}

/* Whom a breaker lets through. */
static void add_allowed(const struct clients_place *to, const struct ruleset_spec *spec,
                        uint32_t rule)
{
	const struct conf_breaker *b = &spec->conf->breakers[rule - 1];

	clients_add(to, "allow", b->name, &b->allow_from);
	for (size_t i = 0; spec->allowed && i < ARRAY_LEN(families); i++) {
		const struct conf_prefixes said = allowed_get(spec->allowed, rule, families[i]);

		clients_add(to, CLIENTS_DYNAMIC, b->name, &said);
	}
}

/* The chain of a breaker, with the sets of whom it lets through. */
static void add_breaker_chain(struct nft_batch *batch, const struct ruleset_spec *spec,
                              uint32_t rule, bool protect, uint32_t *id)
{
	const struct conf_breaker *b = &spec->conf->breakers[rule - 1];
	char chain[NFT_NAME_MAXLEN];
	struct clients_place to = {.batch = batch, .conf = spec->conf, .chain = chain, .id = id};

	chain_name_of_rule(spec->conf, rule, chain);
	refuse_begin_rule_chain(batch, chain, b->refuse, b->seal_local);
	if (protect)
		add_protected(&to);
	to.add_sets = true;
	add_allowed(&to, spec, rule);
	refuse_end_rule_chain(batch, chain, b->refuse);
}

/* And the one for the host's own clients. Their sets are there already. */
static void add_filter_chain(struct nft_batch *batch, const struct ruleset_spec *spec,
                             uint32_t rule)
{
	const struct conf_breaker *b = &spec->conf->breakers[rule - 1];
	const struct listener_ports ports = listeners_find(spec->listeners, b->name);
	char chain[NFT_NAME_MAXLEN];
	const struct clients_place to = {.batch = batch, .conf = spec->conf, .chain = chain};

	chain_name_of_filter(spec->conf, rule, chain);
	divert_begin_rule_chain(batch, chain, b->seal_local);
	add_protected(&to);
	add_allowed(&to, spec, rule);
	divert_end_rule_chain(batch, chain, spec->conf, b, ports);
	if (!b->seal_local)
		return;
	chain_name_of_seal(spec->conf, rule, chain);
	seal_begin_rule_chain(batch, chain);
	add_protected(&to);
	add_allowed(&to, spec, rule);
	seal_end_rule_chain(batch, chain, spec->conf, b, ports.v4 || ports.v6);
}

void ruleset_replace_filters(struct nft_batch *batch, const struct ruleset_spec *spec)
{
	for (uint32_t rule = 1; rule <= spec->conf->n_breakers; rule++) {
		char chain[NFT_NAME_MAXLEN];

		if (!policy_is_filter(spec->conf, rule))
			continue;
		divert_clear_rule_chain(batch, chain_name_of_filter(spec->conf, rule, chain));
		if (is_sealed_filter(spec->conf, rule))
			divert_clear_rule_chain(batch, chain_name_of_seal(spec->conf, rule, chain));
		add_filter_chain(batch, spec, rule);
	}
}

static void add_rule_chains(struct nft_batch *batch, const struct ruleset_spec *spec, uint32_t id)
{
	static const uint32_t fixed[] = {BLOCKS_RULE_ORPHAN, FIREWALL_RULE_MANUAL};

	for (size_t i = 0; i < ARRAY_LEN(fixed); i++) {
		char chain[NFT_NAME_MAXLEN];
		const struct clients_place to = {.batch = batch,
		                                 .conf = spec->conf,
		                                 .chain = chain,
		                                 .add_sets = i == 0,
		                                 .id = &id};

		chain_name_of_rule(spec->conf, fixed[i], chain);
		refuse_begin_rule_chain(batch, chain, CONF_REFUSE_RESET, false);
		add_protected(&to);
		refuse_end_rule_chain(batch, chain, CONF_REFUSE_RESET);
	}
	for (uint32_t rule = 1; rule <= spec->conf->n_breakers; rule++) {
		add_breaker_chain(batch, spec, rule, true, &id);
		if (batch->family != NFPROTO_BRIDGE && policy_is_filter(spec->conf, rule))
			add_filter_chain(batch, spec, rule);
	}
}

/*
 * A set that grows element by element is rehashed again and again on the way, which costs a third
 * of all the rest. So those of many blocks have their size from the beginning. It is also a limit,
 * and what has expired counts until it is collected, within some seconds: half as many more.
 */
static uint32_t find_size(const struct conf *conf, sa_family_t family, struct block *const *blocks,
                          size_t count)
{
	size_t own = 0, most = conf->firewall.max_blocks;

	for (size_t i = 0; i < count; i++)
		own += blocks[i]->endpoint.family == family;
	if (own < SIZED_FROM)
		return 0;
	if (own > most)
		most = own;
	return (uint32_t)(most + most / 2);
}

static void add_block_sets(struct nft_batch *batch, const struct ruleset_spec *spec,
                           sa_family_t family, uint32_t size, uint32_t *id)
{
	set_add(batch, set_map_name(family), SET_BLOCKS, family, size, (*id)++);
	if (batch->family == NFPROTO_BRIDGE)
		return;
	set_add(batch, set_hits_name(family), SET_HITS, family, size, (*id)++);
	if (!conf_has_filter(spec->conf))
		return;
	set_add(batch, set_filter_name(family), SET_BLOCKS, family, size, (*id)++);
	set_add(batch, set_seal_name(family), SET_BLOCKS, family, size, (*id)++);
	set_add(batch, set_drain_name(family), SET_DRAIN, family, 0, (*id)++);
}

/* The stamp and the ledger are in the daemon's own table alone. */
static uint32_t add_sets(struct nft_batch *batch, const struct ruleset_spec *spec,
                         struct block *const *blocks, size_t count)
{
	const bool ledger = spec->peers && batch->family != NFPROTO_BRIDGE;
	uint32_t id = 1;

	if (ledger)
		set_add(batch, SET_STAMP_NAME, SET_STAMP, AF_UNSPEC, 0, id++);
	for (size_t i = 0; i < ARRAY_LEN(families); i++) {
		add_block_sets(batch, spec, families[i],
		               find_size(spec->conf, families[i], blocks, count), &id);
		if (!ledger)
			continue;
		set_add(batch, set_ledger_name(families[i]), SET_LEDGER, families[i], 0, id++);
		set_add(batch, set_peers_name(families[i]), SET_PEERS, families[i], 0, id++);
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

/*
 * The companion, for what a bridge forwards between its ports: without bridge-nf the tables of IP
 * never see it, and conntrack neither.
 */
static void add_bridge_table(struct nft_batch *batch, const struct ruleset_spec *spec,
                             struct block *const *blocks, size_t count, int64_t now_ms)
{
	uint32_t next_id;

	batch->family = NFPROTO_BRIDGE;
	add_table(batch, spec->persist);
	add_rules_own_chains(batch, spec->conf);
	add_chain(batch, "forward", NF_BR_FORWARD, PRIORITY_BRIDGE);
	next_id = add_sets(batch, spec, blocks, count);
	add_rule_chains(batch, spec, next_id);
	hooks_add_forward(batch, spec->conf);
	for (size_t i = 0; i < ARRAY_LEN(families); i++)
		set_put_blocks(batch, spec->conf, NFT_MSG_NEWSETELEM, families[i], blocks, count,
		               now_ms);
	batch->family = NFPROTO_INET;
}

void ruleset_add_table(struct nft_batch *batch, const struct ruleset_spec *spec,
                       struct block *const *blocks, size_t count, int64_t now_ms)
{
	const struct conf *conf = spec->conf;
	const bool filters = conf_has_filter(conf);
	const struct hooks_spec hooks = {.conf = conf,
	                                 .prober_uid = spec->prober_uid,
	                                 .filter_uid = filters ? spec->filter_uid : HOOKS_NO_PROBER,
	                                 .seal_local = is_any_sealed(conf),
	                                 .ledger = spec->peers != NULL};
	uint32_t next_id;

	add_table(batch, spec->persist);
	add_chains(batch, conf, &hooks);
	next_id = add_sets(batch, spec, blocks, count);
	refuse_add_chain(batch, CONF_REFUSE_RESET);
	refuse_add_chain(batch, CONF_REFUSE_DROP);
	add_rule_chains(batch, spec, next_id);
	/* The rules first: for each that looks a map up the kernel goes through its elements. */
	hooks_add_prerouting(batch, &hooks);
	hooks_add_output(batch, &hooks);
	if (filters)
		divert_add_chains(batch, &hooks);
	if (filters && hooks.seal_local)
		seal_add_chain(batch, &hooks);
	for (size_t i = 0; i < ARRAY_LEN(families); i++)
		set_put_blocks(batch, conf, NFT_MSG_NEWSETELEM, families[i], blocks, count, now_ms);
	if (hooks.ledger)
		add_ledger(batch, spec, now_ms);
	if (batch->bridge)
		add_bridge_table(batch, spec, blocks, count, now_ms);
}

void ruleset_add_rule(struct nft_batch *batch, const struct conf *conf, uint32_t rule)
{
	const struct ruleset_spec spec = {.conf = conf};
	char name[NFT_NAME_MAXLEN];
	uint32_t id = 1;

	add_chain(batch, chain_name_of_rule(conf, rule, name), -1, 0);
	add_breaker_chain(batch, &spec, rule, false, &id);
}

/*
 * Adding what is there already succeeds and does not extend its timeout; deleting what has expired
 * fails, and the transaction with it. Adding before deleting is right in both cases.
 */
static void take_out(struct nft_batch *batch, const struct conf *conf, const struct block *block,
                     int64_t now_ms)
{
	struct block present = *block;
	struct block *list[] = {&present};

	set_put_blocks(batch, conf, NFT_MSG_NEWSETELEM, block->endpoint.family, list, 1, now_ms);
	set_put_blocks(batch, conf, NFT_MSG_DELSETELEM, block->endpoint.family, list, 1, now_ms);
}

/* It is to be there until it is deleted, whatever is left of its time. */
static struct block outlive(const struct block *present, const struct block *next, int64_t now_ms)
{
	struct block before = *present;

	before.deadline_ms = next->deadline_ms;
	if (before.drain_until_ms > now_ms)
		before.drain_until_ms = next->deadline_ms;
	return before;
}

static void put_block(struct nft_batch *batch, const struct conf *conf, const struct block *block,
                      const struct block *present, int64_t now_ms)
{
	const struct block before = present ? outlive(present, block, now_ms) : *block;
	struct block next = *block;
	struct block *list[] = {&next};

	take_out(batch, conf, &before, now_ms);
	set_put_blocks(batch, conf, NFT_MSG_NEWSETELEM, block->endpoint.family, list, 1, now_ms);
}

void ruleset_put_block(struct nft_batch *batch, const struct conf *conf, const struct block *block,
                       const struct block *present, int64_t now_ms)
{
	put_block(batch, conf, block, present, now_ms);
	if (!batch->bridge)
		return;
	batch->family = NFPROTO_BRIDGE;
	put_block(batch, conf, block, present, now_ms);
	batch->family = NFPROTO_INET;
}

/* Those that are to be there until they are deleted, and those that come in their place. */
struct lists {
	struct block **gone, **next;
	size_t n_gone, n_next;
};

static void put_lists(struct nft_batch *batch, const struct conf *conf, const struct lists *l,
                      int64_t now_ms)
{
	for (size_t i = 0; i < ARRAY_LEN(families); i++) {
		set_put_blocks(batch, conf, NFT_MSG_NEWSETELEM, families[i], l->gone, l->n_gone,
		               now_ms);
		set_put_blocks(batch, conf, NFT_MSG_DELSETELEM, families[i], l->gone, l->n_gone,
		               now_ms);
		batch->exclusive = true;
		set_put_blocks(batch, conf, NFT_MSG_NEWSETELEM, families[i], l->next, l->n_next,
		               now_ms);
		batch->exclusive = false;
	}
}

void ruleset_put_blocks(struct nft_batch *batch, const struct conf *conf,
                        const struct ruleset_change *changes, size_t count, int64_t now_ms)
{
	auto_free struct block *before = calloc(count + 1, sizeof(*before));
	auto_free struct block **gone = calloc(count + 1, sizeof(struct block *));
	auto_free struct block **next = calloc(count + 1, sizeof(struct block *));
	struct lists l = {.gone = gone, .next = next};

	if (!before || !gone || !next) {
		batch->failed = true;
		return;
	}
	for (size_t i = 0; i < count; i++) {
		next[l.n_next++] = changes[i].next;
		if (!changes[i].present)
			continue;
		before[l.n_gone] = outlive(changes[i].present, changes[i].next, now_ms);
		gone[l.n_gone] = &before[l.n_gone];
		l.n_gone++;
	}
	put_lists(batch, conf, &l, now_ms);
	if (!batch->bridge)
		return;
	batch->family = NFPROTO_BRIDGE;
	put_lists(batch, conf, &l, now_ms);
	batch->family = NFPROTO_INET;
}

void ruleset_remove_block(struct nft_batch *batch, const struct conf *conf,
                          const struct block *block, int64_t now_ms)
{
	take_out(batch, conf, block, now_ms);
	if (!batch->bridge)
		return;
	batch->family = NFPROTO_BRIDGE;
	take_out(batch, conf, block, now_ms);
	batch->family = NFPROTO_INET;
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
