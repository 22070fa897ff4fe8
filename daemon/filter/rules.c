/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/filter/rules.h"

#include <errno.h>
#include <string.h>

void rules_init(struct rules *r)
{
	TAILQ_INIT(&r->list);
}

static void drop(struct rules *r, struct filter_rule *rule)
{
	TAILQ_REMOVE(&r->list, rule, link);
	policy_free(rule->policy);
	free(rule);
}

static struct filter_rule *find_any(const struct rules *r, const char *name)
{
	struct filter_rule *rule;

	TAILQ_FOREACH (rule, &r->list, link) {
		if (strcmp(rule->policy->name, name) == 0)
			return rule;
	}
	return NULL;
}

struct filter_rule *rules_find(const struct rules *r, const char *name)
{
	struct filter_rule *rule = find_any(r, name);

	return rule && rule->in_force ? rule : NULL;
}

int rules_commit(struct rules *r, struct policy **policies, size_t n)
{
	struct filter_rule **fresh = calloc(n + 1, sizeof(struct filter_rule *)), *rule, *next;
	bool complete = fresh != NULL;

	for (size_t i = 0; complete && i < n; i++) {
		if (!find_any(r, policies[i]->name))
			complete = (fresh[i] = calloc(1, sizeof(*fresh[i]))) != NULL;
	}
	for (size_t i = 0; fresh && !complete && i < n; i++)
		free(fresh[i]);
	if (!complete) {
		free(fresh);
		return -ENOMEM;
	}
	TAILQ_FOREACH (rule, &r->list, link)
		rule->in_force = false;
	for (size_t i = 0; i < n; i++) {
		rule = fresh[i] ? fresh[i] : find_any(r, policies[i]->name);
		if (fresh[i])
			TAILQ_INSERT_TAIL(&r->list, rule, link);
		policy_free(rule->policy);
		rule->policy = steal_ptr(&policies[i]);
		rule->in_force = true;
	}
	free(fresh);
	for (rule = TAILQ_FIRST(&r->list); rule; rule = next) {
		next = TAILQ_NEXT(rule, link);
		if (!rule->in_force && rule->users == 0)
			drop(r, rule);
	}
	return 0;
}

void rules_fini(struct rules *r)
{
	while (!TAILQ_EMPTY(&r->list))
		drop(r, TAILQ_FIRST(&r->list));
}
