/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "common/cleanup.h"
#include "scanner/exchange.h"
#include "scanner/redact.h"

#include <string.h>
#include <strings.h>

/*
 * expvar's "cmdline": an argument that announces a secret and the secret stand in one line there,
 * so that all of the list is hidden, from its name to its bracket. The finding has it, redacted.
 */
static bool is_in_command_list(bool *inside, const char *line, size_t length)
{
	static const char name[] = "\"cmdline\"";
	const char *begin = memmem(line, length, name, sizeof(name) - 1);
	bool hidden = *inside || begin;

	if (begin) {
		length -= (size_t)(begin - line);
		line = begin;
	}
	if (hidden)
		*inside = !memchr(line, ']', length);
	return hidden;
}

/* Pieces that end with `separator`, each without its secrets. */
static void write_redacted(FILE *to, const char *text, size_t length, char separator,
                           bool is_command)
{
	struct redactor redactor = {0};
	bool in_list = false;

	while (length > 0) {
		const char *end = memchr(text, separator, length);
		size_t piece = end ? (size_t)(end - text) : length;
		auto_free char *clean = NULL;

		if (!is_command)
			redactor = (struct redactor){0};
		clean = !is_command && is_in_command_list(&in_list, text, piece)
		            ? strdup(REDACTED)
		            : redact_argument(&redactor, text, piece);
		/* out of memory: rather nothing than a secret */
		fputs(clean ? clean : REDACTED, to);
		if (end) {
			/* a value that is hidden takes the line's CR with it */
			if (separator == '\n' && piece > 0 && text[piece - 1] == '\r' &&
			    !(clean && *clean && clean[strlen(clean) - 1] == '\r'))
				fputc('\r', to);
			fputc(separator, to);
			piece++;
		}
		text += piece;
		length -= piece;
	}
}

/* Which scheme of authentication is asked for is no secret, though its name looks like one. */
static bool is_challenge(const char *line)
{
	return strncasecmp(line, "WWW-Authenticate:", 17) == 0;
}

void exchange_write_head(FILE *to, const struct exchange *e, bool show_secrets)
{
	const char *line = e->head;
	size_t left = e->head_length;

	while (left > 0) {
		const char *end = memchr(line, '\n', left);
		size_t length = end ? (size_t)(end - line) + 1 : left;

		if (show_secrets || is_challenge(line))
			fwrite(line, 1, length, to);
		else
			write_redacted(to, line, length, '\n', false);
		line += length;
		left -= length;
	}
}

void exchange_write_body(FILE *to, const struct exchange *e, bool show_secrets)
{
	const char *body = (const char *)e->body;
	bool is_command = e->request.step == FINGERPRINT_CMDLINE;

	if (show_secrets)
		fwrite(body, 1, e->answer.body_length, to);
	else
		write_redacted(to, body, e->answer.body_length, is_command ? '\0' : '\n',
		               is_command);
}
