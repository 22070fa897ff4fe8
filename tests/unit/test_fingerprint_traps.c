/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Servers made by hand: each trap, each kind of failure, each rule at its edge. */
#include "common/cleanup.h"
#include "scanner/fingerprint.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#define HTML     "text/html; charset=utf-8"
#define PLAIN    "text/plain; charset=utf-8"
#define TITLE    "<html>\n<head>\n<title>/debug/pprof/</title>\n"
#define LINK     "<a href=\"goroutine?debug=2\">full goroutine stack dump</a>\n"
#define OLD_LINK "<a href=\"/debug/pprof/goroutine?debug=2\">full goroutine stack dump</a><br>\n"

/* One path's answer; the first of a server's list that fits is given. */
struct reply {
	enum fingerprint_step step;
	int tls; /* 0, 1, or -1 for both */
	struct http_answer answer;
};

#define BODY(text) .body = (const uint8_t *)(text), .body_length = sizeof(text) - 1
#define PAGE(code, type, text)                                                                     \
	{                                                                                          \
		.status = (code), .content_type = (type), BODY(text)                               \
	}

#define INDEX_OF(count)                                                                            \
	TITLE "<tr><td>" count "</td><td><a href='goroutine?debug=1'>goroutine</a></td></tr>\n"    \
	      "<tr><td>2</td><td><a href='heap?debug=1'>heap</a></td></tr>\n" LINK
/* as Go 1.12 wrote it: no quotes */
#define INDEX_UNQUOTED(count)                                                                      \
	TITLE "<tr><td>" count "</td><td><a href=goroutine?debug=1>goroutine</a></td></tr>\n" LINK
#define INDEX_GO14                                                                                 \
	TITLE "</head>\n/debug/pprof/<br>\n<tr><td align=right>7<td>"                              \
	      "<a href=\"/debug/pprof/goroutine?debug=1\">goroutine</a>\n" OLD_LINK

#define R_INDEX(count)                                                                             \
	{                                                                                          \
		FINGERPRINT_INDEX, -1, PAGE(200, HTML, INDEX_OF(count))                            \
	}
#define R_SYMBOL                                                                                   \
	{                                                                                          \
		FINGERPRINT_SYMBOL, -1, PAGE(200, PLAIN, "num_symbols: 1\n")                       \
	}
#define R_CONTROL_404                                                                              \
	{                                                                                          \
		FINGERPRINT_CONTROL, -1, PAGE(404, PLAIN, "404 page not found\n")                  \
	}
#define R_GO_404                                                                                   \
	{                                                                                          \
		FINGERPRINT_INDEX, -1, PAGE(404, PLAIN, "404 page not found\n")                    \
	}
#define DUMP "goroutine 22 [running]:\nruntime/pprof.writeGoroutineStacks()\n"
#define R_DUMP                                                                                     \
	{                                                                                          \
		FINGERPRINT_GOROUTINE, -1, PAGE(200, PLAIN, DUMP)                                  \
	}
#define R_ERROR(s, e)                                                                              \
	{                                                                                          \
		(s), -1,                                                                           \
		{                                                                                  \
			.error = -(e)                                                              \
		}                                                                                  \
	}
#define REFUSAL "invalid value for \"seconds\" - must be a positive integer\n"

struct server {
	struct fingerprint_conf conf;
	const struct reply *replies;
	size_t n_replies;
	/* filled by the run */
	struct finding f;
	enum fingerprint_step asked[FINGERPRINT_MAX_REQUESTS + 1];
	unsigned n_asked;
	char last_path[FINGERPRINT_PATH_MAX_LEN];
};

static bool was_asked(const struct server *s, enum fingerprint_step step)
{
	for (unsigned i = 0; i < s->n_asked; i++)
		if (s->asked[i] == step)
			return true;
	return false;
}

