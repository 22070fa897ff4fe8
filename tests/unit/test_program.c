/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Who a server is, how that is known, and what to do about it. */
#include "scanner/signatures.h"
#include "tests/unit/scripted_server.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

/* Stacks as binaries have sent them, cut to the goroutines that tell. */
#define OWN_GOROUTINE(path, line)                                                                  \
	"goroutine 22 [running]:\n"                                                                \
	"runtime/pprof.writeGoroutineStacks({0x7f3c1c, 0xc0000})\n"                                \
	"\truntime/pprof/pprof.go:693 +0x70\n"                                                     \
	"created by net/http.(*Server).Serve\n"                                                    \
	"\t" path "net/http/server.go:" line " +0x4db\n\n"
/* Debian's node_exporter: built with a path of its own, and without -trimpath */
#define NODE_EXPORTER                                                                              \
	OWN_GOROUTINE("", "3102")                                                                  \
	"goroutine 1 [IO wait]:\n"                                                                 \
	"main.main()\n"                                                                            \
	"\tgithub.com/prometheus/node_exporter/node_exporter.go:213 +0x1226\n"
#define ETCD                                                                                       \
	OWN_GOROUTINE("", "3102")                                                                  \
	"goroutine 1 [chan receive]:\n"                                                            \
	"main.main()\n"                                                                            \
	"\tgo.etcd.io/etcd/server/v3/main.go:31 +0x4f\n"
/* -ldflags "-s -w" -trimpath, and built from a list of files: nothing but line numbers */
#define STRIPPED                                                                                   \
	OWN_GOROUTINE("", "3484")                                                                  \
	"goroutine 1 [IO wait]:\n"                                                                 \
	"main.main()\n"                                                                            \
	"\t./main.go:31 +0x4f\n"
#define PATCHED                                                                                    \
	OWN_GOROUTINE("/usr/local/go1.22.3/src/", "3285")                                          \
	"goroutine 1 [IO wait]:\n"                                                                 \
	"main.main()\n"                                                                            \
	"\texample.com/team/app/cmd/app/main.go:31 +0x4f\n"

#define R_STACK(text)                                                                              \
	{                                                                                          \
		FINGERPRINT_GOROUTINE, -1, PAGE(200, PLAIN, text)                                  \
	}
#define R_CMDLINE(text)                                                                            \
	{                                                                                          \
		FINGERPRINT_CMDLINE, -1, PAGE(200, PLAIN, text)                                    \
	}
#define DENIED(head_lines)                                                                         \
	{                                                                                          \
		FINGERPRINT_INDEX, -1,                                                             \
		{                                                                                  \
			.status = 401, .content_type = PLAIN, .head = (head_lines), BODY("no")     \
		}                                                                                  \
	}

static const char known[] = "schema: 1\n"
                            "version: \"7\"\n"
                            "products:\n"
                            "  - name: node_exporter\n"
                            "    modules: [github.com/prometheus/node_exporter]\n"
                            "    executables: [node_exporter]\n"
                            "    switch: none\n"
                            "  - name: etcd\n"
                            "    modules: [go.etcd.io/etcd]\n"
                            "    executables: [etcd]\n"
                            "    advice: Drop it.\n"
                            "  - name: caddy\n"
                            "    executables: [caddy]\n"
                            "    headers: [\"Server: Caddy\"]\n"
                            "    titles: [Caddy admin]\n"
                            "    switch: admin off\n"
                            "  - name: local\n"
                            "    executables: [locald]\n"
                            "    default_bind: 127.0.0.1:1\n"
                            "  - name: vague\n"
                            "    executables: [vague]\n"
                            "    default_bind: 0.0.0.0:1\n"
                            "relatives:\n"
                            "  - name: expvar\n"
                            "    path: /debug/vars\n"
                            "    contains: [memstats]\n"
                            "    advice: Hide it.\n";

static int load(void **state)
{
	char error[CONF_ERROR_LEN];

	*state = signatures_load("f", known, sizeof(known) - 1, error);
	return *state ? 0 : -1;
}

static int unload(void **state)
{
	signatures_free(*state);
	return 0;
}

#define RUN(...)                                                                                   \
	SERVER(__VA_ARGS__)                                                                        \
	s.conf.signatures = *state;                                                                \
	scripted_run(&s)
#define READABLE R_INDEX("10"), R_SYMBOL, R_CONTROL_404

static void names_a_product_by_its_module(void **state)
{
	{
		RUN(READABLE, R_STACK(NODE_EXPORTER), R_CMDLINE("/usr/bin/ne\0"));
		assert_string_equal(s.f.program, "node_exporter");
		assert_string_equal(s.f.module, "github.com/prometheus/node_exporter");
		assert_string_equal(s.f.go_version, "1.19");
		assert_true(finding_list_has(&s.f.identified_by, "program=module"));
		assert_true(finding_list_has(&s.f.identified_by, "module=stack"));
		assert_true(finding_list_has(&s.f.identified_by, "go_version=stack-lines"));
		assert_true(finding_list_has(&s.f.identified_by, "command=cmdline"));
		assert_string_equal(s.f.signatures, "7");
		assert_string_equal(s.f.advice,
		                    "node_exporter has no switch for pprof: use allow_from or "
		                    "filter, so that only those who need the port reach it. "
		                    "Goroutine stacks are readable: wall it off until then.");
		scripted_fini(&s);
	}
	{
		RUN(READABLE, R_STACK(ETCD));
		assert_string_equal(s.f.program, "etcd");
		assert_string_equal(s.f.advice, "Drop it. Goroutine stacks are readable: wall it "
		                                "off until then.");
		scripted_fini(&s);
	}
}

