/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "scanner/sweep/exclude.h"

#include "common/cleanup.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

static char why[EXCLUDE_ERROR_LEN];

static int read_bytes(struct exclude_set *set, const char *bytes, size_t length)
{
	char copy[8192];
	auto_fclose FILE *in = NULL;

	assert_true(length > 0 && length <= sizeof(copy));
	memcpy(copy, bytes, length);
	in = fmemopen(copy, length, "r");
	assert_non_null(in);
	why[0] = '\0';
	return exclude_set_read_stream(set, in, "list", why);
}

static struct exclude_set *set_of(const char *text)
{
	struct exclude_set *set = exclude_set_new();

	assert_non_null(set);
	if (read_bytes(set, text, strlen(text)) < 0)
		fail_msg("%s", why);
	assert_int_equal(exclude_set_seal(set), 0);
	return set;
}

static bool has(const struct exclude_set *set, const char *text)
{
	struct endpoint e;

	if (endpoint_parse_address(text, &e) < 0)
		fail_msg("%s is no address", text);
	e.port = 80;
	return exclude_set_contains(set, &e);
}

static void assert_has(const struct exclude_set *set, const char *text)
{
	if (!has(set, text))
		fail_msg("%s is not in the set", text);
}

static void assert_has_not(const struct exclude_set *set, const char *text)
{
	if (has(set, text))
		fail_msg("%s is in the set", text);
}

static void test_reads_a_list(void **state)
{
	struct exclude_set *set = set_of("# ours\n"
	                                 "\n"
	                                 "10.0.0.0/8   # the lab\r\n"
	                                 "\t10.1.2.3\n"
	                                 "2001:db8::/32#doc\n"
	                                 "   # nothing\n"
	                                 "::ffff:192.0.2.1\n"
	                                 "fe80::1");
	char text[PREFIX_TEXT_LEN];

	(void)state;
	assert_int_equal(exclude_set_count(set), 4);
	assert_string_equal(prefix_format(exclude_set_at(set, 0), text), "10.0.0.0/8");
	assert_string_equal(prefix_format(exclude_set_at(set, 1), text), "192.0.2.1");
	assert_string_equal(prefix_format(exclude_set_at(set, 2), text), "2001:db8::/32");
	assert_string_equal(prefix_format(exclude_set_at(set, 3), text), "fe80::1");
	assert_has(set, "10.0.0.0");
	assert_has(set, "10.255.255.255");
	assert_has_not(set, "9.255.255.255");
	assert_has_not(set, "11.0.0.0");
	assert_has(set, "192.0.2.1");
	assert_has_not(set, "192.0.2.0");
	assert_has_not(set, "192.0.2.2");
	assert_has_not(set, "255.255.255.255");
	assert_has_not(set, "0.0.0.0");
	assert_has(set, "2001:db8::");
	assert_has(set, "2001:db8:ffff:ffff:ffff:ffff:ffff:ffff");
	assert_has_not(set, "2001:db9::");
	assert_has_not(set, "2001:db7:ffff::");
	assert_has_not(set, "::");
	/* Whatever link it is on. */
	assert_has(set, "fe80::1%7");
	exclude_set_free(set);
}

static void test_mapped_addresses_are_ipv4(void **state)
{
	struct exclude_set *set = set_of("10.0.0.0/8\n");
	struct endpoint e = {.family = AF_INET6, .port = 80};

	(void)state;
	e.address[10] = e.address[11] = 0xff;
	e.address[12] = 10;
	assert_true(exclude_set_contains(set, &e));
	e.address[12] = 11;
	assert_false(exclude_set_contains(set, &e));
	exclude_set_free(set);
}

