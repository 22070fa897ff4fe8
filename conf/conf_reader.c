/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "conf/conf_reader.h"
#include "conf/conf_alert.h"
#include "conf/conf_alert_kind.h"
#include "conf/conf_complete.h"
#include "conf/conf_filter.h"
#include "conf/conf_guard.h"
#include "conf/conf_match.h"
#include "conf/conf_node.h"
#include "conf/conf_route.h"
#include "conf/conf_targets.h"
#include "conf/conf_value.h"

#include <errno.h>
#include <string.h>

enum { PREFIX_LEN = 64 };

struct reader {
	yaml_document_t *document;
	const struct conf_diag *diag;
	const struct conf_table *table;
};

static int read_mapping(const struct reader *r, const char *prefix, const yaml_node_t *mapping,
                        void *base);

static struct conf_scalar scalar_of(const yaml_node_t *node)
{
	return (struct conf_scalar){
	    .text = (const char *)node->data.scalar.value,
	    .length = node->data.scalar.length,
	    .plain = node->data.scalar.style == YAML_PLAIN_SCALAR_STYLE,
	    .at = conf_node_mark(node),
	};
}

static const char *kind_of(const yaml_node_t *node)
{
	if (node->type == YAML_SEQUENCE_NODE)
		return "a list";
	if (node->type == YAML_MAPPING_NODE)
		return "a mapping";
	return node->data.scalar.length == 0 ? "empty" : "a scalar";
}

static int refuse_kind(const struct reader *r, const struct conf_key *key, const yaml_node_t *node)
{
	char expected[CONF_EXPECT_LEN];

	return conf_fail(r->diag, conf_node_mark(node), "%s: %s; expected %s", key->path,
	                 kind_of(node), conf_key_expects(key, expected));
}

