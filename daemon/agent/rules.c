/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/agent/rules.h"

#include "scanner/target.h"

#include <errno.h>
#include <fnmatch.h>
#include <pwd.h>
#include <string.h>

static const char severity_key[] = "severity";

struct rule {
	uint16_t *ports; /* sorted */
	size_t n_ports;
	uint32_t *uids;
	size_t n_uids;
};

struct rules {
	const struct conf *conf;
	size_t count; /* of the breakers, while the configuration may be gone */
	struct rule items[];
};

static int compare_ports(const void *a, const void *b)
{
	const uint16_t *left = a, *right = b;

	return (int)*left - (int)*right;
}

static int compile_ports(const struct conf_strings *list, struct rule *rule)
{
	for (size_t i = 0; i < list->count; i++) {
		char why[TARGET_ERROR_LEN];
		struct port_list ports;
		uint16_t *grown;
		int err = port_list_parse(list->items[i], &ports, why);

		if (err)
			return err;
		grown = reallocarray(rule->ports, rule->n_ports + ports.count, sizeof(*grown));
		if (grown) {
			memcpy(grown + rule->n_ports, ports.ports, ports.count * sizeof(*grown));
			rule->ports = grown;
			rule->n_ports += ports.count;
		}
		port_list_free(&ports);
		if (!grown)
			return -ENOMEM;
	}
	if (rule->n_ports)
		qsort(rule->ports, rule->n_ports, sizeof(*rule->ports), compare_ports);
	return 0;
}

static bool find_user(const char *name, uint32_t *uid)
{
	auto_fclose FILE *file = fopen("/etc/passwd", "re");
	char buffer[4096];
	struct passwd entry = {0}, *user = NULL;
	uint64_t number;

	if (conf_parse_number(name, UINT32_MAX, &number) == 0) {
		*uid = (uint32_t)number;
		return true;
	}
	while (file && fgetpwent_r(file, &entry, buffer, sizeof(buffer), &user) == 0) {
		if (strcmp(user->pw_name, name) == 0) {
			*uid = user->pw_uid;
			return true;
		}
	}
	return false;
}

static int compile_users(const struct conf_strings *list, const char *rule_name, struct rule *rule,
                         char error[static CONF_ERROR_LEN])
{
	if (list->count == 0)
		return 0;
	rule->uids = calloc(list->count, sizeof(*rule->uids));
	if (!rule->uids)
		return -ENOMEM;
	for (size_t i = 0; i < list->count; i++) {
		if (!find_user(list->items[i], &rule->uids[i])) {
			snprintf(error, CONF_ERROR_LEN,
			         "%u:%u: breakers[].match.user: breaker %s: no user \"%s\" in "
			         "/etc/passwd; expected a name there, or a number",
			         list->marks[i].line, list->marks[i].column, rule_name,
			         list->items[i]);
			return -EINVAL;
		}
		rule->n_uids++;
	}
	return 0;
}

int rules_new(const struct conf *conf, struct rules **out, char error[static CONF_ERROR_LEN])
{
	struct rules *rules =
	    calloc(1, sizeof(*rules) + conf->n_breakers * sizeof(rules->items[0]));
	int err = 0;

	if (!rules)
		return -ENOMEM;
	rules->conf = conf;
	rules->count = conf->n_breakers;
	for (size_t i = 0; i < conf->n_breakers && !err; i++) {
		const struct conf_breaker *breaker = &conf->breakers[i];

		err = compile_ports(&breaker->match.ports, &rules->items[i]);
		if (!err)
			err = compile_users(&breaker->match.user, breaker->name, &rules->items[i],
			                    error);
	}
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
	for (size_t i = 0; i < rules->count; i++) {
		free(rules->items[i].ports);
		free(rules->items[i].uids);
	}
	free(rules);
}

static bool fits_port(const struct rule *rule, uint16_t port)
{
	return rule->n_ports == 0 ||
	       bsearch(&port, rule->ports, rule->n_ports, sizeof(port), compare_ports);
}

static bool fits_address(const struct conf_prefixes *list, const struct endpoint *e)
{
	for (size_t i = 0; i < list->count; i++) {
		if (prefix_contains(&list->items[i], e))
			return true;
	}
	return list->count == 0;
}

