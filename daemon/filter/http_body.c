/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/filter/http_body.h"

enum { SIZE_MAX_DIGITS = 15 };

void http_body_begin(struct http_body *b, const struct http_head *head)
{
	*b = (struct http_body){.framing = head->framing};
	if (head->framing == HTTP_FRAMING_LENGTH)
		b->left = head->content_length;
}

static int digit_of(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

static void take_content(struct http_body *b, const char *bytes, size_t length, size_t *used,
                         struct http_text *content)
{
	size_t n = b->left < length ? (size_t)b->left : length;

	*content = (struct http_text){bytes, n};
	*used += n;
	b->left -= n;
}

/* One byte of what is between the content. False: it does not belong there. */
static bool take_framing(struct http_body *b, char c)
{
	int digit = digit_of(c);

	switch (b->state) {
	case HTTP_CHUNK_SIZE:
		if (digit >= 0 && b->digits < SIZE_MAX_DIGITS) {
			b->left = b->left << 4 | (uint64_t)digit;
			b->digits++;
			return true;
		}
		b->state = HTTP_CHUNK_SIZE_LF;
		return c == '\r' && b->digits > 0;
	case HTTP_CHUNK_SIZE_LF:
		b->state = b->left ? HTTP_CHUNK_DATA : HTTP_CHUNK_LAST_CR;
		return c == '\n';
	case HTTP_CHUNK_CR: b->state = HTTP_CHUNK_LF; return c == '\r';
	case HTTP_CHUNK_LF:
		b->state = HTTP_CHUNK_SIZE;
		b->digits = 0;
		return c == '\n';
	case HTTP_CHUNK_LAST_CR: b->state = HTTP_CHUNK_LAST_LF; return c == '\r';
	case HTTP_CHUNK_LAST_LF: b->state = HTTP_CHUNK_OVER; return c == '\n';
	case HTTP_CHUNK_DATA:
	case HTTP_CHUNK_OVER:
	default: return false;
	}
}

static enum http_read read_chunked(struct http_body *b, const char *bytes, size_t length,
                                   size_t *used, struct http_text *content, enum http_fault *fault)
{
	while (b->state != HTTP_CHUNK_OVER && *used < length) {
		if (b->state == HTTP_CHUNK_DATA) {
			take_content(b, bytes + *used, length - *used, used, content);
			if (b->left == 0)
				b->state = HTTP_CHUNK_CR;
			return HTTP_READ_MORE;
		}
		if (!take_framing(b, bytes[(*used)++])) {
			*fault = HTTP_FAULT_CHUNK;
			return HTTP_READ_BAD;
		}
	}
	return b->state == HTTP_CHUNK_OVER ? HTTP_READ_DONE : HTTP_READ_MORE;
}

enum http_read http_body_read(struct http_body *b, const char *bytes, size_t length, size_t *used,
                              struct http_text *content, enum http_fault *fault)
{
	*used = 0;
	*content = (struct http_text){bytes, 0};
	if (b->framing == HTTP_FRAMING_CHUNKED)
		return read_chunked(b, bytes, length, used, content, fault);
	take_content(b, bytes, length, used, content);
	return b->left ? HTTP_READ_MORE : HTTP_READ_DONE;
}
