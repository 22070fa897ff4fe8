/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What else a port serves: from single answers, from the product, and at what cost. */
#include "scanner/fingerprint_serves.h"
#include "scanner/signatures.h"
#include "tests/unit/scripted_server.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#define JSON       "application/json"
#define EXPOSITION "text/plain; version=0.0.4; charset=utf-8"
#define GO_404     PAGE(404, PLAIN, "404 page not found\n")
#define TO(where)                                                                                  \
	{                                                                                          \
		.status = 302, .content_type = HTML, .location = (where)                           \
	}
#define R(step, ...)                                                                               \
	{                                                                                          \
		FINGERPRINT_##step, -1, __VA_ARGS__                                                \
	}

static struct http_answer filled(const struct http_answer *from)
{
	struct http_answer a = *from;

	a.content_type = a.content_type ? a.content_type : "";
	a.location = a.location ? a.location : "";
	a.body = a.body ? a.body : (const uint8_t *)"";
	return a;
}

static void test_random_paths(void **state)
{
	static const struct {
		struct http_answer answer;
		unsigned serves;
	} cases[] = {
	    {GO_404, 0},
	    {PAGE(404, PLAIN, "404 page not found"), 0},           /* gin */
	    {PAGE(404, JSON, "{\"message\":\"Not Found\"}\n"), 0}, /* echo */
	    {PAGE(404, PLAIN, "no such thing"), 0},
	    {PAGE(404, HTML, "<h1>Nothing here</h1>"), SERVES_UI},
	    {PAGE(404, JSON, "{\"code\":40404}"), SERVES_API},
	    {PAGE(200, HTML, "<h1>Shop</h1>"), SERVES_UI},
	    {PAGE(200, JSON, "{}"), SERVES_API},
	    {PAGE(401, PLAIN, "who are you?"), SERVES_API},
	    {PAGE(405, PLAIN, "POST only"), SERVES_API},
	    {TO("/login"), SERVES_UI},
	    {PAGE(200, HTML, INDEX_OF("3")), 0},
	    {PAGE(500, PLAIN, "oops"), 0},
	    {{.error = -ETIMEDOUT, .timed_out = true}, 0},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		const struct http_answer a = filled(&cases[i].answer);

		if (serves_read_control(&a) != cases[i].serves)
			fail_msg("case %zu: %u", i, serves_read_control(&a));
	}
}

static void test_metrics(void **state)
{
	static const struct {
		struct http_answer answer;
		bool is_denied;
		unsigned serves;
	} cases[] = {
	    {GO_404, false, 0},
	    {PAGE(404, HTML, "<h1>Nothing here</h1>"), false, 0},
	    {PAGE(200, EXPOSITION, "up 1\n"), false, SERVES_METRICS},
	    {PAGE(200, "application/openmetrics-text; version=1.0.0", "# EOF\n"), false,
	     SERVES_METRICS},
	    {PAGE(200, "text/plain", "# HELP up Is it?\n"), false, SERVES_METRICS},
	    {PAGE(200, JSON, "{\"gauges\":{}}"), false, SERVES_METRICS},
	    {PAGE(200, HTML, "<h1>Shop</h1>"), false, SERVES_UI},
	    {PAGE(200, PLAIN, "hello"), false, SERVES_API},
	    {PAGE(500, PLAIN, "collector failed"), false, SERVES_METRICS},
	    {PAGE(401, PLAIN, "who are you?"), false, SERVES_METRICS},
	    {PAGE(401, PLAIN, "who are you?"), true, 0}, /* as everything does */
	    {TO("/federate"), false, SERVES_METRICS},
	    {{.error = -ETIMEDOUT, .timed_out = true}, false, SERVES_METRICS},
	    {{.error = -ECONNRESET}, false, 0},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		const struct http_answer a = filled(&cases[i].answer);

		if (serves_read_metrics(&a, cases[i].is_denied) != cases[i].serves)
			fail_msg("case %zu: %u", i, serves_read_metrics(&a, cases[i].is_denied));
	}
}

static void test_roots(void **state)
{
	static const struct {
		struct http_answer answer;
		unsigned serves;
	} cases[] = {
	    {GO_404, 0},
	    {PAGE(404, HTML, "<h1>Nothing here</h1>"), 0},
	    {PAGE(200, HTML, "<h1>Shop</h1>"), SERVES_UI},
	    {PAGE(200, PLAIN, "ok"), SERVES_API},
	    {PAGE(403, PLAIN, "no"), SERVES_API},
	    {TO("/graph"), SERVES_UI},
	    {TO("/debug/pprof/"), 0},
	    {PAGE(200, HTML, INDEX_OF("3")), 0},
	    {{.error = -ECONNRESET}, 0},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		const struct http_answer a = filled(&cases[i].answer);

		if (serves_read_root(&a, "/debug/pprof/") != cases[i].serves)
			fail_msg("case %zu: %u", i, serves_read_root(&a, "/debug/pprof/"));
	}
}

