/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/filter/response.h"

#include "common/cleanup.h"

#include <string.h>

enum { SIZE_MAX_DIGITS = 15, LENGTH_MAX_DIGITS = 18 };

/*
 * Looks for the empty line. Lines may end with LF alone (RFC 9112, 2.2); nothing of what is written
 * anew does.
 */
static enum http_read find_end(const char *bytes, size_t length, size_t *scanned, size_t *end)
{
	size_t at = *scanned;

	while (at < length) {
		const char *lf = memchr(bytes + at, '\n', length - at);
		size_t next;

		if (!lf)
			break;
		next = (size_t)(lf - bytes) + 1;
		if (next < length && bytes[next] == '\n') {
			*end = next + 1;
			return HTTP_READ_DONE;
		}
		if (next + 1 < length && bytes[next] == '\r' && bytes[next + 1] == '\n') {
			*end = next + 2;
			return HTTP_READ_DONE;
		}
		if (next + 1 >= length) {
			/* What follows the line may be its end: this LF is looked at again. */
			*scanned = next - 1;
			return HTTP_READ_MORE;
		}
		at = next;
	}
	*scanned = length;
	return HTTP_READ_MORE;
}

static bool take_line(struct http_text *rest, struct http_text *line)
{
	if (!http_text_take_until(rest, '\n', line))
		return false;
	if (line->length > 0 && line->at[line->length - 1] == '\r')
		line->length--;
	return true;
}

/* No CR, which some take for an end; no NUL; obs-text and tabs may be. */
static bool is_plain(struct http_text text)
{
	for (size_t i = 0; i < text.length; i++) {
		unsigned char c = (unsigned char)text.at[i];

		if ((c < ' ' && c != '\t') || c == 0x7f)
			return false;
	}
	return true;
}

/* HTTP-version SP status-code SP [reason-phrase]; some leave out the last space. */
static bool read_status_line(struct http_text line, struct response_head *h)
{
	const char *at = line.at;

	if (line.length < 12 || memcmp(at, "HTTP/1.", 7) != 0 || !http_char_is_of(at[7], "01") ||
	    at[8] != ' ' || (line.length > 12 && at[12] != ' ') ||
	    !http_text_consists_of((struct http_text){at + 9, 3}, HTTP_DIGITS))
		return false;
	h->minor = at[7] == '1';
	h->status = (unsigned)((at[9] - '0') * 100 + (at[10] - '0') * 10 + (at[11] - '0'));
	h->reason = (struct http_text){at + line.length, 0};
	if (line.length > 13)
		h->reason = (struct http_text){at + 13, line.length - 13};
	return h->status >= 100;
}

static bool read_lines(struct http_text rest, struct response_head *h)
{
	struct http_text line;

	if (!take_line(&rest, &line) || !is_plain(line) || !read_status_line(line, h))
		return false;
	while (take_line(&rest, &line) && line.length > 0) {
		if (h->n_fields == RESPONSE_MAX_FIELDS || !is_plain(line) ||
		    !http_field_read(line, &h->fields[h->n_fields]))
			return false;
		h->n_fields++;
	}
	return true;
}

static bool read_length(const struct http_field *field, struct response_head *h)
{
	const struct http_text value = field->value;

	if (value.length == 0 || value.length > LENGTH_MAX_DIGITS ||
	    !http_text_consists_of(value, HTTP_DIGITS))
		return false;
	for (size_t i = 0; i < value.length; i++)
		h->content_length = h->content_length * 10 + (uint64_t)(value.at[i] - '0');
	h->framing = RESPONSE_LENGTH;
	return true;
}

