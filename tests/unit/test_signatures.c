/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "scanner/signatures.h"
#include "scanner/target.h"

#include <string.h>

#define HEAD "schema: 1\nversion: \"t\"\n"

static struct signatures *load(const char *text)
{
	char error[CONF_ERROR_LEN] = "";
	struct signatures *s = signatures_load("f", text, strlen(text), error);

	assert_string_equal(error, "");
	assert_non_null(s);
	return s;
}

static struct signatures *load_shipped(void)
{
	char path[4096], error[CONF_ERROR_LEN] = "";
	struct signatures *s;

	snprintf(path, sizeof(path), "%s/conf/signatures.yaml", getenv("PW_SOURCE_DIR"));
	s = signatures_load_file(path, error);
	assert_string_equal(error, "");
	assert_non_null(s);
	return s;
}

static void ships_what_is_compiled_in(void **state)
{
	static const char *const names[] = {"classic", "top10", "top30", "top60"};
	auto_signatures struct signatures *s = load_shipped();

	(void)state;
	assert_int_equal(s->n_ports, ARRAY_LEN(names));
	for (size_t i = 0; i < ARRAY_LEN(names); i++) {
		const struct conf_ports *list = signatures_find_ports(s, names[i]);
		struct port_list built_in;
		char why[TARGET_ERROR_LEN];

		assert_non_null(list);
		assert_int_equal(port_list_parse(names[i], &built_in, why), 0);
		assert_int_equal(list->count, built_in.count);
		assert_memory_equal(list->items, built_in.ports,
		                    built_in.count * sizeof(*built_in.ports));
		port_list_free(&built_in);
	}
	assert_int_equal(s->https_first.count, 6);
	for (unsigned port = 1; port <= UINT16_MAX; port++)
		assert_int_equal(signatures_is_https_first(s, (uint16_t)port),
		                 port_is_tls_first((uint16_t)port));
	assert_string_equal(s->prefixes.items[0], "/debug/pprof/");
}

static bool names_twice(const struct signature_product *a, const struct signature_product *b)
{
	const struct conf_strings *left[] = {&a->modules, &a->executables, &a->titles};
	const struct conf_strings *right[] = {&b->modules, &b->executables, &b->titles};

	for (size_t k = 0; k < ARRAY_LEN(left); k++)
		for (size_t i = 0; i < left[k]->count; i++)
			for (size_t j = 0; j < right[k]->count; j++)
				if (strcasecmp(left[k]->items[i], right[k]->items[j]) == 0)
					return true;
	return false;
}

static void ships_no_ambiguity(void **state)
{
	auto_signatures struct signatures *s = load_shipped();

	(void)state;
	assert_true(s->n_products > 40);
	assert_true(s->n_relatives >= 5 && s->n_relatives <= 64);
	for (size_t i = 0; i < s->n_products; i++)
		for (size_t j = 0; j < i; j++)
			if (names_twice(&s->products[i], &s->products[j]))
				fail_msg("%s and %s", s->products[i].name, s->products[j].name);
	for (size_t i = 0; i < s->n_relatives; i++)
		assert_non_null(s->relatives[i].advice);
}

