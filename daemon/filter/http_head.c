/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/filter/http_head.h"

#include "common/cleanup.h"

#include <string.h>

/* RFC 3986, 3.3, with what the query has besides; Prometheus' own match[] is sent as it stands. */
#define PATH_CHARACTERS  HTTP_DIGITS HTTP_LETTERS "-._~%!$&'()*+,;=:@/"
#define QUERY_CHARACTERS PATH_CHARACTERS "?[]{}|\"<>\\^`"

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

		if (i == 0 && !http_char_is_of(bytes[0], HTTP_TOKEN))
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
	return http_text_consists_of(h->path, PATH_CHARACTERS) &&
	               http_text_consists_of(h->query, QUERY_CHARACTERS)
	           ? HTTP_FAULT_NONE
	           : HTTP_FAULT_TARGET;
}

/* method SP request-target SP HTTP-version, one space each (RFC 9112, 3). */
static enum http_fault read_request_line(struct http_text line, struct http_head *h)
{
	struct http_text version = line;

	if (!http_text_take_until(&version, ' ', &h->method) ||
	    !http_text_take_until(&version, ' ', &h->target))
		return HTTP_FAULT_REQUEST_LINE;
	if (http_text_is(h->method, "pri") && http_text_is(version, "http/2.0"))
		return HTTP_FAULT_OPAQUE;
	if (h->method.length == 0 || h->method.length > HTTP_METHOD_MAX_LEN ||
	    !http_text_consists_of(h->method, HTTP_TOKEN) || http_text_is(h->method, "connect"))
		return HTTP_FAULT_METHOD;
	if (version.length != 8 || memcmp(version.at, "HTTP/1.", 7) != 0 ||
	    !http_char_is_of(version.at[7], "01"))
		return HTTP_FAULT_VERSION;
	h->minor = version.at[7] == '1';
	return read_target(h);
}

/* Control characters were refused on the way; what is left is field-content (RFC 9110, 5.5). */
static enum http_fault read_field(struct http_text line, struct http_head *h)
{
	if (h->n_fields == HTTP_MAX_FIELDS)
		return HTTP_FAULT_TOO_LONG;
	if (!http_field_read(line, &h->fields[h->n_fields]))
		return HTTP_FAULT_FIELD;
	h->n_fields++;
	return HTTP_FAULT_NONE;
}

static const struct http_field *find_field(const struct http_head *head, const char *name)
{
	return http_fields_find(head->fields, head->n_fields, name);
}

static size_t count_fields(const struct http_head *head, const char *name)
{
	return http_fields_count(head->fields, head->n_fields, name);
}

static bool connection_names(const struct http_head *h, struct http_text token)
{
	return http_fields_connection_names(h->fields, h->n_fields, token);
}

static enum http_fault read_host(struct http_head *h)
{
	const struct http_field *host = find_field(h, "host");
	size_t n = count_fields(h, "host");

	if (n > 1 || (n == 0 && h->minor == 1))
		return HTTP_FAULT_HOST;
	if (n == 0)
		return HTTP_FAULT_NONE;
	h->host = host->value;
	return h->host.length > 0 &&
	               http_text_consists_of(h->host, HTTP_DIGITS HTTP_LETTERS "-._~:[]%")
	           ? HTTP_FAULT_NONE
	           : HTTP_FAULT_HOST;
}

/* Where the body ends has to be beyond doubt: nothing else lets one request hide in another. */
static enum http_fault read_framing(struct http_head *h)
{
	const struct http_field *length = find_field(h, "content-length");
	const struct http_field *coding = find_field(h, "transfer-encoding");

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
	    length->value.length > 18 || !http_text_consists_of(length->value, HTTP_DIGITS))
		return HTTP_FAULT_LENGTH;
	for (size_t i = 0; i < length->value.length; i++)
		h->content_length = h->content_length * 10 + (uint64_t)(length->value.at[i] - '0');
	h->framing = HTTP_FRAMING_LENGTH;
	return HTTP_FAULT_NONE;
}

static enum http_fault read_expectation(struct http_head *h)
{
	const struct http_field *expect = find_field(h, "expect");

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
	/* Of several such fields in HTTP/1.0 some servers read the first alone, Go among them. */
	h->keep_alive = h->minor == 1
	                    ? !connection_names(h, (struct http_text){"close", 5})
	                    : count_fields(h, "connection") == 1 &&
	                          connection_names(h, (struct http_text){"keep-alive", 10});
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
	for (bool first = true; !wrong && http_text_take_until(&rest, '\n', &line); first = false) {
		line.length--; /* the CR before it */
		if (line.length == 0)
			break;
		wrong = first ? read_request_line(line, out) : read_field(line, out);
	}
	if (!wrong)
		wrong = judge_fields(out);
	return wrong ? blame(fault, wrong) : HTTP_READ_DONE;
}

bool http_head_has_body(const struct http_head *head)
{
	return head->framing == HTTP_FRAMING_CHUNKED ||
	       (head->framing == HTTP_FRAMING_LENGTH && head->content_length > 0);
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
	    "x-original-path",
	    "x-forwarded-uri",
	    "x-http-method-override",
	    "x-http-method",
	    "x-method-override",
	};

	char spelt[32]; /* longer than any of them */
	struct http_text name = {spelt, 0};

	/* '_' is '-' to whatever hands fields on as CGI does (RFC 3875, 4.1.18). */
	if (field->name.length <= sizeof(spelt)) {
		for (; name.length < field->name.length; name.length++) {
			char c = field->name.at[name.length];

			spelt[name.length] = c == '_' ? '-' : c;
		}
	}
	for (size_t i = 0; i < ARRAY_LEN(always); i++) {
		if (http_text_is(name, always[i]))
			return true;
	}
	/* What it may name, but may not take away (RFC 9110, 7.6.1: "such as" what is end-to-end).
	 */
	if (http_text_is(field->name, "host"))
		return false;
	return connection_names(head, field->name);
}
