/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/filter/http_write.h"

#include "common/cleanup.h"

#include <string.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

static void require(const char *request, const char *expected)
{
	static char out[HTTP_WRITTEN_MAX_BYTES];
	struct http_head head;
	enum http_fault fault;
	size_t scanned = 0, length;

	if (http_head_read(request, strlen(request), &scanned, &head, &fault) != HTTP_READ_DONE)
		fail_msg("not read: %s", request);
	length = http_write_head(&head, out);
	assert_int_equal(length, strlen(expected));
	assert_memory_equal(out, expected, length);
}

static void what_was_understood_is_written(void **state)
{
	static const char *const cases[][2] = {
	    {"GET /m?x=1 HTTP/1.1\r\nHost:a\r\nAccept:\t*/* \r\n\r\n",
	     "GET /m?x=1 HTTP/1.1\r\nHost: a\r\nAccept: */*\r\n\r\n"},
	    {"GET / HTTP/1.0\r\n\r\n", "GET / HTTP/1.0\r\n\r\n"},
	    {"GET / HTTP/1.0\r\nconnection: Keep-Alive\r\n\r\n",
	     "GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n"},
	    {"GET / HTTP/1.1\r\nHost: a\r\nConnection: close, X-Y\r\nX-Y: 1\r\n\r\n",
	     "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"},
	    {"POST / HTTP/1.1\r\ncontent-length: 007\r\nHost: a\r\n\r\n",
	     "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 7\r\n\r\n"},
	    {"POST / HTTP/1.1\r\nTransfer-Encoding: Chunked\r\nHost: a\r\nExpect: 100-continue"
	     "\r\n\r\n",
	     "POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nTransfer-Encoding: chunked"
	     "\r\n\r\n"},
	    {"GET / HTTP/1.1\r\nHost: a\r\nUpgrade: h2c\r\nConnection: upgrade\r\nTE: trailers\r\n"
	     "X-Original-URL: /debug/pprof/\r\n\r\n",
	     "GET / HTTP/1.1\r\nHost: a\r\n\r\n"},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++)
		require(cases[i][0], cases[i][1]);
}

/* As many fields as may be, each of which grows by a space, in as long a head as may be. */
static void the_longest_head_fits(void **state)
{
	static char request[HTTP_HEAD_MAX_BYTES + 1], out[HTTP_WRITTEN_MAX_BYTES];
	enum { PADDED = 4, SHORT = HTTP_MAX_FIELDS - PADDED - 3 };
	char *to = stpcpy(request, "POST / HTTP/1.1\r\nHost:a\r\nConnection:close\r\n"
	                           "Content-Length:999999999999999999\r\n");
	struct http_head head;
	enum http_fault fault;
	size_t scanned = 0, room;

	(void)state;
	for (size_t i = 0; i < SHORT; i++)
		to = stpcpy(to, "x:y\r\n");
	room = (HTTP_HEAD_MAX_BYTES - 2 - (size_t)(to - request)) / PADDED;
	for (size_t i = 0; i < PADDED; i++) {
		to = stpcpy(to, "z:");
		memset(to, 'z', room - 4);
		to = stpcpy(to + room - 4, "\r\n");
	}
	to = stpcpy(to, "\r\n");
	assert_in_range(to - request, HTTP_HEAD_MAX_BYTES - PADDED, HTTP_HEAD_MAX_BYTES);
	assert_int_equal(http_head_read(request, (size_t)(to - request), &scanned, &head, &fault),
	                 HTTP_READ_DONE);
	assert_int_equal(head.n_fields, HTTP_MAX_FIELDS);
	assert_int_equal(http_write_head(&head, out), head.length + HTTP_MAX_FIELDS);
}

static void sizes_of_chunks(void **state)
{
	char out[HTTP_CHUNK_SIZE_MAX_BYTES];

	(void)state;
	assert_int_equal(http_write_chunk_size(1, out), 3);
	assert_memory_equal(out, "1\r\n", 3);
	assert_int_equal(http_write_chunk_size(0x1fa0, out), 6);
	assert_memory_equal(out, "1fa0\r\n", 6);
	assert_int_equal(http_write_chunk_size(SIZE_MAX, out), 2 * sizeof(size_t) + 2);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(what_was_understood_is_written),
	    cmocka_unit_test(the_longest_head_fits),
	    cmocka_unit_test(sizes_of_chunks),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
