/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "common/template.h"

#include "common/cleanup.h"
#include "common/spelling.h"
#include "common/utf8.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

/* Where a field stands in the event, and where else if it is not there. */
struct field {
	const char *name;
	const char *places[2]; /* "key" or "key.key" */
};

static const struct field fields[] = {
    {"event", {"event"}},
    {"text", {"text"}},
    {"about", {"endpoint", "source"}},
    {"endpoint", {"endpoint"}},
    {"source", {"source"}},
    {"host", {"host"}},
    {"time", {"time"}},
    {"id", {"id"}},
    {"mode", {"mode"}},
    {"action", {"action"}},
    {"reason", {"reason"}},
    {"who", {"who"}},
    {"rule", {"breaker.name"}},
    {"state", {"breaker.state"}},
    {"opened", {"breaker.opened"}},
    {"open_until", {"breaker.open_until"}},
    {"process", {"listener.process", "finding.program"}},
    {"pid", {"listener.pid"}},
    {"uid", {"listener.uid"}},
    {"unit", {"listener.unit"}},
    {"container", {"listener.container"}},
    {"runtime", {"listener.runtime"}},
    {"executable", {"listener.executable"}},
    {"bound", {"listener.bound"}},
    {"verdict", {"finding.verdict"}},
    {"severity", {"finding.severity"}},
    {"risk", {"finding.risk"}},
    {"kind", {"finding.kind"}},
    {"scheme", {"finding.scheme"}},
    {"path", {"finding.path"}},
    {"program", {"finding.program"}},
    {"module", {"finding.module"}},
    {"go_version", {"finding.go_version"}},
    {"vantage", {"finding.vantage"}},
    {"advice", {"finding.advice"}},
    {"cut", {"impact.cut"}},
    {"stay", {"impact.stay"}},
    {"client", {"denied.client"}},
    {"denied", {"denied.reason"}},
    {"asked", {"denied.path"}},
    {"count", {"denied.count"}},
};

enum { FIELD_NAME_MAX_LEN = 16, NUMBER_TEXT_LEN = 24 };

const char *template_field_name(size_t i)
{
	return i < ARRAY_LEN(fields) ? fields[i].name : NULL;
}

static const struct field *find_field(const char *name, size_t length)
{
	for (size_t i = 0; i < ARRAY_LEN(fields); i++) {
		if (strlen(fields[i].name) == length && !memcmp(fields[i].name, name, length))
			return &fields[i];
	}
	return NULL;
}

/* One piece of a template: literal text, or a field and what stands for it. */
struct piece {
	const char *text; /* literal, or the field's name */
	size_t length;
	bool is_field;
	const char *otherwise;
	size_t otherwise_length;
};

enum fault { FAULT_NONE = 0, FAULT_LONE_BRACE, FAULT_NOT_CLOSED, FAULT_NO_NAME };

/* Takes the piece at *at, which is not the end, and moves behind it. */
static enum fault next_piece(const char **at, struct piece *out)
{
	const char *p = *at, *end;

	*out = (struct piece){.text = p};
	if (*p != '{' && *p != '}') {
		out->length = strcspn(p, "{}");
		*at = p + out->length;
		return FAULT_NONE;
	}
	if (p[1] == *p) {
		out->length = 1;
		*at = p + 2;
		return FAULT_NONE;
	}
	if (*p == '}')
		return FAULT_LONE_BRACE;
	end = p + 1 + strcspn(p + 1, "{}");
	if (*end != '}')
		return FAULT_NOT_CLOSED;
	out->is_field = true;
	out->text = p + 1;
	out->length = strcspn(p + 1, "|}");
	if (out->length == 0)
		return FAULT_NO_NAME;
	if (p[1 + out->length] == '|') {
		out->otherwise = out->text + out->length + 1;
		out->otherwise_length = (size_t)(end - out->otherwise);
	}
	*at = end + 1;
	return FAULT_NONE;
}