static void test_everything_and_nothing(void **state)
{
	struct exclude_set *all = set_of("0.0.0.0/0\n");
	struct exclude_set *all6 = set_of("::/0\n");
	struct exclude_set *none = set_of("# none\n");
	const struct endpoint mapped = {.family = AF_INET6,
	                                .address = {[10] = 0xff, 0xff, 192, 0, 2, 1}};

	(void)state;
	assert_has(all, "0.0.0.0");
	assert_has(all, "255.255.255.255");
	assert_has_not(all, "::");
	assert_has(all6, "::");
	assert_true(exclude_set_contains(all6, &mapped));
	assert_true(exclude_set_contains(all, &mapped));
	assert_false(exclude_set_contains(none, &mapped));
	assert_has(all6, "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff");
	assert_has_not(all6, "1.2.3.4");
	assert_int_equal(exclude_set_count(none), 0);
	assert_has_not(none, "1.2.3.4");
	assert_has_not(none, "::1");
	exclude_set_free(all);
	exclude_set_free(all6);
	exclude_set_free(none);
	exclude_set_free(NULL);
}

static void assert_error(const char *bytes, size_t length, const char *place, const char *part)
{
	struct exclude_set *set = exclude_set_new();

	assert_non_null(set);
	assert_int_equal(read_bytes(set, bytes, length), -EINVAL);
	exclude_set_free(set);
	if (strncmp(why, place, strlen(place)) != 0 || !strstr(why, part))
		fail_msg("expected '%s... %s', got '%s'", place, part, why);
	for (const char *p = why; *p; p++)
		assert_true((unsigned char)*p >= 0x20 && *p != 0x7f);
}

static void test_errors_have_a_place(void **state)
{
	static const struct {
		const char *text, *place, *part;
	} wrong[] = {
	    {"example.com\n", "list:1:1: ", "'example.com' is no address; expected"},
	    {"\n  10.0.0.1/8\n", "list:2:3: ", "expected 10.0.0.0/8 for the network"},
	    {"10.0.0.0/33", "list:1:10: ", "'33' is no prefix length; expected 0 to 32"},
	    {"10.0.0.0/", "list:1:10: ", "expected 0 to 32"},
	    {"# a\n# b\n::/129 # c\n",
	     "list:3:4: ", "'129' is no prefix length; expected 0 to 128"},
	    {"10.0.0.0/8 10.0.0.1", "list:1:12: ", "'10.0.0.1' after the prefix; expected"},
	    {"10.0.0.1:80\n", "list:1:1: ", "without port"},
	    {"fe80::1%2\n", "list:1:1: ", "zone"},
	    {"10.0.0.01\n", "list:1:1: ", "is no address"},
	    {"10.0.0.0-10.0.0.9\n", "list:1:1: ", "is no address"},
	    {"::ffff:0:0/96\n", "list:1:1: ", "is no address"},
	    {"10.0.0.0/8\n\x1b[2J\n", "list:2:1: ", "'?[2J' is no address"},
	    {"\xef\xbb\xbf"
	     "10.0.0.0/8\n",
	     "list:1:1: ", "is no address"},
	};
	char nul[] = "10.0.0.0/8\n10.0.0.\0001\n";
	char comment[5000];

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(wrong); i++)
		assert_error(wrong[i].text, strlen(wrong[i].text), wrong[i].place, wrong[i].part);
	assert_error(nul, sizeof(nul) - 1, "list:2:8: ", "NUL");
	memset(comment, '#', sizeof(comment));
	assert_error(comment, sizeof(comment), "list:1:4096: ", "4095 bytes");
	memset(comment, '1', sizeof(comment));
	comment[4000] = '\n';
	assert_error(comment, 4001, "list:1:1: ", "is no address");
	/* A comment of the longest kind is none the worse. */
	memset(comment, '#', sizeof(comment));
	comment[4095] = '\n';
	exclude_set_free(set_of("10.0.0.0/8\n"));
	struct exclude_set *set = exclude_set_new();

	assert_non_null(set);
	assert_int_equal(read_bytes(set, comment, 4096), 0);
	exclude_set_free(set);
}

