/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * An HTTP/1.x response: its head, and where its body ends (RFC 9112, 4 and 6.3). Less strict than
 * requests are, since servers are what they are and only their own clients are confused; but an
 * answer whose end is in doubt is none. Pure; everything points into the caller's bytes.
 */
#pragma once

#include "daemon/filter/http_head.h"

enum {
	RESPONSE_HEAD_MAX_BYTES = 64 * 1024,
	RESPONSE_MAX_FIELDS = 128,
	RESPONSE_LINE_MAX_BYTES = 8 * 1024, /* of a chunk's extensions, and of all trailers */
	/* What response_write_head() adds to a head, at the most. */
	RESPONSE_HEAD_ADDED_BYTES = RESPONSE_MAX_FIELDS * 2 + 64,
};

enum response_framing {
	RESPONSE_EMPTY = 0, /* to HEAD; 1xx, 204, 304 */
	RESPONSE_LENGTH,
	RESPONSE_CHUNKED,
	RESPONSE_UNTIL_CLOSE,
};

struct response_head {
	unsigned status; /* 100..999 */
	unsigned minor;  /* HTTP/1.minor */
	struct http_text reason;
	struct http_field fields[RESPONSE_MAX_FIELDS];
	size_t n_fields;
	enum response_framing framing;
	uint64_t content_length; /* of RESPONSE_LENGTH */
	bool keep_alive;         /* the server would take another request */
	size_t length;           /* of the head, the empty line included */
};

/*
 * As http_head_read(); `to_head`: what was asked was HEAD. BAD: no head of a response, or one whose
 * body's end is in doubt: several lengths, a length beside a coding, a coding that is not "chunked"
 * alone, which nobody has asked for; or a 101, which nobody has either.
 */
enum http_read response_head_read(const char *bytes, size_t length, bool to_head, size_t *scanned,
                                  struct response_head *out);

/*
 * Writes it anew for a client that speaks HTTP/1.`minor`, `keep_alive`: who may ask again. Chunked
 * content goes to one of HTTP/1.0 without its framing. `out` has room for the head's length and
 * RESPONSE_HEAD_ADDED_BYTES. Returns the length.
 */
size_t response_write_head(const struct response_head *head, unsigned minor, bool keep_alive,
                           char *out);

/* Of chunked content: what comes next. */
enum response_chunk {
	RESPONSE_SIZE = 0,
	RESPONSE_EXTENSION,
	RESPONSE_SIZE_LF,
	RESPONSE_DATA,
	RESPONSE_DATA_CR,
	RESPONSE_DATA_LF,
	RESPONSE_TRAILER, /* at the beginning of a line */
	RESPONSE_TRAILER_LINE,
	RESPONSE_TRAILER_LF,
	RESPONSE_LAST_LF,
	RESPONSE_OVER,
};

struct response_body {
	enum response_framing framing;
	uint64_t left;
	enum response_chunk state;
	unsigned digits;
	unsigned line; /* bytes of extensions, or of trailers */
};

void response_body_begin(struct response_body *b, const struct response_head *head);

/*
 * Takes *used of the bytes, which may be handed on as they stand; the content among them, of which
 * there is one stretch at most, is at *content. MORE: call again, with what is left while *used >
 * 0. DONE: it is over. BAD: no chunks. One that goes on until the server closes is never DONE.
 */
enum http_read response_body_read(struct response_body *b, const char *bytes, size_t length,
                                  size_t *used, struct http_text *content);
