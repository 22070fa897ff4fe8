/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "conf/conf_schema.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

struct dump {
	FILE *out;
	bool show_secrets;
};

/* In double quotes always: what a plain scalar would mean is YAML's to guess. */
static void put_text(const struct dump *d, const char *text)
{
	fputc('"', d->out);
	for (const char *p = text; *p; p++) {
		if (*p == '"' || *p == '\\')
			fputc('\\', d->out);
		if (*p == '\n')
			fputs("\\n", d->out);
		else
			fputc(*p, d->out);
	}
	fputc('"', d->out);
}

static void put_text_at(const struct dump *d, const struct conf_key *key, const void *slot)
{
	const char *text;

	memcpy(&text, slot, sizeof(text));
	if (key->flags & CONF_KEY_SECRET)
		text = d->show_secrets && *text ? text : "***"; /* "": forgotten */
	put_text(d, text);
}

static void put_listen(const struct dump *d, const struct conf_key *key, const char *base)
{
	char text[ENDPOINT_TEXT_LEN];
	struct endpoint listen;
	bool enabled;

	memcpy(&enabled, base + key->extra, sizeof(enabled));
	memcpy(&listen, base + key->offset, sizeof(listen));
	if (enabled)
		put_text(d, endpoint_format(&listen, text));
	else
		fputs("off", d->out);
}

static void put_duration(const struct dump *d, const struct conf_key *key, const void *slot)
{
	char text[32];
	int64_t ms;

	memcpy(&ms, slot, sizeof(ms));
	fputs(ms == 0 && (key->flags & CONF_KEY_OR_OFF) ? "off" : conf_format_duration(ms, text),
	      d->out);
}

static void put_scalar(const struct dump *d, const struct conf_key *key, const char *base)
{
	const char *slot = base + key->offset;
	unsigned number;
	bool yes;

	if (key->type == CONF_TYPE_BOOL) {
		memcpy(&yes, slot, sizeof(yes));
		fputs(yes ? "true" : "false", d->out);
	} else if (key->type == CONF_TYPE_DURATION) {
		put_duration(d, key, slot);
	} else if (key->type == CONF_TYPE_LISTEN) {
		put_listen(d, key, base);
	} else if (key->type == CONF_TYPE_NUMBER || key->type == CONF_TYPE_BITS ||
	           key->type == CONF_TYPE_CHOICE) {
		memcpy(&number, slot, sizeof(number));
		if (key->type == CONF_TYPE_CHOICE)
			fputs(conf_choice_name(key->choices, number), d->out);
		else
			fprintf(d->out, key->type == CONF_TYPE_BITS ? "0x%08x" : "%u", number);
	} else {
		put_text_at(d, key, slot);
	}
}

static size_t list_count(const struct conf_key *key, const void *slot)
{
	if (key->type == CONF_TYPE_PORTS)
		return ((const struct conf_ports *)slot)->count;
	if (key->type == CONF_TYPE_PREFIXES)
		return ((const struct conf_prefixes *)slot)->count;
	return ((const struct conf_strings *)slot)->count;
}

/* Addresses first, then files, then names. */
static void put_sources(const struct dump *d, const struct conf_key *key, const char *base,
                        int indent)
{
	const struct conf_prefixes *prefixes = (const void *)(base + key->offset);
	const struct conf_sources *sources = (const void *)(base + key->extra);
	char text[PREFIX_TEXT_LEN];

	if (prefixes->count + sources->files.count + sources->names.count == 0)
		fputs(" []", d->out);
	for (size_t i = 0; i < prefixes->count; i++) {
		fprintf(d->out, "\n%*s- ", indent + 2, "");
		put_text(d, prefix_format(&prefixes->items[i], text));
	}
	for (size_t i = 0; i < sources->files.count; i++) {
		auto_free char *file = NULL;

		fprintf(d->out, "\n%*s- ", indent + 2, "");
		if (asprintf(&file, "@%s", sources->files.items[i]) >= 0)
			put_text(d, file);
	}
	for (size_t i = 0; i < sources->names.count; i++) {
		fprintf(d->out, "\n%*s- ", indent + 2, "");
		put_text(d, sources->names.items[i]);
	}
}

/* Only what stands behind the name is secret. */
static void put_header(const struct dump *d, const char *header)
{
	auto_free char *masked = NULL;
	int name = (int)strcspn(header, ":");

	if (d->show_secrets && header[name])
		put_text(d, header);
	else if (asprintf(&masked, "%.*s: ***", name, header) >= 0)
		put_text(d, masked);
}