static void run(struct server *s)
{
	struct fingerprint *fp = fingerprint_new();
	struct fingerprint_request request;

	assert_non_null(fp);
	finding_init(&s->f);
	s->n_asked = 0;
	fingerprint_reset(fp, &s->conf);
	while (fingerprint_next(fp, &request)) {
		struct http_answer answer = PAGE(404, PLAIN, "404 page not found\n");

		assert_true(s->n_asked < FINGERPRINT_MAX_REQUESTS);
		s->asked[s->n_asked++] = request.step;
		strcpy(s->last_path, request.path);
		for (size_t i = 0; i < s->n_replies; i++) {
			const struct reply *r = &s->replies[i];

			if (r->step == request.step && (r->tls < 0 || r->tls == request.tls)) {
				answer = r->answer;
				break;
			}
		}
		answer.tls = request.tls && answer.status;
		fingerprint_feed(fp, &answer);
	}
	assert_int_equal(fingerprint_finish(fp, &s->f), 0);
	fingerprint_free(fp);
}

#define SERVER(...)                                                                                \
	const struct reply replies[] = {__VA_ARGS__};                                              \
	struct server s = {.conf = {.prefix = "/debug/pprof/", .authority = "h:80"},               \
	                   .replies = replies,                                                     \
	                   .n_replies = ARRAY_LEN(replies)};

static void check(struct server *s, enum finding_verdict verdict, enum finding_severity severity,
                  bool high_risk, unsigned requests)
{
	run(s);
	if (s->f.verdict != verdict)
		fail_msg("%s, expected %s", finding_verdict_name(s->f.verdict),
		         finding_verdict_name(verdict));
	assert_int_equal(s->f.severity, severity);
	assert_int_equal(s->f.high_risk, high_risk);
	assert_int_equal(s->n_asked, requests);
}

static void done(struct server *s)
{
	finding_fini(&s->f);
}

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
	    {ECONNRESET, false, VERDICT_ERROR, 2}, /* perhaps it wants TLS */
	    {ENOMEM, false, VERDICT_ERROR, 1},
	};

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		SERVER({FINGERPRINT_INDEX,
		        -1,
		        {.error = -cases[i].error, .timed_out = cases[i].timed_out}});
		check(&s, cases[i].verdict, SEVERITY_NONE, false, cases[i].requests);
		assert_int_equal(s.f.error != NULL, cases[i].verdict != VERDICT_CLOSED);
		assert_null(s.f.path);
		done(&s);
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
		check(&s, VERDICT_CLEAR, SEVERITY_NONE, false, 1);
		assert_null(s.f.kind);
		done(&s);
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
		run(&s);
		assert_int_equal(s.f.verdict, VERDICT_CLEAR);
		done(&s);
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
	check(&s, VERDICT_CLEAR, SEVERITY_NONE, false, 1);
	done(&s);
}

static void test_likely_without_symbol(void **state)
{
	(void)state;
	SERVER(R_INDEX("3"), R_CONTROL_404, R_DUMP);
	check(&s, VERDICT_LIKELY, SEVERITY_HIGH, true, 5);
	done(&s);
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
		check(&s, VERDICT_CLEAR, SEVERITY_NONE, false, 2);
		done(&s);
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
		check(&s, VERDICT_LIKELY, SEVERITY_MEDIUM, false, 4);
		assert_true(finding_list_has(&s.f.evidence, "goroutine-inferred"));
		/* the count is not known, so stacks are left alone */
		assert_false(was_asked(&s, FINGERPRINT_GOROUTINE));
		assert_false(was_asked(&s, FINGERPRINT_GOROUTINE_REFUSED));
		done(&s);
	}
	SERVER(R_GO_404, R_SYMBOL, R_CONTROL_404,
	       {FINGERPRINT_CMDLINE, -1, PAGE(200, PLAIN, "a\0-b")});
	check(&s, VERDICT_LIKELY, SEVERITY_HIGH, false, 4);
	assert_int_equal(s.f.command.count, 2);
	done(&s);
}

