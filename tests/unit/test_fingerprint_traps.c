/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Servers made by hand: each trap, each kind of failure, each rule at its edge. */
#include "tests/unit/scripted_server.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

static void test_connection_failures(void **state)
{
	(void)state;
	static const struct {
		int error;
		bool timed_out;
		enum finding_verdict verdict;
		unsigned requests;
	} cases[] = {
	    {ECONNREFUSED, false, VERDICT_CLOSED, 1},
	    {ETIMEDOUT, false, VERDICT_FILTERED, 1},
	    {EHOSTUNREACH, false, VERDICT_FILTERED, 1},
	    {ENETUNREACH, false, VERDICT_FILTERED, 1},
	    {0, true, VERDICT_ERROR, 1},
	    {ETIMEDOUT, true, VERDICT_ERROR, 1},
	    {ECONNRESET, false, VERDICT_ERROR, 3}, /* perhaps it wants TLS, or HTTP/2 */
	    {ENOMEM, false, VERDICT_ERROR, 1},
	};

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		SERVER({FINGERPRINT_INDEX,
		        -1,
		        {.error = -cases[i].error, .timed_out = cases[i].timed_out}});
		scripted_check(&s, cases[i].verdict, SEVERITY_NONE, false, cases[i].requests);
		assert_int_equal(s.f.error != NULL, cases[i].verdict != VERDICT_CLOSED);
		assert_null(s.f.path);
		scripted_fini(&s);
	}
}

static void test_clean_servers_get_one_request(void **state)
{
	(void)state;
	static const struct http_answer pages[] = {
	    PAGE(404, HTML, "<html>nginx</html>"),
	    PAGE(404, "", ""),
	    PAGE(200, HTML, "<!doctype html><title>App</title>"),
	    PAGE(200, "application/json", "{}"),
	    PAGE(400, PLAIN, "Bad Request"),
	    PAGE(500, PLAIN, "oops"),
	    PAGE(405, PLAIN, "404 page not found\n"),
	    PAGE(404, "application/json", "{\"message\":\"Not Found\"}"), /* no newline: not echo */
	    PAGE(302, HTML, ""),
	};

	for (size_t i = 0; i < ARRAY_LEN(pages); i++) {
		SERVER({FINGERPRINT_INDEX, -1, pages[i]});
		scripted_check(&s, VERDICT_CLEAR, SEVERITY_NONE, false, 1);
		assert_null(s.f.kind);
		scripted_fini(&s);
	}
}

static void test_the_index_needs_all_its_signs(void **state)
{
	(void)state;
	static const struct http_answer pages[] = {
	    PAGE(200, PLAIN, INDEX_OF("3")),
	    PAGE(404, HTML, INDEX_OF("3")),
	    PAGE(200, HTML, "<title>/debug/pprof</title>" LINK),
	    PAGE(200, HTML,
	         TITLE "<a href=\"http://localhost:6060/debug/pprof/goroutine?debug=2\">"
	               "full goroutine stack dump</a>"),
	    PAGE(200, HTML, "&lt;title&gt;/debug/pprof/&lt;/title&gt;" LINK),
	    PAGE(200, HTML, LINK "Types of profiles available:"),
	};
	char late[1024 + sizeof(INDEX_OF("3"))];

	for (size_t i = 0; i < ARRAY_LEN(pages); i++) {
		SERVER({FINGERPRINT_INDEX, -1, pages[i]}, R_CONTROL_404);
		scripted_run(&s);
		assert_int_equal(s.f.verdict, VERDICT_CLEAR);
		scripted_fini(&s);
	}
	/* the title must come within 512 bytes */
	memset(late, ' ', 1024);
	memcpy(late + 1024, INDEX_OF("3"), sizeof(INDEX_OF("3")));
	SERVER({FINGERPRINT_INDEX,
	        -1,
	        {.status = 200,
	         .content_type = HTML,
	         .body = (const uint8_t *)late,
	         .body_length = sizeof(late) - 1}});
	scripted_check(&s, VERDICT_CLEAR, SEVERITY_NONE, false, 1);
	scripted_fini(&s);
}

static void test_likely_without_symbol(void **state)
{
	(void)state;
	SERVER(R_INDEX("3"), R_CONTROL_404, R_DUMP);
	scripted_check(&s, VERDICT_LIKELY, SEVERITY_HIGH, true, 5);
	scripted_fini(&s);
}

