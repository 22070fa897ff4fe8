/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/filter/http_head.h"

#include "common/cleanup.h"

#include <stdlib.h>
#include <string.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#define HOST "Host: h\r\n"
#define END  "\r\n"

static const char *fault_name(enum http_fault fault)
{
	static const char *const names[HTTP_FAULT_COUNT] = {
	    [HTTP_FAULT_NONE] = "none",
	    [HTTP_FAULT_OPAQUE] = "opaque",
	    [HTTP_FAULT_TOO_LONG] = "too_long",
	    [HTTP_FAULT_LINE_BREAK] = "line_break",
	    [HTTP_FAULT_REQUEST_LINE] = "request_line",
	    [HTTP_FAULT_METHOD] = "method",
	    [HTTP_FAULT_TARGET] = "target",
	    [HTTP_FAULT_VERSION] = "version",
	    [HTTP_FAULT_FIELD] = "field",
	    [HTTP_FAULT_HOST] = "host",
	    [HTTP_FAULT_LENGTH] = "length",
	    [HTTP_FAULT_CODING] = "coding",
	    [HTTP_FAULT_CHUNK] = "chunk",
	    [HTTP_FAULT_EXPECT] = "expect",
	    [HTTP_FAULT_PATH] = "path",
	};

	return fault < HTTP_FAULT_COUNT && names[fault] ? names[fault] : "none";
}

static enum http_read read_all(const char *bytes, size_t length, struct http_head *head,
                               enum http_fault *fault)
{
	size_t scanned = 0;

	*fault = HTTP_FAULT_NONE;
	return http_head_read(bytes, length, &scanned, head, fault);
}

static struct http_head accept_head(const char *bytes)
{
	struct http_head head;
	enum http_fault fault;

	if (read_all(bytes, strlen(bytes), &head, &fault) != HTTP_READ_DONE)
		fail_msg("refused for %s: %s", fault_name(fault), bytes);
	return head;
}

static void refuse_bytes(const char *bytes, size_t length, enum http_fault expected)
{
	struct http_head head;
	enum http_fault fault;

	if (read_all(bytes, length, &head, &fault) != HTTP_READ_BAD || fault != expected)
		fail_msg("not refused for %s, but %s: %s", fault_name(expected), fault_name(fault),
		         bytes);
}

static void refuse_head(const char *bytes, enum http_fault expected)
{
	refuse_bytes(bytes, strlen(bytes), expected);
}

static void assert_text(struct http_text text, const char *expected)
{
	assert_int_equal(text.length, strlen(expected));
	assert_memory_equal(text.at, expected, text.length);
}

static void what_prometheus_sends_is_understood(void **state)
{
	static const char request[] = "GET /federate?match[]={job=\"a\"} HTTP/1.1\r\n"
	                              "Host: 10.0.0.7:9100\r\n"
	                              "User-Agent:Prometheus/2.42\r\n"
	                              "Accept: text/plain;version=0.0.4;q=0.5,*/*;q=0.1 \t\r\n"
	                              "X-Empty:\r\n"
	                              "\r\nnext";
	struct http_head head = accept_head(request);

	(void)state;
	assert_text(head.method, "GET");
	assert_text(head.path, "/federate");
	assert_text(head.query, "?match[]={job=\"a\"}");
	assert_text(head.host, "10.0.0.7:9100");
	assert_int_equal(head.n_fields, 4);
	assert_text(head.fields[1].value, "Prometheus/2.42");
	assert_text(head.fields[2].value, "text/plain;version=0.0.4;q=0.5,*/*;q=0.1");
	assert_text(head.fields[3].value, "");
	assert_int_equal(head.framing, HTTP_FRAMING_NONE);
	assert_true(head.keep_alive);
	assert_int_equal(head.length, sizeof(request) - 1 - strlen("next"));
}

