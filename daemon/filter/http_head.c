/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/filter/http_head.h"

#include "common/cleanup.h"

#include <string.h>

#define DIGITS  "0123456789"
#define LETTERS "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
/* RFC 9110, 5.6.2 */
#define TOKEN DIGITS LETTERS "!#$%&'*+-.^_`|~"
/* RFC 3986, 3.3, with what the query has besides; Prometheus' own match[] is sent as it stands. */
#define PATH_CHARACTERS  DIGITS LETTERS "-._~%!$&'()*+,;=:@/"
#define QUERY_CHARACTERS PATH_CHARACTERS "?[]{}|\"<>\\^`"

const char *http_fault_name(enum http_fault fault)
{
	static const char *const names[HTTP_FAULT_COUNT] = {
	    [HTTP_FAULT_NONE] = "none",
	    [HTTP_FAULT_OPAQUE] = "opaque",
	    [HTTP_FAULT_TOO_LONG] = "too_long",
	    [HTTP_FAULT_LINE_BREAK] = "line_break",
	    [HTTP_FAULT_REQUEST_LINE] = "request_line",
	    [HTTP_FAULT_METHOD] = "method",
	    [HTTP_FAULT_TARGET] = "target",
	    [HTTP_FAULT_VERSION] = "version",
	    [HTTP_FAULT_FIELD] = "field",
	    [HTTP_FAULT_HOST] = "host",
	    [HTTP_FAULT_LENGTH] = "length",
	    [HTTP_FAULT_CODING] = "coding",
	    [HTTP_FAULT_CHUNK] = "chunk",
	    [HTTP_FAULT_EXPECT] = "expect",
	    [HTTP_FAULT_PATH] = "path",
	};

	return fault < HTTP_FAULT_COUNT && names[fault] ? names[fault] : "none";
}

static char lower(char c)
{
	return c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c;
}

bool http_text_is(struct http_text text, const char *name)
{
	if (strlen(name) != text.length)
		return false;
	for (size_t i = 0; i < text.length; i++) {
		if (lower(text.at[i]) != name[i])
			return false;
	}
	return true;
}

static bool is_of(char c, const char *set)
{
	return c != '\0' && strchr(set, c) != NULL;
}

static bool consists_of(struct http_text text, const char *set)
{
	for (size_t i = 0; i < text.length; i++) {
		if (!is_of(text.at[i], set))
			return false;
	}
	return true;
}

/* Up to the separator, which is taken too; false when there is none. */
static bool take_until(struct http_text *rest, char separator, struct http_text *out)
{
	const char *end = memchr(rest->at, separator, rest->length);

	if (!end)
		return false;
	*out = (struct http_text){rest->at, (size_t)(end - rest->at)};
	rest->length -= out->length + 1;
	rest->at = end + 1;
	return true;
}

static enum http_read blame(enum http_fault *fault, enum http_fault what)
{
	*fault = what;
	return HTTP_READ_BAD;
}

/*
 * Looks for the empty line, and at the bytes on the way: lines end with CR LF, and neither stands
 * anywhere else (RFC 9112, 2.2 lets a server take LF alone; then some do, and some do not).
 */
static enum http_read find_end(const char *bytes, size_t length, size_t *scanned, size_t *end,
                               enum http_fault *fault)
{
	const char *line = bytes;

	if (*scanned > 0) {
		const char *before = memrchr(bytes, '\n', *scanned);

		line = before ? before + 1 : bytes;
	}
	for (size_t i = *scanned; i < length; i++) {
		unsigned char c = (unsigned char)bytes[i];

		if (i == 0 && !is_of(bytes[0], TOKEN))
			return blame(fault, HTTP_FAULT_OPAQUE);
		if (i >= HTTP_HEAD_MAX_BYTES || bytes + i - line > HTTP_LINE_MAX_BYTES + 1)
			return blame(fault, HTTP_FAULT_TOO_LONG);
		if (i > 0 && bytes[i - 1] == '\r' && c != '\n')
			return blame(fault, HTTP_FAULT_LINE_BREAK);
		if (c == '\n') {
			if (i == 0 || bytes[i - 1] != '\r')
				return blame(fault, HTTP_FAULT_LINE_BREAK);
			if (bytes + i - line == 1) {
				*end = i + 1;
				return HTTP_READ_DONE;
			}
			line = bytes + i + 1;
		} else if ((c < ' ' && c != '\t' && c != '\r') || c == 0x7f) {
			return blame(fault, HTTP_FAULT_LINE_BREAK);
		}
	}
	*scanned = length;
	return HTTP_READ_MORE;
}