static void put_list(const struct dump *d, const struct conf_key *key, const char *base, int indent)
{
	const void *slot = base + key->offset;
	char text[PREFIX_TEXT_LEN];
	size_t count = list_count(key, slot);

	if (count == 0)
		fputs(" []", d->out);
	for (size_t i = 0; i < count; i++) {
		fprintf(d->out, "\n%*s- ", indent + 2, "");
		if (key->type == CONF_TYPE_PORTS)
			fprintf(d->out, "%u",
			        (unsigned)((const struct conf_ports *)slot)->items[i]);
		else if (key->type == CONF_TYPE_PREFIXES)
			put_text(d, prefix_format(&((const struct conf_prefixes *)slot)->items[i],
			                          text));
		else if (key->type == CONF_TYPE_HEADERS)
			put_header(d, ((const struct conf_strings *)slot)->items[i]);
		else
			put_text(d, ((const struct conf_strings *)slot)->items[i]);
	}
}

static void put_records(const struct dump *d, const struct conf_key *key, const char *base);

/* Not an optional text that is not there, nor what an alert of this type does not have. */
static bool is_given(const struct conf_key *key, const char *base)
{
	const char *text;

	if (!conf_key_fits(key, base))
		return false;
	if (!conf_type_is_text(key->type))
		return true;
	memcpy(&text, base + key->offset, sizeof(text));
	return text != NULL;
}

static void put_key(const struct dump *d, const struct conf_key *key, const char *base, int indent)
{
	fprintf(d->out, "%s:", conf_key_name(key));
	if (key->type == CONF_TYPE_RECORDS) {
		put_records(d, key, base);
		return;
	}
	if (key->type == CONF_TYPE_SOURCES) {
		put_sources(d, key, base, indent);
	} else if (conf_type_is_list(key->type)) {
		put_list(d, key, base, indent);
	} else if (key->type != CONF_TYPE_SECTION) {
		fputc(' ', d->out);
		put_scalar(d, key, base);
	}
	fputc('\n', d->out);
}

static void put_records(const struct dump *d, const struct conf_key *key, const char *base)
{
	char prefix[64];
	const char *records;
	size_t count;

	memcpy(&records, base + key->offset, sizeof(records));
	memcpy(&count, base + key->extra, sizeof(count));
	snprintf(prefix, sizeof(prefix), "%s[].", key->path);
	fputs(count ? "\n" : " []\n", d->out);
	for (size_t i = 0; i < count; i++) {
		bool first = true;

		for (size_t k = 0; k < conf_schema_count; k++) {
			int indent = 4;

			if (!conf_key_is_below(&conf_schema[k], prefix) ||
			    !is_given(&conf_schema[k], records + i * key->size))
				continue;
			if (!conf_key_is_in(&conf_schema[k], prefix))
				indent = 6; /* of a section in it */
			fprintf(d->out, "%*s", indent, first ? "  - " : "");
			put_key(d, &conf_schema[k], records + i * key->size, indent);
			first = false;
		}
	}
}

int conf_dump(const struct conf *conf, FILE *out, bool show_secrets)
{
	const struct dump d = {out, show_secrets};

	for (size_t i = 0; i < conf_schema_count; i++) {
		const struct conf_key *key = &conf_schema[i];
		bool nested = strchr(key->path, '.') != NULL;

		if (conf_key_is_of_record(key))
			continue;
		fputs(nested ? "  " : "", out);
		put_key(&d, key, (const char *)conf, nested ? 2 : 0);
	}
	return fflush(out) == EOF || ferror(out) ? -EIO : 0;
}

static const char *default_of(const struct conf_key *key)
{
	if (key->note)
		return key->note;
	if (key->preset)
		return key->preset;
	if (key->flags & CONF_KEY_REQUIRED)
		return "none, required";
	return conf_type_is_list(key->type) ? "empty" : "none";
}

int conf_print_schema(FILE *out)
{
	char expected[CONF_EXPECT_LEN];

	for (size_t i = 0; i < conf_schema_count; i++) {
		const struct conf_key *key = &conf_schema[i];

		fprintf(out, "%s\n    %s", key->path, conf_key_expects(key, expected));
		if (key->type != CONF_TYPE_SECTION)
			fprintf(out, "; default: %s", default_of(key));
		fprintf(out, "%s%s\n    %s\n", key->flags & CONF_KEY_SECRET ? "; secret" : "",
		        key->flags & CONF_KEY_RESTART ? "; needs a restart" : "", key->help);
	}
	return fflush(out) == EOF || ferror(out) ? -EIO : 0;
}