static void bodies_and_connections(void **state)
{
	struct http_head head = accept_head("POST /a HTTP/1.1\r\nContent-Length: 017\r\n"
	                                    "Expect: 100-Continue\r\n" HOST END);

	(void)state;
	assert_int_equal(head.framing, HTTP_FRAMING_LENGTH);
	assert_int_equal(head.content_length, 17);
	assert_true(head.expects_continue);
	head = accept_head("POST /a HTTP/1.1\r\ntransfer-encoding: Chunked\r\n" HOST END);
	assert_int_equal(head.framing, HTTP_FRAMING_CHUNKED);
	assert_false(accept_head("GET / HTTP/1.1\r\nConnection: x, Close\r\n" HOST END).keep_alive);
	assert_false(accept_head("GET / HTTP/1.0\r\n" END).keep_alive);
	assert_true(accept_head("GET / HTTP/1.0\r\nConnection: keep-alive\r\n" END).keep_alive);
	assert_false(accept_head("GET / HTTP/1.0\r\nConnection:\r\nConnection: keep-alive\r\n" END)
	                 .keep_alive);
}

static void other_protocols_are_opaque(void **state)
{
	static const char hello[] = "\x16\x03\x01\x02\x00\x01";

	(void)state;
	refuse_bytes(hello, sizeof(hello) - 1, HTTP_FAULT_OPAQUE);
	refuse_head("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", HTTP_FAULT_OPAQUE);
	refuse_head("\r\nGET / HTTP/1.1\r\n" HOST END, HTTP_FAULT_OPAQUE);
	refuse_head(" GET / HTTP/1.1\r\n" HOST END, HTTP_FAULT_OPAQUE);
}

static void request_lines_have_one_form(void **state)
{
	(void)state;
	refuse_head("GET  / HTTP/1.1\r\n" HOST END, HTTP_FAULT_VERSION);
	refuse_head("GET /  HTTP/1.1\r\n" HOST END, HTTP_FAULT_VERSION);
	refuse_head("GET / HTTP/1.1 \r\n" HOST END, HTTP_FAULT_VERSION);
	refuse_head("GET\t/\tHTTP/1.1\r\n" HOST END, HTTP_FAULT_REQUEST_LINE);
	refuse_head("GET /\r\n" END, HTTP_FAULT_REQUEST_LINE);
	refuse_head("GET / HTTP/1.2\r\n" HOST END, HTTP_FAULT_VERSION);
	refuse_head("GET / http/1.1\r\n" HOST END, HTTP_FAULT_VERSION);
	refuse_head("GET / HTTP/01.1\r\n" HOST END, HTTP_FAULT_VERSION);
	refuse_head("CONNECT h:443 HTTP/1.1\r\n" HOST END, HTTP_FAULT_METHOD);
	refuse_head("G(T / HTTP/1.1\r\n" HOST END, HTTP_FAULT_METHOD);
	refuse_head("GET http://h/debug/pprof/ HTTP/1.1\r\n" HOST END, HTTP_FAULT_TARGET);
	refuse_head("GET //h HTTP/1.1\r\n" HOST "Host: x\r\n" END, HTTP_FAULT_HOST);
	refuse_head("OPTIONS * HTTP/1.1\r\n" HOST END, HTTP_FAULT_TARGET);
	refuse_head("GET h:80 HTTP/1.1\r\n" HOST END, HTTP_FAULT_TARGET);
	refuse_head("GET /a#b HTTP/1.1\r\n" HOST END, HTTP_FAULT_TARGET);
	refuse_head("GET /a\\b HTTP/1.1\r\n" HOST END, HTTP_FAULT_TARGET);
	refuse_head("GET /\xc3\xa9 HTTP/1.1\r\n" HOST END, HTTP_FAULT_TARGET);
}

static void lines_end_in_one_way(void **state)
{
	static const char nul[] = "GET /\0 HTTP/1.1\r\n" HOST END;

	(void)state;
	refuse_head("GET / HTTP/1.1\nHost: h\n\n", HTTP_FAULT_LINE_BREAK);
	refuse_head("GET / HTTP/1.1\r\nHost: h\n\r\n", HTTP_FAULT_LINE_BREAK);
	refuse_head("GET / HTTP/1.1\r\nHost: h\rX: y\r\n\r\n", HTTP_FAULT_LINE_BREAK);
	refuse_head("GET / HTTP/1.1\r\nHost: h\r\r\n\r\n", HTTP_FAULT_LINE_BREAK);
	refuse_head("GET / HTTP/1.1\r\nX: a\vb\r\n" HOST END, HTTP_FAULT_LINE_BREAK);
	refuse_head("GET / HTTP/1.1\r\nX: a\x7f\r\n" HOST END, HTTP_FAULT_LINE_BREAK);
	refuse_bytes(nul, sizeof(nul) - 1, HTTP_FAULT_LINE_BREAK);
}

