/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/agent/rules.h"

#include <errno.h>

static const char severity_key[] = "severity";

struct rules {
	const struct conf *conf;
	size_t count; /* of the breakers, while the configuration may be gone */
	struct match items[];
};

int rules_new(const struct conf *conf, struct rules **out, char error[static CONF_ERROR_LEN])
{
	struct rules *rules =
	    calloc(1, sizeof(*rules) + conf->n_breakers * sizeof(rules->items[0]));
	int err = 0;

	if (!rules)
		return -ENOMEM;
	rules->conf = conf;
	rules->count = conf->n_breakers;
	for (size_t i = 0; i < conf->n_breakers && !err; i++)
		err = match_init(&rules->items[i], &conf->breakers[i].match, conf->breakers[i].name,
		                 error);
	if (err)
		rules_free(rules);
	else
		*out = rules;
	return err;
}

void rules_free(struct rules *rules)
{
	if (!rules)
		return;
	for (size_t i = 0; i < rules->count; i++)
		match_fini(&rules->items[i]);
	free(rules);
}

const char *rules_why_not(const struct rules *rules, size_t i, const struct match_facts *facts)
{
	const char *why = i < rules->count ? match_why_not(&rules->items[i], facts) : NULL;

	/* A standing filter does not wait for findings. */
	if (!why && i < rules->count && facts->finding && !rules->conf->breakers[i].standing &&
	    !finding_is_exposed(facts->finding, rules->conf->breakers[i].severity))
		why = severity_key;
	return why;
}

bool rules_fits_owner(const struct rules *rules, size_t i, const struct match_facts *facts)
{
	struct match_facts without = *facts;

	without.finding = NULL;
	return !rules_why_not(rules, i, &without);
}

unsigned rules_find_standing(const struct rules *rules, const struct match_facts *facts)
{
	unsigned n = (unsigned)rules->conf->n_filters;

	for (unsigned i = 0; i < n; i++) {
		if (!rules_why_not(rules, i, facts))
			return i;
	}
	return (unsigned)rules->count;
}

unsigned rules_choose(const struct rules *rules, const struct match_facts *facts)
{
	unsigned n = (unsigned)rules->count, best = n;

	for (unsigned i = 0; i < n; i++) {
		const char *why = rules_why_not(rules, i, facts);

		if (!why)
			return i;
		if (why == severity_key && best == n)
			best = i;
	}
	return best;
}
