/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "scanner/target.h"

#include "common/cleanup.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

static char why[TARGET_ERROR_LEN];

static struct target parse(const char *text)
{
	struct target t;

	if (target_parse(text, &t, why) < 0)
		fail_msg("%s: %s", text, why);
	return t;
}

static void assert_refused(const char *text)
{
	struct target t;

	memset(&t, 0x5a, sizeof(t));
	why[0] = '\0';
	if (target_parse(text, &t, why) == 0)
		fail_msg("'%s' was accepted", text);
	assert_int_equal(((unsigned char *)&t)[0], 0x5a);
	assert_true(strlen(why) > 0);
	assert_null(strchr(why, '\n'));
}

static void assert_prefix(const struct target *t, const char *expected)
{
	char text[PREFIX_TEXT_LEN];

	assert_string_equal(t->host, "");
	assert_string_equal(prefix_format(&t->prefix, text), expected);
}

static struct port_list ports_of(const char *text)
{
	struct port_list list;

	if (port_list_parse(text, &list, why) < 0)
		fail_msg("%s: %s", text, why);
	return list;
}

static void assert_ports(const char *text, const uint16_t *expected, size_t count)
{
	struct port_list list = ports_of(text);

	assert_int_equal(list.count, count);
	for (size_t i = 0; i < count; i++)
		assert_int_equal(list.ports[i], expected[i]);
	port_list_free(&list);
	assert_null(list.ports);
}

static void test_ports(void **state)
{
	static const uint16_t mixed[] = {8082, 8080, 8000, 3000, 9000, 8081, 8083};
	static const uint16_t one[] = {65535};

	(void)state;
	assert_ports("8082,classic,8080-8083,8082", mixed, ARRAY_LEN(mixed));
	assert_ports("65535,65535-65535", one, 1);
}

static void test_named_ports_are_cumulative(void **state)
{
	struct port_list ten = ports_of("top10"), thirty = ports_of("top30"),
	                 sixty = ports_of("top60"), all = ports_of("1-65535");

	(void)state;
	assert_int_equal(ten.count, 10);
	assert_int_equal(thirty.count, 30);
	assert_int_equal(sixty.count, 60);
	assert_int_equal(all.count, 65535);
	assert_memory_equal(ten.ports, thirty.ports, 10 * sizeof(uint16_t));
	assert_memory_equal(thirty.ports, sixty.ports, 30 * sizeof(uint16_t));
	assert_int_equal(ten.ports[0], 6060);
	assert_int_equal(ten.ports[9], 3100);
	assert_int_equal(thirty.ports[29], 2019);
	assert_int_equal(sixty.ports[59], 443);
	port_list_free(&ten);
	port_list_free(&thirty);
	port_list_free(&sixty);
	port_list_free(&all);
}

static void test_bad_ports(void **state)
{
	static const char *const bad[] = {
	    "",      ",",      "80,",  ",80",      "0",
	    "65536", "080",    "+80",  "80-",      "-80",
	    "90-80", "80 ,81", " 80",  "80,,81",   "top20",
	    "TOP10", "1-2-3",  "http", "80-top10", "99999999999999999999",
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		struct port_list list = {.count = 77};

		if (port_list_parse(bad[i], &list, why) == 0)
			fail_msg("'%s' was accepted", bad[i]);
		assert_int_equal(list.count, 77);
	}
}

static void test_tls_first(void **state)
{
	static const uint16_t tls[] = {443, 8443, 6443, 10250, 10257, 10259};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(tls); i++)
		assert_true(port_is_tls_first(tls[i]));
	assert_false(port_is_tls_first(80));
	assert_false(port_is_tls_first(9100));
}

static void test_numeric(void **state)
{
	struct target t = parse("192.0.2.7");

	(void)state;
	assert_prefix(&t, "192.0.2.7");
	assert_int_equal(t.port, 0);
	assert_int_equal(t.scheme, TARGET_ANY);
	t = parse("192.0.2.7:9100");
	assert_prefix(&t, "192.0.2.7");
	assert_int_equal(t.port, 9100);
	t = parse("10.1.2.3/8");
	assert_prefix(&t, "10.0.0.0/8");
	t = parse("2001:db8::1");
	assert_prefix(&t, "2001:db8::1");
	t = parse("[2001:db8::1]");
	assert_prefix(&t, "2001:db8::1");
	assert_int_equal(t.port, 0);
	t = parse("[2001:db8::1]:6060");
	assert_int_equal(t.port, 6060);
	t = parse("2001:db8::ffff/112");
	assert_prefix(&t, "2001:db8::/112");
	/* One listener, one name. */
	t = parse("[::ffff:192.0.2.1]:80");
	assert_prefix(&t, "192.0.2.1");
}

