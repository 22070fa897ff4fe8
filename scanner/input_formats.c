/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "scanner/input_internal.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const struct {
	const char *name;
	const struct input_reader *reader;
} formats[] = {
    [INPUT_AUTO] = {"auto", NULL},
    [INPUT_LINES] = {"lines", &input_reader_lines},
    [INPUT_NMAP_XML] = {"nmap-xml", &input_reader_xml},
    [INPUT_NMAP_GREP] = {"nmap-grep", &input_reader_grep},
    [INPUT_MASSCAN_JSON] = {"masscan-json", &input_reader_json},
    [INPUT_MASSCAN_LIST] = {"masscan-list", &input_reader_list},
    [INPUT_NAABU_JSON] = {"naabu-json", &input_reader_json},
};

/*
 * How files begin. None of these is a target: '<' and '{' stand in none, "[" begins one only with
 * an address behind it, and a comment of these words would be a strange one.
 */
static const struct {
	const char *text;
	enum input_format format;
} beginnings[] = {
    {"<", INPUT_NMAP_XML},
    {"{", INPUT_MASSCAN_JSON},
    {"[\n", INPUT_MASSCAN_JSON},
    {"[\r", INPUT_MASSCAN_JSON},
    {"[ ", INPUT_MASSCAN_JSON},
    {"[{", INPUT_MASSCAN_JSON},
    {"[]", INPUT_MASSCAN_JSON},
    {"# Nmap ", INPUT_NMAP_GREP},
    {"# Masscan ", INPUT_NMAP_GREP},
    {"#masscan\n", INPUT_MASSCAN_LIST},
    {"#masscan\r", INPUT_MASSCAN_LIST},
    {"open tcp ", INPUT_MASSCAN_LIST},
    {"Host: ", INPUT_NMAP_GREP},
};

bool input_format_parse(const char *text, enum input_format *out)
{
	for (size_t i = 0; i < sizeof(formats) / sizeof(formats[0]); i++) {
		if (strcmp(text, formats[i].name) == 0) {
			*out = (enum input_format)i;
			return true;
		}
	}
	return false;
}

const char *input_format_name(enum input_format format)
{
	return formats[format].name;
}

struct input *input_new(enum input_format format)
{
	struct input *in = calloc(1, sizeof(*in));

	if (!in)
		return NULL;
	in->format = format;
	in->line = in->column = 1;
	return in;
}

void input_free(struct input *in)
{
	if (!in)
		return;
	if (in->state)
		in->reader->free(in->state);
	free(in);
}

void input_feed(struct input *in, const char *bytes, size_t length)
{
	if (length == 0)
		in->ended = true;
	if (!in->reader) {
		size_t room = sizeof(in->head) - in->head_length;
		size_t n = length < room ? length : room;

		if (n > 0)
			memcpy(in->head + in->head_length, bytes, n);
		in->head_length += n;
		bytes += n;
		length -= n;
	}
	in->chunk = bytes;
	in->chunk_length = length;
}

bool input_has_bytes(struct input *in)
{
	if (in->at == in->end && in->chunk_length > 0) {
		in->at = in->chunk;
		in->end = in->chunk + in->chunk_length;
		in->chunk_length = 0;
	}
	return in->at < in->end;
}

bool input_take_byte(struct input *in, char *out)
{
	if (!input_has_bytes(in))
		return false;
	*out = *in->at++;
	in->column++;
	if (*out == '\n') {
		in->line++;
		in->column = 1;
	}
	return true;
}

enum input_result input_say(char why[static INPUT_ERROR_LEN], enum input_result result,
                            const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vsnprintf(why, INPUT_ERROR_LEN, format, args);
	va_end(args);
	for (char *p = why; *p; p++) {
		if ((unsigned char)*p < 0x20 || (unsigned char)*p >= 0x7f)
			*p = '?';
	}
	return result;
}

enum input_result input_set_target(struct input_item *out, const char *address, const char *port,
                                   char why[static INPUT_ERROR_LEN])
{
	char text[ENDPOINT_TEXT_LEN];
	struct endpoint e;

	if (endpoint_parse_address(address, &e) < 0)
		return input_say(why, INPUT_BAD, "'%.64s' is not an address", address);
	if (endpoint_parse_port(port, &e.port) < 0)
		return input_say(why, INPUT_BAD, "'%.16s' is no port; expected 1 to 65535", port);
	snprintf(out->text, sizeof(out->text), "%s", endpoint_format(&e, text));
	return INPUT_TARGET;
}

/* INPUT_AUTO: more bytes are needed to tell. */
static enum input_format recognise(const struct input *in)
{
	bool may_be = false;

	for (size_t i = 0; i < sizeof(beginnings) / sizeof(beginnings[0]); i++) {
		size_t length = strlen(beginnings[i].text);
		size_t n = length < in->head_length ? length : in->head_length;

		if (memcmp(in->head, beginnings[i].text, n) != 0)
			continue;
		if (n == length)
			return beginnings[i].format;
		may_be = true;
	}
	return may_be && !in->ended ? INPUT_AUTO : INPUT_LINES;
}

enum input_result input_next(struct input *in, struct input_item *out,
                             char why[static INPUT_ERROR_LEN])
{
	out->line = in->line;
	out->column = 0;
	if (!in->reader) {
		if (in->format == INPUT_AUTO)
			in->format = recognise(in);
		if (in->format == INPUT_AUTO)
			return INPUT_MORE;
		in->reader = formats[in->format].reader;
		in->at = in->head;
		in->end = in->head + in->head_length;
		in->state = in->reader->new (in);
	}
	if (!in->state)
		return input_say(why, INPUT_BROKEN, "out of memory");
	return in->reader->next(in, in->state, out, why);
}
