/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A server's bytes, in pieces whose sizes the input chooses, too. What is accepted is written anew
 * as the filter would, and has to be understood the same way again.
 */
#include "daemon/filter/response.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool condition)
{
	if (!condition)
		abort();
}

static enum http_read read_in_pieces(const char *bytes, size_t length, size_t step, bool to_head,
                                     struct response_head *head)
{
	enum http_read found = HTTP_READ_MORE;
	size_t scanned = 0;

	for (size_t have = step; found == HTTP_READ_MORE; have += step) {
		found = response_head_read(bytes, have < length ? have : length, to_head, &scanned,
		                           head);
		if (have >= length)
			break;
	}
	return found;
}

static void check_again(const struct response_head *head, bool to_head)
{
	static char out[RESPONSE_HEAD_MAX_BYTES + RESPONSE_HEAD_ADDED_BYTES];
	size_t length = response_write_head(head, 1, head->keep_alive, out), scanned = 0;
	struct response_head again;
	enum http_read found;

	require(length <= head->length + RESPONSE_HEAD_ADDED_BYTES);
	found = response_head_read(out, length, to_head, &scanned, &again);
	/* What was added may make it too long, or one field too many. */
	if (length > RESPONSE_HEAD_MAX_BYTES || head->n_fields == RESPONSE_MAX_FIELDS)
		return;
	require(found == HTTP_READ_DONE && again.length == length && again.minor == 1);
	require(again.status == head->status && again.framing == head->framing);
	require(again.content_length == head->content_length);
	require(head->status < 200 || again.keep_alive == head->keep_alive);
}

static void check_body(const struct response_head *head, const char *bytes, size_t length,
                       size_t step)
{
	enum http_read found = HTTP_READ_MORE;
	struct http_text content;
	struct response_body b;
	uint64_t all = 0;
	size_t used = 1, have = 0;

	response_body_begin(&b, head);
	while (found == HTTP_READ_MORE && (have < length || used > 0)) {
		if (used == 0 || have == 0)
			have = have + step < length ? have + step : length;
		found = response_body_read(&b, bytes, have, &used, &content);
		require(used <= have && content.length <= used);
		require(content.length == 0 ||
		        (content.at >= bytes && content.at + content.length <= bytes + used));
		all += content.length;
		bytes += used;
		length -= used;
		have -= used;
	}
	if (found == HTTP_READ_DONE && head->framing == RESPONSE_LENGTH)
		require(all == head->content_length);
	require(found != HTTP_READ_DONE || head->framing != RESPONSE_UNTIL_CLOSE);
	require(found != HTTP_READ_MORE || length == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const char *bytes = (const char *)data + 1;
	struct response_head head, pieces;
	size_t scanned = 0, step;
	enum http_read found;
	bool to_head;

	if (size < 2)
		return 0;
	size--;
	to_head = data[0] & 1;
	step = (size_t)data[0] % 61 + 1;
	found = response_head_read(bytes, size, to_head, &scanned, &head);
	require(read_in_pieces(bytes, size, step, to_head, &pieces) == found);
	if (found != HTTP_READ_DONE)
		return 0;
	require(head.length <= size && head.length == pieces.length);
	check_again(&head, to_head);
	check_body(&head, bytes + head.length, size - head.length, step);
	return 0;
}
