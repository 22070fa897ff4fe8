/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/filter/policy.h"

#include "daemon/filter/http_path.h"

#include <string.h>

/* Each is in the path of one profiling prefix or relative at least. */
static const char *const without_signatures[] = {"/debug", "/pprof"};

/* False: out of memory. */
static bool add(char **list, size_t *n, const char *prefix)
{
	size_t length = strlen(prefix);

	while (length > 0 && prefix[length - 1] == '/')
		length--;
	list[*n] = strndup(prefix, length);
	return list[*n] && ++*n;
}

static bool add_all(char ***list, size_t *n, const struct conf_strings *prefixes)
{
	*list = calloc(prefixes->count + 1, sizeof(**list));
	for (size_t i = 0; *list && i < prefixes->count; i++) {
		if (!add(*list, n, prefixes->items[i]))
			return false;
	}
	return *list != NULL;
}

static bool add_known(struct policy *p, const struct signatures *s)
{
	p->deny = calloc(s->prefixes.count + s->n_relatives + 1, sizeof(*p->deny));
	for (size_t i = 0; p->deny && i < s->prefixes.count; i++) {
		if (!add(p->deny, &p->n_deny, s->prefixes.items[i]))
			return false;
	}
	for (size_t i = 0; p->deny && i < s->n_relatives; i++) {
		if (!s->relatives[i].lookalike && !add(p->deny, &p->n_deny, s->relatives[i].path))
			return false;
	}
	return p->deny != NULL;
}

static bool add_fallback(struct policy *p)
{
	p->deny = calloc(ARRAY_LEN(without_signatures), sizeof(*p->deny));
	for (size_t i = 0; p->deny && i < ARRAY_LEN(without_signatures); i++) {
		if (!add(p->deny, &p->n_deny, without_signatures[i]))
			return false;
	}
	return p->deny != NULL;
}

struct policy *policy_new(const struct conf_breaker *rule, const struct signatures *signatures)
{
	auto_policy struct policy *p = calloc(1, sizeof(*p));
	bool known;

	if (!p || strlen(rule->name) >= sizeof(p->name))
		return NULL;
	memcpy(p->name, rule->name, strlen(rule->name));
	p->on_opaque = rule->filter.on_opaque;
	if (rule->filter.deny.count)
		known = add_all(&p->deny, &p->n_deny, &rule->filter.deny);
	else
		known = signatures ? add_known(p, signatures) : add_fallback(p);
	if (!known || !add_all(&p->allow, &p->n_allow, &rule->filter.allow))
		return NULL;
	return steal_ptr(&p);
}

void policy_free(struct policy *p)
{
	if (!p)
		return;
	for (size_t i = 0; i < p->n_deny; i++)
		free(p->deny[i]);
	for (size_t i = 0; i < p->n_allow; i++)
		free(p->allow[i]);
	free(p->deny);
	free(p->allow);
	free(p);
}

static bool is_denied(const struct policy *p, const char *path, size_t length)
{
	for (size_t i = 0; i < p->n_deny; i++) {
		if (http_path_has(path, length, p->deny[i]))
			return true;
	}
	return false;
}

static bool is_below(const char *path, size_t length, const char *prefix)
{
	size_t n = strlen(prefix);

	return length >= n && memcmp(path, prefix, n) == 0 && (length == n || path[n] == '/');
}

bool policy_allows(const struct policy *p, const char *path, size_t length)
{
	bool denied = is_denied(p, path, length);

	if (p->n_allow == 0)
		return !denied;
	for (size_t i = 0; i < p->n_allow; i++) {
		if (is_below(path, length, p->allow[i]) &&
		    (!denied || is_denied(p, p->allow[i], strlen(p->allow[i]))))
			return true;
	}
	return false;
}
