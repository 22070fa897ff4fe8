/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "common/prefix.h"

#include <arpa/inet.h>
#include <errno.h>
#include <string.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

static void test_good_endpoints(void **state)
{
	/* What is read, and how it is written. */
	static const char *const cases[][2] = {
	    {"192.0.2.1:80", "192.0.2.1:80"},
	    {"0.0.0.0:1", "0.0.0.0:1"},
	    {"[2001:db8::1]:65535", "[2001:db8::1]:65535"},
	    {"[2001:DB8:0:0::1]:8", "[2001:db8::1]:8"},
	    {"[::ffff:192.0.2.7]:80", "192.0.2.7:80"},
	    {"[fe80::1%3]:80", "[fe80::1%3]:80"},
	};
	char text[ENDPOINT_TEXT_LEN];
	struct endpoint e;

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		assert_int_equal(endpoint_parse(cases[i][0], &e), 0);
		assert_string_equal(endpoint_format(&e, text), cases[i][1]);
	}
}

static void test_bad_endpoints(void **state)
{
	static const char *const cases[] = {
	    "",
	    "192.0.2.1",
	    "192.0.2.1:",
	    "192.0.2.1:0",
	    "192.0.2.1:65536",
	    "192.0.2.1:080",
	    "192.0.2.1:+8",
	    "192.0.2.1:8 ",
	    "192.0.2.01:80",
	    "192.0.2:80",
	    "::1:80",
	    "[::1]",
	    "[::1]80",
	    "[192.0.2.1]:80",
	    "[::1%1]:80",
	    "[fe80::1%]:80",
	    "[fe80::1%eth0]:80",
	    "192.0.2.1%1:80",
	    "name:80",
	    "[]:80",
	    "192.0.2.1:18446744073709551696",
	};
	struct endpoint e;

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		memset(&e, 0xa5, sizeof(e));
		if (endpoint_parse(cases[i], &e) != -EINVAL)
			fail_msg("\"%s\" was taken", cases[i]);
		assert_int_equal(e.port, 0xa5a5); /* untouched */
	}
}

static void test_sockaddr_round_trip(void **state)
{
	static const char *const cases[] = {"192.0.2.1:80", "[2001:db8::1]:443", "[fe80::1%3]:80"};
	struct sockaddr_storage storage;
	struct endpoint e, back;

	(void)state;
	for (size_t i = 0; i < 3; i++) {
		assert_int_equal(endpoint_parse(cases[i], &e), 0);
		assert_true(endpoint_to_sockaddr(&e, &storage) <= sizeof(storage));
		assert_int_equal(endpoint_from_sockaddr((struct sockaddr *)&storage, &back), 0);
		assert_int_equal(endpoint_compare(&e, &back), 0);
	}
	storage.ss_family = AF_UNIX;
	assert_int_equal(endpoint_from_sockaddr((struct sockaddr *)&storage, &back), -EAFNOSUPPORT);
}

static void test_mapped_sockaddr_is_v4(void **state)
{
	struct sockaddr_in6 sin6 = {.sin6_family = AF_INET6, .sin6_port = htons(80)};
	char text[ENDPOINT_TEXT_LEN];
	struct endpoint e;

	(void)state;
	inet_pton(AF_INET6, "::ffff:192.0.2.7", &sin6.sin6_addr);
	assert_int_equal(endpoint_from_sockaddr((struct sockaddr *)&sin6, &e), 0);
	assert_string_equal(endpoint_format(&e, text), "192.0.2.7:80");
}

static void test_prefixes(void **state)
{
	static const struct {
		const char *text;
		enum prefix_error error;
		const char *shown;
	} cases[] = {
	    {"10.0.0.0/8", PREFIX_OK, "10.0.0.0/8"},
	    {"10.0.0.1", PREFIX_OK, "10.0.0.1"},
	    {"0.0.0.0/0", PREFIX_OK, "0.0.0.0/0"},
	    {"2001:db8::/32", PREFIX_OK, "2001:db8::/32"},
	    {"::/0", PREFIX_OK, "::/0"},
	    {"10.0.0.1/8", PREFIX_HOST_BITS, "10.0.0.0/8"},
	    {"10.0.0.0/33", PREFIX_BAD_LENGTH, NULL},
	    {"10.0.0.0/", PREFIX_BAD_LENGTH, NULL},
	    {"10.0.0.0/08", PREFIX_BAD_LENGTH, NULL},
	    {"10.0.0.0/-1", PREFIX_BAD_LENGTH, NULL},
	    {"fe80::1%1/64", PREFIX_BAD_ADDRESS, NULL},
	    {"::ffff:10.0.0.0/104", PREFIX_BAD_ADDRESS, NULL},
	    {"name/8", PREFIX_BAD_ADDRESS, NULL},
	};
	char text[PREFIX_TEXT_LEN];
	struct prefix p;

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		if (prefix_parse(cases[i].text, &p) != cases[i].error)
			fail_msg("\"%s\"", cases[i].text);
		if (cases[i].shown)
			assert_string_equal(prefix_format(&p, text), cases[i].shown);
	}
}

static bool contains(const char *prefix, const char *address)
{
	struct prefix p;
	struct endpoint e;

	assert_int_equal(prefix_parse(prefix, &p), PREFIX_OK);
	assert_int_equal(endpoint_parse_address(address, &e), 0);
	return prefix_contains(&p, &e);
}

static void test_prefix_contains(void **state)
{
	(void)state;
	assert_true(contains("10.0.0.0/9", "10.127.255.255"));
	assert_false(contains("10.0.0.0/9", "10.128.0.0"));
	assert_true(contains("0.0.0.0/0", "255.255.255.255"));
	assert_false(contains("0.0.0.0/0", "::1"));
	assert_true(contains("2001:db8::/33", "2001:db8:7fff::1"));
	assert_false(contains("2001:db8::/33", "2001:db8:8000::1"));
	/* A mapped address is the IPv4 one: a listener has one name. */
	assert_true(contains("192.0.2.0/24", "::ffff:192.0.2.9"));
}

static void test_simplify(void **state)
{
	static const char *const in[] = {"10.1.0.0/16", "10.0.0.0/8", "::1",   "10.0.0.0/8",
	                                 "192.0.2.1",   "10.0.0.1",   "::/64", "11.0.0.0/8"};
	static const char *const out[] = {"10.0.0.0/8", "11.0.0.0/8", "192.0.2.1", "::/64"};
	struct prefix list[8];
	char text[PREFIX_TEXT_LEN];

	(void)state;
	for (size_t i = 0; i < 8; i++)
		assert_int_equal(prefix_parse(in[i], &list[i]), PREFIX_OK);
	assert_int_equal(prefix_simplify(list, 8), 4);
	for (size_t i = 0; i < 4; i++)
		assert_string_equal(prefix_format(&list[i], text), out[i]);
	assert_int_equal(prefix_simplify(list, 0), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_good_endpoints),
	    cmocka_unit_test(test_bad_endpoints),
	    cmocka_unit_test(test_sockaddr_round_trip),
	    cmocka_unit_test(test_mapped_sockaddr_is_v4),
	    cmocka_unit_test(test_prefixes),
	    cmocka_unit_test(test_prefix_contains),
	    cmocka_unit_test(test_simplify),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