/* A key that looks like none of ours may be a value that slipped: a URL, a token. */
static bool may_show_key(const char *text, size_t length)
{
	return length > 0 && length <= 32 &&
	       strspn(text, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ_-") == length;
}

/* Of the kind that this mapping names, for conf_key.types; 0: it names none that is known. */
static unsigned type_bit_of(const struct reader *r, const char *prefix, const yaml_node_t *mapping)
{
	for (size_t i = 0; i < r->table->count; i++) {
		const struct conf_key *kind = &r->table->keys[i];
		const yaml_node_t *value;

		if (!(kind->flags & CONF_KEY_KIND) || !conf_key_is_in(kind, prefix))
			continue;
		value = conf_node_find(r->document, mapping, conf_key_name(kind));
		if (!value || value->type != YAML_SCALAR_NODE)
			return 0;
		for (const struct conf_choice *c = kind->choices; c->name; c++) {
			if (strcmp((const char *)value->data.scalar.value, c->name) == 0)
				return 1U << c->value;
		}
	}
	return 0;
}

static int refuse_unknown_key(const struct reader *r, const char *prefix,
                              const yaml_node_t *mapping, const yaml_node_t *node)
{
	const struct conf_scalar name = scalar_of(node);
	unsigned type = type_bit_of(r, prefix, mapping);
	const struct conf_key *guess = NULL;
	char known[640] = "";
	size_t n = 0;

	if (may_show_key(name.text, name.length))
		guess = conf_schema_guess(r->table, prefix, name.text);
	if (guess && strncmp(prefix, "filters[].", 10) == 0 &&
	    strncmp(guess->path, "breakers[].", 11) == 0 &&
	    strcmp(conf_key_name(guess), name.text) == 0)
		return conf_fail(r->diag, name.at,
		                 "%s%s: a standing filter waits for no finding; expected this key "
		                 "in breakers[] only",
		                 prefix, name.text);
	if (guess)
		return conf_fail(
		    r->diag, name.at, "unknown key \"%s\"; did you mean \"%s\"?", name.text,
		    conf_key_is_in(guess, prefix) ? conf_key_name(guess) : guess->path);
	for (size_t i = 0; i < r->table->count && n < sizeof(known); i++) {
		const struct conf_key *key = &r->table->keys[i];

		if (conf_key_is_in(key, prefix) && (!type || !key->types || key->types & type))
			n += (size_t)snprintf(known + n, sizeof(known) - n, "%s%s", n ? ", " : "",
			                      conf_key_name(key));
	}
	return conf_fail(r->diag, name.at, "unknown key \"%s\"; expected one of %s",
	                 may_show_key(name.text, name.length) ? name.text : "(hidden)", known);
}

static int read_list(const struct reader *r, const struct conf_key *key, const yaml_node_t *list,
                     void *base)
{
	const yaml_node_item_t *end = list->data.sequence.items.top;
	const yaml_node_item_t *item = list->data.sequence.items.start;
	size_t count = (size_t)(end - item);

	if (count > (size_t)key->max)
		return conf_fail(r->diag, conf_node_mark(list),
		                 "%s: %zu items; expected at most %lld", key->path, count,
		                 (long long)key->max);
	if (count == 0 && (key->flags & CONF_KEY_NONEMPTY))
		return conf_fail(r->diag, conf_node_mark(list),
		                 "%s: an empty list; expected at least one", key->path);
	if (conf_list_reserve(key, base, count) < 0)
		return conf_fail_memory(r->diag, conf_node_mark(list));
	for (; item < end; item++) {
		const yaml_node_t *node = conf_node_at(r->document, *item);
		struct conf_scalar scalar;
		int err;

		if (node->type != YAML_SCALAR_NODE)
			return conf_fail(r->diag, conf_node_mark(node),
			                 "%s: %s in the list; expected a scalar", key->path,
			                 kind_of(node));
		scalar = scalar_of(node);
		err = conf_value_set(key, base, &scalar, r->diag);
		if (err)
			return err;
	}
	return 0;
}

/* The name of each record, for the duplicates: all records begin with it. */
static const char *name_of(const void *record)
{
	char *name;

	memcpy(&name, record, sizeof(name));
	return name;
}

_Static_assert(offsetof(struct conf_breaker, name) == 0 && offsetof(struct conf_alert, name) == 0,
               "name_of() reads the first member");

/* "webhook, slack": the kinds of record that have the key. */
static const char *name_types(const struct conf_key *key, char out[static CONF_EXPECT_LEN])
{
	const struct conf_choice *choices = conf_key_kind(key)->choices;
	size_t n = 0;

	out[0] = '\0';
	for (unsigned type = 0; type < 32 && n < CONF_EXPECT_LEN; type++) {
		if (key->types & 1U << type)
			n += (size_t)snprintf(out + n, CONF_EXPECT_LEN - n, "%s%s", n ? ", " : "",
			                      conf_choice_name(choices, type));
	}
	return out;
}

/* Of this kind of record; what says which it is may stand below them. */
static int check_keys_fit(const struct reader *r, const char *prefix, const yaml_node_t *mapping,
                          const void *record)
{
	const yaml_node_pair_t *end = mapping->data.mapping.pairs.top;
	char types[CONF_EXPECT_LEN];

	for (const yaml_node_pair_t *p = mapping->data.mapping.pairs.start; p < end; p++) {
		const struct conf_scalar name = scalar_of(conf_node_at(r->document, p->key));
		const struct conf_key *key =
		    conf_schema_find(r->table, prefix, name.text, name.length);
		const struct conf_key *kind;
		unsigned value;

		if (!key || conf_key_fits(key, record))
			continue;
		kind = conf_key_kind(key);
		memcpy(&value, (const char *)record + kind->offset, sizeof(value));
		return conf_fail(r->diag, name.at,
		                 "%s: not a key of %s %s; expected it with %s %s only", key->path,
		                 conf_key_name(kind), conf_choice_name(kind->choices, value),
		                 conf_key_name(kind), name_types(key, types));
	}
	return 0;
}

static int check_breaker(const struct reader *r, const char *of, const yaml_node_t *mapping,
                         struct conf_breaker *breaker)
{
	const yaml_node_t *window = conf_node_find(r->document, mapping, "trip_window");
	const yaml_node_t *match = conf_node_find(r->document, mapping, "match");
	struct conf_mark at = conf_node_mark(match ? match : mapping);
	int err;

	breaker->allow_dynamic =
	    breaker->allow_sources.files.count + breaker->allow_sources.names.count > 0;
	if (!window)
		breaker->trip_window = breaker->trip_after;
	if (breaker->trip_window < breaker->trip_after)
		return conf_fail(r->diag, conf_node_mark(window),
		                 "breakers[].trip_window: %u is less than trip_after: the breaker "
		                 "would never open; expected at least %u",
		                 breaker->trip_window, breaker->trip_after);
	err = conf_match_check(of, breaker, at, r->diag);
	return err ? err : conf_filter_check(of, breaker, at, r->diag);
}

static int check_alert(const struct reader *r, const yaml_node_t *mapping, struct conf_alert *alert)
{
	int err;

	if (!conf_node_find(r->document, mapping, "group_wait"))
		alert->group_wait_ms = conf_alert_default_group_wait_ms(alert->type);
	if (!conf_node_find(r->document, mapping, "max_per_minute"))
		alert->max_per_minute = conf_alert_default_per_minute(alert->type);
	err = conf_alert_check(alert, conf_node_mark(mapping), r->diag);
	if (!err)
		err = conf_alert_check_kind(alert, conf_node_mark(mapping), r->diag);
	return err ? err : conf_route_check(alert, r->diag);
}

/* What no row says of a record of the configuration. */
static int check_record(const struct reader *r, const struct conf_key *key,
                        const yaml_node_t *mapping, void *record)
{
	char prefix[PREFIX_LEN];
	int err;

	snprintf(prefix, sizeof(prefix), "%s[].", key->path);
	err = check_keys_fit(r, prefix, mapping, record);
	if (err)
		return err;
	if (strcmp(key->path, "alerts") == 0)
		return check_alert(r, mapping, record);
	prefix[strlen(prefix) - 1] = '\0';
	return check_breaker(r, prefix, mapping, record);
}

/* A standing filter is a breaker, too, with the defaults of what it cannot be told. */
static int set_record_defaults(const struct reader *r, const char *prefix, void *record)
{
	struct conf_breaker *filter = record;
	int err;

	if (r->table != &conf_table || strcmp(prefix, "filters[].") != 0)
		return conf_set_defaults(r->table, prefix, record, r->diag);
	err = conf_set_defaults(r->table, "breakers[].", filter, r->diag);
	filter->standing = true;
	filter->action = CONF_ACTION_FILTER;
	return err;
}

static int read_record(const struct reader *r, const struct conf_key *key,
                       const yaml_node_t *mapping, char *records, size_t index)
{
	char *record = records + index * key->size;
	char prefix[PREFIX_LEN];
	int err;

	if (mapping->type != YAML_MAPPING_NODE)
		return conf_fail(r->diag, conf_node_mark(mapping),
		                 "%s: %s in the list; expected a mapping", key->path,
		                 kind_of(mapping));
	snprintf(prefix, sizeof(prefix), "%s[].", key->path);
	err = set_record_defaults(r, prefix, record);
	if (!err)
		err = read_mapping(r, prefix, mapping, record);
	if (err)
		return err;
	for (size_t i = 0; i < index; i++) {
		if (strcmp(name_of(records + i * key->size), name_of(record)) == 0)
			return conf_fail(
			    r->diag, conf_node_mark(conf_node_find(r->document, mapping, "name")),
			    "%s[].name: duplicate name \"%s\"; expected each only once", key->path,
			    name_of(record));
	}
	if (r->table == &conf_table)
		return check_record(r, key, mapping, record);
	return r->table->check_record
	           ? r->table->check_record(key, record, conf_node_mark(mapping), r->diag)
	           : 0;
}

static int read_records(const struct reader *r, const struct conf_key *key, const yaml_node_t *list,
                        char *base)
{
	const yaml_node_item_t *start = list->data.sequence.items.start;
	size_t count = (size_t)(list->data.sequence.items.top - start);
	char *records;

	if (count > (size_t)key->max)
		return conf_fail(r->diag, conf_node_mark(list),
		                 "%s: %zu items; expected at most %lld", key->path, count,
		                 (long long)key->max);
	if (count == 0)
		return 0;
	records = calloc(count, key->size);
	if (!records)
		return conf_fail_memory(r->diag, conf_node_mark(list));
	memcpy(base + key->offset, &records, sizeof(records));
	memcpy(base + key->extra, &count, sizeof(count));
	for (size_t i = 0; i < count; i++) {
		int err = read_record(r, key, conf_node_at(r->document, start[i]), records, i);

		if (err)
			return err;
	}
	return 0;
}

static int read_value(const struct reader *r, const struct conf_key *key, const yaml_node_t *node,
                      void *base)
{
	struct conf_scalar scalar;
	char prefix[PREFIX_LEN];

	if (key->type == CONF_TYPE_SECTION) {
		if (node->type != YAML_MAPPING_NODE)
			return refuse_kind(r, key, node);
		snprintf(prefix, sizeof(prefix), "%s.", key->path);
		return read_mapping(r, prefix, node, base);
	}
	if (conf_type_is_list(key->type)) {
		if (node->type != YAML_SEQUENCE_NODE)
			return refuse_kind(r, key, node);
		return key->type == CONF_TYPE_RECORDS ? read_records(r, key, node, base)
		                                      : read_list(r, key, node, base);
	}
	if (node->type != YAML_SCALAR_NODE)
		return refuse_kind(r, key, node);
	scalar = scalar_of(node);
	return conf_value_set(key, base, &scalar, r->diag);
}

static int read_mapping(const struct reader *r, const char *prefix, const yaml_node_t *mapping,
                        void *base)
{
	const yaml_node_pair_t *end = mapping->data.mapping.pairs.top;
	bool seen[CONF_SCHEMA_MAX] = {false};

	for (const yaml_node_pair_t *p = mapping->data.mapping.pairs.start; p < end; p++) {
		const yaml_node_t *name = conf_node_at(r->document, p->key);
		const struct conf_key *key;
		int err;

		if (name->type != YAML_SCALAR_NODE)
			return conf_fail(r->diag, conf_node_mark(name),
			                 "%s as a key; expected a key's name", kind_of(name));
		key = conf_schema_find(r->table, prefix, (const char *)name->data.scalar.value,
		                       name->data.scalar.length);
		if (!key)
			return refuse_unknown_key(r, prefix, mapping, name);
		if (seen[key - r->table->keys])
			return conf_fail(r->diag, conf_node_mark(name),
			                 "duplicate key \"%s\"; expected each only once",
			                 conf_key_name(key));
		seen[key - r->table->keys] = true;
		err = read_value(r, key, conf_node_at(r->document, p->value), base);
		if (err)
			return err;
	}
	for (size_t i = 0; i < r->table->count; i++) {
		const struct conf_key *key = &r->table->keys[i];

		if (conf_key_is_in(key, prefix) && (key->flags & CONF_KEY_REQUIRED) && !seen[i])
			return conf_fail(r->diag, conf_node_mark(mapping),
			                 "key \"%s\" is missing; expected it here",
			                 conf_key_name(key));
	}
	return 0;
}

int conf_read_table(yaml_document_t *document, const struct conf_table *table, void *base,
                    const struct conf_diag *diag)
{
	const struct reader r = {document, diag, table};
	const yaml_node_t *root = yaml_document_get_root_node(document);
	int err;

	if (!root || (root->type == YAML_SCALAR_NODE && root->data.scalar.length == 0))
		return conf_fail(diag, root ? conf_node_mark(root) : (struct conf_mark){1, 1},
		                 "empty; expected keys, at least \"%s\"", table->least);
	if (root->type != YAML_MAPPING_NODE)
		return conf_fail(diag, conf_node_mark(root), "%s; expected a mapping of keys",
		                 kind_of(root));
	err = conf_set_defaults(table, "", base, diag);
	return err ? err : read_mapping(&r, "", root, base);
}

int conf_read_document(yaml_document_t *document, void *base, const struct conf_diag *diag)
{
	struct conf *conf = base;
	int err = conf_read_table(document, &conf_table, conf, diag);

	if (!err)
		err = conf_complete(document, conf, diag);
	return err ? err : conf_targets_check(conf, diag);
}
