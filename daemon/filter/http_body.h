/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Where a request's body ends, as it comes in; the content is handed on without its framing. Pure.
 */
#pragma once

#include "daemon/filter/http_head.h"

struct http_body {
	enum http_framing framing;
	uint64_t left; /* of the length, or of the chunk */
	enum {
		HTTP_CHUNK_SIZE = 0,
		HTTP_CHUNK_SIZE_LF,
		HTTP_CHUNK_DATA,
		HTTP_CHUNK_CR,
		HTTP_CHUNK_LF,
		HTTP_CHUNK_LAST_CR,
		HTTP_CHUNK_LAST_LF,
		HTTP_CHUNK_OVER
	} state;
	unsigned digits; /* of the size */
};

void http_body_begin(struct http_body *b, const struct http_head *head);

/*
 * Takes *used of the bytes: framing, and content, which is at *content (maybe empty). MORE: there
 * is more to come, or more of these bytes to take: call again while *used > 0. DONE: the body is
 * over, and what is behind *used is the next request. BAD: *fault (HTTP_FAULT_CHUNK). Of chunks
 * (RFC 9112, 7.1) extensions and trailers are refused: nobody needs them, and readers differ.
 */
enum http_read http_body_read(struct http_body *b, const char *bytes, size_t length, size_t *used,
                              struct http_text *content, enum http_fault *fault);