static void reads_every_key(void **state)
{
	auto_signatures struct signatures *s = load(
	    HEAD "ports:\n  - {name: ours, ports: [7, 443]}\n"
	         "https_first: [443]\n"
	         "prefixes: [/debug/pprof/, /x/]\n"
	         "products:\n"
	         "  - name: p\n    modules: [a.b/c]\n    executables: [p, pd]\n"
	         "    headers: [\"Server: P\"]\n    titles: [P and more]\n"
	         "    switch: --off\n    default_bind: 0.0.0.0:7\n    advice: Do.\n"
	         "relatives:\n"
	         "  - name: r\n    lookalike: true\n    path: /r\n    content_type: text/html\n"
	         "    contains: [a, \"b c\"]\n    advice: Undo.\n");

	(void)state;
	assert_string_equal(s->version, "t");
	assert_int_equal(signatures_find_ports(s, "ours")->items[1], 443);
	assert_null(signatures_find_ports(s, "top10"));
	assert_null(signatures_find_ports(NULL, "ours"));
	assert_true(signatures_is_https_first(s, 443));
	assert_false(signatures_is_https_first(s, 7));
	assert_false(signatures_is_https_first(NULL, 443));
	assert_string_equal(s->prefixes.items[1], "/x/");
	assert_string_equal(s->products[0].modules.items[0], "a.b/c");
	assert_string_equal(s->products[0].executables.items[1], "pd");
	assert_string_equal(s->products[0].headers.items[0], "Server: P");
	assert_string_equal(s->products[0].titles.items[0], "P and more");
	assert_string_equal(s->products[0].pprof_switch, "--off");
	assert_string_equal(s->products[0].default_bind, "0.0.0.0:7");
	assert_string_equal(s->products[0].advice, "Do.");
	assert_true(s->relatives[0].lookalike);
	assert_true(signature_relative_matches(&s->relatives[0], "Text/HTML; x", "b c a", 5));
	assert_false(signature_relative_matches(&s->relatives[0], "text/plain", "b c a", 5));
	assert_false(signature_relative_matches(&s->relatives[0], "text/html", "b c a", 2));
	assert_string_equal(s->relatives[0].advice, "Undo.");
}

static void says_what_is_wrong_and_where(void **state)
{
	static const struct {
		const char *text, *error;
	} bad[] = {
	    {"", "f:1:1: empty; expected keys, at least \"schema: 1\""},
	    {"schema: 1\n", "f:1:1: key \"version\" is missing; expected it here"},
	    {"schema: 2\nversion: v\n",
	     "f:1:9: schema: \"2\" is out of range; expected a number in 1..1"},
	    {HEAD "product: []\n", "f:3:1: unknown key \"product\"; did you mean \"products\"?"},
	    {HEAD "mode: observe\n",
	     "f:3:1: unknown key \"mode\"; expected one of schema, version, "
	     "ports, https_first, prefixes, products, relatives"},
	    {HEAD "version: x\n", "f:3:1: duplicate key \"version\"; expected each only once"},
	    {HEAD "ports:\n  - name: a\n", "f:4:5: key \"ports\" is missing; expected it here"},
	    {HEAD "ports:\n  - name: a\n    ports: []\n",
	     "f:5:12: ports[].ports: an empty list; expected at least one"},
	    {HEAD "ports:\n  - name: a b\n    ports: [1]\n",
	     "f:4:11: ports[].name: \"a b\" is no name; expected 1 to 63 of A-Z, a-z, 0-9, '_', "
	     "'.' and '-'"},
	    {HEAD "ports:\n  - {name: a, ports: [1]}\n  - {name: a, ports: [2]}\n",
	     "f:5:12: ports[].name: duplicate name \"a\"; expected each only once"},
	    {HEAD "https_first: [0]\n",
	     "f:3:15: https_first: \"0\" is out of range; expected a port in 1..65535, without "
	     "quotes"},
	    {HEAD "prefixes: [debug]\n", "f:3:12: prefixes: \"debug\" does not begin with a slash; "
	                                 "expected a path such as /debug/vars"},
	    {HEAD "prefixes: [/a?b/]\n",
	     "f:3:12: prefixes: \"/a?b/\" has a character that no path has; expected one without "
	     "query or fragment, escaped where need be"},
	    {HEAD "prefixes: [/x]\n", "f:3:12: prefixes: \"/x\" does not end with a slash; "
	                              "expected a path such as /debug/pprof/"},
	    {HEAD "prefixes: [/a/, /profile/]\n",
	     "f:3:17: path /profile/ makes the server work; expected neither profile nor trace"},
	    {HEAD "relatives:\n  - {name: r, path: /debug/pprof/trace, contains: [a]}\n",
	     "f:4:5: path /debug/pprof/trace makes the server work; expected neither profile nor "
	     "trace"},
	    {HEAD "products:\n  - {name: p, switch: none}\n",
	     "f:4:5: product p is never recognised; expected modules, executables, headers or "
	     "titles"},
	    {HEAD "products:\n  - {name: p, executables: [\"a\\nb\"]}\n",
	     "f:4:29: products[].executables: \"a?b\" has control characters or line breaks; "
	     "expected one line of at most 200 bytes"},
	    {HEAD "relatives:\n  - {name: r, path: /r, contains: []}\n",
	     "f:4:35: relatives[].contains: an empty list; expected at least one"},
	    {HEAD "relatives:\n  - {name: r, path: /r, contains: [a], lookalike: yes}\n",
	     "f:4:51: relatives[].lookalike: \"yes\" is no boolean; expected true or false"},
	    {"schema: 1\nversion: &a b\n", "f:2:10: anchor; expected every value written out"},
	    {"schema: 1\nversion: [\n", "f:3:1: while parsing a flow node, did not find expected "
	                                "node content; expected valid YAML"},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		char error[CONF_ERROR_LEN] = "";

		assert_null(signatures_load("f", bad[i].text, strlen(bad[i].text), error));
		assert_string_equal(error, bad[i].error);
	}
}

