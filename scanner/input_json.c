/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What `masscan -oJ` and `-oD` and `naabu -json` write. masscan's file is an array, but in some
 * versions with a comma too many or a last record that is no JSON ("{finished: 1}"), and too long
 * to be held; so each object in it is cut out by its braces and read alone.
 */
#include "scanner/input_internal.h"

#include "common/cleanup.h"

#include <jansson.h>
#include <stdio.h>
#include <string.h>

enum { RECORD_FIRST_BYTES = 4096, HOST_MAX = 253 };

struct records {
	char *bytes; /* of the object that is being cut out */
	size_t length, room;
	unsigned depth, arrays;
	bool in_string, is_escaped;
	bool skipping; /* the rest of a line that is no JSON, or of an object that is too big */
	unsigned long line, column;
	json_t *record; /* whose ports are being given */
	size_t n_given;
};

static void *records_new(struct input *in)
{
	(void)in;
	return calloc(1, sizeof(struct records));
}

static void records_free(void *state)
{
	struct records *r = state;

	json_decref(r->record);
	free(r->bytes);
	free(r);
}

static bool is_text(const json_t *value, const char *text)
{
	return json_is_string(value) && strcmp(json_string_value(value), text) == 0;
}

/* A naabu record without an address has the name that was asked for. */
static enum input_result set_name(const char *name, const char *port, struct input_item *out,
                                  char *why)
{
	uint16_t number;

	if (strlen(name) > HOST_MAX || !*name ||
	    name[strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-")])
		return input_say(why, INPUT_BAD, "'%.64s' is neither an address nor a name", name);
	if (endpoint_parse_port(port, &number) < 0)
		return input_say(why, INPUT_BAD, "'%.16s' is no port; expected 1 to 65535", port);
	snprintf(out->text, sizeof(out->text), "%s:%s", name, port);
	return INPUT_TARGET;
}

static enum input_result set_target(const json_t *record, const json_t *port,
                                    struct input_item *out, char *why)
{
	const char *address = json_string_value(json_object_get(record, "ip"));
	const char *name = json_string_value(json_object_get(record, "host"));
	char number[32];
	struct endpoint e;

	if (!json_is_integer(port))
		return input_say(why, INPUT_BAD, "the port is no number");
	snprintf(number, sizeof(number), "%" JSON_INTEGER_FORMAT, json_integer_value(port));
	if (!address && !name)
		return input_say(why, INPUT_BAD, "a record without \"ip\"");
	if (address || endpoint_parse_address(name, &e) == 0)
		return input_set_target(out, address ? address : name, number, why);
	return set_name(name, number, out, why);
}

/* {"port": 80, "proto": "tcp", "status": "open", ...}; one with a banner has no status. */
static bool is_open_in_list(const json_t *port)
{
	return is_text(json_object_get(port, "proto"), "tcp") &&
	       is_text(json_object_get(port, "status"), "open");
}

/* masscan -oD has the status in "data"; naabu has only what is open, and no "rec_type". */
static bool is_open_alone(const json_t *record)
{
	const json_t *protocol = json_object_get(record, "proto");
	const json_t *kind = json_object_get(record, "rec_type");
	const json_t *data = json_object_get(record, "data");

	if (!protocol)
		protocol = json_object_get(record, "protocol");
	if (protocol && !is_text(protocol, "tcp"))
		return false;
	return !kind ||
	       (is_text(kind, "status") && is_text(json_object_get(data, "status"), "open"));
}

/* INPUT_MORE: the record has no further target. */
static enum input_result give(struct records *r, struct input_item *out, char *why)
{
	const json_t *ports = json_object_get(r->record, "ports");
	const json_t *port = json_object_get(r->record, "port");

	while (json_is_array(ports) && r->n_given < json_array_size(ports)) {
		const json_t *one = json_array_get(ports, r->n_given++);

		if (is_open_in_list(one))
			return set_target(r->record, json_object_get(one, "port"), out, why);
	}
	if (json_is_array(ports) || r->n_given++ > 0)
		return INPUT_MORE;
	if (!port)
		return input_say(why, INPUT_BAD, "a record without \"port\" or \"ports\"");
	/* naabu before 2.1.2: {"Port": 80, "Protocol": 0, "TLS": false}, where 0 is TCP */
	if (json_is_object(port)) {
		if (json_integer_value(json_object_get(port, "Protocol")) != 0)
			return INPUT_MORE;
		return set_target(r->record, json_object_get(port, "Port"), out, why);
	}
	return is_open_alone(r->record) ? set_target(r->record, port, out, why) : INPUT_MORE;
}

/* Keeps a byte of the object. Returns false when it is too big, or memory is out. */
static bool keep(struct records *r, char c)
{
	if (r->length == r->room) {
		size_t room = r->room ? 2 * r->room : RECORD_FIRST_BYTES;
		char *bytes = room <= INPUT_RECORD_MAX_BYTES ? realloc(r->bytes, room) : NULL;

		if (!bytes)
			return false;
		r->bytes = bytes;
		r->room = room;
	}
	r->bytes[r->length++] = c;
	return true;
}

/* The last record of masscan before 1.0.4. */
static bool is_finish(const struct records *r)
{
	static const char finish[] = "{finished:";

	return r->length >= sizeof(finish) - 1 && memcmp(r->bytes, finish, sizeof(finish) - 1) == 0;
}

static enum input_result end_object(struct records *r, char *why)
{
	json_error_t error;

	if (is_finish(r))
		return INPUT_MORE;
	json_decref(r->record);
	r->record = json_loadb(r->bytes, r->length, 0, &error);
	r->n_given = 0;
	if (r->record)
		return INPUT_MORE;
	/* Its line and column are the object's. */
	if (error.line > 1)
		r->column = (unsigned long)error.column;
	else
		r->column += (unsigned long)(error.column > 0 ? error.column - 1 : 0);
	r->line += (unsigned long)(error.line > 0 ? error.line - 1 : 0);
	return input_say(why, INPUT_BAD, "%.200s", error.text);
}

/* Between objects. */
static enum input_result take_outside(struct records *r, char c, const struct input *in, char *why)
{
	r->line = in->line;
	r->column = in->column > 1 ? in->column - 1 : 1;
	if (c == '[')
		r->arrays++;
	else if (c == ']' && r->arrays > 0)
		r->arrays--;
	else if (c == '{') {
		r->depth = 1;
		r->length = 0;
		r->in_string = r->is_escaped = false;
		if (!keep(r, c))
			return input_say(why, INPUT_BROKEN, "out of memory");
	} else if (!strchr(" \t\r\n,", c) || c == '\0') {
		r->skipping = true;
		return input_say(why, INPUT_BAD,
		                 "expected {, as masscan -oJ and naabu -json write");
	}
	return INPUT_MORE;
}

static enum input_result take_inside(struct records *r, char c, char *why)
{
	if (!keep(r, c)) {
		r->depth = 0;
		r->skipping = true;
		return input_say(why, INPUT_BAD, "an object of more than %d bytes",
		                 INPUT_RECORD_MAX_BYTES);
	}
	if (r->in_string) {
		if (c == '"' && !r->is_escaped)
			r->in_string = false;
		r->is_escaped = c == '\\' && !r->is_escaped;
		return INPUT_MORE;
	}
	if (c == '"')
		r->in_string = true;
	else if (c == '{')
		r->depth++;
	else if (c == '}')
		r->depth--;
	return r->depth == 0 ? end_object(r, why) : INPUT_MORE;
}

static enum input_result take(struct records *r, char c, const struct input *in, char *why)
{
	if (r->skipping) {
		r->skipping = c != '\n';
		return INPUT_MORE;
	}
	return r->depth > 0 ? take_inside(r, c, why) : take_outside(r, c, in, why);
}

static enum input_result records_next(struct input *in, void *state, struct input_item *out,
                                      char why[static INPUT_ERROR_LEN])
{
	struct records *r = state;

	for (;;) {
		enum input_result result = r->record ? give(r, out, why) : INPUT_MORE;
		char c;

		if (result == INPUT_MORE && r->record) {
			json_decref(r->record);
			r->record = NULL;
		}
		while (result == INPUT_MORE && !r->record && input_take_byte(in, &c))
			result = take(r, c, in, why);
		out->line = r->line;
		out->column = r->column;
		if (result != INPUT_MORE)
			return result;
		if (r->record)
			continue;
		if (!in->ended)
			return INPUT_MORE;
		if (r->depth == 0 && r->arrays == 0)
			return INPUT_END;
		r->depth = r->arrays = 0;
		return input_say(why, INPUT_TRUNCATED,
		                 "it ends within an array or object: the file is not complete");
	}
}

const struct input_reader input_reader_json = {records_new, records_next, records_free};