/* RFC 9112, 6.3 */
static bool read_framing(struct response_head *h, bool to_head)
{
	size_t n_lengths = http_fields_count(h->fields, h->n_fields, "content-length");
	size_t n_codings = http_fields_count(h->fields, h->n_fields, "transfer-encoding");

	if (n_lengths + n_codings > 1)
		return false;
	if (n_codings &&
	    !http_text_is(http_fields_find(h->fields, h->n_fields, "transfer-encoding")->value,
	                  "chunked"))
		return false;
	h->framing = n_codings ? RESPONSE_CHUNKED : RESPONSE_UNTIL_CLOSE;
	if (n_lengths &&
	    !read_length(http_fields_find(h->fields, h->n_fields, "content-length"), h))
		return false;
	if (to_head || h->status < 200 || h->status == 204 || h->status == 304)
		h->framing = RESPONSE_EMPTY;
	/* An old server that has never heard of chunks sends none. */
	return h->minor == 1 || h->framing != RESPONSE_CHUNKED;
}

static bool connection_names(const struct response_head *h, const char *token)
{
	return http_fields_connection_names(h->fields, h->n_fields,
	                                    (struct http_text){token, strlen(token)});
}

enum http_read response_head_read(const char *bytes, size_t length, bool to_head, size_t *scanned,
                                  struct response_head *out)
{
	size_t end = 0;
	enum http_read found = find_end(bytes, length, scanned, &end);

	if (found != HTTP_READ_DONE)
		return length >= RESPONSE_HEAD_MAX_BYTES ? HTTP_READ_BAD : HTTP_READ_MORE;
	if (end > RESPONSE_HEAD_MAX_BYTES)
		return HTTP_READ_BAD;
	*out = (struct response_head){.length = end};
	if (!read_lines((struct http_text){bytes, end}, out) || out->status == 101 ||
	    !read_framing(out, to_head))
		return HTTP_READ_BAD;
	out->keep_alive = out->framing != RESPONSE_UNTIL_CLOSE &&
	                  (out->minor == 1 ? !connection_names(out, "close")
	                                   : connection_names(out, "keep-alive"));
	return HTTP_READ_DONE;
}

/* What belongs to the server's connection, and not to the client's (RFC 9110, 7.6.1). */
static bool ends_here(const struct response_head *h, const struct http_field *field, unsigned minor)
{
	static const char *const always[] = {"connection", "keep-alive", "proxy-connection",
	                                     "upgrade"};

	for (size_t i = 0; i < ARRAY_LEN(always); i++) {
		if (http_text_is(field->name, always[i]))
			return true;
	}
	if (http_text_is(field->name, "transfer-encoding"))
		return minor == 0;
	/* A server may not take away what says where its answer ends. */
	if (http_text_is(field->name, "content-length"))
		return false;
	return http_fields_connection_names(h->fields, h->n_fields, field->name);
}

static char *put(char *to, struct http_text text)
{
	memcpy(to, text.at, text.length);
	return to + text.length;
}

static char *put_string(char *to, const char *text)
{
	return stpcpy(to, text);
}

size_t response_write_head(const struct response_head *head, unsigned minor, bool keep_alive,
                           char *out)
{
	char *to = put_string(out, "HTTP/1.1 ");

	*to++ = (char)('0' + head->status / 100);
	*to++ = (char)('0' + head->status / 10 % 10);
	*to++ = (char)('0' + head->status % 10);
	*to++ = ' ';
	to = put(to, head->reason);
	to = put_string(to, "\r\n");
	for (size_t i = 0; i < head->n_fields; i++) {
		const struct http_field *f = &head->fields[i];

		if (ends_here(head, f, minor))
			continue;
		to = put(to, f->name);
		to = put_string(to, ": ");
		to = put(to, f->value);
		to = put_string(to, "\r\n");
	}
	if (head->status >= 200 && !keep_alive)
		to = put_string(to, "Connection: close\r\n");
	else if (head->status >= 200 && minor == 0)
		to = put_string(to, "Connection: keep-alive\r\n");
	to = put_string(to, "\r\n");
	return (size_t)(to - out);
}

void response_body_begin(struct response_body *b, const struct response_head *head)
{
	*b = (struct response_body){.framing = head->framing};
	if (head->framing == RESPONSE_LENGTH)
		b->left = head->content_length;
}

