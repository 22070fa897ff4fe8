/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/agent/match.h"

#include "scanner/target.h"

#include <errno.h>
#include <fnmatch.h>
#include <pwd.h>
#include <string.h>

static int compare_ports(const void *a, const void *b)
{
	const uint16_t *left = a, *right = b;

	return (int)*left - (int)*right;
}

static int compile_ports(const struct conf_strings *list, struct match *m)
{
	for (size_t i = 0; i < list->count; i++) {
		char why[TARGET_ERROR_LEN];
		struct port_list ports;
		uint16_t *grown;
		int err = port_list_parse(list->items[i], &ports, why);

		if (err)
			return err;
		grown = reallocarray(m->ports, m->n_ports + ports.count, sizeof(*grown));
		if (grown) {
			memcpy(grown + m->n_ports, ports.ports, ports.count * sizeof(*grown));
			m->ports = grown;
			m->n_ports += ports.count;
		}
		port_list_free(&ports);
		if (!grown)
			return -ENOMEM;
	}
	if (m->n_ports)
		qsort(m->ports, m->n_ports, sizeof(*m->ports), compare_ports);
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

static int compile_users(const struct conf_strings *list, const char *breaker, struct match *m,
                         char error[static CONF_ERROR_LEN])
{
	if (list->count == 0)
		return 0;
	m->uids = calloc(list->count, sizeof(*m->uids));
	if (!m->uids)
		return -ENOMEM;
	for (size_t i = 0; i < list->count; i++) {
		if (!find_user(list->items[i], &m->uids[i])) {
			snprintf(error, CONF_ERROR_LEN,
			         "%u:%u: breakers[].match.user: breaker %s: no user \"%s\" in "
			         "/etc/passwd; expected a name there, or a number",
			         list->marks[i].line, list->marks[i].column, breaker,
			         list->items[i]);
			return -EINVAL;
		}
		m->n_uids++;
	}
	return 0;
}

int match_init(struct match *m, const struct conf_match *conf, const char *breaker,
               char error[static CONF_ERROR_LEN])
{
	int err;

	*m = (struct match){.conf = conf};
	err = compile_ports(&conf->ports, m);
	return err ? err : compile_users(&conf->user, breaker, m, error);
}

void match_fini(struct match *m)
{
	free(m->ports);
	free(m->uids);
}

static bool fits_port(const struct match *m, uint16_t port)
{
	return m->n_ports == 0 || bsearch(&port, m->ports, m->n_ports, sizeof(port), compare_ports);
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

static bool fits_user(const struct match *m, const struct owner *owner)
{
	for (size_t i = 0; owner && i < m->n_uids; i++) {
		if (m->uids[i] == owner->uid)
			return true;
	}
	return m->n_uids == 0;
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

const char *match_why_not(const struct match *m, const struct match_facts *facts)
{
	if (!fits_port(m, facts->endpoint->port))
		return "match.ports";
	if (!fits_address(&m->conf->addresses, facts->endpoint))
		return "match.addresses";
	if (!fits_process(&m->conf->process, facts->owner))
		return "match.process";
	if (!fits_unit(&m->conf->unit, facts->owner))
		return "match.unit";
	if (!fits_container(&m->conf->container, facts->owner))
		return "match.container";
	if (!fits_user(m, facts->owner))
		return "match.user";
	if (!fits_loopback(m->conf->loopback, facts->loopback_only))
		return "match.loopback";
	return fits_verdict(&m->conf->verdict, facts->finding) ? NULL : "match.verdict";
}

bool match_is_empty(const struct match *m)
{
	const struct conf_match *c = m->conf;

	return m->n_ports + m->n_uids + c->addresses.count + c->process.count + c->unit.count +
	               c->container.count + c->verdict.count ==
	           0 &&
	       c->loopback == CONF_LOOPBACK_ANY;
}
