/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/filter/response.h"

#include "common/cleanup.h"

#include <string.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

static enum http_read read_head(const char *text, bool to_head, struct response_head *head)
{
	size_t scanned = 0;

	return response_head_read(text, strlen(text), to_head, &scanned, head);
}

static void framing_of_answers(void **state)
{
	static const struct {
		const char *text;
		bool to_head;
		enum response_framing framing;
		bool keep_alive;
	} cases[] = {
	    {"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", false, RESPONSE_LENGTH, true},
	    {"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", true, RESPONSE_EMPTY, true},
	    {"HTTP/1.1 200 OK\r\ntransfer-encoding: Chunked\r\n\r\n", false, RESPONSE_CHUNKED,
	     true},
	    {"HTTP/1.1 200\r\n\r\n", false, RESPONSE_UNTIL_CLOSE, false},
	    {"HTTP/1.1 204 No Content\r\n\r\n", false, RESPONSE_EMPTY, true},
	    {"HTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\n\r\n", false, RESPONSE_EMPTY, true},
	    {"HTTP/1.1 100 Continue\r\n\r\n", false, RESPONSE_EMPTY, true},
	    {"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: x, Close\r\n\r\n", false,
	     RESPONSE_LENGTH, false},
	    {"HTTP/1.0 200 OK\r\nContent-Length: 5\r\n\r\n", false, RESPONSE_LENGTH, false},
	    {"HTTP/1.0 200 OK\r\nContent-Length: 5\r\nConnection: keep-alive\r\n\r\n", false,
	     RESPONSE_LENGTH, true},
	    /* lines that end with LF alone, obs-text */
	    {"HTTP/1.1 200 sch\xc3\xb6n\nContent-Length: 5\n\n", false, RESPONSE_LENGTH, true},
	};
	struct response_head head;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		if (read_head(cases[i].text, cases[i].to_head, &head) != HTTP_READ_DONE ||
		    head.framing != cases[i].framing || head.keep_alive != cases[i].keep_alive)
			fail_msg("%s", cases[i].text);
		assert_int_equal(head.length, strlen(cases[i].text));
	}
}

static void answers_in_doubt_are_none(void **state)
{
	static const char *const cases[] = {
	    "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\n",
	    "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n",
	    "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n",
	    "HTTP/1.1 200 OK\r\nTransfer-Encoding: identity\r\n\r\n",
	    "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
	    "HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\n",
	    "HTTP/1.1 200 OK\r\nContent-Length: 5, 5\r\n\r\n",
	    "HTTP/1.1 200 OK\r\nContent-Length: 9999999999999999999\r\n\r\n",
	    "HTTP/1.1 200 OK\r\nContent-Length:\r\n\r\n",
	    "HTTP/1.1 200 OK\r\nA: b\r\n c\r\n\r\n",
	    "HTTP/1.1 200 OK\r\nA : b\r\n\r\n",
	    "HTTP/1.1 200 OK\r\nA: b\rc\r\n\r\n",
	    "HTTP/1.1 101 Switching Protocols\r\nUpgrade: h2c\r\n\r\n",
	    "HTTP/1.1 099 OK\r\n\r\n",
	    "HTTP/1.1 20 OK\r\n\r\n",
	    "HTTP/1.1 2000\r\n\r\n",
	    "HTTP/2 200 OK\r\n\r\n",
	    "HTTP/1.2 200 OK\r\n\r\n",
	    "ICY 200 OK\r\n\r\n",
	    "\r\n\r\n",
	    "hello\n\n",
	};
	struct response_head head;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		if (read_head(cases[i], false, &head) != HTTP_READ_BAD)
			fail_msg("taken: %s", cases[i]);
	}
}

