/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Plain lines, and the list that `masscan -oL` writes. */
#include "scanner/input_internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct lines {
	char text[INPUT_TEXT_LEN];
	size_t length;
	bool skipping; /* the rest of a line that was too long */
	bool is_cut;   /* no newline ends it: the last one */
	bool unended;  /* a list that began and has not said that it ends */
};

enum line_result { LINE_WHOLE, LINE_TOO_LONG, LINE_NONE };

static void *lines_new(struct input *in)
{
	(void)in;
	return calloc(1, sizeof(struct lines));
}

/* The next line, without its end. LINE_TOO_LONG: its beginning; the rest will be skipped. */
static enum line_result take_line(struct input *in, struct lines *l, struct input_item *out)
{
	while (input_has_bytes(in)) {
		size_t there = (size_t)(in->end - in->at);
		const char *newline = memchr(in->at, '\n', there);
		size_t n = newline ? (size_t)(newline - in->at) : there;
		size_t room = sizeof(l->text) - 1 - l->length;
		size_t kept = l->skipping ? 0 : n < room ? n : room;
		bool was_skipping = l->skipping;

		memcpy(l->text + l->length, in->at, kept);
		l->length += kept;
		if (!was_skipping && kept < n) {
			out->line = in->line;
			l->text[l->length] = '\0';
			l->skipping = true;
			in->at += kept;
			return LINE_TOO_LONG;
		}
		in->at += n + !!newline;
		if (!newline)
			continue;
		out->line = in->line++;
		l->skipping = false;
		if (!was_skipping)
			return LINE_WHOLE;
		l->length = 0;
	}
	out->line = in->line;
	l->is_cut = in->ended && l->length > 0 && !l->skipping;
	return l->is_cut ? LINE_WHOLE : LINE_NONE;
}

/* Cuts comment and blanks off; what is left may be "". */
static char *strip(char *line)
{
	char *comment = strchr(line, '#');
	size_t length;

	/* Within a word it is a mistake that target_parse() explains. */
	if (comment && (comment == line || strchr(" \t", comment[-1])))
		*comment = '\0';
	line += strspn(line, " \t\r");
	length = strlen(line);
	while (length > 0 && strchr(" \t\r", line[length - 1]))
		line[--length] = '\0';
	return line;
}

static enum input_result lines_next(struct input *in, void *state, struct input_item *out,
                                    char why[static INPUT_ERROR_LEN])
{
	struct lines *l = state;

	for (;;) {
		enum line_result line = take_line(in, l, out);
		size_t length = l->length;
		char *text;

		if (line == LINE_NONE)
			return in->ended ? INPUT_END : INPUT_MORE;
		l->length = 0;
		if (line == LINE_TOO_LONG)
			return input_say(why, INPUT_BAD, "the line is too long");
		l->text[length] = '\0';
		if (strlen(l->text) != length)
			return input_say(why, INPUT_BAD, "a NUL byte");
		text = strip(l->text);
		if (*text) {
			memcpy(out->text, text, strlen(text) + 1);
			return INPUT_TARGET;
		}
	}
}

enum { WORDS = 4, WORD_LEN = 64 };

/* "open tcp 80 10.0.0.1 1795398364" */
static enum input_result judge_entry(const char *line, struct input_item *out, char *why)
{
	char words[WORDS][WORD_LEN] = {"", "", "", ""};

	if (sscanf(line, "%63s %63s %63s %63s", words[0], words[1], words[2], words[3]) != WORDS)
		return input_say(why, INPUT_BAD,
		                 "expected 'open tcp PORT ADDRESS TIME', as masscan -oL writes");
	if (strcmp(words[0], "open") != 0 || strcmp(words[1], "tcp") != 0)
		return INPUT_MORE; /* closed, a banner, another protocol */
	out->column = (unsigned long)(strstr(line, words[2]) - line) + 1;
	return input_set_target(out, words[3], words[2], why);
}

static enum input_result list_next(struct input *in, void *state, struct input_item *out,
                                   char why[static INPUT_ERROR_LEN])
{
	struct lines *l = state;

	for (;;) {
		enum line_result line = take_line(in, l, out);
		enum input_result result;

		if (line == LINE_NONE && !in->ended)
			return INPUT_MORE;
		l->text[l->length] = '\0'; /* of one too long the beginning: enough to judge */
		/* Of a last line that was cut off, "10.0.0.1" may have been "10.0.0.17". */
		if (line == LINE_WHOLE && l->is_cut && l->unended &&
		    strncmp(l->text, "# end", 5) != 0) {
			l->length = 0;
			line = LINE_NONE;
		}
		if (line == LINE_NONE && l->unended) {
			l->unended = false;
			return input_say(why, INPUT_TRUNCATED,
			                 "'# end' is missing: the file is not complete");
		}
		if (line == LINE_NONE)
			return INPUT_END;
		l->length = 0;
		if (l->text[0] == '#') {
			if (strncmp(l->text, "#masscan", 8) == 0)
				l->unended = true;
			if (strncmp(l->text, "# end", 5) == 0)
				l->unended = false;
			continue;
		}
		if (l->text[strspn(l->text, " \t\r")] == '\0')
			continue;
		result = judge_entry(l->text, out, why);
		if (result != INPUT_MORE)
			return result;
	}
}

const struct input_reader input_reader_lines = {lines_new, lines_next, free};
const struct input_reader input_reader_list = {lines_new, list_next, free};
