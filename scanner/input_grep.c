/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What `nmap -oG` writes, and masscan after it: a host a line, fields between tabs.
 *
 *	Host: 10.0.0.1 (name)<TAB>Ports: 80/open/tcp//http//nginx 1.2, or so/, 443/closed/tcp/...
 *
 * A line may hold 65,535 ports, so it is read byte by byte, and never held.
 */
#include "scanner/input_internal.h"

#include <stdlib.h>
#include <string.h>

enum {
	WORD_MAX = 64,
	PARTS = 3, /* port, state, protocol; after them come owner, service, RPC and version */
};

enum grep_state { GREP_KEY, GREP_COMMENT, GREP_HOST, GREP_PORTS, GREP_REST, GREP_SKIP };

struct grep {
	enum grep_state state;
	bool is_first;           /* the line's first field */
	char word[WORD_MAX + 1]; /* of the key, the comment, or what is read of a part */
	size_t length;
	char host[WORD_MAX + 1];
	char parts[PARTS][WORD_MAX + 1];
	size_t n_parts;
	unsigned long line, column; /* where the field or port begins */
	char last[2];               /* the bytes before, to find "/, " */
	bool unended;
};

static void begin(struct grep *g, enum grep_state state, const struct input *in)
{
	g->state = state;
	g->length = 0;
	g->word[0] = '\0';
	g->n_parts = 0;
	g->line = in->line;
	g->column = in->column;
}

static void begin_line(struct grep *g, const struct input *in)
{
	begin(g, GREP_KEY, in);
	g->is_first = true;
	g->host[0] = '\0';
}

static void *grep_new(struct input *in)
{
	struct grep *g = calloc(1, sizeof(*g));

	if (g)
		begin_line(g, in);
	return g;
}

static void add(struct grep *g, char c)
{
	if (g->length == WORD_MAX)
		return;
	g->word[g->length++] = c;
	g->word[g->length] = '\0';
}

static enum input_result refuse(struct grep *g, char *why, const char *what)
{
	g->state = GREP_SKIP;
	return input_say(why, INPUT_BAD, "%s", what);
}

/* "# Nmap 7.93 scan initiated ...", "# Nmap done at ..."; masscan writes its own name. */
static void note_comment(struct grep *g)
{
	if (strstr(g->word, " scan initiated "))
		g->unended = true;
	else if (strncmp(g->word, "# Nmap done ", 12) == 0 ||
	         strncmp(g->word, "# Masscan done ", 15) == 0)
		g->unended = false;
}

static enum input_result end_key(struct grep *g, const struct input *in, char *why)
{
	bool is_first = g->is_first;

	g->is_first = false;
	if (strcmp(g->word, "Host") == 0)
		begin(g, GREP_HOST, in);
	else if (is_first && strcmp(g->word, "Timestamp") != 0)
		return refuse(g, why, "expected 'Host: ' or a comment, as nmap -oG writes");
	else if (strcmp(g->word, "Ports") != 0)
		g->state = GREP_SKIP;
	else if (!g->host[0])
		return refuse(g, why, "ports without a 'Host: ' before them");
	else
		begin(g, GREP_PORTS, in);
	return INPUT_MORE;
}

/* A part of a port is over. INPUT_MORE: it is no target, or not known yet. */
static enum input_result end_part(struct grep *g, struct input_item *out, char *why)
{
	memcpy(g->parts[g->n_parts], g->word, g->length + 1);
	g->length = 0;
	g->word[0] = '\0';
	if (++g->n_parts < PARTS)
		return INPUT_MORE;
	g->state = GREP_REST;
	memset(g->last, 0, sizeof(g->last));
	if (strcmp(g->parts[1], "open") != 0 || strcmp(g->parts[2], "tcp") != 0)
		return INPUT_MORE;
	return input_set_target(out, g->host, g->parts[0], why);
}

/* A line or a field is over, in the middle of what was read. */
static enum input_result end_field(struct grep *g, char *why)
{
	if (g->state == GREP_COMMENT)
		note_comment(g);
	if (g->state == GREP_HOST && g->length > 0)
		memcpy(g->host, g->word, g->length + 1);
	if (g->state == GREP_KEY && g->length > 0)
		return refuse(g, why, "expected 'Host: ' or a comment, as nmap -oG writes");
	if (g->state == GREP_PORTS && (g->length > 0 || g->n_parts > 0))
		return refuse(g, why, "expected PORT/STATE/PROTOCOL/, as nmap -oG writes");
	return INPUT_MORE;
}

static enum input_result take(struct grep *g, char c, const struct input *in,
                              struct input_item *out, char *why)
{
	switch (g->state) {
	case GREP_KEY:
		if (c == '#' && g->is_first && g->length == 0)
			g->state = GREP_COMMENT;
		if (c == ':')
			return end_key(g, in, why);
		add(g, c);
		break;
	case GREP_COMMENT: add(g, c); break;
	case GREP_HOST:
		if (c != ' ') {
			add(g, c);
		} else if (g->length > 0) {
			memcpy(g->host, g->word, g->length + 1);
			g->state = GREP_SKIP;
		}
		break;
	case GREP_PORTS:
		if (c == '/')
			return end_part(g, out, why);
		if (c == ' ' && g->length == 0 && g->n_parts == 0)
			g->column = in->column;
		else
			add(g, c);
		break;
	case GREP_REST:
		/* A version may have commas in it, but no slashes: nmap writes them as '|'. */
		if (c == ' ' && g->last[0] == '/' && g->last[1] == ',')
			begin(g, GREP_PORTS, in);
		g->last[0] = g->last[1];
		g->last[1] = c;
		break;
	case GREP_SKIP: break;
	}
	return INPUT_MORE;
}

/* What was cut off is no mistake of its own. */
static enum input_result end_file(struct grep *g, const struct input *in, struct input_item *out,
                                  char *why)
{
	enum input_result result = end_field(g, why);
	bool unended = g->unended;

	out->line = in->line;
	out->column = in->column;
	g->unended = false;
	begin_line(g, in);
	if (unended)
		return input_say(why, INPUT_TRUNCATED,
		                 "'# Nmap done' is missing: the file is not complete");
	return result == INPUT_MORE ? INPUT_END : result;
}

static enum input_result grep_next(struct input *in, void *state, struct input_item *out,
                                   char why[static INPUT_ERROR_LEN])
{
	struct grep *g = state;
	enum input_result result = INPUT_MORE;
	char c;

	while (result == INPUT_MORE && input_take_byte(in, &c)) {
		bool ends = c == '\n' || (c == '\t' && g->state != GREP_COMMENT);

		if (c == '\r')
			continue;
		result = ends ? end_field(g, why) : take(g, c, in, out, why);
		out->line = g->line;
		out->column = g->column;
		if (c == '\n')
			begin_line(g, in);
		else if (ends)
			begin(g, GREP_KEY, in);
	}
	if (result != INPUT_MORE || !in->ended || input_has_bytes(in))
		return result;
	return end_file(g, in, out, why);
}

const struct input_reader input_reader_grep = {grep_new, grep_next, free};