static void test_zone(void **state)
{
	struct target t = parse("fe80::1%nosuch0");

	(void)state;
	assert_string_equal(t.zone, "nosuch0");
	assert_int_equal(t.scope_id, 0);
	t = parse("[fe80::1%7]:80");
	assert_string_equal(t.zone, "");
	assert_int_equal(t.scope_id, 7);
	t = parse("http://[fe80::1%25eth0.7]:80/");
	assert_string_equal(t.zone, "eth0.7");
	assert_refused("fe80::1%");
	assert_refused("fe80::1%0");
	assert_refused("fe80::1%lo:80");
	assert_refused("[fe80::1%lo:80]:80");
	assert_refused("[fe80::1%..]:80");
	assert_refused("[fe80::1%e/th]:80");
	assert_refused("fe80::1%sixteen-letters-");
	assert_refused("fe80::1%4294967296");
	assert_refused("2001:db8::1%1");
	assert_refused("192.0.2.1%1");
}

static void test_names(void **state)
{
	struct target t = parse("node-1.example_x.com:9100");
	char longest[300] = "";

	(void)state;
	assert_string_equal(t.host, "node-1.example_x.com");
	assert_int_equal(t.port, 9100);
	assert_string_equal(parse("localhost").host, "localhost");
	assert_string_equal(parse("absolute.example.").host, "absolute.example.");
	for (int i = 0; i < 126; i++)
		strcat(longest, "a.");
	strcat(longest, "b"); /* 253 */
	assert_string_equal(parse(longest).host, longest);
	strcat(longest, "b");
	assert_refused(longest);
}

static void test_urls(void **state)
{
	struct target t = parse("https://node.example/x/pprof");

	(void)state;
	assert_string_equal(t.host, "node.example");
	assert_int_equal(t.port, 443);
	assert_int_equal(t.scheme, TARGET_HTTPS);
	assert_string_equal(t.path, "/x/pprof/");
	t = parse("HTTP://192.0.2.1");
	assert_int_equal(t.port, 80);
	assert_int_equal(t.scheme, TARGET_HTTP);
	assert_string_equal(t.path, "");
	t = parse("http://[::1]:8080/");
	assert_prefix(&t, "::1");
	assert_int_equal(t.port, 8080);
	assert_string_equal(t.path, "");
	t = parse("http://h:1/a/../%2e/");
	assert_string_equal(t.path, "/a/../%2e/");
}

static void test_bad_targets(void **state)
{
	static const char *const bad[] = {
	    "",
	    ":80",
	    "host:",
	    "host:0",
	    "host:65536",
	    "host:080",
	    "host:http",
	    "host name",
	    "-host",
	    "host-",
	    "a..b",
	    ".a",
	    ".",
	    "caf\xc3\xa9.example",
	    "host\n",
	    "host#x",
	    "h@st",
	    "10.0.0.256",
	    "10.0.0.01",
	    "10.0.0",
	    "1.2.3.0x4",
	    "0x7f000001",
	    "2130706433",
	    "10.0.0.0/33",
	    "10.0.0.0/",
	    "10.0.0.0/08",
	    "10.0.0.0/24:80",
	    "host/path",
	    "::1/129",
	    "[::1",
	    "[::1]x",
	    "[::1]:",
	    "[192.0.2.1]:80",
	    "[host]:80",
	    "1::2::3",
	    "ftp://host/",
	    "://host",
	    "http://",
	    "http:///path",
	    "http://user@host/",
	    "http://user:secret@host/",
	    "http://host/?a=b",
	    "http://host/#x",
	    "http://host?x",
	    "http://host/a b",
	    "http://host/\xff",
	    "http://host/a\"b",
	    "http://::1/",
	    "http://host:99999/",
	};
	char endless[2000];

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(bad); i++)
		assert_refused(bad[i]);
	memset(endless, 'a', sizeof(endless) - 1);
	endless[sizeof(endless) - 1] = '\0';
	assert_refused(endless);
	memcpy(endless, "http://host/", 12);
	endless[12 + 200] = '\0';
	assert_refused(endless);
}