static enum http_fault read_target(struct http_head *h)
{
	const char *mark = memchr(h->target.at, '?', h->target.length);

	/* absolute-form, authority-form and "*" begin otherwise (RFC 9112, 3.2) */
	if (h->target.length == 0 || h->target.at[0] != '/')
		return HTTP_FAULT_TARGET;
	h->path = h->target;
	h->query = (struct http_text){h->target.at + h->target.length, 0};
	if (mark) {
		h->path.length = (size_t)(mark - h->target.at);
		h->query.at = mark;
		h->query.length = h->target.length - h->path.length;
	}
	return consists_of(h->path, PATH_CHARACTERS) && consists_of(h->query, QUERY_CHARACTERS)
	           ? HTTP_FAULT_NONE
	           : HTTP_FAULT_TARGET;
}

/* method SP request-target SP HTTP-version, one space each (RFC 9112, 3). */
static enum http_fault read_request_line(struct http_text line, struct http_head *h)
{
	struct http_text version = line;

	if (!take_until(&version, ' ', &h->method) || !take_until(&version, ' ', &h->target))
		return HTTP_FAULT_REQUEST_LINE;
	if (http_text_is(h->method, "pri") && http_text_is(version, "http/2.0"))
		return HTTP_FAULT_OPAQUE;
	if (h->method.length == 0 || h->method.length > HTTP_METHOD_MAX_LEN ||
	    !consists_of(h->method, TOKEN) || http_text_is(h->method, "connect"))
		return HTTP_FAULT_METHOD;
	if (version.length != 8 || memcmp(version.at, "HTTP/1.", 7) != 0 ||
	    !is_of(version.at[7], "01"))
		return HTTP_FAULT_VERSION;
	h->minor = version.at[7] == '1';
	return read_target(h);
}

static bool is_space(char c)
{
	return c == ' ' || c == '\t';
}

/* Control characters were refused on the way; what is left is field-content (RFC 9110, 5.5). */
static enum http_fault read_field(struct http_text line, struct http_head *h)
{
	struct http_field *f = &h->fields[h->n_fields];

	if (h->n_fields == HTTP_MAX_FIELDS)
		return HTTP_FAULT_TOO_LONG;
	f->value = line;
	/* A space before the colon, and a folded line, have no token there. */
	if (!take_until(&f->value, ':', &f->name) || f->name.length == 0 ||
	    !consists_of(f->name, TOKEN))
		return HTTP_FAULT_FIELD;
	while (f->value.length > 0 && is_space(f->value.at[0])) {
		f->value.at++;
		f->value.length--;
	}
	while (f->value.length > 0 && is_space(f->value.at[f->value.length - 1]))
		f->value.length--;
	h->n_fields++;
	return HTTP_FAULT_NONE;
}

const struct http_field *http_head_find(const struct http_head *head, const char *name)
{
	for (size_t i = 0; i < head->n_fields; i++) {
		if (http_text_is(head->fields[i].name, name))
			return &head->fields[i];
	}
	return NULL;
}

static size_t count_fields(const struct http_head *head, const char *name)
{
	size_t n = 0;

	for (size_t i = 0; i < head->n_fields; i++)
		n += http_text_is(head->fields[i].name, name);
	return n;
}

/* Is the token (in lower case) one of the list's, in any Connection field? */
static bool connection_names(const struct http_head *h, const char *token, size_t length)
{
	for (size_t i = 0; i < h->n_fields; i++) {
		struct http_text rest = h->fields[i].value, item;

		if (!http_text_is(h->fields[i].name, "connection"))
			continue;
		for (bool more = true; more;) {
			more = take_until(&rest, ',', &item);
			if (!more)
				item = rest;
			while (item.length > 0 && is_space(item.at[0])) {
				item.at++;
				item.length--;
			}
			while (item.length > 0 && is_space(item.at[item.length - 1]))
				item.length--;
			if (item.length == length && strncasecmp(item.at, token, length) == 0)
				return true;
		}
	}
	return false;
}

static enum http_fault read_host(struct http_head *h)
{
	const struct http_field *host = http_head_find(h, "host");
	size_t n = count_fields(h, "host");

