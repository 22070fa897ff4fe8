/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/sender/message.h"

#include <stdio.h>
#include <string.h>

const char *message_field(const json_t *event, const char *key)
{
	const char *text = json_string_value(json_object_get(event, key));

	return text ? text : "";
}

const char *message_event_id(const json_t *event)
{
	static const char allowed[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
	                              "0123456789._-";
	const char *id = message_field(event, "id");
	size_t length = strlen(id);

	return length <= MESSAGE_ID_MAX_LEN && strspn(id, allowed) == length ? id : "";
}

/* What an event says of itself may come from a command line: nothing of it moves a cursor. */
static void put_clean(FILE *out, const char *text)
{
	for (; *text; text++)
		fputc((unsigned char)*text < ' ' || *text == 0x7f ? ' ' : *text, out);
}

char *message_make_subject(const struct conf_alert *conf, const struct message *m)
{
	size_t unused;
	char *text = NULL;
	FILE *out = open_memstream(&text, &unused);

	(void)conf;
	if (!out)
		return NULL;
	if (m->n > 1)
		fprintf(out, "pprofwall: %zu events", m->n);
	else
		put_clean(out, message_field(m->events[0], "text"));
	if (fclose(out) != 0) {
		free(text);
		return NULL;
	}
	return text;
}

char *message_make_text(const struct conf_alert *conf, const struct message *m)
{
	size_t unused;
	char *text = NULL;
	FILE *out = open_memstream(&text, &unused);

	(void)conf;
	if (!out)
		return NULL;
	if (m->n > 1)
		fprintf(out, "pprofwall: %zu events\n", m->n);
	for (size_t i = 0; i < m->n; i++) {
		fputs(i ? "\n" : "", out);
		put_clean(out, message_field(m->events[i], "text"));
	}
	if (fclose(out) != 0) {
		free(text);
		return NULL;
	}
	return text;
}
