/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Recorded servers through the state machine; the hand-made traps are in test_fingerprint_traps.c
 */
#include "common/cleanup.h"
#include "scanner/fingerprint.h"
#include "tests/zoo/zoo.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

/* in the order to read a row in */
struct expected { /* NOLINT(clang-analyzer-optin.performance.Padding) */
	const char *server, *prefix;
	enum finding_verdict verdict;
	enum finding_severity severity;
	bool high_risk;
	const char *kind, *go_version, *module;
	const char *evidence; /* joined by blanks */
	unsigned requests;
	bool slow; /* the recording was cut by the deadline */
};

#define PPROF    "go-pprof"
#define COMPLETE "index symbol goroutine-debug2 cmdline"

static const struct expected zoo[] = {
    {"consul-1.8-server", "/debug/pprof/", VERDICT_PROTECTED, SEVERITY_INFO, false, PPROF, NULL,
     NULL, "denied redirect", 3, false},
    {"etcd-3.4-nopprof", "/debug/pprof/", VERDICT_CLEAR, SEVERITY_NONE, false, NULL, NULL, NULL, "",
     2, false},
    {"etcd-3.4-pprof", "/debug/pprof/", VERDICT_CONFIRMED, SEVERITY_HIGH, true, PPROF, "1.19",
     "go.etcd.io/etcd", COMPLETE, 5, false},
    {"go1.19-std", "/debug/pprof/", VERDICT_CONFIRMED, SEVERITY_HIGH, true, PPROF, "1.19", NULL,
     COMPLETE, 5, false},
    {"go1.26-std", "/debug/pprof/", VERDICT_CONFIRMED, SEVERITY_HIGH, true, PPROF, "1.26", NULL,
     COMPLETE, 5, false},
    {"nats-2.9-mon", "/debug/pprof/", VERDICT_CLEAR, SEVERITY_NONE, false, NULL, NULL, NULL, "", 2,
     false},
    {"nats-2.9-prof", "/debug/pprof/", VERDICT_CONFIRMED, SEVERITY_HIGH, true, PPROF, "1.19",
     "github.com/nats-io/nats-server", COMPLETE, 5, false},
    {"node_exporter-1.5", "/debug/pprof/", VERDICT_CONFIRMED, SEVERITY_HIGH, true, PPROF, "1.19",
     "github.com/prometheus/node_exporter", COMPLETE, 5, false},
    {"prometheus-2.42", "/debug/pprof/", VERDICT_CONFIRMED, SEVERITY_HIGH, true, PPROF, "1.19",
     "github.com/prometheus/prometheus", COMPLETE, 5, false},
    {"pushgateway-1.5", "/debug/pprof/", VERDICT_CONFIRMED, SEVERITY_HIGH, true, PPROF, "1.19",
     "github.com/prometheus/pushgateway", COMPLETE, 5, false},
    /* the index handler alone: symbol is an unknown profile, cmdline a 404 */
    {"v8101-index-only", "/debug/pprof/", VERDICT_CONFIRMED, SEVERITY_HIGH, true, PPROF, "1.19",
     NULL, "index unknown-profile goroutine-debug2", 5, false},
    /* the index answers on every path below its prefix, so nothing else is there */
    {"v8102-raw-Index-prefix", "/api/debug/pprof/", VERDICT_LIKELY, SEVERITY_MEDIUM, false, PPROF,
     NULL, NULL, "index", 5, false},
    {"v8104-explicit", "/debug/pprof/", VERDICT_CONFIRMED, SEVERITY_HIGH, true, PPROF, "1.19", NULL,
     COMPLETE, 5, false},
    {"v8104-explicit", "/pprof/", VERDICT_CONFIRMED, SEVERITY_HIGH, true, PPROF, "1.19", NULL,
     COMPLETE, 5, false},
    {"v8104-explicit", "/_debug/pprof/", VERDICT_CONFIRMED, SEVERITY_HIGH, true, PPROF, "1.19",
     NULL, COMPLETE, 5, false},
    {"v8104-explicit", "/admin/debug/pprof/", VERDICT_CONFIRMED, SEVERITY_HIGH, true, PPROF, "1.19",
     NULL, COMPLETE, 5, false},
    {"v8108-auth-all", "/debug/pprof/", VERDICT_UNKNOWN, SEVERITY_NONE, false, NULL, NULL, NULL,
     "denied", 2, false},
    {"v8109-auth-debug", "/debug/pprof/", VERDICT_PROTECTED, SEVERITY_INFO, false, PPROF, NULL,
     NULL, "denied redirect", 3, false},
    {"v8111-spa", "/debug/pprof/", VERDICT_CLEAR, SEVERITY_NONE, false, NULL, NULL, NULL, "", 1,
     false},
    {"v8113-reflect200-nosniff", "/debug/pprof/", VERDICT_CLEAR, SEVERITY_NONE, false, NULL, NULL,
     NULL, "", 2, false},
    /* what has come so far may yet become an index: nobody may call that clean */
    {"v8115-tarpit-body", "/debug/pprof/", VERDICT_ERROR, SEVERITY_NONE, false, NULL, NULL, NULL,
     "", 1, true},
    {"v8117-endless", "/debug/pprof/", VERDICT_CLEAR, SEVERITY_NONE, false, NULL, NULL, NULL, "", 1,
     false},
    {"v8118-gzipbomb", "/debug/pprof/", VERDICT_CLEAR, SEVERITY_NONE, false, NULL, NULL, NULL, "",
     1, false},
    {"v8119-http-to-tls", "/debug/pprof/", VERDICT_ERROR, SEVERITY_NONE, false, NULL, NULL, NULL,
     "tls-required", 2, false},
    /* to another port */
    {"v8120-redirect", "/debug/pprof/", VERDICT_CLEAR, SEVERITY_NONE, false, NULL, NULL, NULL, "",
     1, false},
    {"v8121-docs", "/debug/pprof/", VERDICT_CLEAR, SEVERITY_NONE, false, NULL, NULL, NULL, "", 1,
     false},
    {"v8122-login", "/debug/pprof/", VERDICT_CLEAR, SEVERITY_NONE, false, NULL, NULL, NULL, "", 1,
     false},
    /* goroutine and cmdline are not on record, and so a 404 */
    {"v8125-forced-gzip", "/debug/pprof/", VERDICT_CONFIRMED, SEVERITY_MEDIUM, false, PPROF, NULL,
     NULL, "index symbol goroutine-inferred", 5, false},
    {"v8130-http09", "/debug/pprof/", VERDICT_CLEAR, SEVERITY_NONE, false, NULL, NULL, NULL,
     "not-http", 1, false},
    {"v8131-ssh", "/debug/pprof/", VERDICT_CLEAR, SEVERITY_NONE, false, NULL, NULL, NULL,
     "not-http", 1, false},
};

