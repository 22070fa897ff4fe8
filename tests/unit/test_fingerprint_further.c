/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Beyond the index by HTTP/1.1: HTTP/2 alone, other prefixes, relatives, lookalikes. By path. */
#include "scanner/signatures.h"
#include "tests/unit/scripted_server.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#define JSON   "application/json; charset=utf-8"
#define VARS   "{\n\"cmdline\": [\"/bin/a\",\"-token\",\"hunter2\"],\n\"memstats\": {}\n}\n"
#define TRACES "<title>/debug/requests</title><table id=\"tr-status\">"

static char *expvar_contains[] = {(char[]){"\"cmdline\":"}, (char[]){"\"memstats\":"}};
static char *trace_contains[] = {(char[]){"id=\"tr-status\""}};
static char *hotspots_contains[] = {(char[]){"hotspots"}};
static char *prefixes[] = {(char[]){"/debug/pprof/"}, (char[]){"/pprof/"},
                           (char[]){"/profile/"},     (char[]){"no-slash"},
                           (char[]){"/x/%2e%2e/"},    (char[]){"/admin/debug/pprof/"}};
static struct signature_relative relatives[] = {
    {.name = (char[]){"expvar"},
     .path = (char[]){"/debug/vars"},
     .content_type = (char[]){"application/json"},
     .contains = {.items = expvar_contains, .count = 2}},
    {.name = (char[]){"costly"},
     .path = (char[]){"/debug/pprof/trace"},
     .contains = {.items = trace_contains, .count = 1}},
    {.name = (char[]){"costlier"},
     .path = (char[]){"/x?seconds=5"},
     .contains = {.items = trace_contains, .count = 1}},
    {.name = (char[]){"x-net-trace"},
     .path = (char[]){"/debug/requests"},
     .content_type = (char[]){"text/html"},
     .contains = {.items = trace_contains, .count = 1}},
    {.name = (char[]){"brpc"},
     .lookalike = true,
     .path = (char[]){"/hotspots"},
     .contains = {.items = hotspots_contains, .count = 1}},
};
static const struct signatures signatures = {
    .prefixes = {.items = prefixes, .count = ARRAY_LEN(prefixes)},
    .relatives = relatives,
    .n_relatives = ARRAY_LEN(relatives),
};

struct page {
	const char *path; /* NULL: any other */
	int http2;        /* 0, 1, or -1 for both */
	struct http_answer answer;
};

struct site {
	const struct page *pages;
	size_t n_pages;
	struct fingerprint_conf conf;
	/* filled by the run */
	struct finding f;
	char asked[2048]; /* paths joined by blanks; '#' before those by HTTP/2 */
	unsigned n_asked;
};

#define SITE(...)                                                                                  \
	const struct page pages[] = {__VA_ARGS__};                                                 \
	struct site s = {.pages = pages,                                                           \
	                 .n_pages = ARRAY_LEN(pages),                                              \
	                 .conf = {.authority = "h:80", .signatures = &signatures}};

#define GO_404                                                                                     \
	{                                                                                          \
		NULL, -1, PAGE(404, PLAIN, "404 page not found\n")                                 \
	}

static void run(struct site *s)
{
	struct fingerprint *fp = fingerprint_new();
	struct fingerprint_request r;

	assert_non_null(fp);
	finding_fini(&s->f);
	finding_init(&s->f);
	s->asked[0] = '\0';
	s->n_asked = 0;
	fingerprint_reset(fp, &s->conf);
	while (fingerprint_next(fp, &r)) {
		struct http_answer answer = {.error = -ECONNRESET};
		size_t used = strlen(s->asked);

		snprintf(s->asked + used, sizeof(s->asked) - used, "%s%s%s", used ? " " : "",
		         r.http2 ? "#" : "", r.path);
		s->n_asked++;
		for (size_t i = 0; i < s->n_pages; i++) {
			const struct page *page = &s->pages[i];

			if ((page->http2 < 0 || page->http2 == r.http2) &&
			    (!page->path || strcmp(page->path, r.path) == 0)) {
				answer = page->answer;
				break;
			}
		}
		answer.tls = r.tls && answer.status;
		fingerprint_feed(fp, &answer);
	}
	assert_int_equal(fingerprint_finish(fp, &s->f), 0);
	fingerprint_free(fp);
}

static void check(struct site *s, enum finding_verdict verdict, enum finding_severity severity,
                  const char *kind)
{
	run(s);
	assert_string_equal(finding_verdict_name(s->f.verdict), finding_verdict_name(verdict));
	assert_int_equal(s->f.severity, severity);
	if (kind)
		assert_string_equal(s->f.kind, kind);
	else
		assert_null(s->f.kind);
}

