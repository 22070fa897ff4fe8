/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "conf/conf_complete.h"
#include "conf/conf_node.h"
#include "conf/conf_schema.h"
#include "conf/conf_value.h"

#include <string.h>

struct source {
	yaml_document_t *document;
	const yaml_node_t *root;
	const struct conf_diag *diag;
};

/* One more at the end of the list, which has room and does not count it yet. */
static int append_breaker(struct conf *conf, const char *name, const struct conf_diag *diag)
{
	struct conf_breaker *breaker = &conf->breakers[conf->n_breakers];
	/* Defaults are no lists: nothing of it is owned before the name. */
	int err = conf_set_defaults(&conf_table, "breakers[].", breaker, diag);

	if (err)
		return err;
	breaker->trip_window = breaker->trip_after;
	breaker->name = strdup(name);
	return breaker->name ? 0 : conf_fail_memory(diag, (struct conf_mark){1, 1});
}

/* The place of the name of one of `filters`. */
static struct conf_mark filter_mark(const struct source *s, const yaml_node_t *filters, size_t i)
{
	const yaml_node_t *mapping =
	    conf_node_at(s->document, filters->data.sequence.items.start[i]);

	return conf_node_mark(conf_node_find(s->document, mapping, "name"));
}

static int check_filters(const struct source *s, const struct conf *conf)
{
	const yaml_node_t *filters = conf_node_find(s->document, s->root, "filters");
	/* Without any, there is the one that is made by default. */
	size_t breakers = conf->listed.n_breakers ? conf->listed.n_breakers : 1;

	if (conf->n_filters + breakers > CONF_MAX_BREAKERS)
		return conf_fail(s->diag, conf_node_mark(filters),
		                 "filters: %zu items, and %zu breakers; expected at most %d "
		                 "together",
		                 conf->n_filters, breakers, CONF_MAX_BREAKERS);
	for (size_t i = 0; i < conf->n_filters; i++) {
		const char *name = conf->listed.filters[i].name;
		bool taken = !conf->listed.n_breakers && strcmp(name, "default") == 0;

		for (size_t j = 0; j < conf->listed.n_breakers && !taken; j++)
			taken = strcmp(conf->listed.breakers[j].name, name) == 0;
		if (taken)
			return conf_fail(s->diag, filter_mark(s, filters, i),
			                 "filters[].name: \"%s\" is a breaker's name; expected "
			                 "another",
			                 name);
	}
	return 0;
}

/* Into one list, the filters first. */
static int join_breakers(struct conf *conf, const struct conf_diag *diag)
{
	size_t count = conf->n_filters + conf->listed.n_breakers;
	struct conf_breaker *all = calloc(count + 2, sizeof(*all));

	if (!all)
		return conf_fail_memory(diag, (struct conf_mark){1, 1});
	for (size_t i = 0; i < conf->n_filters; i++)
		all[i] = conf->listed.filters[i];
	for (size_t i = 0; i < conf->listed.n_breakers; i++)
		all[conf->n_filters + i] = conf->listed.breakers[i];
	free(conf->listed.filters);
	free(conf->listed.breakers);
	memset(&conf->listed, 0, sizeof(conf->listed));
	conf->breakers = all;
	conf->n_breakers = count;
	return 0;
}

static int complete_breakers(struct conf *conf, const struct conf_diag *diag)
{
	int err = join_breakers(conf, diag);

	if (!err && conf->n_breakers == conf->n_filters) {
		err = append_breaker(conf, "default", diag);
		if (!err)
			conf->n_breakers++;
	}
	if (!err)
		err = append_breaker(conf, CONF_UNMATCHED, diag);
	if (err)
		return err;
	conf->has_unmatched = true;
	conf->breakers[conf->n_breakers].action = CONF_ACTION_ALERT;
	conf->listed.filters = conf->breakers;
	conf->listed.breakers = conf->breakers + conf->n_filters;
	conf->listed.n_breakers = conf->n_breakers - conf->n_filters;
	return 0;
}

/* The place of the first of these keys of `firewall` that is there; or its own. */
static struct conf_mark firewall_mark(const struct source *s, const yaml_node_t *firewall,
                                      const char *first, const char *second)
{
	const yaml_node_t *at = conf_node_find(s->document, firewall, first);

	if (!at)
		at = conf_node_find(s->document, firewall, second);
	return conf_node_mark(at ? at : firewall);
}

/* Both together are a third mark: neither has all the bits of the other. */
static bool are_apart(uint32_t a, uint32_t b)
{
	return (a & ~b) && (b & ~a);
}

/* Within a mask that leaves no room beside `mark`: 0. */
static uint32_t default_route_mark(uint32_t mask, uint32_t mark)
{
	const uint32_t usual = 0x60000000;
	uint32_t rest = mask & ~mark;

	return (usual & ~mask) == 0 && are_apart(usual, mark) ? usual : rest & -rest;
}

static int check_route(const struct source *s, const yaml_node_t *firewall, struct conf *conf)
{
	uint32_t mask = conf->firewall.mark_mask, mark = conf->firewall.mark;
	uint32_t table = conf->firewall.route_table;
	struct conf_mark at;

	if (!conf_node_find(s->document, firewall, "route_mark"))
		conf->firewall.route_mark = default_route_mark(mask, mark);
	at = firewall_mark(s, firewall, "route_mark", "mark_mask");
	if (conf->firewall.route_mark & ~mask)
		return conf_fail(s->diag, at,
		                 "firewall.route_mark: 0x%08x has bits outside mark_mask 0x%08x; "
		                 "expected a mark within the mask",
		                 conf->firewall.route_mark, mask);
	if (conf->firewall.route_mark == 0 && conf_has_filter(conf))
		return conf_fail(s->diag, at,
		                 "firewall.route_mark: none, and there is a rule that filters; "
		                 "expected a bit of mark_mask 0x%08x that mark 0x%08x has not",
		                 mask, mark);
	if (conf->firewall.route_mark && !are_apart(conf->firewall.route_mark, mark))
		return conf_fail(s->diag, at,
		                 "firewall.route_mark: 0x%08x and mark 0x%08x: one has all bits of "
		                 "the other; expected each to have one of its own",
		                 conf->firewall.route_mark, mark);
	if (table >= 253 && table <= 255)
		return conf_fail(s->diag, firewall_mark(s, firewall, "route_table", "mark"),
		                 "firewall.route_table: %u is the kernel's own; expected none of "
		                 "253, 254 and 255",
		                 table);
	return 0;
}

static int check_firewall(const struct source *s, struct conf *conf)
{
	const yaml_node_t *firewall = conf_node_find(s->document, s->root, "firewall");

	if (!firewall) {
		conf->firewall.route_mark =
		    default_route_mark(conf->firewall.mark_mask, conf->firewall.mark);
		return 0;
	}
	if (conf->firewall.mark & ~conf->firewall.mark_mask)
		return conf_fail(s->diag, firewall_mark(s, firewall, "mark", "mark_mask"),
		                 "firewall.mark: 0x%08x has bits outside mark_mask 0x%08x; "
		                 "expected a mark within the mask",
		                 conf->firewall.mark, conf->firewall.mark_mask);
	return check_route(s, firewall, conf);
}

int conf_complete(yaml_document_t *document, struct conf *conf, const struct conf_diag *diag)
{
	const struct source s = {document, yaml_document_get_root_node(document), diag};
	int err = check_filters(&s, conf);

	if (!err)
		err = complete_breakers(conf, diag);
	return err ? err : check_firewall(&s, conf);
}