/* Whatever a server says, none of these is ever asked for. */
static void check_request(const struct fingerprint_request *r, const char *prefix)
{
	static const char *const names[] = {"", "symbol", "cmdline", "goroutine?debug=2",
	                                    "goroutine?debug=2&seconds=x"};
	const char *p = r->path;
	size_t n = strlen(prefix);

	assert_true(r->body_max_bytes > 0 && r->body_max_bytes <= FINGERPRINT_BODY_MAX_BYTES);
	if (r->step == FINGERPRINT_CONTROL) {
		assert_int_equal(strlen(p), 17);
		assert_int_equal(strspn(p + 1, "0123456789abcdef"), 16);
		return;
	}
	if (r->step == FINGERPRINT_INDEX_REDIRECTED) {
		assert_int_equal(strlen(p), n - 1);
		assert_memory_equal(p, prefix, n - 1);
		return;
	}
	assert_memory_equal(p, prefix, n);
	for (size_t i = 0; i < ARRAY_LEN(names); i++)
		if (strcmp(p + n, names[i]) == 0)
			return;
	fail_msg("asked for %s", p);
}

static void join(const struct finding_list *list, char *out, size_t room)
{
	size_t used = 0;

	out[0] = '\0';
	for (size_t i = 0; i < list->count; i++)
		used +=
		    (size_t)snprintf(out + used, room - used, "%s%s", i ? " " : "", list->items[i]);
}

