/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "common/cleanup.h"
#include "daemon/firewall/chain.h"
#include "daemon/firewall/clients.h"
#include "daemon/firewall/policy.h"
#include "daemon/firewall/ruleset.h"
#include "daemon/firewall/set.h"
#include "daemon/firewall/table.h"

#include <errno.h>
#include <string.h>

static const sa_family_t families[] = {AF_INET, AF_INET6};

struct adoption {
	struct shadow *shadow;
	const struct conf *conf;
	int64_t now_ms;
	bool whole; /* all that is there is taken */
};

/* We make no elements that never expire, or are longer than that. */
static bool is_deadline_ours(const struct dump_element *e)
{
	return e->expires_ms && e->expires_ms <= FIREWALL_TIMEOUT_MAX_MS;
}

static int64_t find_deadline(const struct dump_element *e, int64_t now_ms)
{
	uint64_t left_ms = e->expires_ms;

	if (left_ms > FIREWALL_TIMEOUT_MAX_MS)
		left_ms = FIREWALL_TIMEOUT_MAX_MS;
	return now_ms + (int64_t)left_ms;
}

/* No block that the policy would not let us make. */
int table_adopt_block(const struct conf *conf, struct blocks *blocks, const struct dump_element *e,
                      int64_t now_ms, bool *taken)
{
	struct block block = {.endpoint = e->endpoint,
	                      .rule = chain_rule_from_name(conf, e->chain)};

	*taken = false;
	/* Whose rule is gone is let go: nobody ever asked that it be refused. */
	if (chain_is_filter(e->chain) && block.rule == BLOCKS_RULE_ORPHAN)
		return 0;
	block.fallback = !chain_is_filter(e->chain) && policy_may_fall_back(conf, block.rule);
	if (!e->is_tcp || !e->expires_ms || policy_check_endpoint(conf, &e->endpoint, block.rule))
		return 0;
	*taken = is_deadline_ours(e);
	block.deadline_ms = find_deadline(e, now_ms);
	return blocks_put(blocks, &block);
}

static int adopt_block(const struct dump_element *e, void *closure)
{
	struct adoption *a = closure;
	bool taken;
	int err = table_adopt_block(a->conf, a->shadow->blocks, e, a->now_ms, &taken);

	a->whole &= taken;
	return err;
}

static int adopt_ledger(const struct dump_element *e, void *closure)
{
	struct adoption *a = closure;
	struct block endpoint = {.endpoint = e->endpoint};

	a->whole &= is_deadline_ours(e);
	if (!e->is_tcp || !e->expires_ms || policy_check_ledger(&e->endpoint) ||
	    blocks_count(a->shadow->ledger) == FIREWALL_LEDGER_MAX) {
		a->whole = false;
		return 0;
	}
	endpoint.deadline_ms = find_deadline(e, a->now_ms);
	return blocks_put(a->shadow->ledger, &endpoint);
}

/* Whom the rule let through, until the agent says it anew. */
static int adopt_allowed(struct table *t, const struct adoption *a, uint32_t rule)
{
	auto_free struct prefix *list = calloc(FIREWALL_ALLOW_MAX, sizeof(*list));
	size_t count = 0;

	if (!list)
		return -ENOMEM;
	for (size_t i = 0; i < ARRAY_LEN(families); i++) {
		const unsigned most = families[i] == AF_INET ? 32 : 128;

		for (unsigned bits = 0; bits <= most; bits++) {
			char name[NFT_NAME_MAXLEN];
			int err = dump_prefixes(&t->nft,
			                        clients_list_name(CLIENTS_DYNAMIC,
			                                          a->conf->breakers[rule - 1].name,
			                                          families[i], bits, name),
			                        families[i], bits, list, &count);

			if (err && err != -ENOENT)
				return err;
		}
	}
	return allowed_set(a->shadow->allowed, rule, list, count);
}

static int adopt_drain(const struct dump_element *e, void *closure)
{
	const struct adoption *a = closure;
	struct block *block = blocks_find(a->shadow->blocks, &e->endpoint);

	if (block && e->is_tcp && e->expires_ms)
		block->drain_until_ms = find_deadline(e, a->now_ms);
	return 0;
}

/* Of both families; a table of ours without the set is not of our make. */
static int adopt_set(struct table *t, struct adoption *a, const char *(*name)(sa_family_t),
                     int (*see)(const struct dump_element *, void *))
{
	int err = 0;

	for (size_t i = 0; !err && i < ARRAY_LEN(families); i++) {
		err = dump_endpoints(&t->nft, name(families[i]), see, a);
		if (err == -ENOENT)
			err = 0;
	}
	return err;
}

