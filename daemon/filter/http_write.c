/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/filter/http_write.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

static char *put(char *to, struct http_text text)
{
	memcpy(to, text.at, text.length);
	return to + text.length;
}

static char *put_string(char *to, const char *text)
{
	return stpcpy(to, text);
}

size_t http_write_head(const struct http_head *head, char out[static HTTP_WRITTEN_MAX_BYTES])
{
	char *to = put(out, head->method);

	*to++ = ' ';
	to = put(to, head->target);
	to = put_string(to, head->minor ? " HTTP/1.1\r\n" : " HTTP/1.0\r\n");
	for (size_t i = 0; i < head->n_fields; i++) {
		const struct http_field *f = &head->fields[i];

		if (http_head_ends_here(head, f))
			continue;
		to = put(to, f->name);
		to = put_string(to, ": ");
		to = put(to, f->value);
		to = put_string(to, "\r\n");
	}
	if (head->framing == HTTP_FRAMING_CHUNKED)
		to = put_string(to, "Transfer-Encoding: chunked\r\n");
	if (head->framing == HTTP_FRAMING_LENGTH)
		to += sprintf(to, "Content-Length: %" PRIu64 "\r\n", head->content_length);
	/* What is the version's own way goes without saying (RFC 9112, 9.3). */
	if (head->minor && !head->keep_alive)
		to = put_string(to, "Connection: close\r\n");
	if (!head->minor && head->keep_alive)
		to = put_string(to, "Connection: keep-alive\r\n");
	to = put_string(to, "\r\n");
	return (size_t)(to - out);
}

size_t http_write_chunk_size(size_t length, char out[static HTTP_CHUNK_SIZE_MAX_BYTES])
{
	return (size_t)snprintf(out, HTTP_CHUNK_SIZE_MAX_BYTES, "%zx\r\n", length);
}
