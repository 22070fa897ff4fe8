/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the server behind the filter gets to read: written anew from what was understood. Pure. */
#pragma once

#include "daemon/filter/http_head.h"

enum {
	/* A space behind each colon, and the fields that are ours, may make a head longer. */
	HTTP_WRITTEN_MAX_BYTES = HTTP_HEAD_MAX_BYTES + 512,
	HTTP_CHUNK_SIZE_MAX_BYTES = 20,
};

/* Returns the length; the body that follows has the same framing as it came in. */
size_t http_write_head(const struct http_head *head, char out[static HTTP_WRITTEN_MAX_BYTES]);

/*
 * Of a chunked body: the line before `length` (> 0) bytes of content, which CR LF follow. Returns
 * its length.
 */
size_t http_write_chunk_size(size_t length, char out[static HTTP_CHUNK_SIZE_MAX_BYTES]);
/* And its end. */
#define HTTP_LAST_CHUNK "0\r\n\r\n"