/* A name may be anything that somebody typed, a secret in the wrong place included. */
static void blame_field(const struct piece *piece, char why[static TEMPLATE_ERROR_LEN])
{
	char name[SPELLING_WORD_MAX_LEN + 1] = "";
	const char *best = NULL;
	unsigned least = SPELLING_MAX_EDITS + 1;

	if (piece->length > FIELD_NAME_MAX_LEN ||
	    strspn(piece->text, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ_") <
	        piece->length) {
		snprintf(why, TEMPLATE_ERROR_LEN, "no field between the braces");
		return;
	}
	memcpy(name, piece->text, piece->length);
	for (size_t i = 0; i < ARRAY_LEN(fields); i++) {
		unsigned edits = spelling_edits(name, fields[i].name);

		if (edits < least && edits < piece->length) {
			least = edits;
			best = fields[i].name;
		}
	}
	snprintf(why, TEMPLATE_ERROR_LEN, "unknown field \"%s\"%s%s%s", name,
	         best ? "; did you mean \"" : "", best ? best : "", best ? "\"?" : "");
}

int template_check(const char *text, size_t *at, char why[static TEMPLATE_ERROR_LEN])
{
	static const char *const faults[] = {
	    [FAULT_LONE_BRACE] = "a closing brace alone; a brace itself is written }}",
	    [FAULT_NOT_CLOSED] = "a brace that is not closed; a brace itself is written {{",
	    [FAULT_NO_NAME] = "no field between the braces",
	};
	const char *p = text;

	while (*p) {
		struct piece piece;
		enum fault fault;

		*at = (size_t)(p - text);
		fault = next_piece(&p, &piece);
		if (fault) {
			snprintf(why, TEMPLATE_ERROR_LEN, "%s", faults[fault]);
			return -EINVAL;
		}
		if (piece.is_field && !find_field(piece.text, piece.length)) {
			blame_field(&piece, why);
			return -EINVAL;
		}
	}
	return 0;
}

static const json_t *look_up(const json_t *event, const char *place)
{
	const char *dot = strchr(place, '.');

	if (!dot)
		return json_object_get(event, place);
	return json_object_get(json_object_getn(event, place, (size_t)(dot - place)), dot + 1);
}

/* NULL where the event does not have it. A number is written into `number`. */
static const char *value_of(const json_t *event, const struct field *field,
                            char number[static NUMBER_TEXT_LEN])
{
	for (size_t i = 0; i < ARRAY_LEN(field->places) && field->places[i]; i++) {
		const json_t *value = look_up(event, field->places[i]);

		if (json_string_length(value) > 0)
			return json_string_value(value);
		if (json_is_integer(value)) {
			snprintf(number, NUMBER_TEXT_LEN, "%lld",
			         (long long)json_integer_value(value));
			return number;
		}
	}
	return NULL;
}

struct output {
	char *text;
	size_t used; /* of TEMPLATE_RESULT_MAX_BYTES */
};

static void put(struct output *o, const char *bytes, size_t length)
{
	size_t fits = utf8_fit(bytes, length, TEMPLATE_RESULT_MAX_BYTES - o->used);

	memcpy(o->text + o->used, bytes, fits);
	o->used += fits;
}

static void put_value(struct output *o, const char *value)
{
	size_t length = strlen(value);
	size_t fits = utf8_fit(value, length, TEMPLATE_VALUE_MAX_BYTES);

	for (size_t i = 0; i < fits && o->used < TEMPLATE_RESULT_MAX_BYTES;) {
		size_t clean = 0;

		while (i + clean < fits && (unsigned char)value[i + clean] >= ' ' &&
		       value[i + clean] != 0x7f)
			clean++;
		put(o, value + i, clean);
		i += clean;
		if (i < fits) {
			put(o, " ", 1);
			i++;
		}
	}
	if (fits < length)
		put(o, "...", 3);
}

char *template_render(const char *text, const json_t *event)
{
	struct output o = {.text = malloc(TEMPLATE_RESULT_MAX_BYTES + 1)};
	struct piece piece;

	if (!o.text)
		return NULL;
	while (*text && next_piece(&text, &piece) == FAULT_NONE) {
		const struct field *field;
		char number[NUMBER_TEXT_LEN];
		const char *value;

		if (!piece.is_field) {
			put(&o, piece.text, piece.length);
			continue;
		}
		field = find_field(piece.text, piece.length);
		if (!field)
			break;
		value = value_of(event, field, number);
		if (value)
			put_value(&o, value);
		else if (piece.otherwise)
			put(&o, piece.otherwise, piece.otherwise_length);
	}
	o.text[o.used] = '\0';
	return o.text;
}