static void test_decoys(void **state)
{
	(void)state;
	{
		SERVER(R_INDEX("3"), R_SYMBOL,
		       {FINGERPRINT_CONTROL, -1, PAGE(200, HTML, INDEX_OF("9"))}, R_DUMP);
		check(&s, VERDICT_CLEAR, SEVERITY_NONE, false, 3);
		assert_true(finding_list_has(&s.f.evidence, "decoy"));
		assert_int_equal(s.f.profiles.count, 0);
		done(&s);
	}
	{
		SERVER(R_GO_404, R_SYMBOL,
		       {FINGERPRINT_CONTROL, -1, PAGE(200, PLAIN, "num_symbols: 1\n")});
		check(&s, VERDICT_CLEAR, SEVERITY_NONE, false, 3);
		done(&s);
	}
}

static void test_a_failed_control_confirms_nothing(void **state)
{
	(void)state;
	SERVER(R_INDEX("3"), R_SYMBOL, R_ERROR(FINGERPRINT_CONTROL, ECONNRESET), R_DUMP);
	check(&s, VERDICT_LIKELY, SEVERITY_HIGH, true, 5);
	assert_true(finding_list_has(&s.f.evidence, "control-failed"));
	done(&s);
}

static void test_an_open_index_behind_a_locked_root(void **state)
{
	(void)state;
	SERVER(R_INDEX("3"), R_SYMBOL, {FINGERPRINT_CONTROL, -1, PAGE(401, PLAIN, "no")}, R_DUMP);
	check(&s, VERDICT_CONFIRMED, SEVERITY_HIGH, true, 5);
	done(&s);
}