/* Where /proc/PID/exe points to after an upgrade. */
static size_t length_of_path(const char *path)
{
	static const char deleted[] = " (deleted)";
	size_t n = strlen(path), extra = sizeof(deleted) - 1;

	return n > extra && strcmp(path + n - extra, deleted) == 0 ? n - extra : n;
}

static bool fits_process(const struct conf_strings *list, const struct owner *owner)
{
	char path[4096];
	const char *name;

	if (list->count == 0)
		return true;
	if (!owner)
		return false;
	snprintf(path, sizeof(path), "%.*s", (int)length_of_path(owner->executable),
	         owner->executable);
	name = strrchr(path, '/');
	name = name ? name + 1 : path;
	for (size_t i = 0; i < list->count; i++) {
		const char *glob = list->items[i];

		if (strchr(glob, '/')
		        ? fnmatch(glob, path, 0) == 0
		        : (*owner->command && fnmatch(glob, owner->command, 0) == 0) ||
		              (*name && fnmatch(glob, name, 0) == 0))
			return true;
	}
	return false;
}

static bool fits_unit(const struct conf_strings *list, const struct owner *owner)
{
	for (size_t i = 0; owner && *owner->unit && i < list->count; i++) {
		if (fnmatch(list->items[i], owner->unit, 0) == 0)
			return true;
	}
	return list->count == 0;
}

static bool fits_container(const struct conf_strings *list, const struct owner *owner)
{
	for (size_t i = 0; owner && i < list->count; i++) {
		const char *wanted = list->items[i];

		if (strcmp(wanted, "none") == 0 ? !*owner->container
		    : strcmp(wanted, "any") == 0
		        ? *owner->container != '\0'
		        : strncmp(owner->container, wanted, strlen(wanted)) == 0)
			return true;
	}
	return list->count == 0;
}

static bool fits_user(const struct rule *rule, const struct owner *owner)
{
	for (size_t i = 0; owner && i < rule->n_uids; i++) {
		if (rule->uids[i] == owner->uid)
			return true;
	}
	return rule->n_uids == 0;
}

static bool fits_loopback(enum conf_loopback wanted, bool loopback_only)
{
	return wanted == CONF_LOOPBACK_ANY || (wanted == CONF_LOOPBACK_ONLY) == loopback_only;
}

static bool fits_verdict(const struct conf_strings *list, const struct finding *f)
{
	for (size_t i = 0; f && i < list->count; i++) {
		if (strcmp(list->items[i], finding_verdict_name(f->verdict)) == 0)
			return true;
	}
	return list->count == 0 || !f;
}

static const char *why_not_owner(const struct rules *rules, size_t i,
                                 const struct rule_facts *facts)
{
	const struct conf_match *m = &rules->conf->breakers[i].match;

	if (i >= rules->count)
		return NULL;
	if (!fits_port(&rules->items[i], facts->endpoint->port))
		return "match.ports";
	if (!fits_address(&m->addresses, facts->endpoint))
		return "match.addresses";
	if (!fits_process(&m->process, facts->owner))
		return "match.process";
	if (!fits_unit(&m->unit, facts->owner))
		return "match.unit";
	if (!fits_container(&m->container, facts->owner))
		return "match.container";
	if (!fits_user(&rules->items[i], facts->owner))
		return "match.user";
	return fits_loopback(m->loopback, facts->loopback_only) ? NULL : "match.loopback";
}

const char *rules_why_not(const struct rules *rules, size_t i, const struct rule_facts *facts)
{
	const struct conf_breaker *breaker = &rules->conf->breakers[i];
	const char *why = why_not_owner(rules, i, facts);

	if (why || i >= rules->count)
		return why;
	if (!fits_verdict(&breaker->match.verdict, facts->finding))
		return "match.verdict";
	if (facts->finding && !finding_is_exposed(facts->finding, breaker->severity))
		return severity_key;
	return NULL;
}

bool rules_fits_owner(const struct rules *rules, size_t i, const struct rule_facts *facts)
{
	return !why_not_owner(rules, i, facts);
}

unsigned rules_choose(const struct rules *rules, const struct rule_facts *facts)
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
