/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * CSV by RFC 4180: a header line, CRLF, quotes where they are needed. The columns are the keys of
 * a finding's JSON object and the names of the evidence files; items of lists are joined by
 * blanks. Spreadsheets run what begins with = + - or @ as a formula, and servers choose what
 * stands here: such a field gets a quote in front.
 */
#include "common/cleanup.h"
#include "scanner/output_format.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

AUTO_CLEANUP(json, json_t *, json_decref)
#define auto_json __attribute__((cleanup(cleanup_json)))

static void put_field(FILE *to, const char *text)
{
	const char *guard = *text && strchr("=+-@\t\r", *text) ? "'" : "";

	if (!*guard && !strpbrk(text, ",\"\r\n; ")) {
		fputs(text, to);
		return;
	}
	fprintf(to, "\"%s", guard);
	for (const char *c = text; *c; c++) {
		if (*c == '"')
			fputc('"', to);
		fputc(*c, to);
	}
	fputc('"', to);
}

static int put_list(FILE *to, const json_t *list)
{
	auto_free char *text = NULL;
	size_t size, i;
	json_t *item;
	FILE *joined = open_memstream(&text, &size);

	if (!joined)
		return -ENOMEM;
	json_array_foreach (list, i, item)
		fprintf(joined, "%s%s", i ? " " : "", json_string_value(item));
	if (fclose(joined) != 0)
		return -ENOMEM;
	put_field(to, text);
	return 0;
}

static int put_value(FILE *to, const json_t *value)
{
	if (json_is_array(value))
		return put_list(to, value);
	if (json_is_string(value))
		put_field(to, json_string_value(value));
	else if (json_is_integer(value))
		fprintf(to, "%" JSON_INTEGER_FORMAT, json_integer_value(value));
	return 0;
}

static int put_header(struct output *o, FILE *to)
{
	struct finding empty;
	auto_json json_t *object = NULL;
	const char *key;
	json_t *value;

	(void)o;
	finding_init(&empty);
	empty.endpoint = (struct endpoint){.family = AF_INET, .port = 1};
	object = finding_to_json(&empty);
	if (!object)
		return -ENOMEM;
	json_object_foreach (object, key, value)
		fprintf(to, "%s,", key);
	fputs("evidence_files\r\n", to);
	return 0;
}

static int put_record(struct output *o, FILE *to, const struct output_row *row)
{
	auto_json json_t *object = finding_to_json(row->finding);
	const char *key;
	json_t *value;

	(void)o;
	if (!object)
		return -ENOMEM;
	json_object_foreach (object, key, value) {
		if (put_value(to, value) < 0)
			return -ENOMEM;
		fputc(',', to);
	}
	/* Our own names: nothing in them needs a quote but the blank between them. */
	if (row->files->count > 0)
		fputc('"', to);
	for (size_t i = 0; i < row->files->count; i++)
		fprintf(to, "%s%s", i ? " " : "", row->files->items[i].name);
	fputs(row->files->count > 0 ? "\"\r\n" : "\r\n", to);
	return 0;
}

const struct output_format_ops output_csv = {
    .name = "csv",
    .endings = {".csv"},
    .begin = put_header,
    .row = put_record,
};