static void fields_are_fields(void **state)
{
	(void)state;
	refuse_head("GET / HTTP/1.1\r\nHost : h\r\n" END, HTTP_FAULT_FIELD);
	refuse_head("GET / HTTP/1.1\r\nHost: h\r\n folded\r\n" END, HTTP_FAULT_FIELD);
	refuse_head("GET / HTTP/1.1\r\n Host: h\r\n" END, HTTP_FAULT_FIELD);
	refuse_head("GET / HTTP/1.1\r\n: h\r\n" HOST END, HTTP_FAULT_FIELD);
	refuse_head("GET / HTTP/1.1\r\nnothing\r\n" HOST END, HTTP_FAULT_FIELD);
	refuse_head("GET / HTTP/1.1\r\nA(: b\r\n" HOST END, HTTP_FAULT_FIELD);
	refuse_head("GET / HTTP/1.1\r\n\r\n", HTTP_FAULT_HOST);
	refuse_head("GET / HTTP/1.1\r\nHost:\r\n" END, HTTP_FAULT_HOST);
	refuse_head("GET / HTTP/1.1\r\n" HOST "host: i\r\n" END, HTTP_FAULT_HOST);
	refuse_head("GET / HTTP/1.1\r\nHost: h i\r\n" END, HTTP_FAULT_HOST);
	refuse_head("GET / HTTP/1.1\r\nHost: h/debug\r\n" END, HTTP_FAULT_HOST);
	refuse_head("GET / HTTP/1.1\r\nHost: u@h\r\n" END, HTTP_FAULT_HOST);
}

static void framing_is_beyond_doubt(void **state)
{
	static const struct {
		const char *fields;
		enum http_fault fault;
	} cases[] = {
	    {"Content-Length: 5\r\nContent-Length: 5\r\n", HTTP_FAULT_LENGTH},
	    {"Content-Length: 5, 5\r\n", HTTP_FAULT_LENGTH},
	    {"Content-Length: +5\r\n", HTTP_FAULT_LENGTH},
	    {"Content-Length: -5\r\n", HTTP_FAULT_LENGTH},
	    {"Content-Length: 0x5\r\n", HTTP_FAULT_LENGTH},
	    {"Content-Length: 5 5\r\n", HTTP_FAULT_LENGTH},
	    {"Content-Length:\r\n", HTTP_FAULT_LENGTH},
	    {"Content-Length: 1000000000000000000\r\n", HTTP_FAULT_LENGTH},
	    {"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n", HTTP_FAULT_LENGTH},
	    {"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n", HTTP_FAULT_LENGTH},
	    {"Transfer-Encoding: gzip, chunked\r\n", HTTP_FAULT_CODING},
	    {"Transfer-Encoding: chunked, identity\r\n", HTTP_FAULT_CODING},
	    {"Transfer-Encoding: xchunked\r\n", HTTP_FAULT_CODING},
	    {"Transfer-Encoding: chunked;a=b\r\n", HTTP_FAULT_CODING},
	    {"Transfer-Encoding:\r\n", HTTP_FAULT_CODING},
	    {"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n", HTTP_FAULT_CODING},
	    {"Transfer-Encoding : chunked\r\n", HTTP_FAULT_FIELD},
	    {"Expect: 200-ok\r\n", HTTP_FAULT_EXPECT},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		char request[512];

		snprintf(request, sizeof(request), "POST / HTTP/1.1\r\n" HOST "%s" END,
		         cases[i].fields);
		refuse_head(request, cases[i].fault);
	}
	refuse_head("POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n" END, HTTP_FAULT_CODING);
}