/* All but what is refused: it is not much. */
static int adopt_lists(struct table *t, struct adoption *a)
{
	int err = adopt_set(t, a, set_ledger_name, adopt_ledger);

	if (!err)
		err = adopt_set(t, a, set_filter_name, adopt_block);
	if (!err)
		err = adopt_set(t, a, set_drain_name, adopt_drain);
	for (uint32_t rule = 1; !err && rule <= a->conf->n_breakers; rule++)
		if (a->conf->breakers[rule - 1].allow_dynamic)
			err = adopt_allowed(t, a, rule);
	return err;
}

/* Blocks that are in force already, read part by part. */
struct reading {
	struct nft nft; /* its own, so that the table can be deleted in the midst of an answer */
	size_t family;  /* index of families[] */
	uint32_t seq;
	bool whole; /* as that of struct adoption */
};

static int begin_reading(struct table *t)
{
	auto_free struct reading *r = calloc(1, sizeof(*r));
	int err = r ? nft_open(&r->nft) : -ENOMEM;

	if (err)
		return err;
	r->nft.owned = t->nft.owned;
	r->whole = true;
	err = dump_begin(&r->nft, set_map_name(families[0]), &r->seq);
	if (err)
		nft_close(&r->nft);
	else
		t->reading = steal_ptr(&r);
	return err;
}

void table_stop_reading(struct table *t)
{
	if (!t->reading)
		return;
	nft_close(&t->reading->nft);
	free(t->reading);
	t->reading = NULL;
}

int table_read_on(struct table *t, const struct conf *conf, struct shadow *shadow, int64_t now_ms)
{
	struct adoption a = {.shadow = shadow, .conf = conf, .now_ms = now_ms, .whole = true};
	struct reading *r = t->reading;
	bool whole;
	int more;

	if (!r)
		return 0;
	more = dump_next(&r->nft, r->seq, adopt_block, &a);
	r->whole &= a.whole;
	if (more)
		return more;
	if (++r->family < ARRAY_LEN(families)) {
		int err = dump_begin(&r->nft, set_map_name(families[r->family]), &r->seq);

		return err ? err : 1;
	}
	whole = r->whole;
	table_stop_reading(t);
	return whole ? 0 : table_install(t, conf, shadow, now_ms);
}

/*
 * Makes the table that is there our own by a transaction that the kernel takes only if nobody has
 * changed any rule since an earlier helper's last change, and if that one's rules are ours, too.
 */
static int claim(struct table *t, const struct conf *conf)
{
	const struct ledger_peers none = {0};
	const struct ruleset_spec spec = {.conf = conf,
	                                  .prober_uid = t->prober_uid,
	                                  .filter_uid = t->filter_uid,
	                                  .persist = t->persist,
	                                  .peers = &none};
	const bool bridge = nft_bridge_table_exists(&t->nft) > 0;
	auto_batch struct nft_batch batch = {0};
	struct stamp found;
	int err = nft_get_generation(&t->nft, &t->generation);

	if (!err)
		err = stamp_read(&t->nft, &found);
	if (!err)
		err = stamp_take_fingerprint(&spec, bridge, t->fingerprint);
	if (err)
		return err;
	if (found.generation != t->generation ||
	    memcmp(found.fingerprint, t->fingerprint, sizeof(found.fingerprint)) != 0)
		return -ESTALE;
	t->nft.bridge = bridge;
	t->nft.expected_generation = t->generation;
	nft_batch_init(&t->nft, &batch);
	t->nft.expected_generation = 0;
	if (t->persist)
		ruleset_own_table(&batch);
	table_stamp(t, &batch);
	return nft_batch_commit(&t->nft, &batch);
}

int table_take_over(struct table *t, const struct conf *conf, struct shadow *shadow, int64_t now_ms)
{
	struct adoption a = {.shadow = shadow, .conf = conf, .now_ms = now_ms, .whole = true};
	const bool claimed = claim(t, conf) == 0;
	const int exists = nft_table_exists(&t->nft);
	int err = exists < 0 ? exists : 0;

	t->nft.owned = claimed && t->persist;
	if (exists > 0)
		err = adopt_lists(t, &a);
	if (!err && a.whole && t->nft.owned && !begin_reading(t)) {
		t->installed = t->known = true;
		return 0;
	}
	if (!err && exists > 0)
		err = adopt_set(t, &a, set_map_name, adopt_block);
	if (err)
		return err;
	if (!claimed || !a.whole)
		return table_install(t, conf, shadow, now_ms);
	t->installed = t->known = true;
	return table_watch(t, conf, shadow, now_ms);
}
