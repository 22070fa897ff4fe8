/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/firewall/chain.h"
#include "daemon/firewall/dump.h"
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
};

/* We make no elements that never expire. */
static int64_t find_deadline(const struct adoption *a, const struct dump_element *e)
{
	uint64_t left_ms = e->expires_ms;

	if (left_ms > FIREWALL_TIMEOUT_MAX_MS)
		left_ms = FIREWALL_TIMEOUT_MAX_MS;
	return a->now_ms + (int64_t)left_ms;
}

/* No block that the policy would not let us make. */
static int adopt_block(const struct dump_element *e, void *closure)
{
	const struct adoption *a = closure;
	struct block block = {.endpoint = e->endpoint,
	                      .rule = chain_rule_from_name(a->conf, e->chain)};

	if (!e->is_tcp || !e->expires_ms ||
	    policy_check_endpoint(a->conf, &e->endpoint, block.rule))
		return 0;
	block.deadline_ms = find_deadline(a, e);
	return blocks_put(a->shadow->blocks, &block);
}

static int adopt_ledger(const struct dump_element *e, void *closure)
{
	const struct adoption *a = closure;
	struct block endpoint = {.endpoint = e->endpoint};

	if (!e->is_tcp || !e->expires_ms || policy_check_ledger(&e->endpoint) ||
	    blocks_count(a->shadow->ledger) == FIREWALL_LEDGER_MAX)
		return 0;
	endpoint.deadline_ms = find_deadline(a, e);
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
			                        ruleset_list_name(RULESET_DYNAMIC,
			                                          a->conf->breakers[rule - 1].name,
			                                          families[i], bits, name),
			                        families[i], bits, list, &count);

			if (err && err != -ENOENT)
				return err;
		}
	}
	return allowed_set(a->shadow->allowed, rule, list, count);
}

int table_adopt(struct table *t, const struct conf *conf, struct shadow *shadow, int64_t now_ms)
{
	struct adoption a = {shadow, conf, now_ms};
	int exists = nft_table_exists(&t->nft);
	int err = 0;

	if (exists <= 0)
		return exists;
	for (size_t i = 0; i < ARRAY_LEN(families); i++) {
		err = dump_endpoints(&t->nft, set_map_name(families[i]), adopt_block, &a);
		if (err && err != -ENOENT) /* a table of ours without the map: not of our make */
			return err;
		err = dump_endpoints(&t->nft, set_ledger_name(families[i]), adopt_ledger, &a);
		if (err && err != -ENOENT)
			return err;
	}
	err = 0;
	for (uint32_t rule = 1; !err && rule <= conf->n_breakers; rule++)
		if (conf->breakers[rule - 1].allow_dynamic)
			err = adopt_allowed(t, &a, rule);
	return err;
}