static void check_serves(const struct finding *f, const char *expected)
{
	char text[64] = "";

	for (size_t i = 0; i < f->serves.count; i++)
		snprintf(text + strlen(text), sizeof(text) - strlen(text), "%s%s", i ? "," : "",
		         f->serves.items[i]);
	assert_string_equal(text, expected);
}

static void run(struct scripted *s, bool asks, unsigned requests, const char *serves)
{
	s->conf.asks_serves = asks;
	scripted_run(s);
	assert_int_equal(s->n_asked, requests);
	check_serves(&s->f, serves);
	finding_fini(&s->f);
}

/* Index, symbol, control, goroutine, cmdline; then, where it is wanted, up to two more. */
static void test_asks_what_is_exposed(void **state)
{
	(void)state;
	{
		SERVER(R_INDEX("3"), R_SYMBOL, R_CONTROL_404, R_DUMP)
		run(&s, false, 5, "");
		run(&s, true, 7, "");
		assert_string_equal(s.last_path, "/");
	}
	{
		SERVER(R_INDEX("3"), R_SYMBOL, R_CONTROL_404, R_DUMP,
		       R(METRICS, PAGE(200, EXPOSITION, "up 1\n")))
		run(&s, false, 5, "");
		run(&s, true, 6, "metrics");
		assert_string_equal(s.last_path, "/metrics");
	}
	{
		SERVER(R_INDEX("3"), R_SYMBOL, R_CONTROL_404, R_DUMP,
		       R(ROOT, PAGE(200, HTML, "<h1>Shop</h1>")))
		run(&s, true, 7, "ui");
	}
	{
		/* the control request is made anyway */
		SERVER(R_INDEX("3"), R_SYMBOL, R(CONTROL, PAGE(404, JSON, "{\"code\":4}")), R_DUMP,
		       R(METRICS, PAGE(200, EXPOSITION, "up 1\n")))
		run(&s, false, 5, "api");
		run(&s, true, 6, "metrics,api");
	}
}

static void test_asks_nobody_else(void **state)
{
	(void)state;
	{
		SERVER({FINGERPRINT_INDEX, -1, PAGE(404, HTML, "no")},
		       R(METRICS, PAGE(200, EXPOSITION, "up 1\n")))
		run(&s, true, 1, "");
	}
	{
		SERVER({FINGERPRINT_INDEX, -1, PAGE(401, HTML, "no")})
		run(&s, true, 3, "");
		assert_false(scripted_was_asked(&s, FINGERPRINT_METRICS));
	}
	{
		/* a decoy: everything is an index */
		SERVER(R_INDEX("3"), R_SYMBOL, R(CONTROL, PAGE(200, HTML, INDEX_OF("3"))))
		run(&s, true, 3, "");
	}
}

static void test_products_tell_without_a_request(void **state)
{
	static const char known[] =
	    "schema: 1\n"
	    "version: \"7\"\n"
	    "products:\n"
	    "  - {name: etcd, executables: [etcd], serves: [metrics, api]}\n"
	    "  - {name: probe, executables: [probe]}\n";
	char error[CONF_ERROR_LEN] = "";
	struct signatures *signatures = signatures_load("f", known, sizeof(known) - 1, error);

	(void)state;
	if (!signatures)
		fail_msg("%s", error);
	{
		SERVER(R_INDEX("3"), R_SYMBOL, R_CONTROL_404, R_DUMP,
		       R(CMDLINE, PAGE(200, PLAIN, "/usr/bin/etcd")))
		s.conf.signatures = signatures;
		run(&s, true, 5, "metrics,api");
		run(&s, false, 5, "metrics,api");
	}
	{
		SERVER(R_INDEX("3"), R_SYMBOL, R_CONTROL_404, R_DUMP,
		       R(CMDLINE, PAGE(200, PLAIN, "/usr/bin/probe")))
		s.conf.signatures = signatures;
		run(&s, true, 7, "");
	}
	signatures_free(signatures);
}

static void test_signatures_say_nothing_else(void **state)
{
	static const char bad[] = "schema: 1\n"
	                          "version: \"7\"\n"
	                          "products:\n"
	                          "  - {name: etcd, executables: [etcd], serves: [metrics, tea]}\n";
	char error[CONF_ERROR_LEN] = "";

	(void)state;
	assert_null(signatures_load("f", bad, sizeof(bad) - 1, error));
	assert_string_equal(error, "f:4:57: tea is nothing that a port is known to serve; expected "
	                           "metrics, api or ui");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_random_paths),
	    cmocka_unit_test(test_metrics),
	    cmocka_unit_test(test_roots),
	    cmocka_unit_test(test_asks_what_is_exposed),
	    cmocka_unit_test(test_asks_nobody_else),
	    cmocka_unit_test(test_products_tell_without_a_request),
	    cmocka_unit_test(test_signatures_say_nothing_else),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
