/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "conf/conf_guard.h"

#include <errno.h>
#include <string.h>

enum {
	MAX_DEPTH = 8,      /* the schema needs 4: root, breakers, one breaker, its allow_from */
	MAX_NODES = 262144, /* four for each target there may be */
};

static int check_bytes(const struct conf_diag *diag, const unsigned char *bytes, size_t length)
{
	struct conf_mark at = {1, 1};
	bool indent = true;

	for (size_t i = 0, n; i < length; i += n, at.column++) {
		n = conf_utf8_next(bytes + i, length - i);
		if (i == 0 && length >= 3 && memcmp(bytes, "\xef\xbb\xbf", 3) == 0) {
			n = 3; /* a byte order mark: not a column to libyaml, nor to editors */
			at.column = 0;
			continue;
		}
		if (bytes[i] == '\0')
			return conf_fail(diag, at, "NUL byte; expected text");
		if (n == 0)
			return conf_fail(diag, at,
			                 "byte 0x%02x begins no printable UTF-8 character; "
			                 "expected UTF-8 text",
			                 bytes[i]);
		if (bytes[i] == '\r' && (i + 1 == length || bytes[i + 1] != '\n'))
			return conf_fail(diag, at, "carriage return alone; expected a line feed");
		if (bytes[i] == '\t' && indent)
			return conf_fail(diag, at, "tab in the indentation; expected spaces");
		indent = bytes[i] == '\n' || (indent && bytes[i] == ' ');
		if (bytes[i] == '\n') {
			at.line++;
			at.column = 0;
		}
	}
	return 0;
}

int conf_fail_yaml(const struct conf_diag *diag, const yaml_parser_t *parser)
{
	const char *problem = parser->problem ? parser->problem : "cannot be read";
	struct conf_mark at = conf_mark_from(parser->problem_mark);

	if (parser->error == YAML_MEMORY_ERROR)
		return conf_fail_memory(diag, at);
	/* Noticed only at the end; what was left open is where the reader has to look. */
	if (parser->context && (strcmp(problem, "found unexpected end of stream") == 0 ||
	                        strcmp(problem, "could not find expected ':'") == 0))
		at = conf_mark_from(parser->context_mark);
	/* The bytes are printable by now, so it is a tab, or an indicator such as '@' or '`'. */
	if (strcmp(problem, "found character that cannot start any token") == 0)
		return conf_fail(diag, at,
		                 "a tab, or a character that no value may begin with; expected "
		                 "spaces, or quotes around the value");
	return conf_fail(diag, at, "%s%s%s; expected valid YAML",
	                 parser->context ? parser->context : "", parser->context ? ", " : "",
	                 problem);
}

void conf_parser_wipe(yaml_parser_t *parser)
{
	if (parser->buffer.start)
		explicit_bzero(parser->buffer.start,
		               (size_t)(parser->buffer.end - parser->buffer.start));
	if (parser->raw_buffer.start)
		explicit_bzero(parser->raw_buffer.start,
		               (size_t)(parser->raw_buffer.end - parser->raw_buffer.start));
	yaml_parser_delete(parser);
}

struct walk {
	const struct conf_diag *diag;
	const char *least;
	unsigned documents, depth, nodes;
};

static int check_node(struct walk *walk, struct conf_mark at, const yaml_char_t *anchor,
                      const yaml_char_t *tag)
{
	if (anchor)
		return conf_fail(walk->diag, at, "anchor; expected every value written out");
	if (tag)
		return conf_fail(walk->diag, at, "tag; expected the value alone");
	if (++walk->nodes > MAX_NODES)
		return conf_fail(walk->diag, at, "too many values; expected at most %d", MAX_NODES);
	return 0;
}

static int enter(struct walk *walk, struct conf_mark at)
{
	if (++walk->depth > MAX_DEPTH)
		return conf_fail(walk->diag, at, "nested too deeply; expected at most %d levels",
		                 MAX_DEPTH);
	return 0;
}

static int check_event(struct walk *walk, const yaml_event_t *event)
{
	struct conf_mark at = conf_mark_from(event->start_mark);
	int err;

	switch (event->type) {
	case YAML_DOCUMENT_START_EVENT:
		if (++walk->documents > 1)
			return conf_fail(walk->diag, at, "second document; expected only one");
		return 0;
	case YAML_ALIAS_EVENT:
		return conf_fail(walk->diag, at, "alias; expected every value written out");
	case YAML_SCALAR_EVENT:
		return check_node(walk, at, event->data.scalar.anchor, event->data.scalar.tag);
	case YAML_SEQUENCE_START_EVENT:
		err = check_node(walk, at, event->data.sequence_start.anchor,
		                 event->data.sequence_start.tag);
		return err ? err : enter(walk, at);
	case YAML_MAPPING_START_EVENT:
		err = check_node(walk, at, event->data.mapping_start.anchor,
		                 event->data.mapping_start.tag);
		return err ? err : enter(walk, at);
	case YAML_SEQUENCE_END_EVENT:
	case YAML_MAPPING_END_EVENT: walk->depth--; return 0;
	case YAML_STREAM_END_EVENT:
		if (walk->documents == 0)
			return conf_fail(walk->diag, (struct conf_mark){1, 1},
			                 "empty; expected keys, at least \"%s\"", walk->least);
		return 0;
	case YAML_NO_EVENT:
	case YAML_STREAM_START_EVENT:
	case YAML_DOCUMENT_END_EVENT:
	default: return 0;
	}
}

static int check_events(const struct conf_diag *diag, yaml_parser_t *parser, const char *least)
{
	struct walk walk = {.diag = diag, .least = least};
	yaml_event_t event;
	bool end = false;
	int err = 0;

	while (!end && !err) {
		if (!yaml_parser_parse(parser, &event))
			return conf_fail_yaml(diag, parser);
		err = check_event(&walk, &event);
		end = event.type == YAML_STREAM_END_EVENT;
		if (event.type == YAML_SCALAR_EVENT)
			explicit_bzero(event.data.scalar.value, event.data.scalar.length);
		yaml_event_delete(&event);
	}
	return err;
}

int conf_guard(const struct conf_diag *diag, const unsigned char *bytes, size_t length,
               const char *least)
{
	yaml_parser_t parser;
	int err = check_bytes(diag, bytes, length);

	if (err)
		return err;
	if (!yaml_parser_initialize(&parser))
		return conf_fail_memory(diag, (struct conf_mark){1, 1});
	yaml_parser_set_input_string(&parser, bytes, length);
	err = check_events(diag, &parser, least);
	conf_parser_wipe(&parser);
	return err;
}
