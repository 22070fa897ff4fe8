/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What `nmap -oX` writes, and masscan after it. expat is fed as bytes come, and is suspended
 * wherever a target is, so that nothing but the present tag is held.
 *
 * No document of theirs defines entities, so one that does is refused; expat is told not to expand
 * any (by the default handler), and it never opens files.
 */
#include "scanner/input_internal.h"

#include <expat.h>
#include <stdlib.h>
#include <string.h>

enum { DEPTH_MAX = 64, WORD_MAX = 64, PIECE = 16384 };

struct xml {
	XML_Parser parser;
	unsigned depth;
	bool in_host, in_port, is_suspended, is_over;
	char address[WORD_MAX + 1];
	char protocol[WORD_MAX + 1], port[WORD_MAX + 1];
	unsigned long line, column; /* of the port's tag, or of what is refused */
	bool has_target;            /* the port of the tag that expat was suspended at */
	bool has_failed;            /* nmap says so at its end */
	const char *broken;         /* why the document is refused */
	XML_Index last;             /* where the last whole token began */
	XML_Index fed;
};

static const char *attribute(const XML_Char **attributes, const char *name)
{
	for (; *attributes; attributes += 2) {
		if (strcmp(attributes[0], name) == 0)
			return attributes[1];
	}
	return "";
}

/* What is too long for its place is no address and no port either. */
static void keep(char place[static WORD_MAX + 1], const char *text)
{
	size_t length = strnlen(text, WORD_MAX);

	memcpy(place, text, length);
	place[length] = '\0';
}

static void refuse(struct xml *x, const char *why)
{
	x->broken = why;
	x->line = XML_GetCurrentLineNumber(x->parser);
	x->column = XML_GetCurrentColumnNumber(x->parser) + 1;
	XML_StopParser(x->parser, XML_FALSE);
}

static void begin_port(struct xml *x, const XML_Char **attributes)
{
	x->in_port = true;
	keep(x->protocol, attribute(attributes, "protocol"));
	keep(x->port, attribute(attributes, "portid"));
	x->line = XML_GetCurrentLineNumber(x->parser);
	x->column = XML_GetCurrentColumnNumber(x->parser) + 1;
}

static void on_host_part(struct xml *x, const char *name, const XML_Char **attributes)
{
	if (strcmp(name, "address") == 0 && !x->address[0] &&
	    strcmp(attribute(attributes, "addrtype"), "mac") != 0) {
		keep(x->address, attribute(attributes, "addr"));
	} else if (strcmp(name, "port") == 0) {
		begin_port(x, attributes);
	} else if (x->in_port && strcmp(name, "state") == 0) {
		x->has_target = strcmp(attribute(attributes, "state"), "open") == 0 &&
		                strcmp(x->protocol, "tcp") == 0;
		if (x->has_target)
			XML_StopParser(x->parser, XML_TRUE);
	}
}

static void on_start(void *arg, const XML_Char *name, const XML_Char **attributes)
{
	struct xml *x = arg;

	x->last = XML_GetCurrentByteIndex(x->parser);
	x->depth++;
	if (x->depth == 1 && strcmp(name, "nmaprun") != 0)
		refuse(x, "expected <nmaprun>, as nmap -oX writes");
	else if (x->depth > DEPTH_MAX)
		refuse(x, "tags are nested too deeply for nmap's output");
	else if (x->in_host)
		on_host_part(x, name, attributes);
	else if (x->depth == 2 && strcmp(name, "host") == 0) {
		x->in_host = true;
		x->address[0] = '\0';
	} else if (strcmp(name, "finished") == 0)
		x->has_failed = strcmp(attribute(attributes, "exit"), "error") == 0;
}

static void on_end(void *arg, const XML_Char *name)
{
	struct xml *x = arg;

	x->last = XML_GetCurrentByteIndex(x->parser);
	x->depth--;
	if (x->depth == 1)
		x->in_host = false;
	if (strcmp(name, "port") == 0)
		x->in_port = false;
}

static void on_other(void *arg, const XML_Char *text, int length)
{
	struct xml *x = arg;

	(void)text;
	(void)length;
	x->last = XML_GetCurrentByteIndex(x->parser);
}

