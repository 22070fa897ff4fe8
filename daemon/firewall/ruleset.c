/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/firewall/ruleset.h"

#include "common/cleanup.h"
#include "daemon/firewall/chain.h"
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

/*
 * Lists of clients. A set of intervals would hold any prefixes, but of a whole new table the kernel
 * makes the elements of such sets visible a moment after everything else, and in that moment those
 * who are let through are refused. Sets of single keys, one for each length of prefixes, take part
 * in the transaction like the rest.
 */

static bool has_length(const struct conf_prefixes *list, sa_family_t family, unsigned bits)
{
	for (size_t i = 0; i < list->count; i++)
		if (list->items[i].family == family && list->items[i].bits == bits)
			return true;
	return false;
}

static void add_list_of(struct nft_batch *batch, const char *chain, const char *list_name,
                        const char *of, sa_family_t family, const struct conf_prefixes *list,
                        bool add_sets, uint32_t *id)
{
	for (unsigned bits = family == AF_INET ? 32 : 128; bits <= 128; bits--) {
		char name[NFT_NAME_MAXLEN];

		if (!has_length(list, family, bits))
			continue;
		ruleset_list_name(list_name, of, family, bits, name);
		if (add_sets) {
			set_add(batch, name, SET_ADDRESSES, family, (*id)++);
			set_put_prefixes(batch, NFT_MSG_NEWSETELEM, name, bits, list->items,
			                 list->count);
		}
		refuse_let_through(batch, chain, family, bits, name);
	}
}

/* `list` may be of both families, in any order. */
static void add_list(struct nft_batch *batch, const char *chain, const char *list_name,
                     const char *of, const struct conf_prefixes *list, bool add_sets, uint32_t *id)
{
	for (size_t i = 0; i < ARRAY_LEN(families); i++) {
		auto_free struct prefix *own = calloc(list->count + 1, sizeof(*own));
		struct conf_prefixes simple = {own, 0};

		if (!own) {
			batch->failed = true;
			return;
		}
		for (size_t k = 0; k < list->count; k++)
			if (list->items[k].family == families[i])
				own[simple.count++] = list->items[k];
		simple.count = prefix_simplify(own, simple.count);
		add_list_of(batch, chain, list_name, of, families[i], &simple, add_sets, id);
	}
}

const char *ruleset_list_name(const char *list, const char *of, sa_family_t family, unsigned bits,
                              char text[static NFT_NAME_MAXLEN])
{
	snprintf(text, NFT_NAME_MAXLEN, "%s%c_%u%s%s", list, family == AF_INET ? '4' : '6', bits,
	         *of ? "_" : "", of);
	return text;
}

/* The sets of protected sources are added by the first rule's chain. */
static void add_protected(struct nft_batch *batch, const struct conf *conf, const char *chain,
                          bool add_sets, uint32_t *id)
{
	add_list(batch, chain, "protect", "", &conf->protect.sources, add_sets, id);
}

/* Whom a breaker lets through, and with add_sets the sets of them. */
static void add_allowed(struct nft_batch *batch, const struct ruleset_spec *spec, uint32_t rule,
                        const char *chain, bool add_sets, uint32_t *id)
{
	const struct conf_breaker *b = &spec->conf->breakers[rule - 1];

	add_list(batch, chain, "allow", b->name, &b->allow_from, add_sets, id);
	for (size_t i = 0; spec->allowed && i < ARRAY_LEN(families); i++) {
		const struct conf_prefixes said = allowed_get(spec->allowed, rule, families[i]);

		add_list(batch, chain, RULESET_DYNAMIC, b->name, &said, add_sets, id);
	}
}

/* The chain of a breaker, with the sets of whom it lets through. */
static void add_breaker_chain(struct nft_batch *batch, const struct ruleset_spec *spec,
                              uint32_t rule, bool protect, uint32_t *id)
{
	const struct conf_breaker *b = &spec->conf->breakers[rule - 1];
	char chain[NFT_NAME_MAXLEN];

	chain_name_of_rule(spec->conf, rule, chain);
	refuse_begin_rule_chain(batch, chain, b->refuse, b->seal_local);
	if (protect)
		add_protected(batch, spec->conf, chain, false, id);
	add_allowed(batch, spec, rule, chain, true, id);
	refuse_end_rule_chain(batch, chain, b->refuse);
}

