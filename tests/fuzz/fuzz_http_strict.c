/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A client's bytes, in pieces whose sizes the input chooses, too. What is accepted is written anew
 * as the filter would, and has to be understood the same way again.
 */
#include "daemon/filter/http_body.h"
#include "daemon/filter/http_path.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool condition)
{
	if (!condition)
		abort();
}

static bool is_same(struct http_text a, struct http_text b)
{
	return a.length == b.length && (a.length == 0 || memcmp(a.at, b.at, a.length) == 0);
}

/* One more byte at a time, or all at once: the same answer. */
static enum http_read read_in_pieces(const char *bytes, size_t length, size_t step,
                                     struct http_head *head, enum http_fault *fault)
{
	enum http_read found = HTTP_READ_MORE;
	size_t scanned = 0;

	for (size_t have = step; found == HTTP_READ_MORE; have += step) {
		found = http_head_read(bytes, have < length ? have : length, &scanned, head, fault);
		if (have >= length)
			break;
	}
	return found;
}

static void put(FILE *to, struct http_text text)
{
	fwrite(text.at, 1, text.length, to);
}

static void check_again(const struct http_head *head)
{
	char *text = NULL;
	size_t length, scanned = 0;
	FILE *to = open_memstream(&text, &length);
	struct http_head again;
	enum http_fault fault = HTTP_FAULT_NONE;

	require(to != NULL);
	put(to, head->method);
	fputc(' ', to);
	put(to, head->target);
	fprintf(to, " HTTP/1.%u\r\n", head->minor);
	for (size_t i = 0; i < head->n_fields; i++) {
		put(to, head->fields[i].name);
		fputs(": ", to);
		put(to, head->fields[i].value);
		fputs("\r\n", to);
	}
	fputs("\r\n", to);
	require(fclose(to) == 0);
	/* The one space behind each colon may make it too long. */
	if (length <= HTTP_HEAD_MAX_BYTES &&
	    http_head_read(text, length, &scanned, &again, &fault) == HTTP_READ_DONE) {
		require(is_same(again.method, head->method) && is_same(again.target, head->target));
		require(is_same(again.host, head->host) && again.n_fields == head->n_fields);
		require(again.framing == head->framing &&
		        again.content_length == head->content_length &&
		        again.keep_alive == head->keep_alive);
	} else {
		require(fault == HTTP_FAULT_TOO_LONG || length > HTTP_HEAD_MAX_BYTES);
	}
	free(text);
}

static void check_path(const struct http_head *head)
{
	char path[HTTP_PATH_MAX_BYTES];
	size_t length;

	if (http_path_decode(head->path, path, &length))
		return;
	require(length > 0 && length <= head->path.length && path[0] == '/');
	require(!memmem(path, length, "//", 2) && !memmem(path, length, "/./", 3) &&
	        !memmem(path, length, "/../", 4) && !memchr(path, '\0', length) &&
	        !memchr(path, '\\', length));
	if (memmem(path, length, "/debug/pprof/", 13))
		require(http_path_has(path, length, "/debug/pprof"));
}

static void check_body(const struct http_head *head, const char *bytes, size_t length)
{
	uint64_t content_length = 0;
	struct http_text content;
	enum http_fault fault;
	struct http_body b;
	enum http_read found;
	size_t used;

	http_body_begin(&b, head);
	do {
		found = http_body_read(&b, bytes, length, &used, &content, &fault);
		require(used <= length && content.length <= used);
		require(content.length == 0 ||
		        (content.at >= bytes && content.at + content.length <= bytes + used));
		content_length += content.length;
		bytes += used;
		length -= used;
	} while (found == HTTP_READ_MORE && used > 0);
	if (found == HTTP_READ_DONE && head->framing == HTTP_FRAMING_LENGTH)
		require(content_length == head->content_length);
	if (found == HTTP_READ_MORE)
		require(length == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const char *bytes = (const char *)data + 1;
	enum http_fault fault = HTTP_FAULT_NONE, other = HTTP_FAULT_NONE;
	struct http_head head, pieces;
	enum http_read found;
	size_t scanned = 0;

	if (size < 2)
		return 0;
	size--;
	found = http_head_read(bytes, size, &scanned, &head, &fault);
	require(read_in_pieces(bytes, size, (size_t)data[0] % 61 + 1, &pieces, &other) == found);
	require(found != HTTP_READ_BAD || fault == other);
	if (found != HTTP_READ_DONE)
		return 0;
	require(head.length <= size && head.length == pieces.length);
	check_again(&head);
	check_path(&head);
	check_body(&head, bytes + head.length, size - head.length);
	return 0;
}
