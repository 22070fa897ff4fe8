/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What is readable, proved without harm; and who the server is. */
#include "tests/unit/scripted_server.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

static void test_goroutine_count_decides(void **state)
{
	(void)state;
	{
		SERVER(R_INDEX("1000"), R_SYMBOL, R_CONTROL_404, R_DUMP);
		scripted_check(&s, VERDICT_CONFIRMED, SEVERITY_HIGH, true, 5);
		assert_true(scripted_was_asked(&s, FINGERPRINT_GOROUTINE));
		scripted_fini(&s);
	}
	{
		SERVER(R_INDEX("1001"), R_SYMBOL, R_CONTROL_404, R_DUMP);
		scripted_check(&s, VERDICT_CONFIRMED, SEVERITY_MEDIUM, false, 5);
		assert_false(scripted_was_asked(&s, FINGERPRINT_GOROUTINE));
		assert_true(finding_list_has(&s.f.evidence, "goroutine-inferred"));
		scripted_fini(&s);
		s.conf.goroutine_read_max = 5000;
		scripted_check(&s, VERDICT_CONFIRMED, SEVERITY_HIGH, true, 5);
		scripted_fini(&s);
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
			scripted_run(&s);
			assert_int_equal(scripted_was_asked(&s, FINGERPRINT_GOROUTINE),
			                 i == ARRAY_LEN(counts));
			scripted_fini(&s);
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
		scripted_check(&s, VERDICT_CONFIRMED, SEVERITY_HIGH, true, 5);
		assert_true(finding_list_has(&s.f.evidence, "goroutine-refused"));
		scripted_fini(&s);
	}
	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		SERVER(R_INDEX("100000"), R_SYMBOL, R_CONTROL_404,
		       {FINGERPRINT_GOROUTINE_REFUSED, -1, bad[i]});
		scripted_check(&s, VERDICT_CONFIRMED, SEVERITY_MEDIUM, false, 5);
		scripted_fini(&s);
	}
}

static void test_old_go_is_never_asked_for_a_refusal(void **state)
{
	(void)state;
	{
		SERVER({FINGERPRINT_INDEX, -1, PAGE(200, HTML, INDEX_UNQUOTED("100000"))}, R_SYMBOL,
		       R_CONTROL_404);
		scripted_check(&s, VERDICT_CONFIRMED, SEVERITY_MEDIUM, false, 4);
		assert_false(scripted_was_asked(&s, FINGERPRINT_GOROUTINE_REFUSED));
		assert_false(scripted_was_asked(&s, FINGERPRINT_GOROUTINE));
		scripted_fini(&s);
	}
	{
		SERVER({FINGERPRINT_INDEX, -1, PAGE(200, HTML, INDEX_GO14)}, R_SYMBOL,
		       R_CONTROL_404, R_DUMP);
		scripted_check(&s, VERDICT_CONFIRMED, SEVERITY_HIGH, true, 5);
		scripted_fini(&s);
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
		scripted_check(&s, VERDICT_CONFIRMED, SEVERITY_MEDIUM, false, 5);
		scripted_fini(&s);
	}
}

/* ---- the command line ---- */

static void test_cmdline(void **state)
{
	(void)state;
	{
		SERVER(R_INDEX("3"), R_SYMBOL, R_CONTROL_404,
		       {FINGERPRINT_CMDLINE, -1, PAGE(200, PLAIN, "app\0-token\0abc\0-v\0")});
		scripted_check(&s, VERDICT_CONFIRMED, SEVERITY_HIGH, false, 5);
		assert_int_equal(s.f.command.count, 4);
		assert_string_equal(s.f.command.items[2], "[redacted]");
		scripted_fini(&s);
		s.conf.show_secrets = true;
		scripted_run(&s);
		assert_string_equal(s.f.command.items[2], "abc");
		scripted_fini(&s);
	}
	{
		/* cut off: half a URL shows its password, so the last argument goes */
		struct http_answer cut = PAGE(200, PLAIN, "app\0postgres://u:hunt");

		cut.truncated = true;
		SERVER(R_INDEX("3"), R_SYMBOL, R_CONTROL_404, {FINGERPRINT_CMDLINE, -1, cut});
		scripted_check(&s, VERDICT_CONFIRMED, SEVERITY_HIGH, false, 5);
		assert_int_equal(s.f.command.count, 1);
		scripted_fini(&s);
	}
	{
		/* the same text everywhere is no command line */
		SERVER(R_INDEX("3"), R_SYMBOL, {FINGERPRINT_CONTROL, -1, PAGE(200, PLAIN, "OK")},
		       {FINGERPRINT_CMDLINE, -1, PAGE(200, PLAIN, "OK")});
		scripted_check(&s, VERDICT_CONFIRMED, SEVERITY_MEDIUM, false, 5);
		assert_int_equal(s.f.command.count, 0);
		scripted_fini(&s);
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
	scripted_run(&s);
	if (!s.f.go_version != !go_version || (go_version && strcmp(s.f.go_version, go_version)))
		fail_msg("go_version %s, expected %s", s.f.go_version, go_version);
	if (!s.f.module != !module || (module && strcmp(s.f.module, module)))
		fail_msg("module %s, expected %s", s.f.module, module);
	scripted_fini(&s);
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
	scripted_run(&s);
	assert_int_equal(s.f.verdict, VERDICT_CONFIRMED);
	assert_int_equal(s.f.profiles.count, 1);
	assert_string_equal(s.f.profiles.items[0], "a/b");
	scripted_fini(&s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_goroutine_count_decides),
	    cmocka_unit_test(test_refusal_is_a_proof_only_complete),
	    cmocka_unit_test(test_old_go_is_never_asked_for_a_refusal),
	    cmocka_unit_test(test_what_is_no_dump),
	    cmocka_unit_test(test_cmdline),
	    cmocka_unit_test(test_identity),
	    cmocka_unit_test(test_profiles),
	};

	return cmocka_run_group_tests_name("fingerprint exposure", tests, NULL, NULL);
}
