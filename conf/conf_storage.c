/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the values of a schema occupy: room for lists, what is freed, and what is there before. */
#include "conf/conf_value.h"

#include <errno.h>
#include <string.h>

static void free_strings(struct conf_strings *list)
{
	for (size_t i = 0; i < list->count; i++)
		free(list->items[i]);
	free(list->items);
	free(list->marks);
	memset(list, 0, sizeof(*list));
}

/* Of headers; their names stay. */
static void wipe_strings(struct conf_strings *list)
{
	for (size_t i = 0; i < list->count; i++) {
		char *value = list->items[i] + strcspn(list->items[i], ":");

		explicit_bzero(value, strlen(value));
	}
}

void conf_value_wipe(const struct conf_key *key, void *base)
{
	char *text = NULL;

	if (key->type == CONF_TYPE_HEADERS) {
		wipe_strings((void *)((char *)base + key->offset));
		return;
	}
	memcpy(&text, (char *)base + key->offset, sizeof(text));
	if (text)
		explicit_bzero(text, strlen(text));
}

void conf_value_free(const struct conf_key *key, void *base)
{
	void *slot = (char *)base + key->offset;
	struct conf_sources *sources = (void *)((char *)base + key->extra);
	char *text = NULL;

	switch (key->type) {
	case CONF_TYPE_NAME:
	case CONF_TYPE_ACCOUNT:
	case CONF_TYPE_PATH:
	case CONF_TYPE_URL:
	case CONF_TYPE_URL_PATH:
	case CONF_TYPE_TEMPLATE:
	case CONF_TYPE_TEXT:
		if (key->flags & CONF_KEY_SECRET)
			conf_value_wipe(key, base);
		memcpy(&text, slot, sizeof(text));
		free(text);
		memset(slot, 0, sizeof(text));
		return;
	case CONF_TYPE_HEADERS:
		wipe_strings(slot);
		free_strings(slot);
		return;
	case CONF_TYPE_TARGETS:
	case CONF_TYPE_PORT_LISTS:
	case CONF_TYPE_URL_PATHS:
	case CONF_TYPE_PATH_PREFIXES:
	case CONF_TYPE_TEXTS: free_strings(slot); return;
	case CONF_TYPE_PORTS:
		free(((struct conf_ports *)slot)->items);
		memset(slot, 0, sizeof(struct conf_ports));
		return;
	case CONF_TYPE_SOURCES:
		free_strings(&sources->files);
		free_strings(&sources->names);
		__attribute__((fallthrough));
	case CONF_TYPE_PREFIXES:
		free(((struct conf_prefixes *)slot)->items);
		memset(slot, 0, sizeof(struct conf_prefixes));
		return;
	case CONF_TYPE_SECTION:
	case CONF_TYPE_RECORDS: /* conf_table_free() goes through them */
	case CONF_TYPE_BOOL:
	case CONF_TYPE_NUMBER:
	case CONF_TYPE_BITS:
	case CONF_TYPE_DURATION:
	case CONF_TYPE_CHOICE:
	case CONF_TYPE_LISTEN:
	default: return;
	}
}

static bool is_same_text(const char *a, const char *b)
{
	return a && b ? strcmp(a, b) == 0 : a == b;
}

static bool is_same_list(const struct conf_strings *a, const struct conf_strings *b)
{
	size_t same = 0;

	while (same < a->count && same < b->count && strcmp(a->items[same], b->items[same]) == 0)
		same++;
	return same == a->count && same == b->count;
}

bool conf_value_is_same(const struct conf_key *key, const void *a, const void *b)
{
	const char *left = (const char *)a + key->offset, *right = (const char *)b + key->offset;
	const char *texts[2];

	if (key->type == CONF_TYPE_BOOL)
		return *left == *right;
	if (key->type == CONF_TYPE_TEXTS || key->type == CONF_TYPE_HEADERS)
		return is_same_list((const void *)left, (const void *)right);
	if (!conf_type_is_text(key->type))
		return memcmp(left, right, sizeof(unsigned)) == 0;
	memcpy(&texts[0], left, sizeof(texts[0]));
	memcpy(&texts[1], right, sizeof(texts[1]));
	return is_same_text(texts[0], texts[1]);
}

static int reserve_strings(struct conf_strings *list, size_t count)
{
	list->items = calloc(count, sizeof(*list->items));
	list->marks = calloc(count, sizeof(*list->marks));
	return list->items && list->marks ? 0 : -ENOMEM;
}

static int reserve_sources(struct conf_sources *sources, size_t count)
{
	if (count > CONF_MAX_SOURCES)
		count = CONF_MAX_SOURCES;
	return reserve_strings(&sources->files, count) < 0 ||
	               reserve_strings(&sources->names, count) < 0
	           ? -ENOMEM
	           : 0;
}

int conf_list_reserve(const struct conf_key *key, void *base, size_t count)
{
	void *slot = (char *)base + key->offset;

	conf_value_free(key, base);
	if (count == 0)
		return 0;
	if (key->type == CONF_TYPE_PORTS) {
		struct conf_ports *list = slot;

		list->items = calloc(count, sizeof(*list->items));
		return list->items ? 0 : -ENOMEM;
	}
	if (key->type == CONF_TYPE_PREFIXES || key->type == CONF_TYPE_SOURCES) {
		struct conf_prefixes *list = slot;

		list->items = calloc(count, sizeof(*list->items));
		if (!list->items)
			return -ENOMEM;
		return key->type == CONF_TYPE_PREFIXES
		           ? 0
		           : reserve_sources((void *)((char *)base + key->extra), count);
	}
	return reserve_strings(slot, count);
}

static void free_records(const struct conf_table *table, const struct conf_key *key, void *base)
{
	char *const none = NULL;
	char *records, prefix[64];
	size_t count;

	memcpy(&records, (char *)base + key->offset, sizeof(records));
	memcpy(&count, (char *)base + key->extra, sizeof(count));
	snprintf(prefix, sizeof(prefix), "%s[].", key->path);
	for (size_t i = 0; i < count; i++)
		conf_table_free(table, prefix, records + i * key->size);
	free(records);
	memcpy((char *)base + key->offset, &none, sizeof(none));
	memset((char *)base + key->extra, 0, sizeof(count));
}

void conf_table_free(const struct conf_table *table, const char *record_prefix, void *base)
{
	for (size_t i = 0; i < table->count; i++) {
		const struct conf_key *key = &table->keys[i];

		if (!conf_key_is_below(key, record_prefix))
			continue;
		if (key->type == CONF_TYPE_RECORDS)
			free_records(table, key, base);
		else
			conf_value_free(key, base);
	}
}

int conf_set_defaults(const struct conf_table *table, const char *record_prefix, void *base,
                      const struct conf_diag *diag)
{
	for (size_t i = 0; i < table->count; i++) {
		const struct conf_key *key = &table->keys[i];
		struct conf_scalar preset = {.text = key->preset, .plain = true};
		int err = 0;

		if (!key->preset || !conf_key_is_below(key, record_prefix))
			continue;
		preset.length = strlen(key->preset);
		if (conf_type_is_list(key->type) && conf_list_reserve(key, base, 1) < 0)
			err = conf_fail_memory(diag, (struct conf_mark){1, 1});
		if (!err)
			err = conf_value_set(key, base, &preset, diag);
		if (err)
			return err;
	}
	return 0;
}
