/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/filter/http_body.h"

#include "common/cleanup.h"

#include <string.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

/* In pieces of `step` bytes. Returns how it ended; the content, and what was not taken of it. */
static enum http_read read_body(const struct http_head *head, const char *bytes, size_t step,
                                char content[static 256], size_t *rest)
{
	size_t left = strlen(bytes), n = 0;
	enum http_read found = HTTP_READ_MORE;
	struct http_text part;
	enum http_fault fault;
	struct http_body b;
	size_t used;

	http_body_begin(&b, head);
	while (found == HTTP_READ_MORE) {
		found = http_body_read(&b, bytes, left < step ? left : step, &used, &part, &fault);
		memcpy(content + n, part.at, part.length);
		n += part.length;
		bytes += used;
		left -= used;
		if (used == 0 && left == 0)
			break;
	}
	content[n] = '\0';
	*rest = left;
	return found;
}

static const struct http_head chunked = {.framing = HTTP_FRAMING_CHUNKED};

static void expect(const struct http_head *head, const char *bytes, const char *content,
                   size_t rest)
{
	for (size_t step = 1; step <= strlen(bytes) + 1; step++) {
		char is[256];
		size_t left;

		assert_int_equal(read_body(head, bytes, step, is, &left), HTTP_READ_DONE);
		assert_string_equal(is, content);
		assert_int_equal(left, rest);
	}
}

static void bodies_end_where_they_end(void **state)
{
	(void)state;
	expect(&(struct http_head){.framing = HTTP_FRAMING_NONE}, "GET", "", 3);
	expect(&(struct http_head){.framing = HTTP_FRAMING_LENGTH, .content_length = 5}, "helloGET",
	       "hello", 3);
	expect(&chunked, "5\r\nhello\r\n00b\r\n and\r\n0\r\n!!\r\n0\r\n\r\nGET",
	       "hello and\r\n0\r\n!!", 3);
	expect(&chunked, "0\r\n\r\n", "", 0);
}

static void chunks_have_one_form(void **state)
{
	static const char *const cases[] = {
	    "\r\n",
	    "x\r\n",
	    "5;a=b\r\nhello\r\n0\r\n\r\n",
	    "5 \r\nhello\r\n",
	    " 5\r\nhello\r\n",
	    "0x5\r\nhello\r\n",
	    "+5\r\nhello\r\n",
	    "-5\r\nhello\r\n",
	    "5\nhello\r\n",
	    "5\r\nhelloX\r\n",
	    "5\r\nhello\n0\r\n",
	    "5\r\nhello\rX",
	    "0000000000000005\r\nhello\r\n",
	    "0\r\nTrailer: x\r\n\r\n",
	    "0\r\n\rX",
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		char content[256];
		size_t left;

		if (read_body(&chunked, cases[i], 64, content, &left) != HTTP_READ_BAD)
			fail_msg("not refused: %s", cases[i]);
	}
}

static void what_is_missing_is_waited_for(void **state)
{
	static const char *const cases[] = {"",           "5",     "5\r",    "5\r\nhel",
	                                    "5\r\nhello", "0\r\n", "0\r\n\r"};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		char content[256];
		size_t left;

		assert_int_equal(read_body(&chunked, cases[i], 64, content, &left), HTTP_READ_MORE);
		assert_int_equal(left, 0);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(bodies_end_where_they_end),
	    cmocka_unit_test(chunks_have_one_form),
	    cmocka_unit_test(what_is_missing_is_waited_for),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