static void test_other_prefixes(void **state)
{
	(void)state;
	SITE({"/admin/debug/pprof/", -1, PAGE(200, HTML, INDEX_OF("3"))},
	     {"/admin/debug/pprof/symbol", -1, PAGE(200, PLAIN, "num_symbols: 1\n")},
	     {"/admin/debug/pprof/goroutine?debug=2", -1, PAGE(200, PLAIN, DUMP)}, GO_404);

	check(&s, VERDICT_CONFIRMED, SEVERITY_HIGH, "go-pprof");
	assert_string_equal(s.f.path, "/admin/debug/pprof/");
	/* neither those that cost, nor what is no prefix */
	assert_true(strncmp(s.asked,
	                    "/debug/pprof/ /debug/pprof/symbol /pprof/ /admin/debug/pprof/ ",
	                    62) == 0);
	/* a prefix of the user's is the only one */
	s.conf.prefix = "/mine/";
	check(&s, VERDICT_CLEAR, SEVERITY_NONE, NULL);
	assert_null(strstr(s.asked, "/admin/"));
	finding_fini(&s.f);
}

static void test_relatives_of_a_go_server(void **state)
{
	(void)state;
	SITE({"/debug/vars", -1, PAGE(200, JSON, VARS)},
	     {"/debug/requests", -1, PAGE(200, HTML, TRACES)}, GO_404);

	check(&s, VERDICT_CONFIRMED, SEVERITY_LOW, "expvar");
	assert_string_equal(s.f.path, "/debug/vars");
	assert_int_equal(s.f.relatives.count, 2);
	assert_string_equal(s.f.relatives.items[1], "x-net-trace");
	assert_int_equal(s.f.command.count, 3);
	assert_string_equal(s.f.command.items[2], "[redacted]");
	assert_false(s.f.high_risk);
	assert_null(strstr(s.asked, "trace "));
	assert_null(strstr(s.asked, "seconds"));
	assert_null(strstr(s.asked, "/hotspots"));
	finding_fini(&s.f);
}

static void test_relatives_elsewhere_only_on_request(void **state)
{
	(void)state;
	SITE({"/debug/vars", -1, PAGE(200, JSON, VARS)}, {NULL, -1, PAGE(404, HTML, "no")});

	check(&s, VERDICT_CLEAR, SEVERITY_NONE, NULL);
	assert_int_equal(s.n_asked, 1);
	s.conf.all_relatives = true;
	check(&s, VERDICT_CONFIRMED, SEVERITY_LOW, "expvar");
	finding_fini(&s.f);
}

static void test_relatives_beside_pprof(void **state)
{
	(void)state;
	SITE({"/debug/pprof/", -1, PAGE(200, HTML, INDEX_OF("3"))},
	     {"/debug/pprof/symbol", -1, PAGE(200, PLAIN, "num_symbols: 1\n")},
	     {"/debug/vars", -1, PAGE(200, JSON, VARS)}, GO_404);

	check(&s, VERDICT_CONFIRMED, SEVERITY_MEDIUM, "go-pprof");
	assert_int_equal(s.n_asked, 5);
	assert_int_equal(s.f.relatives.count, 0);
	s.conf.all_relatives = true;
	check(&s, VERDICT_CONFIRMED, SEVERITY_MEDIUM, "go-pprof");
	assert_string_equal(s.f.path, "/debug/pprof/");
	assert_int_equal(s.f.relatives.count, 1);
	finding_fini(&s.f);
}

static void test_relatives_that_are_everywhere(void **state)
{
	(void)state;
	SITE({"/debug/pprof/", -1, PAGE(404, PLAIN, "404 page not found\n")},
	     {NULL, -1, PAGE(200, JSON, VARS)});

	check(&s, VERDICT_CLEAR, SEVERITY_NONE, NULL);
	assert_int_equal(s.f.command.count, 0);
	finding_fini(&s.f);
}

static void test_an_undecided_index_is_not_outweighed(void **state)
{
	(void)state;
	struct http_answer cut = PAGE(200, HTML, "<html>\n<head>\n<ti");

	cut.timed_out = true;
	SITE({"/debug/pprof/", -1, cut}, {"/debug/vars", -1, PAGE(200, JSON, VARS)}, GO_404);
	s.conf.all_relatives = true;
	check(&s, VERDICT_ERROR, SEVERITY_NONE, NULL);
	finding_fini(&s.f);
}

