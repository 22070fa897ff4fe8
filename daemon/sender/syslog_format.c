/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/sender/syslog_format.h"

#include "common/cleanup.h"
#include "common/utf8.h"
#include "daemon/sender/event_kind.h"

#include <stdio.h>
#include <string.h>

/*
 * An id of our own needs a number from IANA, which we do not have; 32473 is set aside for
 * documentation (RFC 5612), so that no other sender's can be mistaken for it.
 */
#define SD_ID "pprofwall@32473"
#define BOM   "\xef\xbb\xbf"

enum {
	VALUE_MAX_BYTES = 128,     /* of one field */
	TEXT_RESERVED_BYTES = 512, /* fields do not crowd out the text */
};

struct writer {
	char *out;
	size_t used, max;
};

static void put_bytes(struct writer *w, const char *bytes, size_t length)
{
	size_t fits = utf8_fit(bytes, length, w->max - w->used);

	memcpy(w->out + w->used, bytes, fits);
	w->used += fits;
}

static void put(struct writer *w, const char *text)
{
	put_bytes(w, text, strlen(text));
}

/* A field of the header: printable ASCII without blanks, or "-" (RFC 5424, 6). */
static void put_header(struct writer *w, const json_t *event, const char *key, size_t max_bytes)
{
	const char *text = json_string_value(json_object_get(event, key));
	size_t length = 0;

	while (text && length < max_bytes && text[length] > ' ' && text[length] < 0x7f)
		length++;
	put(w, " ");
	if (length > 0 && text[length] == '\0')
		put_bytes(w, text, length);
	else
		put(w, "-");
}

/* RFC 5424, 6.3.3: these three are escaped, and nothing else. All of it or nothing. */
static void put_param(struct writer *w, const char *name, const char *value)
{
	size_t length = utf8_fit(value, strlen(value), VALUE_MAX_BYTES);

	/* Each byte may become two; then the name, blank, equals sign, quotes and bracket. */
	if (w->max - w->used < 2 * length + strlen(name) + 5 + TEXT_RESERVED_BYTES)
		return;
	put(w, " ");
	put(w, name);
	put(w, "=\"");
	for (size_t i = 0; i < length; i++) {
		if (value[i] == '"' || value[i] == '\\' || value[i] == ']')
			w->out[w->used++] = '\\';
		w->out[w->used++] = value[i];
	}
	put(w, "\"");
}

size_t syslog_format(const json_t *event, const char *text, unsigned facility, size_t max_bytes,
                     bool counted, char *out)
{
	struct writer w = {.out = out + SYSLOG_PREFIX_MAX_BYTES, .max = max_bytes};
	char head[16], count[SYSLOG_PREFIX_MAX_BYTES + 1] = "";
	size_t prefix, begin;

	snprintf(head, sizeof(head), "<%u>1", facility * 8 + (unsigned)event_priority(event));
	put(&w, head);
	put_header(&w, event, "time", 32);
	put_header(&w, event, "host", 255);
	put(&w, " pprofwalld -"); /* no process: it is the host that tells, whoever sends */
	put_header(&w, event, "event", 32);
	put(&w, " [" SD_ID);
	for (size_t i = 0; event_field_name(i); i++) {
		auto_free char *value = event_field_value(event, event_field_name(i));

		if (value)
			put_param(&w, event_field_name(i), value);
	}
	put(&w, "] " BOM);
	begin = w.used;
	put(&w, text);
	/* One line: a receiver may take a line break for the end (RFC 6587, 3.4.2). */
	for (size_t i = begin; i < w.used; i++) {
		if ((unsigned char)w.out[i] < ' ' || w.out[i] == 0x7f)
			w.out[i] = ' ';
	}
	if (counted)
		snprintf(count, sizeof(count), "%zu ", w.used);
	prefix = strlen(count);
	memcpy(out, count, prefix);
	memmove(out + prefix, w.out, w.used);
	return prefix + w.used;
}