static int digit_of(char c)
{
	const char *digits = "0123456789abcdef", *at;

	if (c >= 'A' && c <= 'F')
		c = (char)(c - 'A' + 'a');
	at = c ? strchr(digits, c) : NULL;
	return at ? (int)(at - digits) : -1;
}

static bool take_size(struct response_body *b, char c)
{
	int digit = digit_of(c);

	if (digit >= 0 && b->digits < SIZE_MAX_DIGITS) {
		b->left = b->left << 4 | (uint64_t)digit;
		b->digits++;
		return true;
	}
	b->line = 0;
	b->state = c == '\r' ? RESPONSE_SIZE_LF : RESPONSE_EXTENSION;
	return b->digits > 0 && http_char_is_of(c, "\r; \t");
}

/* Any byte of an extension or a trailer but a CR, behind which `then` comes. */
static bool take_of_line(struct response_body *b, char c, enum response_chunk then)
{
	if (c == '\r')
		b->state = then;
	return c != '\n' && ++b->line <= RESPONSE_LINE_MAX_BYTES;
}

/* One byte of what is around the content. False: it does not belong there. */
static bool take_framing(struct response_body *b, char c)
{
	switch (b->state) {
	case RESPONSE_SIZE: return take_size(b, c);
	case RESPONSE_EXTENSION: return take_of_line(b, c, RESPONSE_SIZE_LF);
	case RESPONSE_SIZE_LF:
		b->state = b->left ? RESPONSE_DATA : RESPONSE_TRAILER;
		b->line = 0;
		return c == '\n';
	case RESPONSE_DATA_CR: b->state = RESPONSE_DATA_LF; return c == '\r';
	case RESPONSE_DATA_LF:
		b->state = RESPONSE_SIZE;
		b->digits = 0;
		return c == '\n';
	case RESPONSE_TRAILER:
		b->state = RESPONSE_TRAILER_LINE;
		return take_of_line(b, c, RESPONSE_LAST_LF);
	case RESPONSE_TRAILER_LINE: return take_of_line(b, c, RESPONSE_TRAILER_LF);
	case RESPONSE_TRAILER_LF: b->state = RESPONSE_TRAILER; return c == '\n';
	case RESPONSE_LAST_LF: b->state = RESPONSE_OVER; return c == '\n';
	case RESPONSE_DATA:
	case RESPONSE_OVER:
	default: return false;
	}
}

static size_t take_content(struct response_body *b, const char *bytes, size_t length,
                           struct http_text *content)
{
	size_t n = b->left < length ? (size_t)b->left : length;

	*content = (struct http_text){bytes, n};
	b->left -= n;
	return n;
}

static enum http_read read_chunked(struct response_body *b, const char *bytes, size_t length,
                                   size_t *used, struct http_text *content)
{
	while (b->state != RESPONSE_OVER && *used < length) {
		if (b->state == RESPONSE_DATA) {
			if (content->length > 0)
				return HTTP_READ_MORE; /* the next stretch, another time */
			*used += take_content(b, bytes + *used, length - *used, content);
			if (b->left == 0)
				b->state = RESPONSE_DATA_CR;
		} else if (!take_framing(b, bytes[(*used)++])) {
			return HTTP_READ_BAD;
		}
	}
	return b->state == RESPONSE_OVER ? HTTP_READ_DONE : HTTP_READ_MORE;
}

enum http_read response_body_read(struct response_body *b, const char *bytes, size_t length,
                                  size_t *used, struct http_text *content)
{
	*used = 0;
	*content = (struct http_text){bytes, 0};
	switch (b->framing) {
	case RESPONSE_CHUNKED: return read_chunked(b, bytes, length, used, content);
	case RESPONSE_UNTIL_CLOSE:
		*content = (struct http_text){bytes, length};
		*used = length;
		return HTTP_READ_MORE;
	case RESPONSE_LENGTH: *used = take_content(b, bytes, length, content); break;
	case RESPONSE_EMPTY: break;
	}
	return b->left ? HTTP_READ_MORE : HTTP_READ_DONE;
}