static void test_symbol_must_be_exact(void **state)
{
	(void)state;
	static const struct http_answer lookalikes[] = {
	    PAGE(200, PLAIN, "num_symbols: 1"),              /* Kudu */
	    PAGE(200, "text/plain", "num_symbols: 1\n"),     /* no charset */
	    PAGE(200, "text/plain", "num_symbols: 31415\n"), /* brpc */
	    PAGE(200, HTML, "num_symbols: 1\n"),
	    PAGE(404, PLAIN, "Unknown profile: heap\n"),
	    PAGE(200, PLAIN, "Unknown profile\n"),
	};

	for (size_t i = 0; i < ARRAY_LEN(lookalikes); i++) {
		SERVER(R_GO_404, {FINGERPRINT_SYMBOL, -1, lookalikes[i]}, R_CONTROL_404);
		scripted_check(&s, VERDICT_CLEAR, SEVERITY_NONE, false, 2);
		scripted_fini(&s);
	}
}

static void test_symbol_alone(void **state)
{
	(void)state;
	static const struct http_answer not_found[] = {
	    PAGE(404, PLAIN, "404 page not found\n"),
	    PAGE(404, "text/plain", "404 page not found"),                  /* gin */
	    PAGE(404, "application/json", "{\"message\":\"Not Found\"}\n"), /* echo */
	    PAGE(404, PLAIN, "Unknown profile: \n"),
	    {.status = 404, .content_type = "", .go_pprof_header = true},
	};

	for (size_t i = 0; i < ARRAY_LEN(not_found); i++) {
		SERVER({FINGERPRINT_INDEX, -1, not_found[i]}, R_SYMBOL, R_CONTROL_404);
		scripted_check(&s, VERDICT_LIKELY, SEVERITY_MEDIUM, false, 4);
		assert_true(finding_list_has(&s.f.evidence, "goroutine-inferred"));
		/* the count is not known, so stacks are left alone */
		assert_false(scripted_was_asked(&s, FINGERPRINT_GOROUTINE));
		assert_false(scripted_was_asked(&s, FINGERPRINT_GOROUTINE_REFUSED));
		scripted_fini(&s);
	}
	SERVER(R_GO_404, R_SYMBOL, R_CONTROL_404,
	       {FINGERPRINT_CMDLINE, -1, PAGE(200, PLAIN, "a\0-b")});
	scripted_check(&s, VERDICT_LIKELY, SEVERITY_HIGH, false, 4);
	assert_int_equal(s.f.command.count, 2);
	scripted_fini(&s);
}

static void test_decoys(void **state)
{
	(void)state;
	{
		SERVER(R_INDEX("3"), R_SYMBOL,
		       {FINGERPRINT_CONTROL, -1, PAGE(200, HTML, INDEX_OF("9"))}, R_DUMP);
		scripted_check(&s, VERDICT_CLEAR, SEVERITY_NONE, false, 3);
		assert_true(finding_list_has(&s.f.evidence, "decoy"));
		assert_int_equal(s.f.profiles.count, 0);
		scripted_fini(&s);
	}
	{
		SERVER(R_GO_404, R_SYMBOL,
		       {FINGERPRINT_CONTROL, -1, PAGE(200, PLAIN, "num_symbols: 1\n")});
		scripted_check(&s, VERDICT_CLEAR, SEVERITY_NONE, false, 3);
		scripted_fini(&s);
	}
}

static void test_a_failed_control_confirms_nothing(void **state)
{
	(void)state;
	SERVER(R_INDEX("3"), R_SYMBOL, R_ERROR(FINGERPRINT_CONTROL, ECONNRESET), R_DUMP);
	scripted_check(&s, VERDICT_LIKELY, SEVERITY_HIGH, true, 5);
	assert_true(finding_list_has(&s.f.evidence, "control-failed"));
	scripted_fini(&s);
}

static void test_an_open_index_behind_a_locked_root(void **state)
{
	(void)state;
	SERVER(R_INDEX("3"), R_SYMBOL, {FINGERPRINT_CONTROL, -1, PAGE(401, PLAIN, "no")}, R_DUMP);
	scripted_check(&s, VERDICT_CONFIRMED, SEVERITY_HIGH, true, 5);
	scripted_fini(&s);
}