static void test_lookalikes(void **state)
{
	(void)state;
	static const struct {
		const char *kind;
		struct http_answer answer;
	} cases[] = {
	    {"kudu", PAGE(200, PLAIN, "num_symbols: 1")},
	    {"brpc", PAGE(200, "text/plain", "num_symbols: 31415\n")},
	    {"pprof-rs", PAGE(200, "text/plain", "num_symbols: 1\n")},
	    {"gperftools", PAGE(200, "text/plain; charset=us-ascii", "num_symbols: 2\n")},
	    {NULL, PAGE(404, PLAIN, "num_symbols: 2\n")},
	    {NULL, PAGE(200, PLAIN, "symbols: 2\n")},
	};

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		SITE({"/pprof/symbol", -1, cases[i].answer}, {NULL, -1, PAGE(404, HTML, "no")});

		s.conf.prefix = "/pprof/";
		check(&s, VERDICT_CLEAR, SEVERITY_NONE, cases[i].kind);
		assert_string_equal(s.asked, "/pprof/ /pprof/symbol");
		finding_fini(&s.f);
	}
	SITE({"/hotspots", -1, PAGE(200, HTML, "hotspots")}, {NULL, -1, PAGE(404, HTML, "no")});
	s.conf.all_relatives = true;
	check(&s, VERDICT_CLEAR, SEVERITY_NONE, "brpc");
	assert_int_equal(s.f.relatives.count, 0);
	finding_fini(&s.f);
}

#define H2_SITE(...)                                                                               \
	SITE({"/debug/pprof/", 1, PAGE(200, HTML, INDEX_OF("3"))},                                 \
	     {"/debug/pprof/symbol", 1, PAGE(200, PLAIN, "num_symbols: 1\n")},                     \
	     {NULL, 1, PAGE(404, PLAIN, "404 page not found\n")}, {NULL, 0, __VA_ARGS__})

static void test_http2_alone(void **state)
{
	(void)state;
	{
		/* its first frame tells */
		H2_SITE({BODY("\0\0\x06\x04\0\0\0\0\0\0\x03\0\0\0\x64")});
		check(&s, VERDICT_CONFIRMED, SEVERITY_MEDIUM, "go-pprof");
		assert_string_equal(s.f.scheme, "http");
		assert_true(finding_list_has(&s.f.evidence, "http2"));
		assert_true(strncmp(s.asked, "/debug/pprof/ #/debug/pprof/ #", 30) == 0);
		finding_fini(&s.f);
	}
	{
		/* it hangs up: TLS is the better guess, and comes first */
		H2_SITE({.error = -ECONNRESET});
		check(&s, VERDICT_CONFIRMED, SEVERITY_MEDIUM, "go-pprof");
		assert_true(strncmp(s.asked, "/debug/pprof/ /debug/pprof/ #/debug/pprof/ ", 43) ==
		            0);
		finding_fini(&s.f);
	}
	{
		H2_SITE({.error = -EPROTO, .alpn_refused = true});
		s.conf.tls_only = true;
		check(&s, VERDICT_CONFIRMED, SEVERITY_MEDIUM, "go-pprof");
		assert_string_equal(s.f.scheme, "https");
		finding_fini(&s.f);
	}
}

static void test_http2_is_tried_once(void **state)
{
	(void)state;
	{
		SITE({NULL, -1, {.error = -ECONNRESET}});
		check(&s, VERDICT_ERROR, SEVERITY_NONE, NULL);
		assert_string_equal(s.f.error, "Connection reset by peer");
		assert_int_equal(s.n_asked, 3);
		finding_fini(&s.f);
	}
	{
		SITE({NULL, -1, {BODY("\0\0\x06\x04\0\0\0\0\0\0\x03\0\0\0\x64")}});
		check(&s, VERDICT_ERROR, SEVERITY_NONE, NULL);
		assert_int_equal(s.n_asked, 2);
		finding_fini(&s.f);
	}
	{
		/* no frame: a banner, and that is all there is to it */
		SITE({NULL, -1, {BODY("\0\0\x06\x04\0\0\0\0\x01\0\x03\0\0\0\x64")}});
		check(&s, VERDICT_CLEAR, SEVERITY_NONE, NULL);
		assert_int_equal(s.n_asked, 1);
		finding_fini(&s.f);
	}
	{
		SITE({NULL, -1, {.error = -ECONNREFUSED}});
		check(&s, VERDICT_CLOSED, SEVERITY_NONE, NULL);
		assert_int_equal(s.n_asked, 1);
		finding_fini(&s.f);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_other_prefixes),
	    cmocka_unit_test(test_relatives_of_a_go_server),
	    cmocka_unit_test(test_relatives_elsewhere_only_on_request),
	    cmocka_unit_test(test_relatives_beside_pprof),
	    cmocka_unit_test(test_relatives_that_are_everywhere),
	    cmocka_unit_test(test_an_undecided_index_is_not_outweighed),
	    cmocka_unit_test(test_lookalikes),
	    cmocka_unit_test(test_http2_alone),
	    cmocka_unit_test(test_http2_is_tried_once),
	};

	return cmocka_run_group_tests_name("fingerprint, further", tests, NULL, NULL);
}