static void what_belongs_to_a_connection_ends_here(void **state)
{
	struct http_head head = accept_head("GET / HTTP/1.1\r\nConnection: close, X-Hop,\tHost\r\n"
	                                    "X-Hop: 1\r\nUpgrade: h2c\r\nX-Original-URL: /debug\r\n"
	                                    "Accept: a\r\nContent-Length: 0\r\n"
	                                    "X_Rewrite_Url: /debug\r\ntransfer_encoding: a\r\n"
	                                    "X-Original-Path: /debug\r\nX_Other: a\r\n" HOST END);
	static const bool ends[] = {true, true, true, true,  false, true,
	                            true, true, true, false, false};

	(void)state;
	assert_int_equal(head.n_fields, ARRAY_LEN(ends));
	for (size_t i = 0; i < ARRAY_LEN(ends); i++)
		assert_int_equal(http_head_ends_here(&head, &head.fields[i]), ends[i]);
}

static void a_length_of_zero_is_no_body(void **state)
{
	struct http_head none = accept_head("GET / HTTP/1.1\r\n" HOST END);
	struct http_head zero = accept_head("PUT / HTTP/1.1\r\nContent-Length: 0\r\n" HOST END);
	struct http_head one = accept_head("PUT / HTTP/1.1\r\nContent-Length: 1\r\n" HOST END);
	struct http_head chunks =
	    accept_head("PUT / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n" HOST END);

	(void)state;
	assert_false(http_head_has_body(&none));
	assert_false(http_head_has_body(&zero));
	assert_true(http_head_has_body(&one));
	assert_true(http_head_has_body(&chunks));
}

/* Nothing is decided before it is there, and each limit holds while bytes trickle in. */
static void limits_hold_byte_by_byte(void **state)
{
	static const char request[] = "GET / HTTP/1.1\r\n" HOST END;
	static char many[HTTP_HEAD_MAX_BYTES + 16];
	struct http_head head;
	enum http_fault fault;
	size_t scanned = 0, n = 0;

	(void)state;
	for (size_t i = 1; i < sizeof(request) - 1; i++)
		assert_int_equal(http_head_read(request, i, &scanned, &head, &fault),
		                 HTTP_READ_MORE);
	assert_int_equal(http_head_read(request, sizeof(request) - 1, &scanned, &head, &fault),
	                 HTTP_READ_DONE);

	memset(many, 'a', sizeof(many));
	refuse_bytes(many, HTTP_LINE_MAX_BYTES + 3, HTTP_FAULT_TOO_LONG);
	n = (size_t)snprintf(many, sizeof(many), "GET / HTTP/1.1\r\n" HOST);
	for (size_t i = 0; i < HTTP_MAX_FIELDS; i++)
		n += (size_t)snprintf(many + n, sizeof(many) - n, "X: %zu\r\n", i);
	snprintf(many + n, sizeof(many) - n, END);
	refuse_head(many, HTTP_FAULT_TOO_LONG);
	n = (size_t)snprintf(many, sizeof(many), "GET / HTTP/1.1\r\n" HOST);
	while (n + 4096 < sizeof(many)) {
		memset(many + n, 'x', 4094);
		many[n + 1] = ':';
		memcpy(many + n + 4094, "\r\n", 2);
		n += 4096;
	}
	memset(many + n, 'x', sizeof(many) - n);
	refuse_bytes(many, sizeof(many), HTTP_FAULT_TOO_LONG);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(what_prometheus_sends_is_understood),
	    cmocka_unit_test(bodies_and_connections),
	    cmocka_unit_test(other_protocols_are_opaque),
	    cmocka_unit_test(request_lines_have_one_form),
	    cmocka_unit_test(lines_end_in_one_way),
	    cmocka_unit_test(fields_are_fields),
	    cmocka_unit_test(framing_is_beyond_doubt),
	    cmocka_unit_test(what_belongs_to_a_connection_ends_here),
	    cmocka_unit_test(a_length_of_zero_is_no_body),
	    cmocka_unit_test(limits_hold_byte_by_byte),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