/* And the one for the host's own clients. Their sets are there already. */
static void add_filter_chain(struct nft_batch *batch, const struct ruleset_spec *spec,
                             uint32_t rule)
{
	const struct conf_breaker *b = &spec->conf->breakers[rule - 1];
	const struct listener_ports ports = listeners_find(spec->listeners, b->name);
	char chain[NFT_NAME_MAXLEN];

	chain_name_of_filter(spec->conf, rule, chain);
	divert_begin_rule_chain(batch, chain, b->seal_local);
	add_protected(batch, spec->conf, chain, false, NULL);
	add_allowed(batch, spec, rule, chain, false, NULL);
	divert_end_rule_chain(batch, chain, spec->conf, b, ports);
	if (!b->seal_local)
		return;
	chain_name_of_seal(spec->conf, rule, chain);
	seal_begin_rule_chain(batch, chain);
	add_protected(batch, spec->conf, chain, false, NULL);
	add_allowed(batch, spec, rule, chain, false, NULL);
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

		chain_name_of_rule(spec->conf, fixed[i], chain);
		refuse_begin_rule_chain(batch, chain, CONF_REFUSE_RESET, false);
		add_protected(batch, spec->conf, chain, i == 0, &id);
		refuse_end_rule_chain(batch, chain, CONF_REFUSE_RESET);
	}
	for (uint32_t rule = 1; rule <= spec->conf->n_breakers; rule++) {
		add_breaker_chain(batch, spec, rule, true, &id);
		if (batch->family != NFPROTO_BRIDGE && policy_is_filter(spec->conf, rule))
			add_filter_chain(batch, spec, rule);
	}
}

/* The stamp and the ledger are in the daemon's own table alone. */
static uint32_t add_sets(struct nft_batch *batch, bool ledger, bool filters)
{
	uint32_t id = 1;

	if (ledger)
		set_add(batch, SET_STAMP_NAME, SET_STAMP, AF_UNSPEC, id++);
	for (size_t i = 0; i < ARRAY_LEN(families); i++) {
		set_add(batch, set_map_name(families[i]), SET_BLOCKS, families[i], id++);
		set_add(batch, set_hits_name(families[i]), SET_HITS, families[i], id++);
		if (filters) {
			set_add(batch, set_filter_name(families[i]), SET_BLOCKS, families[i], id++);
			set_add(batch, set_seal_name(families[i]), SET_BLOCKS, families[i], id++);
			set_add(batch, set_drain_name(families[i]), SET_DRAIN, families[i], id++);
		}
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
	next_id = add_sets(batch, false, false);
	add_rule_chains(batch, spec, next_id);
	hooks_add_forward(batch);
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
	next_id = add_sets(batch, hooks.ledger, filters);
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

bool ruleset_has_sets_for(sa_family_t family, const struct conf_prefixes *from,
                          const struct conf_prefixes *to)
{
	for (unsigned bits = 0; bits <= 128; bits++)
		if (has_length(from, family, bits) != has_length(to, family, bits))
			return false;
	return true;
}

void ruleset_change_allowed(struct nft_batch *batch, const struct conf *conf, uint32_t rule,
                            sa_family_t family, const struct conf_prefixes *from,
                            const struct conf_prefixes *to)
{
	auto_free struct prefix *gone = calloc(from->count + 1, sizeof(*gone));
	auto_free struct prefix *added = calloc(to->count + 1, sizeof(*added));
	size_t n_gone, n_added;

	if (!gone || !added) {
		batch->failed = true;
		return;
	}
	n_gone = allowed_subtract(from, to, gone);
	n_added = allowed_subtract(to, from, added);
	for (unsigned bits = 0; bits <= 128; bits++) {
		char name[NFT_NAME_MAXLEN];

		ruleset_list_name(RULESET_DYNAMIC, conf->breakers[rule - 1].name, family, bits,
		                  name);
		set_put_prefixes(batch, NFT_MSG_DELSETELEM, name, bits, gone, n_gone);
		set_put_prefixes(batch, NFT_MSG_NEWSETELEM, name, bits, added, n_added);
		if (!batch->bridge)
			continue;
		batch->family = NFPROTO_BRIDGE;
		set_put_prefixes(batch, NFT_MSG_DELSETELEM, name, bits, gone, n_gone);
		set_put_prefixes(batch, NFT_MSG_NEWSETELEM, name, bits, added, n_added);
		batch->family = NFPROTO_INET;
	}
}