static void test_authentication(void **state)
{
	(void)state;
	static const int codes[] = {401, 403};

	for (size_t i = 0; i < ARRAY_LEN(codes); i++) {
		const struct http_answer denied = {.status = codes[i], .content_type = PLAIN};
		{
			SERVER({FINGERPRINT_INDEX, -1, denied}, R_CONTROL_404);
			check(&s, VERDICT_PROTECTED, SEVERITY_INFO, false, 3);
			assert_string_equal(s.last_path, "/debug/pprof");
			assert_false(finding_list_has(&s.f.evidence, "redirect"));
			done(&s);
		}
		{
			SERVER({FINGERPRINT_INDEX, -1, denied}, {FINGERPRINT_CONTROL, -1, denied});
			check(&s, VERDICT_UNKNOWN, SEVERITY_NONE, false, 2);
			assert_null(s.f.kind);
			done(&s);
		}
		{
			SERVER({FINGERPRINT_INDEX, -1, denied},
			       R_ERROR(FINGERPRINT_CONTROL, ECONNRESET));
			check(&s, VERDICT_UNKNOWN, SEVERITY_NONE, false, 2);
			done(&s);
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
		check(&s, VERDICT_CONFIRMED, SEVERITY_HIGH, true, 6);
		assert_string_equal(s.f.path, "/debug/pprof");
		done(&s);
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
		check(&s, VERDICT_CLEAR, SEVERITY_NONE, false, 1);
		done(&s);
	}
	{
		/* without knowing where we are, absolute ones are left alone */
		SERVER({FINGERPRINT_INDEX, -1, MOVED(301, "http://h/debug/pprof")});
		s.conf.authority = NULL;
		check(&s, VERDICT_CLEAR, SEVERITY_NONE, false, 1);
		done(&s);
	}
	{
		/* a loop */
		SERVER({FINGERPRINT_INDEX, -1, MOVED(301, "/debug/pprof")},
		       {FINGERPRINT_INDEX_REDIRECTED, -1, MOVED(301, "/debug/pprof/")});
		check(&s, VERDICT_CLEAR, SEVERITY_NONE, false, 2);
		done(&s);
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
		check(&s, VERDICT_CONFIRMED, SEVERITY_HIGH, true, 6);
		assert_string_equal(s.f.scheme, "https");
		done(&s);
		/* told to stay with http */
		s.conf.plain_only = true;
		run(&s);
		assert_int_not_equal(s.f.verdict, VERDICT_CONFIRMED);
		assert_int_equal(s.n_asked, 1);
		done(&s);
	}
}

static void test_tls_first(void **state)
{
	(void)state;
	{
		SERVER({FINGERPRINT_INDEX, 1, {.error = -EPROTO}}, R_INDEX("3"), R_SYMBOL,
		       R_CONTROL_404, R_DUMP);
		s.conf.tls_first = true;
		check(&s, VERDICT_CONFIRMED, SEVERITY_HIGH, true, 6);
		assert_string_equal(s.f.scheme, "http");
		done(&s);
		s.conf.tls_only = true;
		check(&s, VERDICT_ERROR, SEVERITY_NONE, false, 1);
		assert_string_equal(s.f.error, "TLS failed");
		done(&s);
	}
	{
		/* a closed port is not asked twice */
		SERVER(R_ERROR(FINGERPRINT_INDEX, ECONNREFUSED));
		s.conf.tls_first = true;
		check(&s, VERDICT_CLOSED, SEVERITY_NONE, false, 1);
		done(&s);
	}
	{
		/* the handshake fails, and the port insists: no ping-pong */
		SERVER({FINGERPRINT_INDEX, 1, {.error = -EPROTO}},
		       {FINGERPRINT_INDEX, 0,
		        PAGE(400, "", "Client sent an HTTP request to an HTTPS server.\n")});
		s.conf.tls_first = true;
		check(&s, VERDICT_ERROR, SEVERITY_NONE, false, 2);
		done(&s);
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
		check(&s, VERDICT_CONFIRMED, SEVERITY_HIGH, true, 5);
		done(&s);
	}
	{
		SERVER({FINGERPRINT_INDEX, -1, head});
		check(&s, VERDICT_ERROR, SEVERITY_NONE, false, 1);
		assert_non_null(s.f.error);
		done(&s);
	}
	{
		SERVER({FINGERPRINT_INDEX, -1, titled}, R_SYMBOL, R_CONTROL_404);
		check(&s, VERDICT_LIKELY, SEVERITY_MEDIUM, false, 4);
		done(&s);
	}
	{
		SERVER({FINGERPRINT_INDEX, -1, titled}); /* symbol: 404 */
		check(&s, VERDICT_ERROR, SEVERITY_NONE, false, 2);
		done(&s);
	}
	{
		/* slowing the symbol handler alone does not make it clean */
		SERVER(R_GO_404, {FINGERPRINT_SYMBOL, -1, {.timed_out = true}});
		check(&s, VERDICT_ERROR, SEVERITY_NONE, false, 2);
		done(&s);
	}
}

static void test_weak_title(void **state)
{
	(void)state;
	{
		SERVER({FINGERPRINT_INDEX, -1, PAGE(200, HTML, "<title>Profile</title>")});
		check(&s, VERDICT_CLEAR, SEVERITY_NONE, false, 2);
		done(&s);
	}
	{
		SERVER({FINGERPRINT_INDEX, -1, PAGE(200, HTML, "<title>Profile</title>")}, R_SYMBOL,
		       R_CONTROL_404);
		check(&s, VERDICT_LIKELY, SEVERITY_MEDIUM, false, 4);
		assert_true(finding_list_has(&s.f.evidence, "title-profile"));
		done(&s);
	}
}

/* ---- stacks, without harm ---- */

static void test_goroutine_count_decides(void **state)
{
	(void)state;
	{
		SERVER(R_INDEX("1000"), R_SYMBOL, R_CONTROL_404, R_DUMP);
		check(&s, VERDICT_CONFIRMED, SEVERITY_HIGH, true, 5);
		assert_true(was_asked(&s, FINGERPRINT_GOROUTINE));
		done(&s);
	}
	{
		SERVER(R_INDEX("1001"), R_SYMBOL, R_CONTROL_404, R_DUMP);
		check(&s, VERDICT_CONFIRMED, SEVERITY_MEDIUM, false, 5);
		assert_false(was_asked(&s, FINGERPRINT_GOROUTINE));
		assert_true(finding_list_has(&s.f.evidence, "goroutine-inferred"));
		done(&s);
		s.conf.goroutine_read_max = 5000;
		check(&s, VERDICT_CONFIRMED, SEVERITY_HIGH, true, 5);
		done(&s);
	}
	{
		/* no count, a huge one, one given twice */
		static const char *const counts[] = {"", "99999999999999999999", "many"};
		static const char twice[] = INDEX_OF("5") TITLE
		    "<td>5000</td><td><a href='goroutine?debug=1'>goroutine</a>" LINK;
		char page[2048];

		for (size_t i = 0; i <= ARRAY_LEN(counts); i++) {
			if (i < ARRAY_LEN(counts))
				snprintf(page, sizeof(page),
				         TITLE "<td>%s</td><td><a href='goroutine?debug=1'>"
				               "goroutine</a></td>" LINK,
				         counts[i]);
			else /* the link ends the table, so the first counts */
				snprintf(page, sizeof(page), "%s", twice);
			SERVER({FINGERPRINT_INDEX,
			        -1,
			        {.status = 200,
			         .content_type = HTML,
			         .body = (const uint8_t *)page,
			         .body_length = strlen(page)}},
			       R_SYMBOL, R_CONTROL_404, R_DUMP);
			run(&s);
			assert_int_equal(was_asked(&s, FINGERPRINT_GOROUTINE),
			                 i == ARRAY_LEN(counts));
			done(&s);
		}
	}
}

static void test_refusal_is_a_proof_only_complete(void **state)
{
	(void)state;
	const struct http_answer good = {.status = 400,
	                                 .content_type = PLAIN,
	                                 .nosniff = true,
	                                 .go_pprof_header = true,
	                                 BODY(REFUSAL)};
	struct http_answer bad[5] = {good, good, good, good, good};

	bad[0].nosniff = false;
	bad[1].go_pprof_header = false;
	bad[2].status = 200;
	bad[3].body_length = 5;
	bad[4].body++, bad[4].body_length--;
	{
		SERVER(R_INDEX("100000"), R_SYMBOL, R_CONTROL_404,
		       {FINGERPRINT_GOROUTINE_REFUSED, -1, good});
		check(&s, VERDICT_CONFIRMED, SEVERITY_HIGH, true, 5);
		assert_true(finding_list_has(&s.f.evidence, "goroutine-refused"));
		done(&s);
	}
	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		SERVER(R_INDEX("100000"), R_SYMBOL, R_CONTROL_404,
		       {FINGERPRINT_GOROUTINE_REFUSED, -1, bad[i]});
		check(&s, VERDICT_CONFIRMED, SEVERITY_MEDIUM, false, 5);
		done(&s);
	}
}