static void test_authentication(void **state)
{
	(void)state;
	static const int codes[] = {401, 403};

	for (size_t i = 0; i < ARRAY_LEN(codes); i++) {
		const struct http_answer denied = {.status = codes[i], .content_type = PLAIN};
		{
			SERVER({FINGERPRINT_INDEX, -1, denied}, R_CONTROL_404);
			scripted_check(&s, VERDICT_PROTECTED, SEVERITY_INFO, false, 3);
			assert_string_equal(s.last_path, "/debug/pprof");
			assert_false(finding_list_has(&s.f.evidence, "redirect"));
			scripted_fini(&s);
		}
		{
			SERVER({FINGERPRINT_INDEX, -1, denied}, {FINGERPRINT_CONTROL, -1, denied});
			scripted_check(&s, VERDICT_UNKNOWN, SEVERITY_NONE, false, 2);
			assert_null(s.f.kind);
			scripted_fini(&s);
		}
		{
			SERVER({FINGERPRINT_INDEX, -1, denied},
			       R_ERROR(FINGERPRINT_CONTROL, ECONNRESET));
			scripted_check(&s, VERDICT_UNKNOWN, SEVERITY_NONE, false, 2);
			scripted_fini(&s);
		}
	}
}

/* ---- redirects ---- */

#define MOVED(code, to)                                                                            \
	{                                                                                          \
		.status = (code), .content_type = HTML, .location = (to)                           \
	}

static void test_redirect_to_no_slash(void **state)
{
	(void)state;
	static const char *const followed[] = {"/debug/pprof", "http://h/debug/pprof",
	                                       "http://H:80/debug/pprof", "//h/debug/pprof"};
	static const int codes[] = {301, 302, 303, 307, 308};

	for (size_t i = 0; i < ARRAY_LEN(followed) * ARRAY_LEN(codes); i++) {
		SERVER({FINGERPRINT_INDEX, -1,
		        MOVED(codes[i % ARRAY_LEN(codes)], followed[i / ARRAY_LEN(codes)])},
		       {FINGERPRINT_INDEX_REDIRECTED, -1, PAGE(200, HTML, INDEX_OF("3"))}, R_SYMBOL,
		       R_CONTROL_404, R_DUMP);
		scripted_check(&s, VERDICT_CONFIRMED, SEVERITY_HIGH, true, 6);
		assert_string_equal(s.f.path, "/debug/pprof");
		scripted_fini(&s);
	}
}

static void test_redirects_that_are_not_followed(void **state)
{
	(void)state;
	static const char *const elsewhere[] = {
	    "",
	    "/",
	    "/debug/pprof/",
	    "/debug",
	    "/login",
	    "debug/pprof",
	    "/debug/pprof?x",
	    "http://other/debug/pprof",
	    "http://h:8080/debug/pprof",
	    "//other/debug/pprof",
	    "http://h@other/debug/pprof",
	    "http://h",
	    "ftp://h/debug/pprof",
	    "/DEBUG/PPROF",
	    "http://hh/debug/pprof",
	    "http:///debug/pprof",
	    "https://h:8443/debug/pprof/",
	    "https://other:80/debug/pprof/",
	    "https://h/debug/pprof/" /* that is port 443, and this one is 80 */,
	};

	for (size_t i = 0; i < ARRAY_LEN(elsewhere); i++) {
		SERVER({FINGERPRINT_INDEX, -1, MOVED(301, elsewhere[i])},
		       {FINGERPRINT_INDEX_REDIRECTED, -1, PAGE(200, HTML, INDEX_OF("3"))},
		       R_SYMBOL);
		scripted_check(&s, VERDICT_CLEAR, SEVERITY_NONE, false, 1);
		scripted_fini(&s);
	}
	{
		/* without knowing where we are, absolute ones are left alone */
		SERVER({FINGERPRINT_INDEX, -1, MOVED(301, "http://h/debug/pprof")});
		s.conf.authority = NULL;
		scripted_check(&s, VERDICT_CLEAR, SEVERITY_NONE, false, 1);
		scripted_fini(&s);
	}
	{
		/* a loop */
		SERVER({FINGERPRINT_INDEX, -1, MOVED(301, "/debug/pprof")},
		       {FINGERPRINT_INDEX_REDIRECTED, -1, MOVED(301, "/debug/pprof/")});
		scripted_check(&s, VERDICT_CLEAR, SEVERITY_NONE, false, 2);
		scripted_fini(&s);
	}
}

