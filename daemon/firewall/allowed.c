/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/firewall/allowed.h"

#include "daemon/firewall/chain.h"

#include <errno.h>
#include <string.h>

struct allowed {
	size_t n_rules;
	struct conf_prefixes rules[]; /* of breaker n - 1 at n - 1 */
};

struct allowed *allowed_new(const struct conf *conf)
{
	struct allowed *allowed =
	    calloc(1, sizeof(*allowed) + conf->n_breakers * sizeof(allowed->rules[0]));

	if (allowed)
		allowed->n_rules = conf->n_breakers;
	return allowed;
}

void allowed_free(struct allowed *allowed)
{
	if (!allowed)
		return;
	for (size_t i = 0; i < allowed->n_rules; i++)
		free(allowed->rules[i].items);
	free(allowed);
}

struct conf_prefixes allowed_get(const struct allowed *allowed, uint32_t rule, sa_family_t family)
{
	struct conf_prefixes found = {0};
	const struct conf_prefixes *list;

	if (!rule || rule > allowed->n_rules)
		return found;
	list = &allowed->rules[rule - 1];
	/* Sorted: the families one after the other. */
	for (size_t i = 0; i < list->count; i++) {
		if (list->items[i].family != family)
			continue;
		if (!found.count)
			found.items = &list->items[i];
		found.count++;
	}
	return found;
}

int allowed_set(struct allowed *allowed, uint32_t rule, const struct prefix *items, size_t count)
{
	struct prefix *copy;

	if (!rule || rule > allowed->n_rules)
		return -EINVAL;
	copy = calloc(count + 1, sizeof(*copy));
	if (!copy)
		return -ENOMEM;
	if (count)
		memcpy(copy, items, count * sizeof(*copy));
	free(allowed->rules[rule - 1].items);
	allowed->rules[rule - 1] = (struct conf_prefixes){copy, prefix_simplify(copy, count)};
	return 0;
}

struct allowed *allowed_translate(const struct allowed *allowed, const struct conf *from,
                                  const struct conf *to)
{
	struct allowed *translated = allowed_new(to);

	for (uint32_t rule = 1; translated && rule <= allowed->n_rules; rule++) {
		const struct conf_prefixes *list = &allowed->rules[rule - 1];
		char chain[NFT_NAME_MAXLEN];
		uint32_t next = chain_rule_from_name(to, chain_name_of_rule(from, rule, chain));

		if (next > to->n_breakers || !to->breakers[next - 1].allow_dynamic)
			continue;
		if (allowed_set(translated, next, list->items, list->count)) {
			allowed_free(translated);
			return NULL;
		}
	}
	return translated;
}

size_t allowed_subtract(const struct conf_prefixes *a, const struct conf_prefixes *b,
                        struct prefix *out)
{
	size_t n = 0, k = 0;

	for (size_t i = 0; i < a->count; i++) {
		while (k < b->count && prefix_compare(&b->items[k], &a->items[i]) < 0)
			k++;
		if (k == b->count || prefix_compare(&b->items[k], &a->items[i]) != 0)
			out[n++] = a->items[i];
	}
	return n;
}