static void test_old_go_is_never_asked_for_a_refusal(void **state)
{
	(void)state;
	{
		SERVER({FINGERPRINT_INDEX, -1, PAGE(200, HTML, INDEX_UNQUOTED("100000"))}, R_SYMBOL,
		       R_CONTROL_404);
		check(&s, VERDICT_CONFIRMED, SEVERITY_MEDIUM, false, 4);
		assert_false(was_asked(&s, FINGERPRINT_GOROUTINE_REFUSED));
		assert_false(was_asked(&s, FINGERPRINT_GOROUTINE));
		done(&s);
	}
	{
		SERVER({FINGERPRINT_INDEX, -1, PAGE(200, HTML, INDEX_GO14)}, R_SYMBOL,
		       R_CONTROL_404, R_DUMP);
		check(&s, VERDICT_CONFIRMED, SEVERITY_HIGH, true, 5);
		done(&s);
	}
}

static void test_what_is_no_dump(void **state)
{
	(void)state;
	static const struct http_answer pages[] = {
	    PAGE(200, HTML, DUMP),
	    PAGE(404, PLAIN, DUMP),
	    PAGE(200, PLAIN, "goroutine [running]"),
	    PAGE(200, PLAIN, "goroutine 1"),
	    PAGE(200, PLAIN, "goroutine 1 "),
	    PAGE(200, PLAIN, "goroutine profile: total 7\n"),
	    PAGE(200, PLAIN, ""),
	    {.timed_out = true},
	};

	for (size_t i = 0; i < ARRAY_LEN(pages); i++) {
		SERVER(R_INDEX("3"), R_SYMBOL, R_CONTROL_404,
		       {FINGERPRINT_GOROUTINE, -1, pages[i]});
		check(&s, VERDICT_CONFIRMED, SEVERITY_MEDIUM, false, 5);
		done(&s);
	}
}

