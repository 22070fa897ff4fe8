/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/sender/slack_text.h"

#include "common/utf8.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void put_escaped(FILE *out, char c)
{
	if (c == '&')
		fputs("&amp;", out);
	else if (c == '<')
		fputs("&lt;", out);
	else if (c == '>')
		fputs("&gt;", out);
	else
		fputc(c, out);
}

/* How much of it is shown. */
static size_t choose_length(const char *text)
{
	size_t length = strlen(text);
	size_t fits = utf8_fit(text, length, SLACK_TEXT_MAX_BYTES);
	const char *line_end;

	if (fits == length)
		return length;
	line_end = memrchr(text, '\n', fits);
	return line_end ? (size_t)(line_end - text) : fits;
}

char *slack_text_make(const char *text)
{
	size_t length = choose_length(text), unused, lines = 0;
	char *made = NULL;
	FILE *out = open_memstream(&made, &unused);

	if (!out)
		return NULL;
	for (size_t i = 0; i < length; i++)
		put_escaped(out, text[i]);
	for (const char *p = text + length; *p; p++)
		lines += *p == '\n';
	if (lines > 0)
		fprintf(out, "\n\u2026 and %zu more lines", lines);
	else if (text[length])
		fputs("\u2026", out);
	if (fclose(out) == 0)
		return made;
	free(made);
	return NULL;
}