	if (n > 1 || (n == 0 && h->minor == 1))
		return HTTP_FAULT_HOST;
	if (n == 0)
		return HTTP_FAULT_NONE;
	h->host = host->value;
	return h->host.length > 0 && consists_of(h->host, DIGITS LETTERS "-._~:[]%")
	           ? HTTP_FAULT_NONE
	           : HTTP_FAULT_HOST;
}

/* Where the body ends has to be beyond doubt: nothing else lets one request hide in another. */
static enum http_fault read_framing(struct http_head *h)
{
	const struct http_field *length = http_head_find(h, "content-length");
	const struct http_field *coding = http_head_find(h, "transfer-encoding");

	if (coding) {
		if (length)
			return HTTP_FAULT_LENGTH;
		if (h->minor == 0 || count_fields(h, "transfer-encoding") > 1 ||
		    !http_text_is(coding->value, "chunked"))
			return HTTP_FAULT_CODING;
		h->framing = HTTP_FRAMING_CHUNKED;
		return HTTP_FAULT_NONE;
	}
	if (!length)
		return HTTP_FAULT_NONE;
	/* The same twice, or "5, 5", may be taken for one (RFC 9110, 8.6): here it is not. */
	if (count_fields(h, "content-length") > 1 || length->value.length == 0 ||
	    length->value.length > 18 || !consists_of(length->value, DIGITS))
		return HTTP_FAULT_LENGTH;
	for (size_t i = 0; i < length->value.length; i++)
		h->content_length = h->content_length * 10 + (uint64_t)(length->value.at[i] - '0');
	h->framing = HTTP_FRAMING_LENGTH;
	return HTTP_FAULT_NONE;
}

static enum http_fault read_expectation(struct http_head *h)
{
	const struct http_field *expect = http_head_find(h, "expect");

	if (!expect)
		return HTTP_FAULT_NONE;
	if (count_fields(h, "expect") > 1 || !http_text_is(expect->value, "100-continue"))
		return HTTP_FAULT_EXPECT;
	h->expects_continue = h->minor == 1 && h->framing != HTTP_FRAMING_NONE;
	return HTTP_FAULT_NONE;
}

static enum http_fault judge_fields(struct http_head *h)
{
	enum http_fault fault = read_host(h);

	if (!fault)
		fault = read_framing(h);
	if (!fault)
		fault = read_expectation(h);
	h->keep_alive = h->minor == 1 ? !connection_names(h, "close", 5)
	                              : connection_names(h, "keep-alive", 10);
	return fault;
}

enum http_read http_head_read(const char *bytes, size_t length, size_t *scanned,
                              struct http_head *out, enum http_fault *fault)
{
	size_t end = 0;
	enum http_read found = find_end(bytes, length, scanned, &end, fault);
	struct http_text rest = {bytes, end}, line;
	enum http_fault wrong = HTTP_FAULT_NONE;

	if (found != HTTP_READ_DONE)
		return found;
	*out = (struct http_head){.length = end};
	for (bool first = true; !wrong && take_until(&rest, '\n', &line); first = false) {
		line.length--; /* the CR before it */
		if (line.length == 0)
			break;
		wrong = first ? read_request_line(line, out) : read_field(line, out);
	}
	if (!wrong)
		wrong = judge_fields(out);
	return wrong ? blame(fault, wrong) : HTTP_READ_DONE;
}

bool http_head_ends_here(const struct http_head *head, const struct http_field *field)
{
	static const char *const always[] = {
	    "connection",
	    "keep-alive",
	    "proxy-connection",
	    "te",
	    "trailer",
	    "transfer-encoding",
	    "upgrade",
	    "http2-settings",
	    "content-length",
	    "proxy-authenticate",
	    "proxy-authorization",
	    "x-original-url",
	    "x-rewrite-url",
	    "x-original-uri",
	    "x-forwarded-uri",
	    "x-http-method-override",
	    "x-http-method",
	    "x-method-override",
	};

	for (size_t i = 0; i < ARRAY_LEN(always); i++) {
		if (http_text_is(field->name, always[i]))
			return true;
	}
	/* What it may name, but may not take away (RFC 9110, 7.6.1: "such as" what is end-to-end).
	 */
	if (http_text_is(field->name, "host"))
		return false;
	return connection_names(head, field->name.at, field->name.length);
}