static void says_that_a_file_is_missing(void **state)
{
	char error[CONF_ERROR_LEN] = "";

	(void)state;
	assert_null(signatures_load_file("/nonexistent/s.yaml", error));
	assert_string_equal(error, "/nonexistent/s.yaml:1:1: No such file or directory; expected a "
	                           "readable file");
}

static void merges_by_name(void **state)
{
	auto_signatures struct signatures *s =
	    load(HEAD "ports:\n  - {name: a, ports: [1]}\n  - {name: b, ports: [2]}\n"
	              "https_first: [443]\nprefixes: [/a/]\n"
	              "products:\n  - {name: p, modules: [m], switch: s}\n");
	auto_signatures struct signatures *more =
	    load("schema: 1\nversion: mine\n"
	         "ports:\n  - {name: b, ports: [9, 8]}\n  - {name: c, ports: [3]}\n"
	         "https_first: [8443]\nprefixes: [/b/]\n"
	         "products:\n  - {name: q, executables: [q]}\n  - {name: p, executables: [pp]}\n"
	         "relatives:\n  - {name: r, path: /r, contains: [x]}\n");

	(void)state;
	assert_int_equal(signatures_merge(s, more), 0);
	assert_string_equal(s->version, "t+mine");
	assert_int_equal(s->n_ports, 3);
	assert_int_equal(signatures_find_ports(s, "a")->items[0], 1);
	assert_int_equal(signatures_find_ports(s, "b")->count, 2);
	assert_int_equal(signatures_find_ports(s, "b")->items[0], 9);
	assert_int_equal(signatures_find_ports(s, "c")->items[0], 3);
	assert_true(signatures_is_https_first(s, 443) && signatures_is_https_first(s, 8443));
	assert_int_equal(s->prefixes.count, 2);
	assert_string_equal(s->prefixes.items[1], "/b/");
	assert_int_equal(s->n_products, 2);
	assert_string_equal(s->products[0].name, "p");
	assert_int_equal(s->products[0].modules.count, 0);
	assert_null(s->products[0].pprof_switch);
	assert_string_equal(s->products[0].executables.items[0], "pp");
	assert_string_equal(s->products[1].name, "q");
	assert_int_equal(s->n_relatives, 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(ships_what_is_compiled_in),
	    cmocka_unit_test(ships_no_ambiguity),
	    cmocka_unit_test(reads_every_key),
	    cmocka_unit_test(says_what_is_wrong_and_where),
	    cmocka_unit_test(says_that_a_file_is_missing),
	    cmocka_unit_test(merges_by_name),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