/* Wherever it is cut, and whichever line ends it has. */
static void heads_come_in_pieces(void **state)
{
	static const char *const cases[] = {
	    "HTTP/1.1 200 OK\r\nA: b\r\nContent-Length: 5\r\n\r\nhello",
	    "HTTP/1.1 200 OK\nA: b\nContent-Length: 5\n\nhello",
	    "HTTP/1.1 200 OK\r\nA: b\nContent-Length: 5\n\r\nhello",
	};
	struct response_head head;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		size_t whole = strlen(cases[i]) - 5, scanned = 0;

		for (size_t n = 0; n < whole; n++)
			assert_int_equal(response_head_read(cases[i], n, false, &scanned, &head),
			                 HTTP_READ_MORE);
		assert_int_equal(response_head_read(cases[i], whole + 5, false, &scanned, &head),
		                 HTTP_READ_DONE);
		assert_int_equal(head.length, whole);
		assert_int_equal(head.n_fields, 2);
	}
}

static void too_much_is_no_answer(void **state)
{
	static char text[RESPONSE_HEAD_MAX_BYTES + 16];
	struct response_head head;
	char *to = stpcpy(text, "HTTP/1.1 200 OK\r\n");
	size_t scanned = 0;

	(void)state;
	memset(to, 'a', sizeof(text) - (size_t)(to - text));
	assert_int_equal(
	    response_head_read(text, RESPONSE_HEAD_MAX_BYTES - 1, false, &scanned, &head),
	    HTTP_READ_MORE);
	assert_int_equal(response_head_read(text, RESPONSE_HEAD_MAX_BYTES, false, &scanned, &head),
	                 HTTP_READ_BAD);
	for (size_t i = 0; i <= RESPONSE_MAX_FIELDS; i++)
		to = stpcpy(to, "a: b\r\n");
	stpcpy(to, "\r\n");
	assert_int_equal(read_head(text, false, &head), HTTP_READ_BAD);
}

static void require_written(const char *text, unsigned minor, bool keep_alive, const char *expected)
{
	struct response_head head;
	char out[512];
	size_t length;

	assert_int_equal(read_head(text, false, &head), HTTP_READ_DONE);
	length = response_write_head(&head, minor, keep_alive, out);
	assert_in_range(length, 1, head.length + RESPONSE_HEAD_ADDED_BYTES);
	out[length] = '\0';
	assert_string_equal(out, expected);
}

static void heads_are_written_anew(void **state)
{
	(void)state;
	require_written("HTTP/1.0 200\nA:b\nKeep-Alive: x\nConnection: A, Content-Length\n"
	                "Content-Length: 5\n\n",
	                1, true, "HTTP/1.1 200 \r\nContent-Length: 5\r\n\r\n");
	require_written(
	    "HTTP/1.1 404 Not Found\r\nTransfer-Encoding: chunked\r\nTrailer: T\r\n\r\n", 1, false,
	    "HTTP/1.1 404 Not Found\r\nTransfer-Encoding: chunked\r\nTrailer: T\r\n"
	    "Connection: close\r\n\r\n");
	require_written("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", 0, false,
	                "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n");
	require_written("HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n", 0, true,
	                "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nConnection: keep-alive\r\n\r\n");
	require_written("HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n", 1, false,
	                "HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n");
}

/* Reads it in pieces of `step` bytes; the content goes to `out`. */
static enum http_read read_chunks(const char *text, size_t step, char *out, size_t *all)
{
	struct response_body b = {.framing = RESPONSE_CHUNKED};
	enum http_read found = HTTP_READ_MORE;
	struct http_text content;
	size_t used = 1, length = strlen(text);

	*all = 0;
	*out = '\0';
	for (size_t have = 0; found == HTTP_READ_MORE && *all < length; *all += used) {
		if (*all == have)
			have = have + step < length ? have + step : length;
		found = response_body_read(&b, text + *all, have - *all, &used, &content);
		strncat(out, content.at, content.length);
	}
	return found;
}