/* ---- the command line ---- */

static void test_cmdline(void **state)
{
	(void)state;
	{
		SERVER(R_INDEX("3"), R_SYMBOL, R_CONTROL_404,
		       {FINGERPRINT_CMDLINE, -1, PAGE(200, PLAIN, "app\0-token\0abc\0-v\0")});
		check(&s, VERDICT_CONFIRMED, SEVERITY_HIGH, false, 5);
		assert_int_equal(s.f.command.count, 4);
		assert_string_equal(s.f.command.items[2], "[redacted]");
		done(&s);
		s.conf.show_secrets = true;
		run(&s);
		assert_string_equal(s.f.command.items[2], "abc");
		done(&s);
	}
	{
		/* cut off: half a URL shows its password, so the last argument goes */
		struct http_answer cut = PAGE(200, PLAIN, "app\0postgres://u:hunt");

		cut.truncated = true;
		SERVER(R_INDEX("3"), R_SYMBOL, R_CONTROL_404, {FINGERPRINT_CMDLINE, -1, cut});
		check(&s, VERDICT_CONFIRMED, SEVERITY_HIGH, false, 5);
		assert_int_equal(s.f.command.count, 1);
		done(&s);
	}
	{
		/* the same text everywhere is no command line */
		SERVER(R_INDEX("3"), R_SYMBOL, {FINGERPRINT_CONTROL, -1, PAGE(200, PLAIN, "OK")},
		       {FINGERPRINT_CMDLINE, -1, PAGE(200, PLAIN, "OK")});
		check(&s, VERDICT_CONFIRMED, SEVERITY_MEDIUM, false, 5);
		assert_int_equal(s.f.command.count, 0);
		done(&s);
	}
}

/* ---- who it is ---- */

static void check_dump(const char *dump, const char *go_version, const char *module)
{
	SERVER(R_INDEX("3"), R_SYMBOL, R_CONTROL_404,
	       {FINGERPRINT_GOROUTINE,
	        -1,
	        {.status = 200,
	         .content_type = PLAIN,
	         .body = (const uint8_t *)dump,
	         .body_length = strlen(dump)}});
	run(&s);
	if (!s.f.go_version != !go_version || (go_version && strcmp(s.f.go_version, go_version)))
		fail_msg("go_version %s, expected %s", s.f.go_version, go_version);
	if (!s.f.module != !module || (module && strcmp(s.f.module, module)))
		fail_msg("module %s, expected %s", s.f.module, module);
	done(&s);
}

#define SERVED_BY(path) DUMP "created by net/http.(*Server).Serve in goroutine 1\n\t" path "\n"
#define MAIN_IN(path)   DUMP "main.main()\n\t" path " +0x10f\n"