static void test_files_that_cannot_be_read(void **state)
{
	struct exclude_set *set = exclude_set_new();

	(void)state;
	assert_non_null(set);
	assert_int_equal(exclude_set_read(set, "/nonexistent/list", why), -ENOENT);
	assert_string_equal(why, "/nonexistent/list: No such file or directory");
	assert_int_equal(exclude_set_read(set, "/", why), -EISDIR);
	assert_string_equal(why, "/: Is a directory");
	exclude_set_free(set);
}

static void test_sealed_is_sealed(void **state)
{
	struct exclude_set *set = exclude_set_new();
	struct prefix p = {.family = AF_INET, .bits = 33};

	(void)state;
	assert_non_null(set);
	assert_int_equal(exclude_set_add(set, &p), -EINVAL);
	p.bits = 32;
	assert_int_equal(exclude_set_add(set, &p), 0);
	p.family = AF_UNSPEC;
	assert_int_equal(exclude_set_add(set, &p), -EINVAL);
	assert_has(set, "192.0.2.1");
	assert_int_equal(exclude_set_seal(set), 0);
	assert_int_equal(exclude_set_seal(set), 0);
	assert_has_not(set, "192.0.2.1");
	p.family = AF_INET6;
	assert_int_equal(exclude_set_add(set, &p), -EINVAL);
	assert_int_equal(exclude_set_count(set), 1);
	exclude_set_free(set);
}

static uint32_t random_below(uint64_t *state, uint32_t limit)
{
	*state = *state * 6364136223846793005U + 1442695040888963407U;
	return (uint32_t)(*state >> 33) % limit;
}

static struct endpoint random_address(uint64_t *random)
{
	struct endpoint e = {.port = 80};
	unsigned bytes;

	e.family = random_below(random, 2) ? AF_INET : AF_INET6;
	bytes = e.family == AF_INET ? 4 : 16;
	/* Few values, so that prefixes meet. */
	for (unsigned i = 0; i < bytes; i++)
		e.address[i] = (uint8_t)(0x55U * random_below(random, 4));
	return e;
}

static void test_agrees_with_a_list(void **state)
{
	uint64_t random = 7;

	(void)state;
	for (unsigned round = 0; round < 200; round++) {
		struct prefix list[60];
		size_t n = random_below(&random, ARRAY_LEN(list) + 1);
		struct exclude_set *set = exclude_set_new();

		assert_non_null(set);
		for (size_t i = 0; i < n; i++) {
			struct endpoint e = random_address(&random);
			unsigned width = e.family == AF_INET ? 32 : 128;
			char text[PREFIX_TEXT_LEN + 8], address[ENDPOINT_TEXT_LEN];

			endpoint_format_address(&e, address);
			snprintf(text, sizeof(text), "%s/%u", address,
			         4 + random_below(&random, width - 3));
			/* Masked as needed. */
			assert_in_set(prefix_parse(text, &list[i]),
			              ((const LargestIntegralType[]){PREFIX_OK, PREFIX_HOST_BITS}),
			              2);
			assert_int_equal(exclude_set_add(set, &list[i]), 0);
		}
		assert_int_equal(exclude_set_seal(set), 0);
		for (unsigned i = 0; i < 500; i++) {
			struct endpoint e = random_address(&random);
			bool expected = false;

			for (size_t k = 0; k < n; k++)
				expected = expected || prefix_contains(&list[k], &e);
			assert_int_equal(exclude_set_contains(set, &e), expected);
		}
		exclude_set_free(set);
	}
}

static struct exclude_set *shipped(const char *name)
{
	struct exclude_set *set = exclude_set_new();
	char file[4096];

	assert_non_null(set);
	assert_non_null(getenv("PW_SOURCE_DIR"));
	snprintf(file, sizeof(file), "%s/conf/%s", getenv("PW_SOURCE_DIR"), name);
	if (exclude_set_read(set, file, why) < 0)
		fail_msg("%s", why);
	assert_int_equal(exclude_set_seal(set), 0);
	return set;
}