static void check_string(const char *what, const char *actual, const char *expected)
{
	if (!actual != !expected || (actual && strcmp(actual, expected) != 0))
		fail_msg("%s: \"%s\", expected \"%s\"", what, actual ? actual : "(null)",
		         expected ? expected : "(null)");
}

static unsigned run(struct fingerprint *fp, const struct expected *e, struct finding *f)
{
	struct fingerprint_request request;
	unsigned requests = 0;

	fingerprint_reset(fp, &(struct fingerprint_conf){.prefix = e->prefix,
	                                                 .authority = "127.9.0.50:8120",
	                                                 .nonce = 42});
	while (fingerprint_next(fp, &request)) {
		struct zoo_answer a;

		requests++;
		check_request(&request, e->prefix);
		zoo_answer_read(e->server, &request, &a);
		if (e->slow)
			a.answer.timed_out = a.answer.truncated = true;
		fingerprint_feed(fp, &a.answer);
		zoo_answer_fini(&a);
	}
	assert_int_equal(fingerprint_finish(fp, f), 0);
	return requests;
}

static void test_zoo(void **state)
{
	(void)state;
	struct fingerprint *fp = fingerprint_new();

	assert_non_null(fp);
	for (size_t i = 0; i < ARRAY_LEN(zoo); i++) {
		const struct expected *e = &zoo[i];
		struct finding f;
		char evidence[256];
		unsigned requests;

		print_message("%s %s\n", e->server, e->prefix);
		finding_init(&f);
		requests = run(fp, e, &f);
		join(&f.evidence, evidence, sizeof(evidence));
		check_string("verdict", finding_verdict_name(f.verdict),
		             finding_verdict_name(e->verdict));
		check_string("severity", finding_severity_name(f.severity),
		             finding_severity_name(e->severity));
		assert_int_equal(f.high_risk, e->high_risk);
		check_string("kind", f.kind, e->kind);
		check_string("go_version", f.go_version, e->go_version);
		check_string("module", f.module, e->module);
		check_string("evidence", evidence, e->evidence);
		assert_int_equal(requests, e->requests);
		if (f.verdict == VERDICT_ERROR)
			assert_non_null(f.error);
		else
			assert_null(f.error);
		finding_fini(&f);
	}
	fingerprint_free(fp);
}

static const struct expected *find_server(const char *name)
{
	for (size_t i = 0; i < ARRAY_LEN(zoo); i++)
		if (strcmp(zoo[i].server, name) == 0)
			return &zoo[i];
	fail_msg("no server %s", name);
	return NULL;
}

static void test_details(void **state)
{
	(void)state;
	struct fingerprint *fp = fingerprint_new();
	struct finding f;
	char text[512];

	finding_init(&f);
	run(fp, find_server("go1.26-std"), &f);
	join(&f.command, text, sizeof(text));
	assert_string_equal(text, "bin/std-1.26 -a 127.9.0.40:6060 -dbpass [redacted]");
	join(&f.profiles, text, sizeof(text));
	assert_string_equal(
	    text, "allocs block cmdline goroutine heap mutex profile symbol threadcreate trace");
	assert_int_equal(f.status, 200);
	assert_string_equal(f.scheme, "http");
	assert_string_equal(f.path, "/debug/pprof/");
	finding_fini(&f);

	/* a clean endpoint has no command line and no kind, but says where it was asked */
	run(fp, find_server("nats-2.9-mon"), &f);
	assert_int_equal(f.status, 404);
	assert_int_equal(f.command.count, 0);
	assert_int_equal(f.profiles.count, 0);
	assert_string_equal(f.path, "/debug/pprof/");
	finding_fini(&f);

	run(fp, find_server("v8131-ssh"), &f);
	assert_int_equal(f.status, 0);
	assert_null(f.scheme);
	assert_null(f.path);
	finding_fini(&f);
	fingerprint_free(fp);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_zoo),
	    cmocka_unit_test(test_details),
	};

	return cmocka_run_group_tests_name("fingerprint", tests, NULL, NULL);
}
