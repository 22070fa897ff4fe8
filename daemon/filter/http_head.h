/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The head of an HTTP/1.x request (RFC 9112, and RFC 9110 for the fields), read strictly: what two
 * readers could understand differently is refused, even where the RFC lets a server be lenient. So
 * that what stands behind the filter sees what the filter has judged. Pure; everything points into
 * the caller's bytes.
 */
#pragma once

#include "daemon/filter/http_field.h"

#include <stdint.h>

enum {
	HTTP_LINE_MAX_BYTES = 8 * 1024, /* of the request line and of each field, without CRLF */
	HTTP_HEAD_MAX_BYTES = 32 * 1024,
	HTTP_MAX_FIELDS = 96,
	HTTP_METHOD_MAX_LEN = 32,
};

enum http_fault {
	HTTP_FAULT_NONE = 0,
	HTTP_FAULT_OPAQUE, /* from its first bytes no HTTP/1.x: TLS, HTTP/2, something else */
	HTTP_FAULT_TOO_LONG,
	HTTP_FAULT_LINE_BREAK, /* CR or LF alone, NUL, another control character */
	HTTP_FAULT_REQUEST_LINE,
	HTTP_FAULT_METHOD, /* CONNECT, or none */
	HTTP_FAULT_TARGET, /* not in origin-form, or with characters that no URI has */
	HTTP_FAULT_VERSION,
	HTTP_FAULT_FIELD,  /* no field line, a space before the colon, a folded line */
	HTTP_FAULT_HOST,   /* none, more than one, or none that is a host */
	HTTP_FAULT_LENGTH, /* Content-Length: twice, no number, beside Transfer-Encoding */
	HTTP_FAULT_CODING, /* a Transfer-Encoding that is not "chunked" alone */
	HTTP_FAULT_CHUNK,  /* http_body.h */
	HTTP_FAULT_EXPECT, /* something else than 100-continue */
	HTTP_FAULT_PATH,   /* http_path.h */
	HTTP_FAULT_COUNT
};

enum http_framing { HTTP_FRAMING_NONE = 0, HTTP_FRAMING_LENGTH, HTTP_FRAMING_CHUNKED };

struct http_head {
	struct http_text method, target;
	struct http_text path, query; /* of the target; the query with its '?', or empty */
	unsigned minor;               /* HTTP/1.minor: 0 or 1 */
	struct http_field fields[HTTP_MAX_FIELDS];
	size_t n_fields;
	struct http_text host; /* empty only for HTTP/1.0 */
	enum http_framing framing;
	uint64_t content_length; /* of HTTP_FRAMING_LENGTH */
	bool keep_alive;
	bool expects_continue;
	size_t length; /* of the head, the empty line included */
};

enum http_read { HTTP_READ_MORE = 0, HTTP_READ_DONE, HTTP_READ_BAD };

/*
 * `scanned` is 0 for the first bytes of a head and then what the call before has left: each byte is
 * looked for the head's end but once. MORE: call again when there are more bytes behind these (they
 * may have moved). DONE: *out. BAD: *fault; nothing that follows on this connection can be trusted.
 */
enum http_read http_head_read(const char *bytes, size_t length, size_t *scanned,
                              struct http_head *out, enum http_fault *fault);

/* Are there bytes to come, behind the head, that belong to this request? */
bool http_head_has_body(const struct http_head *head);
/*
 * True for fields that belong to one connection and go no further: Connection and what it names,
 * Transfer-Encoding, Upgrade and the like (RFC 9110, 7.6.1); and X-Original-URL and its kin, by
 * which some frameworks serve another path than the one that was asked for.
 */
bool http_head_ends_here(const struct http_head *head, const struct http_field *field);