/* ---- http and https ---- */

static void test_https_is_found(void **state)
{
	(void)state;
	static const struct http_answer hints[] = {
	    PAGE(400, "", "Client sent an HTTP request to an HTTPS server.\n"),
	    PAGE(400, HTML, "<center>The plain HTTP request was sent to HTTPS port</center>"),
	    PAGE(400, HTML, "you're speaking plain HTTP to an SSL-enabled server port.<br />"),
	    {BODY("\x15\x03\x01\x00\x02\x02\x16")},
	    MOVED(301, "https://h:80/debug/pprof/"),
	    {.error = -ECONNRESET},
	    {.error = -EPROTO},
	    {.error = 0},
	};

	for (size_t i = 0; i < ARRAY_LEN(hints); i++) {
		SERVER({FINGERPRINT_INDEX, 0, hints[i]}, R_INDEX("3"), R_SYMBOL, R_CONTROL_404,
		       R_DUMP);
		scripted_check(&s, VERDICT_CONFIRMED, SEVERITY_HIGH, true, 6);
		assert_string_equal(s.f.scheme, "https");
		scripted_fini(&s);
		/* told to stay with http */
		s.conf.plain_only = true;
		scripted_run(&s);
		assert_int_not_equal(s.f.verdict, VERDICT_CONFIRMED);
		/* but by HTTP/2, where it was hung up on */
		assert_int_equal(s.n_asked, hints[i].error == -ECONNRESET ? 2 : 1);
		scripted_fini(&s);
	}
}

static void test_tls_first(void **state)
{
	(void)state;
	{
		SERVER({FINGERPRINT_INDEX, 1, {.error = -EPROTO}}, R_INDEX("3"), R_SYMBOL,
		       R_CONTROL_404, R_DUMP);
		s.conf.tls_first = true;
		scripted_check(&s, VERDICT_CONFIRMED, SEVERITY_HIGH, true, 6);
		assert_string_equal(s.f.scheme, "http");
		scripted_fini(&s);
		s.conf.tls_only = true;
		scripted_check(&s, VERDICT_ERROR, SEVERITY_NONE, false, 1);
		assert_string_equal(s.f.error, "TLS failed");
		scripted_fini(&s);
	}
	{
		/* a closed port is not asked twice */
		SERVER(R_ERROR(FINGERPRINT_INDEX, ECONNREFUSED));
		s.conf.tls_first = true;
		scripted_check(&s, VERDICT_CLOSED, SEVERITY_NONE, false, 1);
		scripted_fini(&s);
	}
	{
		/* the handshake fails, and the port insists: no ping-pong */
		SERVER({FINGERPRINT_INDEX, 1, {.error = -EPROTO}},
		       {FINGERPRINT_INDEX, 0,
		        PAGE(400, "", "Client sent an HTTP request to an HTTPS server.\n")});
		s.conf.tls_first = true;
		scripted_check(&s, VERDICT_ERROR, SEVERITY_NONE, false, 2);
		scripted_fini(&s);
	}
}

/* ---- what the deadline and the caps cut off ---- */

static void test_cut_answers(void **state)
{
	(void)state;
	struct http_answer whole = PAGE(200, HTML, INDEX_OF("3"));
	struct http_answer head = PAGE(200, HTML, "<html>\n<head>\n<ti");
	struct http_answer titled = PAGE(200, HTML, TITLE);

	whole.timed_out = whole.truncated = true;
	head.timed_out = titled.truncated = true;
	{
		SERVER({FINGERPRINT_INDEX, -1, whole}, R_SYMBOL, R_CONTROL_404, R_DUMP);
		scripted_check(&s, VERDICT_CONFIRMED, SEVERITY_HIGH, true, 5);
		scripted_fini(&s);
	}
	{
		SERVER({FINGERPRINT_INDEX, -1, head});
		scripted_check(&s, VERDICT_ERROR, SEVERITY_NONE, false, 1);
		assert_non_null(s.f.error);
		scripted_fini(&s);
	}
	{
		SERVER({FINGERPRINT_INDEX, -1, titled}, R_SYMBOL, R_CONTROL_404);
		scripted_check(&s, VERDICT_LIKELY, SEVERITY_MEDIUM, false, 4);
		scripted_fini(&s);
	}
	{
		SERVER({FINGERPRINT_INDEX, -1, titled}); /* symbol: 404 */
		scripted_check(&s, VERDICT_ERROR, SEVERITY_NONE, false, 2);
		scripted_fini(&s);
	}
	{
		/* slowing the symbol handler alone does not make it clean */
		SERVER(R_GO_404, {FINGERPRINT_SYMBOL, -1, {.timed_out = true}});
		scripted_check(&s, VERDICT_ERROR, SEVERITY_NONE, false, 2);
		scripted_fini(&s);
	}
}