static void on_doctype(void *arg, const XML_Char *name, const XML_Char *system_id,
                       const XML_Char *public_id, int has_internal_subset)
{
	struct xml *x = arg;

	(void)name;
	(void)system_id;
	(void)public_id;
	x->last = XML_GetCurrentByteIndex(x->parser);
	if (has_internal_subset)
		refuse(x, "a document type with declarations of its own, as nmap never writes");
}

static void *xml_new(struct input *in)
{
	struct xml *x = calloc(1, sizeof(*x));

	(void)in;
	if (!x)
		return NULL;
	x->parser = XML_ParserCreate(NULL);
	if (!x->parser) {
		free(x);
		return NULL;
	}
	XML_SetUserData(x->parser, x);
	XML_SetElementHandler(x->parser, on_start, on_end);
	XML_SetStartDoctypeDeclHandler(x->parser, on_doctype);
	XML_SetDefaultHandler(x->parser, on_other);
	return x;
}

static void xml_free(void *state)
{
	struct xml *x = state;

	XML_ParserFree(x->parser);
	free(x);
}

/* Goes on where it was suspended, or with the next piece. */
static enum XML_Status parse_on(struct input *in, struct xml *x)
{
	size_t n = 0;
	void *piece;

	if (x->is_suspended) {
		x->is_suspended = false;
		return XML_ResumeParser(x->parser);
	}
	if (input_has_bytes(in))
		n = (size_t)(in->end - in->at);
	if (n > PIECE)
		n = PIECE;
	piece = XML_GetBuffer(x->parser, PIECE);
	if (!piece)
		return XML_STATUS_ERROR;
	memcpy(piece, in->at, n);
	in->at += n;
	x->fed += (XML_Index)n;
	x->is_over = n == 0; /* only then it is called without bytes */
	return XML_ParseBuffer(x->parser, (int)n, x->is_over);
}

/* What only the end of the file can bring about. */
static bool is_cut_off(enum XML_Error error)
{
	return error == XML_ERROR_NO_ELEMENTS || error == XML_ERROR_UNCLOSED_TOKEN ||
	       error == XML_ERROR_PARTIAL_CHAR || error == XML_ERROR_UNCLOSED_CDATA_SECTION;
}

static enum input_result explain(struct xml *x, struct input_item *out, char *why)
{
	enum XML_Error error = XML_GetErrorCode(x->parser);

	if (x->broken) {
		out->line = x->line;
		out->column = x->column;
		return input_say(why, INPUT_BROKEN, "%s", x->broken);
	}
	out->line = XML_GetCurrentLineNumber(x->parser);
	out->column = XML_GetCurrentColumnNumber(x->parser) + 1;
	if (x->is_over && is_cut_off(error))
		return input_say(why, INPUT_TRUNCATED,
		                 "it ends before </nmaprun>: the file is not complete");
	return input_say(why, INPUT_BROKEN, "%s; expected XML as nmap -oX writes it",
	                 XML_ErrorString(error));
}

static enum input_result xml_next(struct input *in, void *state, struct input_item *out,
                                  char why[static INPUT_ERROR_LEN])
{
	struct xml *x = state;

	for (;;) {
		enum XML_Status status;

		if (!x->is_suspended && !input_has_bytes(in) && !in->ended)
			return INPUT_MORE;
		x->has_target = false;
		status = parse_on(in, x);
		if (status == XML_STATUS_ERROR)
			return explain(x, out, why);
		x->is_suspended = status == XML_STATUS_SUSPENDED;
		if (x->has_target) {
			out->line = x->line;
			out->column = x->column;
			return input_set_target(out, x->address, x->port, why);
		}
		if (x->is_over && x->has_failed)
			return input_say(why, INPUT_TRUNCATED,
			                 "the scan that it tells of ended with an error");
		if (x->is_over)
			return INPUT_END;
		if (x->fed - x->last > INPUT_RECORD_MAX_BYTES) {
			out->line = XML_GetCurrentLineNumber(x->parser);
			return input_say(why, INPUT_BROKEN, "a tag of more than %d bytes",
			                 INPUT_RECORD_MAX_BYTES);
		}
	}
}

const struct input_reader input_reader_xml = {xml_new, xml_next, xml_free};
