/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The schema of signature files, and reading them: docs/signatures.md is its manual. */
#include "scanner/signatures.h"

#include "common/paths.h"
#include "conf/conf_document.h"
#include "conf/conf_reader.h"
#include "conf/conf_value.h"
#include "scanner/fingerprint_serves.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>

enum {
	VERSION_MAX_LEN = 64,
	NAME_LIKE_MAX_LEN = 200, /* module paths, titles, header lines */
	PATH_MAX_LEN = 100,      /* fits where probe and fingerprint keep a prefix */
};

/* clang-format off: one row a key, its columns on few lines */
#define ROOT(t, member)  .type = CONF_TYPE_##t, .offset = offsetof(struct signatures, member)
#define PORTS(t, member) .type = CONF_TYPE_##t, .offset = offsetof(struct signature_ports, member)
#define PRODUCT(t, member)                                                                         \
	.type = CONF_TYPE_##t, .offset = offsetof(struct signature_product, member)
#define RELATIVE(t, member)                                                                        \
	.type = CONF_TYPE_##t, .offset = offsetof(struct signature_relative, member)
#define RANGE(least, most) .min = (least), .max = (most)
#define STRINGS            .max = SIGNATURES_MAX_STRINGS, .item_max = NAME_LIKE_MAX_LEN
#define RECORDS(member, kind)                                                                      \
	ROOT(RECORDS, member), .extra = offsetof(struct signatures, n_##member),                   \
	                       .size = sizeof(struct kind), .max = SIGNATURES_MAX_RECORDS

static const struct conf_key keys[] = {
    {"schema", ROOT(NUMBER, schema), RANGE(SIGNATURES_SCHEMA, SIGNATURES_SCHEMA),
     .flags = CONF_KEY_REQUIRED, .help = "Version of this schema"},
    {"version", ROOT(TEXT, version), .max = VERSION_MAX_LEN, .flags = CONF_KEY_REQUIRED,
     .help = "Stands in every finding; say another one with every change"},

    {"ports", RECORDS(ports, signature_ports), .help = "Lists of ports, for --ports"},
    {"ports[].name", PORTS(NAME, name), .flags = CONF_KEY_REQUIRED, .help = "Unique"},
    {"ports[].ports", PORTS(PORTS, ports), RANGE(0, UINT16_MAX),
     .flags = CONF_KEY_REQUIRED | CONF_KEY_NONEMPTY, .help = "In the order to try them"},
    {"https_first", ROOT(PORTS, https_first), RANGE(0, UINT16_MAX),
     .help = "Ports where https is tried before http"},
    {"prefixes", ROOT(URL_PATHS, prefixes), .max = SIGNATURES_MAX_STRINGS, .item_max = PATH_MAX_LEN,
     .help = "Where pprof is mounted; the first is always asked for"},

    {"products", RECORDS(products, signature_product), .help = "Programs, and what to do"},
    {"products[].name", PRODUCT(NAME, name), .flags = CONF_KEY_REQUIRED, .help = "Unique"},
    {"products[].modules", PRODUCT(TEXTS, modules), STRINGS,
     .help = "Main modules, without /vN at the end"},
    {"products[].executables", PRODUCT(TEXTS, executables), STRINGS,
     .help = "Base names of argv[0]"},
    {"products[].headers", PRODUCT(TEXTS, headers), STRINGS,
     .help = "Beginnings of header lines, such as \"Server: Caddy\""},
    {"products[].titles", PRODUCT(TEXTS, titles), STRINGS, .help = "Whole titles of pages"},
    {"products[].serves", PRODUCT(TEXTS, serves), STRINGS,
     .help = "What else its port is for: metrics, api, ui"},
    {"products[].switch", PRODUCT(TEXT, pprof_switch), .max = NAME_LIKE_MAX_LEN,
     .help = "What turns pprof off; or none"},
    {"products[].default_bind", PRODUCT(TEXT, default_bind), .max = NAME_LIKE_MAX_LEN,
     .help = "Where it listens unless told otherwise"},
    {"products[].advice", PRODUCT(TEXT, advice), .max = SIGNATURES_TEXT_MAX_LEN,
     .help = "Instead of the sentence that is made of switch and default_bind"},

    {"relatives", RECORDS(relatives, signature_relative), .help = "What is no pprof index"},
    {"relatives[].name", RELATIVE(NAME, name), .flags = CONF_KEY_REQUIRED, .help = "Unique"},
    {"relatives[].lookalike", RELATIVE(BOOL, lookalike), .preset = "false",
     .help = "No Go at all: named for what it is, and no finding"},
    {"relatives[].path", RELATIVE(URL_PATH, path), .max = PATH_MAX_LEN, .flags = CONF_KEY_REQUIRED,
     .help = "What to ask for"},
    {"relatives[].content_type", RELATIVE(TEXT, content_type), .max = NAME_LIKE_MAX_LEN,
     .help = "How the answer's begins"},
    {"relatives[].contains", RELATIVE(TEXTS, contains), STRINGS,
     .flags = CONF_KEY_REQUIRED | CONF_KEY_NONEMPTY, .help = "All of these stand in the body"},
    {"relatives[].advice", RELATIVE(TEXT, advice), .max = SIGNATURES_TEXT_MAX_LEN,
     .help = "What to do about it"},
};
/* clang-format on */

_Static_assert(ARRAY_LEN(keys) <= CONF_SCHEMA_MAX, "readers have room for each row");
_Static_assert(offsetof(struct signature_ports, name) == 0 &&
                   offsetof(struct signature_product, name) == 0 &&
                   offsetof(struct signature_relative, name) == 0,
               "conf_read_table() and merging read the first member");

/* Nothing that makes a server work is ever asked for, whoever wants it. */
static int check_path(const char *path, struct conf_mark at, const struct conf_diag *diag)
{
	if (rule_is_costly_path(path))
		return conf_fail(
		    diag, at, "path %s makes the server work; expected neither profile nor trace",
		    path);
	return 0;
}

static int check_serves(const struct signature_product *product, const struct conf_diag *diag)
{
	for (size_t i = 0; i < product->serves.count; i++) {
		const char *item = product->serves.items[i];
		bool known = false;

		for (size_t k = 0; serves_names[k] && !known; k++)
			known = strcmp(item, serves_names[k]) == 0;
		if (!known)
			return conf_fail(diag, product->serves.marks[i],
			                 "%s is nothing that a port is known to serve; expected "
			                 "metrics, api or ui",
			                 item);
	}
	return 0;
}

static int check_record(const struct conf_key *records, const void *record, struct conf_mark at,
                        const struct conf_diag *diag)
{
	const struct signature_product *product = record;

	if (strcmp(records->path, "relatives") == 0)
		return check_path(((const struct signature_relative *)record)->path, at, diag);
	if (strcmp(records->path, "products") != 0)
		return 0;
	if (product->modules.count + product->executables.count + product->headers.count +
	        product->titles.count ==
	    0)
		return conf_fail(diag, at,
		                 "product %s is never recognised; expected modules, executables, "
		                 "headers or titles",
		                 product->name);
	return check_serves(product, diag);
}

static const struct conf_table table = {
    .keys = keys,
    .count = ARRAY_LEN(keys),
    .least = "schema: 1",
    .check_record = check_record,
};

static int read_document(yaml_document_t *document, void *base, const struct conf_diag *diag)
{
	const struct signatures *s = base;
	int err = conf_read_table(document, &table, base, diag);

	for (size_t i = 0; !err && i < s->prefixes.count; i++)
		err = check_path(s->prefixes.items[i], s->prefixes.marks[i], diag);
	return err;
}

struct signatures *signatures_load(const char *file, const void *bytes, size_t length,
                                   char error[static CONF_ERROR_LEN])
{
	const struct conf_diag diag = {file, error};
	auto_signatures struct signatures *s = calloc(1, sizeof(*s));

	if (!s) {
		conf_fail_memory(&diag, (struct conf_mark){1, 1});
		return NULL;
	}
	if (conf_document_load(bytes, length, table.least, read_document, s, &diag) < 0)
		return NULL;
	return steal_ptr(&s);
}

static struct signatures *load_fd(int fd, const struct conf_diag *diag)
{
	size_t length;
	auto_free char *bytes = conf_document_read_fd(fd, &length, diag);

	return bytes ? signatures_load(diag->file, bytes, length, diag->error) : NULL;
}

struct signatures *signatures_load_shipped_fd(int fd, char error[static CONF_ERROR_LEN])
{
	char shipped[PATHS_MAX_LEN];
	bool known = paths_data("signatures.yaml", shipped) == 0;
	const struct conf_diag diag = {known ? shipped : "(shipped signatures)", error};

	return load_fd(fd, &diag);
}

struct signatures *signatures_take_shipped(int fd, char error[static CONF_ERROR_LEN])
{
	bool handed_over = fcntl(fd, F_GETFD) >= 0;
	struct signatures *s =
	    handed_over ? signatures_load_shipped_fd(fd, error) : signatures_load_file(NULL, error);

	if (handed_over)
		close(fd);
	return s;
}

struct signatures *signatures_load_file(const char *file, char error[static CONF_ERROR_LEN])
{
	struct conf_diag diag = {file, error};
	char shipped[PATHS_MAX_LEN] = "(shipped signatures)";
	auto_close int fd = -1;
	int err = file ? 0 : paths_data("signatures.yaml", shipped);

	if (!file)
		diag.file = shipped;
	if (!err) {
		fd = open(diag.file, O_RDONLY | O_CLOEXEC | O_NOCTTY);
		err = fd < 0 ? -errno : 0;
	}
	if (err < 0) {
		conf_fail(&diag, (struct conf_mark){1, 1}, "%s; expected a readable file",
		          strerror(-err));
		return NULL;
	}
	return load_fd(fd, &diag);
}

void signatures_free(struct signatures *s)
{
	if (s)
		conf_table_free(&table, "", s);
	free(s);
}

static const char *name_of(const void *record)
{
	char *name;

	memcpy(&name, record, sizeof(name));
	return name;
}

/* One list of records: where it is, and how it grows. */
struct records {
	void **items;
	size_t *count;
	size_t size;
	const char *prefix;
};

static int reserve(struct records *to, size_t more)
{
	void *grown;

	if (more == 0)
		return 0;
	grown = reallocarray(*to->items, *to->count + more, to->size);
	if (!grown)
		return -ENOMEM;
	*to->items = grown;
	return 0;
}

/* After reserve(): cannot fail. */
static void move_records(struct records *to, struct records *from)
{
	for (size_t i = 0; i < *from->count; i++) {
		char *record = (char *)*from->items + i * from->size;
		size_t at = 0;

		while (at < *to->count &&
		       strcmp(name_of((char *)*to->items + at * to->size), name_of(record)) != 0)
			at++;
		if (at < *to->count)
			conf_table_free(&table, to->prefix, (char *)*to->items + at * to->size);
		else
			++*to->count;
		memcpy((char *)*to->items + at * to->size, record, to->size);
	}
	*from->count = 0;
}

static int merge_ports(struct conf_ports *to, const struct conf_ports *from)
{
	uint16_t *grown = reallocarray(to->items, to->count + from->count + 1, sizeof(*grown));

	if (!grown)
		return -ENOMEM;
	to->items = grown;
	if (from->count > 0)
		memcpy(to->items + to->count, from->items, from->count * sizeof(*grown));
	to->count += from->count;
	return 0;
}

static int reserve_strings(struct conf_strings *to, size_t more)
{
	char **items = reallocarray(to->items, to->count + more + 1, sizeof(*items));
	struct conf_mark *marks;

	if (!items)
		return -ENOMEM;
	to->items = items;
	marks = reallocarray(to->marks, to->count + more + 1, sizeof(*marks));
	if (!marks)
		return -ENOMEM;
	to->marks = marks;
	return 0;
}

static void move_strings(struct conf_strings *to, struct conf_strings *from)
{
	for (size_t i = 0; i < from->count; i++) {
		to->marks[to->count] = from->marks[i];
		to->items[to->count++] = from->items[i];
	}
	from->count = 0;
}

int signatures_merge(struct signatures *s, struct signatures *more)
{
	struct records to[] = {
	    {(void **)&s->ports, &s->n_ports, sizeof(*s->ports), "ports[]."},
	    {(void **)&s->products, &s->n_products, sizeof(*s->products), "products[]."},
	    {(void **)&s->relatives, &s->n_relatives, sizeof(*s->relatives), "relatives[]."},
	};
	struct records from[] = {
	    {(void **)&more->ports, &more->n_ports, sizeof(*s->ports), "ports[]."},
	    {(void **)&more->products, &more->n_products, sizeof(*s->products), "products[]."},
	    {(void **)&more->relatives, &more->n_relatives, sizeof(*s->relatives), "relatives[]."},
	};
	auto_free char *version = NULL;

	if (asprintf(&version, "%s+%s", s->version, more->version) < 0) {
		version = NULL;
		return -ENOMEM;
	}
	for (size_t i = 0; i < ARRAY_LEN(to); i++) {
		if (reserve(&to[i], *from[i].count) < 0)
			return -ENOMEM;
	}
	if (reserve_strings(&s->prefixes, more->prefixes.count) < 0 ||
	    merge_ports(&s->https_first, &more->https_first) < 0)
		return -ENOMEM;
	for (size_t i = 0; i < ARRAY_LEN(to); i++)
		move_records(&to[i], &from[i]);
	move_strings(&s->prefixes, &more->prefixes);
	free(s->version);
	s->version = steal_ptr(&version);
	return 0;
}