static void test_weak_title(void **state)
{
	(void)state;
	{
		SERVER({FINGERPRINT_INDEX, -1, PAGE(200, HTML, "<title>Profile</title>")});
		scripted_check(&s, VERDICT_CLEAR, SEVERITY_NONE, false, 2);
		scripted_fini(&s);
	}
	{
		SERVER({FINGERPRINT_INDEX, -1, PAGE(200, HTML, "<title>Profile</title>")}, R_SYMBOL,
		       R_CONTROL_404);
		scripted_check(&s, VERDICT_LIKELY, SEVERITY_MEDIUM, false, 4);
		assert_true(finding_list_has(&s.f.evidence, "title-profile"));
		scripted_fini(&s);
	}
}

/* ---- paths ---- */

static void test_prefixes(void **state)
{
	(void)state;
	static const char *const cases[][2] = {
	    {NULL, "/debug/pprof/"}, {"", "/debug/pprof/"},  {"/pprof", "/pprof/"},
	    {"pprof/", "/pprof/"},   {"/a/b/c/", "/a/b/c/"}, {"/", "/"},
	};
	char longest[400];

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		SERVER({FINGERPRINT_INDEX, -1, PAGE(404, HTML, "")});
		s.conf.prefix = cases[i][0];
		scripted_run(&s);
		assert_int_equal(s.f.verdict, VERDICT_CLEAR);
		assert_string_equal(s.first_path, cases[i][1]);
		scripted_fini(&s);
	}
	memset(longest, 'x', sizeof(longest));
	longest[sizeof(longest) - 1] = '\0';
	SERVER(R_INDEX("3"));
	s.conf.prefix = longest;
	scripted_check(&s, VERDICT_ERROR, SEVERITY_NONE, false, 0);
	assert_non_null(s.f.error);
	scripted_fini(&s);
}

static void test_the_control_path_follows_the_nonce(void **state)
{
	(void)state;
	char first[FINGERPRINT_PATH_MAX_LEN];
	SERVER({FINGERPRINT_INDEX, -1, {.status = 401}},
	       {FINGERPRINT_CONTROL, -1, {.status = 401}});

	scripted_run(&s);
	strcpy(first, s.last_path);
	scripted_fini(&s);
	scripted_run(&s);
	assert_string_equal(first, s.last_path);
	scripted_fini(&s);
	s.conf.nonce = 1;
	scripted_run(&s);
	assert_string_not_equal(first, s.last_path);
	scripted_fini(&s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_connection_failures),
	    cmocka_unit_test(test_clean_servers_get_one_request),
	    cmocka_unit_test(test_the_index_needs_all_its_signs),
	    cmocka_unit_test(test_likely_without_symbol),
	    cmocka_unit_test(test_symbol_must_be_exact),
	    cmocka_unit_test(test_symbol_alone),
	    cmocka_unit_test(test_decoys),
	    cmocka_unit_test(test_a_failed_control_confirms_nothing),
	    cmocka_unit_test(test_an_open_index_behind_a_locked_root),
	    cmocka_unit_test(test_authentication),
	    cmocka_unit_test(test_redirect_to_no_slash),
	    cmocka_unit_test(test_redirects_that_are_not_followed),
	    cmocka_unit_test(test_https_is_found),
	    cmocka_unit_test(test_tls_first),
	    cmocka_unit_test(test_cut_answers),
	    cmocka_unit_test(test_weak_title),
	    cmocka_unit_test(test_prefixes),
	    cmocka_unit_test(test_the_control_path_follows_the_nonce),
	};

	return cmocka_run_group_tests_name("fingerprint traps", tests, NULL, NULL);
}