static void chunks_end_where_they_should(void **state)
{
	static const struct {
		const char *text;
		size_t behind;
		enum http_read found;
		const char *content;
	} cases[] = {
	    {"5\r\nhello\r\n0\r\n\r\n", 0, HTTP_READ_DONE, "hello"},
	    {"5\r\nhello\r\nB\r\n, wonderful\r\n000\r\n\r\nHTTP/", 5, HTTP_READ_DONE,
	     "hello, wonderful"},
	    {"5 ;x=\"1\"\r\nhello\r\n0;y\r\nT: 1\r\nU: 2\r\n\r\n", 0, HTTP_READ_DONE, "hello"},
	    {"5\r\nhello\r\n0\r\nT: 1\r\n", 0, HTTP_READ_MORE, "hello"},
	    {"5\r\nhel", 0, HTTP_READ_MORE, "hel"},
	    {"\r\n", 0, HTTP_READ_BAD, ""},
	    {"x\r\n", 0, HTTP_READ_BAD, ""},
	    {"5\nhello\r\n", 0, HTTP_READ_BAD, ""},
	    {"5\r\nhello!\r\n", 0, HTTP_READ_BAD, "hello"},
	    {"5\r\nhello\n0\r\n\r\n", 0, HTTP_READ_BAD, "hello"},
	    {"0x5\r\nhello\r\n", 0, HTTP_READ_BAD, ""},
	    {"1000000000000000\r\n", 0, HTTP_READ_BAD, ""},
	    {"0\r\nT: 1\nU: 2\r\n\r\n", 0, HTTP_READ_BAD, ""},
	    {"5\r \nhello", 0, HTTP_READ_BAD, ""},
	};
	char out[64];
	size_t all;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		size_t length = strlen(cases[i].text);

		for (size_t step = 1; step <= length; step++) {
			if (read_chunks(cases[i].text, step, out, &all) != cases[i].found ||
			    strcmp(out, cases[i].content) != 0)
				fail_msg("%s, by %zu: %s", cases[i].text, step, out);
			if (cases[i].found == HTTP_READ_DONE)
				assert_int_equal(all, length - cases[i].behind);
		}
	}
}

static void trailers_and_extensions_are_bounded(void **state)
{
	static const char *const before[] = {"5;", "0\r\nT: "};
	static char text[RESPONSE_LINE_MAX_BYTES + 16];
	struct http_text content;
	size_t used;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(before); i++) {
		struct response_body b = {.framing = RESPONSE_CHUNKED};

		memset(text, 'a', sizeof(text));
		memcpy(text, before[i], strlen(before[i]));
		assert_int_equal(response_body_read(&b, text, sizeof(text), &used, &content),
		                 HTTP_READ_BAD);
	}
}

static void a_length_is_counted(void **state)
{
	struct response_head head = {.framing = RESPONSE_LENGTH, .content_length = 7};
	struct response_body b;
	struct http_text content;
	size_t used;

	(void)state;
	response_body_begin(&b, &head);
	assert_int_equal(response_body_read(&b, "abc", 3, &used, &content), HTTP_READ_MORE);
	assert_int_equal(used, 3);
	assert_int_equal(response_body_read(&b, "defghij", 7, &used, &content), HTTP_READ_DONE);
	assert_int_equal(used, 4);
	assert_int_equal(content.length, 4);
	head.framing = RESPONSE_EMPTY;
	response_body_begin(&b, &head);
	assert_int_equal(response_body_read(&b, "abc", 3, &used, &content), HTTP_READ_DONE);
	assert_int_equal(used, 0);
	head.framing = RESPONSE_UNTIL_CLOSE;
	response_body_begin(&b, &head);
	assert_int_equal(response_body_read(&b, "abc", 3, &used, &content), HTTP_READ_MORE);
	assert_int_equal(used, 3);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(framing_of_answers),
	    cmocka_unit_test(answers_in_doubt_are_none),
	    cmocka_unit_test(heads_come_in_pieces),
	    cmocka_unit_test(too_much_is_no_answer),
	    cmocka_unit_test(heads_are_written_anew),
	    cmocka_unit_test(chunks_end_where_they_should),
	    cmocka_unit_test(trailers_and_extensions_are_bounded),
	    cmocka_unit_test(a_length_is_counted),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
