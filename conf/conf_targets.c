/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "conf/conf_targets.h"
#include "scanner/target.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

#define auto_port_list __attribute__((cleanup(port_list_free)))

/* The scanner's reason, with what was expected unless it says so itself. */
static int fail_because(const struct conf_diag *diag, struct conf_mark at, const char *path,
                        const char *why, const char *expected)
{
	bool said = strstr(why, "; expected ");

	return conf_fail(diag, at, "%s: %s%s%s", path, why, said ? "" : "; expected ",
	                 said ? "" : expected);
}

/* Each item alone first, for its place in the file; then all together, since none counts twice. */
static int parse_ports(const struct conf_strings *items, const struct conf_diag *diag,
                       struct port_list *out)
{
	struct conf_mark at = {1, 1};
	auto_free char *joined = NULL;
	char why[TARGET_ERROR_LEN];
	size_t room = 1, used = 0;
	int err;

	for (size_t i = 0; i < items->count; i++) {
		struct port_list alone;

		at = items->marks[i];
		room += strlen(items->items[i]) + 1;
		if (conf_may_be_secret(items->items[i], strlen(items->items[i])))
			return conf_fail(diag, at, "scan.ports: a URL; expected a port");
		err = port_list_parse(items->items[i], &alone, why);
		if (err)
			return fail_because(diag, at, "scan.ports", why,
			                    "a port, a range or a list's name");
		port_list_free(&alone);
	}
	joined = calloc(1, room);
	if (!joined)
		return conf_fail_memory(diag, at);
	for (size_t i = 0; i < items->count; i++)
		used += (size_t)snprintf(joined + used, room - used, "%s%s", i ? "," : "",
		                         items->items[i]);
	err = port_list_parse(joined, out, why);
	return err ? conf_fail(diag, at, "scan.ports: %s; expected other ports", why) : 0;
}

/* One text for whatever ways there are to write the same target, to find duplicates by. */
struct canonical {
	char *text;
	size_t index;
};

struct canonical_list {
	struct canonical *items;
	size_t count;
};

static void canonical_list_fini(struct canonical_list *list)
{
	for (size_t i = 0; i < list->count; i++)
		free(list->items[i].text);
	free(list->items);
}

#define auto_canonical_list __attribute__((cleanup(canonical_list_fini)))

static char *format_canonical(const struct target *t)
{
	char prefix[PREFIX_TEXT_LEN] = "";
	char *text = NULL;

	if (!t->host[0])
		prefix_format(&t->prefix, prefix);
	if (asprintf(&text, "%s%s %u %d %s", t->host, prefix, (unsigned)t->port, (int)t->scheme,
	             t->path) < 0)
		return NULL;
	/* Names are the same in either case; paths are not. */
	for (char *p = text; *p && *p != ' '; p++) {
		if (*p >= 'A' && *p <= 'Z')
			*p = (char)(*p - 'A' + 'a');
	}
	return text;
}

static int compare_canonical(const void *a, const void *b)
{
	const struct canonical *left = a, *right = b;
	int order = strcmp(left->text, right->text);

	return order ? order : (left->index > right->index) - (left->index < right->index);
}

static int refuse_duplicates(const struct conf_strings *targets, struct canonical_list *list,
                             const struct conf_diag *diag)
{
	char shown[CONF_QUOTE_LEN];
	size_t first = list->count;

	if (list->count > 1)
		qsort(list->items, list->count, sizeof(*list->items), compare_canonical);
	for (size_t i = 1; i < list->count; i++) {
		if (strcmp(list->items[i - 1].text, list->items[i].text) == 0 &&
		    list->items[i].index < first)
			first = list->items[i].index;
	}
	if (first == list->count)
		return 0;
	return conf_fail(diag, targets->marks[first],
	                 "scan.targets: duplicate target %s; expected each only once",
	                 conf_quote(targets->items[first], strlen(targets->items[first]), shown));
}

static int parse_target(const char *text, struct conf_mark at, const struct conf_diag *diag,
                        struct target *out)
{
	char why[TARGET_ERROR_LEN], shown[CONF_QUOTE_LEN];

	/* Before any message could repeat a password. */
	if (strchr(text, '@'))
		return conf_fail(diag, at,
		                 "scan.targets: a target with a user name or password; "
		                 "expected one without");
	if (target_parse(text, out, why) < 0)
		return fail_because(diag, at, "scan.targets", why,
		                    "an address, prefix or name, with or without a port, or a URL");
	/* What a zone means differs between hosts and boots, and to ask for it takes a socket. */
	if (out->scope_id || out->zone[0])
		return conf_fail(diag, at,
		                 "scan.targets: %s has a zone; expected an address without one",
		                 conf_quote(text, strlen(text), shown));
	return 0;
}

int conf_targets_check(const struct conf *conf, const struct conf_diag *diag)
{
	const struct conf_strings *targets = &conf->scan.targets;
	auto_canonical_list struct canonical_list list = {0};
	auto_port_list struct port_list ports = {0};
	struct conf_mark past = {0};
	uint64_t endpoints = 0;
	int err = parse_ports(&conf->scan.ports, diag, &ports);

	if (err || targets->count == 0)
		return err;
	list.items = calloc(targets->count, sizeof(*list.items));
	if (!list.items)
		return conf_fail_memory(diag, targets->marks[0]);
	for (size_t i = 0; i < targets->count; i++) {
		struct target target = {0};

		err = parse_target(targets->items[i], targets->marks[i], diag, &target);
		if (err)
			return err;
		list.items[i] = (struct canonical){format_canonical(&target), i};
		if (!list.items[i].text)
			return conf_fail_memory(diag, targets->marks[i]);
		list.count++;
		if (__builtin_add_overflow(endpoints, target_count(&target, &ports), &endpoints))
			endpoints = UINT64_MAX;
		if (endpoints > CONF_MAX_TARGETS && past.line == 0)
			past = targets->marks[i];
	}
	err = refuse_duplicates(targets, &list, diag);
	if (!err && endpoints > CONF_MAX_TARGETS)
		err =
		    conf_fail(diag, past,
		              "scan.targets: expands to %" PRIu64 " endpoints; expected at most %d",
		              endpoints, CONF_MAX_TARGETS);
	return err;
}