static const char *const nowhere[] = {
    "0.0.0.0",         "0.1.2.3", "224.0.0.1", "239.255.255.255", "240.0.0.1",
    "255.255.255.255", "::",      "100::1",    "ff02::1",         "ff0e::1",
};
static const char *const inside[] = {
    "10.0.0.1",       "100.64.0.1",  "127.0.0.1", "169.254.169.254", "172.16.0.1",
    "172.31.255.255", "192.168.1.1", "::1",       "fc00::1",         "fd12:3456::1",
    "fe80::1",        "febf::1",     "fec0::1",
};
static const char *const special[] = {
    "192.0.0.1",     "192.0.0.170",      "192.0.2.1",    "192.31.196.1",    "192.52.193.1",
    "192.88.99.2",   "192.175.48.1",     "198.18.0.1",   "198.19.255.255",  "198.51.100.1",
    "203.0.113.255", "64:ff9b::1.2.3.4", "64:ff9b:1::1", "2001::1",         "2001:2::1",
    "2001:30::1",    "2001:db8::1",      "2002::1",      "2620:4f:8000::1", "3fff:fff::1",
    "5f00::1",
};
static const char *const of_the_internet[] = {
    "1.1.1.1",
    "8.8.8.8",
    "9.255.255.255",
    "11.0.0.0",
    "100.63.255.255",
    "100.128.0.0",
    "126.0.0.1",
    "128.0.0.1",
    "172.15.0.1",
    "172.32.0.1",
    "192.0.1.0",
    "192.167.0.1",
    "192.169.0.1",
    "198.17.0.1",
    "198.20.0.0",
    "203.0.112.1",
    "223.255.255.255",
    "2001:200::1",
    "2001:4860:4860::8888",
    "2600::1",
    "2606:4700:4700::1111",
    "2a00::1",
    "3fff:1000::1",
};

static void test_shipped_never(void **state)
{
	struct exclude_set *never = shipped("never.txt");
	struct exclude_set *everything = shipped("special-purpose.txt");

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(nowhere); i++)
		assert_has(never, nowhere[i]);
	for (size_t i = 0; i < ARRAY_LEN(inside); i++)
		assert_has_not(never, inside[i]);
	for (size_t i = 0; i < ARRAY_LEN(of_the_internet); i++)
		assert_has_not(never, of_the_internet[i]);
	/* The other list has all of it. */
	for (size_t i = 0; i < exclude_set_count(never); i++) {
		char text[PREFIX_TEXT_LEN];
		struct prefix p = *exclude_set_at(never, i);
		bool found = false;

		for (size_t k = 0; k < exclude_set_count(everything); k++) {
			struct prefix both[] = {*exclude_set_at(everything, k), p};

			found = found || (prefix_simplify(both, 2) == 1 &&
			                  both[0].bits == exclude_set_at(everything, k)->bits);
		}
		if (!found)
			fail_msg("%s is in never.txt only", prefix_format(&p, text));
	}
	exclude_set_free(never);
	exclude_set_free(everything);
}

static void test_shipped_special_purpose(void **state)
{
	struct exclude_set *set = shipped("special-purpose.txt");

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(nowhere); i++)
		assert_has(set, nowhere[i]);
	for (size_t i = 0; i < ARRAY_LEN(inside); i++)
		assert_has(set, inside[i]);
	for (size_t i = 0; i < ARRAY_LEN(special); i++)
		assert_has(set, special[i]);
	for (size_t i = 0; i < ARRAY_LEN(of_the_internet); i++)
		assert_has_not(set, of_the_internet[i]);
	exclude_set_free(set);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_reads_a_list),
	    cmocka_unit_test(test_mapped_addresses_are_ipv4),
	    cmocka_unit_test(test_everything_and_nothing),
	    cmocka_unit_test(test_errors_have_a_place),
	    cmocka_unit_test(test_files_that_cannot_be_read),
	    cmocka_unit_test(test_sealed_is_sealed),
	    cmocka_unit_test(test_agrees_with_a_list),
	    cmocka_unit_test(test_shipped_never),
	    cmocka_unit_test(test_shipped_special_purpose),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
