/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "scanner/accept.h"

#include "common/cleanup.h"
#include "conf/conf_document.h"
#include "conf/conf_reader.h"
#include "conf/conf_value.h"
#include "scanner/target.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <time.h>

enum {
	ENDPOINT_MAX_LEN = TARGET_HOST_MAX_LEN + 10,
	TEXT_MAX_LEN = 300,
	DAY_MS = 24 * 60 * 60 * 1000,
};

#define ENTRY(t, member)                                                                           \
	.type = CONF_TYPE_##t, .offset = offsetof(struct acceptance, member),                      \
	.flags = CONF_KEY_REQUIRED

static const struct conf_key keys[] = {
    {"accepted", .type = CONF_TYPE_RECORDS, .offset = offsetof(struct accept_list, items),
     .extra = offsetof(struct accept_list, n_items), .size = sizeof(struct acceptance),
     .max = ACCEPT_MAX, .flags = CONF_KEY_REQUIRED, .help = "What is known and lived with"},
    {"accepted[].name", ENTRY(NAME, name), .help = "Unique, such as a ticket's number"},
    {"accepted[].endpoints", .type = CONF_TYPE_TEXTS,
     .offset = offsetof(struct acceptance, endpoints), .max = ACCEPT_MAX_ENDPOINTS,
     .item_max = ENDPOINT_MAX_LEN, .flags = CONF_KEY_REQUIRED | CONF_KEY_NONEMPTY,
     .help = "Addresses, networks, names, *.names; with or without a port"},
    {"accepted[].reason", ENTRY(TEXT, reason), .max = TEXT_MAX_LEN, .help = "Why"},
    {"accepted[].owner", ENTRY(TEXT, owner), .max = TEXT_MAX_LEN, .help = "Whose it is"},
    {"accepted[].expires", ENTRY(TEXT, expires), .max = 10, .help = "The last day, UTC"},
};

/* "*.lab.example:6060" covers what is below lab.example. */
static bool is_pattern(const char *text)
{
	return strncmp(text, "*.", 2) == 0;
}

static int parse_endpoint(const char *text, struct target *out, char why[static TARGET_ERROR_LEN])
{
	int err = target_parse(is_pattern(text) ? text + 2 : text, out, why);

	if (err < 0)
		return err;
	if (out->scheme != TARGET_ANY || out->path[0] || out->zone[0]) {
		snprintf(why, TARGET_ERROR_LEN, "a URL or an interface's name");
		return -EINVAL;
	}
	if (is_pattern(text) && !out->host[0]) {
		snprintf(why, TARGET_ERROR_LEN, "'*.' before an address");
		return -EINVAL;
	}
	return 0;
}

static int check_record(const struct conf_key *records, const void *record, struct conf_mark at,
                        const struct conf_diag *diag)
{
	const struct acceptance *a = record;
	char why[TARGET_ERROR_LEN];
	struct target t;

	(void)records;
	(void)at;
	for (size_t i = 0; i < a->endpoints.count; i++) {
		if (parse_endpoint(a->endpoints.items[i], &t, why) < 0)
			return conf_fail(
			    diag, a->endpoints.marks[i],
			    "accepted[].endpoints: %s; expected an address, a network, "
			    "a name or *.name, with or without a port",
			    why);
	}
	return 0;
}

static const struct conf_table table = {
    .keys = keys,
    .count = ARRAY_LEN(keys),
    .least = "accepted: []",
    .check_record = check_record,
};

/* The end of that day. Returns 0 or -EINVAL. */
static int parse_date(const char *text, int64_t *end_ms)
{
	struct tm tm = {0}, back;
	const char *end;
	char again[16];

	end = strptime(text, "%Y-%m-%d", &tm);
	if (!end || *end)
		return -EINVAL;
	/* strptime() takes "2026-2-31" and the like. */
	back = tm;
	*end_ms = (int64_t)timegm(&back) * 1000 + DAY_MS;
	if (strftime(again, sizeof(again), "%Y-%m-%d", &back) == 0 || strcmp(again, text) != 0)
		return -EINVAL;
	return 0;
}

