/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/filter/http_path.h"

#include "common/cleanup.h"

#include <string.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

static bool decode(const char *path, char out[static HTTP_PATH_MAX_BYTES], size_t *length)
{
	struct http_text text = {path, strlen(path)};

	return http_path_decode(text, out, length) == HTTP_FAULT_NONE;
}

static void plain_paths_are_decoded_once(void **state)
{
	static const char *const cases[][2] = {
	    {"/", "/"},
	    {"/metrics", "/metrics"},
	    {"/-/healthy", "/-/healthy"},
	    {"/a/b/", "/a/b/"},
	    {"/%6detrics", "/metrics"},
	    {"/debug/%70prof/", "/debug/pprof/"},
	    {"/a%20b", "/a b"},
	    {"/%C3%a9", "/\xc3\xa9"},
	    {"/50%25", "/50%"},
	    {"/.well-known/x", "/.well-known/x"},
	    {"/a..b/...", "/a..b/..."},
	};
	char out[HTTP_PATH_MAX_BYTES];
	size_t length;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		if (!decode(cases[i][0], out, &length))
			fail_msg("refused: %s", cases[i][0]);
		assert_int_equal(length, strlen(cases[i][1]));
		assert_memory_equal(out, cases[i][1], length);
	}
}

static void what_could_be_another_path_is_refused(void **state)
{
	static const char *const cases[] = {
	    "",          "metrics",       "//",         "//debug/pprof/", "/debug//pprof/",
	    "/a//",      "/./a",          "/a/./",      "/a/.",           "/../a",
	    "/a/..",     "/a/../b",       "/%2e/a",     "/a/%2E%2e",      "/a/.%2e/b",
	    "/a%2fb",    "/a%2Fb",        "/a%5cb",     "/a%00",          "/a%0d%0a",
	    "/a%7f",     "/a%",           "/a%4",       "/a%zz",          "/%2564",
	    "/%252f",    "/..;/debug",    "/.;x/debug", "/;/debug",       "/a/;x",
	    "/a/..;x=1", "/%2e%2e%3bx/a",
	};
	char out[HTTP_PATH_MAX_BYTES];
	size_t length;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		if (decode(cases[i], out, &length))
			fail_msg("not refused: %s", cases[i]);
	}
}

static void profiles_are_found_wherever_they_are_mounted(void **state)
{
	static const char *const denied[] = {
	    "/debug/pprof",       "/debug/pprof/",   "/debug/pprof/heap", "/DEBUG/Pprof/heap",
	    "/x/y/debug/pprof/",  "/debug/pprof;a",  "/debug;a=b/pprof/", "/debug;a/pprof;b/c",
	    "/debug/debug/pprof", "/debug/pprofile", "/debug/pprof%",
	};
	static const char *const passed[] = {
	    "/",      "/metrics",    "/debug/ppro",    "/xdebug/pprof",
	    "/debug", "/debug/vars", "/debug/x/pprof",
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(denied); i++) {
		if (!http_path_has(denied[i], strlen(denied[i]), "/debug/pprof"))
			fail_msg("not found in %s", denied[i]);
	}
	for (size_t i = 0; i < ARRAY_LEN(passed); i++) {
		if (http_path_has(passed[i], strlen(passed[i]), "/debug/pprof"))
			fail_msg("found in %s", passed[i]);
	}
}

static void letters_that_fold_to_ascii_are_found_too(void **state)
{
	static const char *const paths[] = {"/DEBUG/VAR\xc5\xbf", "/debug/var\xc5\xbf/x"};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(paths); i++)
		assert_true(http_path_has(paths[i], strlen(paths[i]), "/debug/vars"));
	assert_true(http_path_has("/tas\xe2\x84\xaas", 8, "/tasks"));
	assert_false(http_path_has("/tas\xe2\x84", 6, "/task"));
	assert_false(http_path_has("/debug/var\xc5", 11, "/debug/vars"));
	assert_false(http_path_has("/debug/var\xc5\xbe", 12, "/debug/vars"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(plain_paths_are_decoded_once),
	    cmocka_unit_test(what_could_be_another_path_is_refused),
	    cmocka_unit_test(profiles_are_found_wherever_they_are_mounted),
	    cmocka_unit_test(letters_that_fold_to_ascii_are_found_too),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
