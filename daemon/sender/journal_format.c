/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/sender/journal_format.h"

#include "common/cleanup.h"
#include "daemon/sender/event_kind.h"

#include <ctype.h>
#include <endian.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

/* "NAME=value\n"; a value of several lines has its length before it, as the protocol wants it. */
static void put_field(FILE *out, const char *name, const char *value)
{
	size_t length = strlen(value);
	uint64_t size = htole64(length);

	if (!memchr(value, '\n', length)) {
		fprintf(out, "%s=%s\n", name, value);
		return;
	}
	fprintf(out, "%s\n", name);
	fwrite(&size, sizeof(size), 1, out);
	fprintf(out, "%s\n", value);
}

static void put_own_field(FILE *out, const char *name, const char *value)
{
	char full[64] = "PPROFWALL_";
	size_t n = strlen(full);

	for (size_t i = 0; name[i] && n < sizeof(full) - 1; i++)
		full[n++] = (char)toupper((unsigned char)name[i]);
	full[n] = '\0';
	put_field(out, full, value);
}

char *journal_format(const json_t *event, const char *text, size_t *length)
{
	char *bytes = NULL;
	FILE *out = open_memstream(&bytes, length);
	bool failed;

	if (!out)
		return NULL;
	put_field(out, "MESSAGE", text);
	put_field(out, "MESSAGE_ID", event_message_id(event));
	fprintf(out, "PRIORITY=%d\nSYSLOG_IDENTIFIER=pprofwalld\n", (int)event_priority(event));
	for (size_t i = 0; event_field_name(i); i++) {
		auto_free char *value = event_field_value(event, event_field_name(i));

		if (value)
			put_own_field(out, event_field_name(i), value);
	}
	failed = ferror(out) != 0;
	if (fclose(out) != 0 || failed) {
		free(bytes);
		return NULL;
	}
	return bytes;
}