static void names_a_product_by_its_executable(void **state)
{
	RUN(R_INDEX("2000"), R_SYMBOL, R_CONTROL_404, R_CMDLINE("/opt/x/caddy\0run\0"));
	assert_string_equal(s.f.program, "caddy");
	assert_null(s.f.module);
	assert_true(finding_list_has(&s.f.identified_by, "program=executable"));
	assert_memory_equal(s.f.advice, "Turn pprof off in caddy: admin off.", 35);
	scripted_fini(&s);
}

static void names_what_it_may_not_read_by_header_or_title(void **state)
{
	{
		RUN(DENIED("Date: now\nserver: caddy 2\nX: y\n"), R_CONTROL_404);
		assert_int_equal(s.f.verdict, VERDICT_PROTECTED);
		assert_string_equal(s.f.program, "caddy");
		assert_true(finding_list_has(&s.f.identified_by, "program=header"));
		assert_string_equal(s.f.advice, "Turn pprof off in caddy: admin off. It asks for "
		                                "credentials already.");
		scripted_fini(&s);
	}
	{
		RUN(DENIED("X: Server: Caddy\n"),
		    {FINGERPRINT_CONTROL, -1, PAGE(404, HTML, "<p><title>Caddy admin</title>")});
		assert_string_equal(s.f.program, "caddy");
		assert_true(finding_list_has(&s.f.identified_by, "program=title"));
		scripted_fini(&s);
	}
	{
		RUN(DENIED("X: Server: Caddy\n"),
		    {FINGERPRINT_CONTROL, -1,
		     PAGE(404, HTML, "<title>Caddy administrator</title>")});
		assert_null(s.f.program);
		scripted_fini(&s);
	}
}

static void knows_go_and_program_of_a_stripped_binary(void **state)
{
	RUN(READABLE, R_STACK(STRIPPED), R_CMDLINE("./own-server\0-v\0"));
	assert_string_equal(s.f.program, "own-server");
	assert_null(s.f.module);
	assert_string_equal(s.f.go_version, "1.26");
	assert_true(finding_list_has(&s.f.identified_by, "program=executable"));
	assert_true(finding_list_has(&s.f.identified_by, "go_version=stack-lines"));
	assert_non_null(strstr(s.f.advice, "a separate mux bound to 127.0.0.1"));
	scripted_fini(&s);
}

static void says_when_a_path_named_the_version(void **state)
{
	RUN(READABLE, R_STACK(PATCHED));
	assert_string_equal(s.f.go_version, "1.22.3");
	assert_string_equal(s.f.module, "example.com/team/app");
	assert_true(finding_list_has(&s.f.identified_by, "go_version=stack-path"));
	assert_null(s.f.program);
	scripted_fini(&s);
}

static void advises_by_what_a_product_can_do(void **state)
{
	{
		RUN(R_INDEX("2000"), R_SYMBOL, R_CONTROL_404, R_CMDLINE("locald\0"));
		assert_memory_equal(s.f.advice, "local listens on 127.0.0.1:1 unless told ", 41);
		scripted_fini(&s);
	}
	{
		RUN(R_INDEX("2000"), R_SYMBOL, R_CONTROL_404, R_CMDLINE("vague: worker 1\0"));
		assert_string_equal(s.f.program, "vague");
		assert_memory_equal(s.f.advice, "We know of no switch for pprof in vague", 39);
		scripted_fini(&s);
	}
}

static void advises_on_other_prefixes_and_relatives(void **state)
{
	{
		SERVER(R_INDEX("2000"), R_SYMBOL, R_CONTROL_404);
		s.conf.signatures = *state;
		s.conf.prefix = "/x/y/";
		scripted_run(&s);
		assert_memory_equal(s.f.advice, "Somebody registered pprof under /x/y/", 37);
		scripted_fini(&s);
	}
	{
		RUN(R_GO_404, {FINGERPRINT_RELATIVE, -1, PAGE(200, HTML, "memstats")},
		    R_CONTROL_404);
		assert_string_equal(s.f.kind, "expvar");
		assert_string_equal(s.f.advice, "Hide it.");
		scripted_fini(&s);
	}
}

static void does_without_signatures(void **state)
{
	(void)state;
	SERVER(READABLE, R_STACK(NODE_EXPORTER), R_CMDLINE("/usr/bin/node_exporter\0"));
	scripted_run(&s);
	assert_null(s.f.signatures);
	assert_string_equal(s.f.program, "node_exporter");
	assert_true(finding_list_has(&s.f.identified_by, "program=executable"));
	assert_non_null(strstr(s.f.advice, "separate mux"));
	scripted_fini(&s);
}

static void says_nothing_where_nothing_is(void **state)
{
	RUN({FINGERPRINT_INDEX, -1, PAGE(200, HTML, "<title>Caddy admin</title>")});
	assert_int_equal(s.f.verdict, VERDICT_CLEAR);
	assert_null(s.f.program);
	assert_null(s.f.advice);
	assert_int_equal(s.f.identified_by.count, 0);
	assert_string_equal(s.f.signatures, "7");
	scripted_fini(&s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(names_a_product_by_its_module),
	    cmocka_unit_test(names_a_product_by_its_executable),
	    cmocka_unit_test(names_what_it_may_not_read_by_header_or_title),
	    cmocka_unit_test(knows_go_and_program_of_a_stripped_binary),
	    cmocka_unit_test(says_when_a_path_named_the_version),
	    cmocka_unit_test(advises_by_what_a_product_can_do),
	    cmocka_unit_test(advises_on_other_prefixes_and_relatives),
	    cmocka_unit_test(does_without_signatures),
	    cmocka_unit_test(says_nothing_where_nothing_is),
	};

	return cmocka_run_group_tests(tests, load, unload);
}