static void assert_at(const struct target *t, const struct port_list *ports, uint64_t i,
                      const char *expected)
{
	char text[ENDPOINT_TEXT_LEN];
	struct endpoint e;

	target_at(t, ports, i, &e);
	assert_string_equal(endpoint_format(&e, text), expected);
}

static void test_walk(void **state)
{
	struct port_list ports = ports_of("80,443");
	struct target t = parse("192.0.2.252/30");

	(void)state;
	assert_int_equal(target_count(&t, &ports), 8);
	assert_at(&t, &ports, 0, "192.0.2.252:80");
	assert_at(&t, &ports, 1, "192.0.2.252:443");
	assert_at(&t, &ports, 7, "192.0.2.255:443");
	t = parse("10.0.0.0/8");
	assert_int_equal(target_count(&t, &ports), 2 << 24);
	assert_at(&t, &ports, (2 << 24) - 1, "10.255.255.255:443");
	assert_at(&t, &ports, 2 * 0x010203, "10.1.2.3:80");
	t = parse("2001:db8::/65");
	assert_at(&t, &ports, UINT64_C(0xfffffffffffffffe), "[2001:db8::7fff:ffff:ffff:ffff]:80");
	t = parse("192.0.2.1:7");
	assert_int_equal(target_count(&t, &ports), 1);
	assert_at(&t, &ports, 0, "192.0.2.1:7");
	t = parse("[fe80::1%3]:7");
	assert_at(&t, &ports, 0, "[fe80::1%3]:7");
	assert_int_equal(target_count(&(struct target){.host = "x"}, &ports), 2);
	port_list_free(&ports);
}

static void test_count_saturates(void **state)
{
	struct port_list ports = ports_of("80,443");
	struct target t = parse("::/64");

	(void)state;
	assert_true(target_count(&t, &ports) == UINT64_MAX);
	t = parse("::/65");
	assert_true(target_count(&t, &ports) == UINT64_MAX);
	t = parse("::/66");
	assert_true(target_count(&t, &ports) == UINT64_C(1) << 63);
	port_list_free(&ports);
}

static void test_labels(void **state)
{
	static const struct {
		const char *text, *labels;
	} good[] = {
	    {"10.1.0.0/24", ""},
	    {"10.1.0.0/24 team=payments", "team=payments"},
	    {"10.1.0.0/24\t team=payments   env=prod ", "team=payments env=prod"},
	    {"http://a.example/x owner=b\xc3\xa4r url=http://x/?a=b",
	     "owner=b\xc3\xa4r url=http://x/?a=b"},
	};
	static const char *const bad[] = {
	    "10.1.0.0/24 team",
	    "10.1.0.0/24 team=",
	    "10.1.0.0/24 =payments",
	    "10.1.0.0/24 te am=payments",
	    "10.1.0.0/24 team=a team=b",
	    "10.1.0.0/24 t\xc3\xa4 team=a",
	    "10.1.0.0/24 team=\xff",
	    "10.1.0.0/24 team=a\033[31m",
	    ("10.1.0.0/24 team=a\xc2\x9b"
	     "31m"),
	    "10.1.0.0/24 a=1 b=1 c=1 d=1 e=1 f=1 g=1 h=1 i=1 j=1 k=1 l=1 m=1 n=1 o=1 p=1 q=1",
	    "10.1.0.0/33 team=a",
	    " team=a",
	};
	struct target t;

	(void)state;
	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
		assert_int_equal(target_parse_labelled(good[i].text, &t, why), 0);
		assert_string_equal(t.labels, good[i].labels);
	}
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		if (target_parse_labelled(bad[i], &t, why) == 0)
			fail_msg("'%s' was taken", bad[i]);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_ports),
	    cmocka_unit_test(test_named_ports_are_cumulative),
	    cmocka_unit_test(test_bad_ports),
	    cmocka_unit_test(test_tls_first),
	    cmocka_unit_test(test_numeric),
	    cmocka_unit_test(test_zone),
	    cmocka_unit_test(test_names),
	    cmocka_unit_test(test_urls),
	    cmocka_unit_test(test_bad_targets),
	    cmocka_unit_test(test_walk),
	    cmocka_unit_test(test_count_saturates),
	    cmocka_unit_test(test_labels),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