static yaml_node_t *find(yaml_document_t *document, const yaml_node_t *mapping, const char *name)
{
	const yaml_node_pair_t *end = mapping->data.mapping.pairs.top;

	for (const yaml_node_pair_t *p = mapping->data.mapping.pairs.start; p < end; p++) {
		const yaml_node_t *key = yaml_document_get_node(document, p->key);

		if (strcmp((const char *)key->data.scalar.value, name) == 0)
			return yaml_document_get_node(document, p->value);
	}
	return NULL;
}

/* Read already, so each node is what the table says: this is for where a bad date stands. */
static int check_dates(yaml_document_t *document, const struct conf_diag *diag)
{
	const yaml_node_t *list = find(document, yaml_document_get_root_node(document), "accepted");
	const yaml_node_item_t *item = list->data.sequence.items.start;
	int64_t unused;

	for (; item < list->data.sequence.items.top; item++) {
		const yaml_node_t *date =
		    find(document, yaml_document_get_node(document, *item), "expires");

		if (parse_date((const char *)date->data.scalar.value, &unused) < 0)
			return conf_fail(diag,
			                 (struct conf_mark){(unsigned)date->start_mark.line + 1,
			                                    (unsigned)date->start_mark.column + 1},
			                 "accepted[].expires: not a date; expected YYYY-MM-DD");
	}
	return 0;
}

static int read_document(yaml_document_t *document, void *base, const struct conf_diag *diag)
{
	int err = conf_read_table(document, &table, base, diag);

	return err ? err : check_dates(document, diag);
}

AUTO_CLEANUP(accept_list, struct accept_list *, accept_free)
#define auto_accept_list __attribute__((cleanup(cleanup_accept_list)))

struct accept_list *accept_load(const char *file, const void *bytes, size_t length,
                                char error[static CONF_ERROR_LEN])
{
	const struct conf_diag diag = {file, error};
	auto_accept_list struct accept_list *list = calloc(1, sizeof(*list));

	if (!list) {
		conf_fail_memory(&diag, (struct conf_mark){1, 1});
		return NULL;
	}
	if (conf_document_load(bytes, length, table.least, read_document, list, &diag) < 0)
		return NULL;
	return steal_ptr(&list);
}

struct accept_list *accept_load_file(const char *file, char error[static CONF_ERROR_LEN])
{
	const struct conf_diag diag = {file, error};
	auto_close int fd = open(file, O_RDONLY | O_CLOEXEC | O_NOCTTY);
	auto_free char *bytes = NULL;
	size_t length;

	if (fd < 0) {
		conf_fail(&diag, (struct conf_mark){1, 1}, "%s; expected a readable file",
		          strerror(errno));
		return NULL;
	}
	bytes = conf_document_read_fd(fd, &length, &diag);
	return bytes ? accept_load(file, bytes, length, error) : NULL;
}

void accept_free(struct accept_list *list)
{
	if (list)
		conf_table_free(&table, "", list);
	free(list);
}

static bool host_matches(const char *pattern, const struct target *t, const char *host)
{
	size_t have = strlen(host), want = strlen(t->host);

	if (!is_pattern(pattern))
		return strcasecmp(t->host, host) == 0;
	return have > want + 1 && host[have - want - 1] == '.' &&
	       strcasecmp(host + have - want, t->host) == 0;
}

static bool covers(const char *text, const struct endpoint *e, const char *host)
{
	char why[TARGET_ERROR_LEN];
	struct target t;

	if (parse_endpoint(text, &t, why) < 0 || (t.port && t.port != e->port))
		return false;
	if (t.host[0])
		return host && host_matches(text, &t, host);
	return prefix_contains(&t.prefix, e) && (!t.scope_id || t.scope_id == e->scope_id);
}

const struct acceptance *accept_find(const struct accept_list *list, const struct endpoint *e,
                                     const char *host, int64_t now_ms)
{
	for (size_t i = 0; list && i < list->n_items; i++) {
		const struct acceptance *a = &list->items[i];
		int64_t end_ms;

		if (parse_date(a->expires, &end_ms) < 0 || now_ms >= end_ms)
			continue;
		for (size_t k = 0; k < a->endpoints.count; k++) {
			if (covers(a->endpoints.items[k], e, host))
				return a;
		}
	}
	return NULL;
}

char *accept_describe(const struct acceptance *a)
{
	char *text;

	if (asprintf(&text, "%s: %s (%s, until %s)", a->name, a->reason, a->owner, a->expires) < 0)
		return NULL;
	return text;
}
