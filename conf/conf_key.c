/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the rows of a schema say. */
#include "common/spelling.h"
#include "conf/conf_schema.h"

#include <string.h>

const char *conf_key_name(const struct conf_key *key)
{
	const char *dot = strrchr(key->path, '.');

	return dot ? dot + 1 : key->path;
}

bool conf_key_is_in(const struct conf_key *key, const char *prefix)
{
	size_t n = (size_t)(conf_key_name(key) - key->path);

	return strlen(prefix) == n && memcmp(key->path, prefix, n) == 0;
}

bool conf_key_is_below(const struct conf_key *key, const char *prefix)
{
	return *prefix ? strncmp(key->path, prefix, strlen(prefix)) == 0
	               : !conf_key_is_of_record(key);
}

bool conf_key_is_of_record(const struct conf_key *key)
{
	return strchr(key->path, '[') != NULL;
}

static bool is_of_same_record(const struct conf_key *a, const struct conf_key *b)
{
	size_t n = strcspn(a->path, "]");

	return strncmp(a->path, b->path, n + 1) == 0;
}

const struct conf_key *conf_key_kind(const struct conf_key *key)
{
	for (size_t i = 0; i < conf_schema_count; i++) {
		if ((conf_schema[i].flags & CONF_KEY_KIND) &&
		    is_of_same_record(&conf_schema[i], key))
			return &conf_schema[i];
	}
	return NULL;
}

bool conf_key_fits(const struct conf_key *key, const void *base)
{
	const struct conf_key *kind = key->types ? conf_key_kind(key) : NULL;
	unsigned value;

	if (!kind)
		return true;
	memcpy(&value, (const char *)base + kind->offset, sizeof(value));
	return key->types & 1U << value;
}

const char *conf_choice_name(const struct conf_choice *choices, unsigned value)
{
	while (choices->name && choices->value != value)
		choices++;
	return choices->name ? choices->name : "?";
}

bool conf_type_is_list(enum conf_type type)
{
	return type == CONF_TYPE_RECORDS || type >= CONF_TYPE_TARGETS;
}

bool conf_type_is_text(enum conf_type type)
{
	return type >= CONF_TYPE_NAME && type <= CONF_TYPE_TEXT;
}

const struct conf_key *conf_schema_find(const struct conf_table *table, const char *prefix,
                                        const char *name, size_t length)
{
	for (size_t i = 0; i < table->count; i++) {
		const struct conf_key *key = &table->keys[i];

		if (conf_key_is_in(key, prefix) && strlen(conf_key_name(key)) == length &&
		    memcmp(conf_key_name(key), name, length) == 0)
			return key;
	}
	return NULL;
}

const struct conf_key *conf_schema_guess(const struct conf_table *table, const char *prefix,
                                         const char *name)
{
	const struct conf_key *best = NULL;
	unsigned least = SPELLING_MAX_EDITS + 1;

	for (size_t i = 0; i < table->count; i++) {
		const struct conf_key *key = &table->keys[i];
		unsigned edits = spelling_edits(name, conf_key_name(key));

		/* The same name elsewhere is a slip of the indentation. */
		if (!conf_key_is_in(key, prefix) && edits > 0)
			continue;
		if (edits < least && edits < strlen(name)) {
			least = edits;
			best = key;
		}
	}
	return best;
}

static const char *expect_choice(const struct conf_choice *choices,
                                 char out[static CONF_EXPECT_LEN])
{
	size_t n = 0;

	out[0] = '\0';
	for (const struct conf_choice *c = choices; c->name && n < CONF_EXPECT_LEN; c++)
		n += (size_t)snprintf(out + n, CONF_EXPECT_LEN - n, "%s%s", c->name,
		                      !c[1].name ? "" : (c[2].name ? ", " : " or "));
	return out;
}

static const char *expect_duration(const struct conf_key *key, char out[static CONF_EXPECT_LEN])
{
	char min[32], max[32];

	snprintf(out, CONF_EXPECT_LEN, "a duration in %s..%s%s",
	         conf_format_duration(key->min, min), conf_format_duration(key->max, max),
	         key->flags & CONF_KEY_OR_OFF ? ", or off" : "");
	return out;
}

const char *conf_key_expects(const struct conf_key *key, char out[static CONF_EXPECT_LEN])
{
	static const char *const fixed[] = {
	    [CONF_TYPE_SECTION] = "a mapping of keys",
	    [CONF_TYPE_RECORDS] = "a list of mappings",
	    [CONF_TYPE_BOOL] = "true or false",
	    [CONF_TYPE_NAME] = "1 to 63 of A-Z, a-z, 0-9, '_', '.' and '-'",
	    [CONF_TYPE_URL] = "an http:// or https:// URL",
	    [CONF_TYPE_LISTEN] = "address:port, with an IPv6 address in brackets, or off",
	    [CONF_TYPE_TARGETS] = "a list of targets",
	    [CONF_TYPE_PORT_LISTS] = "a list of ports, ranges and port lists' names",
	    [CONF_TYPE_PORTS] = "a list of ports in 1..65535",
	    [CONF_TYPE_PREFIXES] = "a list of addresses and prefixes",
	    [CONF_TYPE_URL_PATHS] = "a list of paths such as /debug/pprof/",
	    [CONF_TYPE_PATH_PREFIXES] = "a list of paths such as /debug/pprof",
	    [CONF_TYPE_TEXTS] = "a list of texts",
	    [CONF_TYPE_SOURCES] = "a list of addresses, prefixes, @files and DNS names",
	    [CONF_TYPE_HEADERS] = "a list of \"Name: value\"",
	};

	if (key->type == CONF_TYPE_CHOICE)
		return expect_choice(key->choices, out);
	if (key->type == CONF_TYPE_DURATION)
		return expect_duration(key, out);
	if (key->type == CONF_TYPE_NUMBER)
		snprintf(out, CONF_EXPECT_LEN, "a number in %lld..%lld", (long long)key->min,
		         (long long)key->max);
	else if (key->type == CONF_TYPE_BITS)
		snprintf(out, CONF_EXPECT_LEN, "a number in 0x%llx..0x%llx", (long long)key->min,
		         (long long)key->max);
	else if (key->type == CONF_TYPE_TEXT)
		snprintf(out, CONF_EXPECT_LEN, "one line of at most %lld bytes",
		         (long long)key->max);
	else if (key->type == CONF_TYPE_TEMPLATE)
		snprintf(out, CONF_EXPECT_LEN, "%s of at most %lld bytes, with {fields}",
		         key->min ? "a text" : "one line", (long long)key->max);
	else if (key->type == CONF_TYPE_URL_PATH)
		snprintf(out, CONF_EXPECT_LEN, "a path of a URL, of at most %lld bytes",
		         (long long)key->max);
	else if (key->type == CONF_TYPE_PATH)
		snprintf(out, CONF_EXPECT_LEN, "an absolute path of at most %lld bytes",
		         (long long)key->max);
	else if (key->type == CONF_TYPE_ACCOUNT)
		snprintf(out, CONF_EXPECT_LEN, "a %s's name or number%s",
		         key->min ? "user" : "group", key->min ? ", not root" : "");
	else
		snprintf(out, CONF_EXPECT_LEN, "%s", fixed[key->type]);
	return out;
}