static void test_identity(void **state)
{
	(void)state;
	check_dump(DUMP, NULL, NULL);
	check_dump(SERVED_BY("net/http/server.go:3102 +0x4db"), "1.19", NULL);
	check_dump(SERVED_BY("/usr/local/go/src/net/http/server.go:2795 +0x1"), "1.10", NULL);
	check_dump(SERVED_BY("/root/sdk/go1.22.3/src/net/http/server.go:3285"), "1.22.3", NULL);
	check_dump(SERVED_BY("/go/pkg/mod/golang.org/toolchain@v0.0.1-go1.23.4.linux-amd64/src/"
	                     "net/http/server.go:3360 +0x1"),
	           "1.23.4", NULL);
	check_dump(SERVED_BY("/opt/hostedtoolcache/go/1.30.1/x64/src/net/http/server.go:9999"),
	           "1.30.1", NULL);
	/* a directory may be called anything: the line is believed */
	check_dump(SERVED_BY("/home/go1.3/src/net/http/server.go:3102"), "1.19", NULL);
	check_dump(SERVED_BY("net/http/server.go:4711 +0x4db"), NULL, NULL);
	check_dump(SERVED_BY("example.org/myhttp/server.go:3102 +0x4db"), NULL, NULL);
	check_dump(SERVED_BY("net/http/server.go:99999999999999999999"), NULL, NULL);
	check_dump(DUMP "created by net/http.(*Server).Serve", NULL, NULL);

	check_dump(MAIN_IN("github.com/a/b/cmd/c/main.go:1"), NULL, "github.com/a/b");
	check_dump(MAIN_IN("github.com/a/b/v2/x/main.go:1"), NULL, "github.com/a/b/v2");
	check_dump(MAIN_IN("github.com/a/b/viewer/main.go:1"), NULL, "github.com/a/b");
	check_dump(MAIN_IN("go.etcd.io/etcd/main.go:1"), NULL, "go.etcd.io/etcd");
	check_dump(MAIN_IN("/go/src/github.com/a/b/cmd/c/main.go:1"), NULL, "github.com/a/b");
	check_dump(MAIN_IN("/root/go/pkg/mod/github.com/a/b@v1.2.3/main.go:9"), NULL,
	           "github.com/a/b@v1.2.3");
	check_dump(MAIN_IN("/build/thing-1.0/main.go:9"), NULL, NULL);
	check_dump(MAIN_IN("/srv/src/std/main.go:9"), NULL, NULL);
	check_dump(MAIN_IN("command-line-arguments/main.go:9"), NULL, NULL);
	check_dump(MAIN_IN("./main.go:9"), NULL, NULL);
	check_dump(MAIN_IN("github.com/a/\x1b[31m/main.go:9"), NULL, NULL);
	check_dump(DUMP "main.serve(0x1)\n\tgithub.com/a/b/x.go:3 +0x1\n", NULL, "github.com/a/b");
	check_dump(DUMP "main.main()", NULL, NULL);
	check_dump(DUMP "main.main()\n\t", NULL, NULL);
}

static void test_profiles(void **state)
{
	(void)state;
	SERVER({FINGERPRINT_INDEX, -1,
	        PAGE(200, HTML,
	             TITLE "<td>1</td><td><a href='a%2fb?debug=1'>a/b</a></td>"
	                   "<a href='x'><b>x</b></a><a href='y'></a><a href=z" LINK
	                   "<a href='after?debug=1'>after</a>")},
	       R_SYMBOL, R_CONTROL_404);
	run(&s);
	assert_int_equal(s.f.verdict, VERDICT_CONFIRMED);
	assert_int_equal(s.f.profiles.count, 1);
	assert_string_equal(s.f.profiles.items[0], "a/b");
	done(&s);
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
		check(&s, VERDICT_CLEAR, SEVERITY_NONE, false, 1);
		assert_string_equal(s.last_path, cases[i][1]);
		done(&s);
	}
	memset(longest, 'x', sizeof(longest));
	longest[sizeof(longest) - 1] = '\0';
	SERVER(R_INDEX("3"));
	s.conf.prefix = longest;
	check(&s, VERDICT_ERROR, SEVERITY_NONE, false, 0);
	assert_non_null(s.f.error);
	done(&s);
}

static void test_the_control_path_follows_the_nonce(void **state)
{
	(void)state;
	char first[FINGERPRINT_PATH_MAX_LEN];
	SERVER({FINGERPRINT_INDEX, -1, {.status = 401}},
	       {FINGERPRINT_CONTROL, -1, {.status = 401}});

	run(&s);
	strcpy(first, s.last_path);
	done(&s);
	run(&s);
	assert_string_equal(first, s.last_path);
	done(&s);
	s.conf.nonce = 1;
	run(&s);
	assert_string_not_equal(first, s.last_path);
	done(&s);
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
	    cmocka_unit_test(test_goroutine_count_decides),
	    cmocka_unit_test(test_refusal_is_a_proof_only_complete),
	    cmocka_unit_test(test_old_go_is_never_asked_for_a_refusal),
	    cmocka_unit_test(test_what_is_no_dump),
	    cmocka_unit_test(test_cmdline),
	    cmocka_unit_test(test_identity),
	    cmocka_unit_test(test_profiles),
	    cmocka_unit_test(test_prefixes),
	    cmocka_unit_test(test_the_control_path_follows_the_nonce),
	};

	return cmocka_run_group_tests_name("fingerprint traps", tests, NULL, NULL);
}
