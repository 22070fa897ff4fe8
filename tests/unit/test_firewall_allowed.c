/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/firewall/allowed.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

static char name_a[] = "a", name_b[] = "b", name_c[] = "c";

static struct prefix read_prefix(const char *text)
{
	struct prefix p;

	assert_int_equal(prefix_parse(text, &p), PREFIX_OK);
	return p;
}

static void set(struct allowed *allowed, uint32_t rule, const char *const *texts, size_t n)
{
	struct prefix list[8];

	for (size_t i = 0; i < n; i++)
		list[i] = read_prefix(texts[i]);
	assert_int_equal(allowed_set(allowed, rule, list, n), 0);
}

static void assert_list(const struct conf_prefixes *list, const char *const *texts, size_t n)
{
	assert_int_equal(list->count, n);
	for (size_t i = 0; i < n; i++) {
		const struct prefix p = read_prefix(texts[i]);

		assert_int_equal(prefix_compare(&list->items[i], &p), 0);
	}
}

static void keeps_one_list_for_each_rule(void **state)
{
	static const char *const mixed[] = {"2001:db8::1", "10.0.0.0/8", "10.1.0.0/16",
	                                    "192.0.2.1"};
	struct conf_breaker breakers[] = {{.name = name_a}, {.name = name_b}};
	const struct conf conf = {.breakers = breakers, .n_breakers = 2};
	struct allowed *allowed = allowed_new(&conf);
	struct conf_prefixes list;

	(void)state;
	set(allowed, 2, mixed, 4);
	list = allowed_get(allowed, 2, AF_INET);
	assert_list(&list, (const char *[]){"10.0.0.0/8", "192.0.2.1"}, 2);
	list = allowed_get(allowed, 2, AF_INET6);
	assert_list(&list, (const char *[]){"2001:db8::1"}, 1);
	for (uint32_t rule = 0; rule < 5; rule++)
		if (rule != 2)
			assert_int_equal(allowed_get(allowed, rule, AF_INET).count, 0);
	assert_int_equal(allowed_set(allowed, 0, NULL, 0), -EINVAL);
	assert_int_equal(allowed_set(allowed, 3, NULL, 0), -EINVAL);
	assert_int_equal(allowed_set(allowed, 2, NULL, 0), 0);
	assert_int_equal(allowed_get(allowed, 2, AF_INET).count, 0);
	allowed_free(allowed);
}

static void follows_the_names_of_rules(void **state)
{
	static const char *const one[] = {"10.0.0.1"}, *const two[] = {"10.0.0.2"};
	struct conf_breaker before[] = {{.name = name_a, .allow_dynamic = true},
	                                {.name = name_b, .allow_dynamic = true},
	                                {.name = name_c, .allow_dynamic = true}};
	struct conf_breaker after[] = {{.name = name_c, .allow_dynamic = true},
	                               {.name = name_b, .allow_dynamic = false}};
	const struct conf from = {.breakers = before, .n_breakers = 3};
	const struct conf to = {.breakers = after, .n_breakers = 2};
	struct allowed *allowed = allowed_new(&from), *translated;
	struct conf_prefixes list;

	(void)state;
	set(allowed, 1, one, 1);
	set(allowed, 2, one, 1);
	set(allowed, 3, two, 1);
	translated = allowed_translate(allowed, &from, &to);
	list = allowed_get(translated, 1, AF_INET);
	assert_list(&list, two, 1);
	assert_int_equal(allowed_get(translated, 2, AF_INET).count, 0); /* has no files any more */
	allowed_free(allowed);
	allowed_free(translated);
}

static void tells_what_is_new(void **state)
{
	static const char *const before[] = {"10.0.0.1", "10.0.0.2", "10.0.0.3"};
	static const char *const after[] = {"10.0.0.2", "10.0.0.3", "10.0.0.4"};
	struct conf_breaker breakers[] = {{.name = name_a}, {.name = name_b}};
	const struct conf conf = {.breakers = breakers, .n_breakers = 2};
	struct allowed *allowed = allowed_new(&conf);
	struct conf_prefixes a, b, difference;
	struct prefix out[3];

	(void)state;
	set(allowed, 1, before, 3);
	set(allowed, 2, after, 3);
	a = allowed_get(allowed, 1, AF_INET);
	b = allowed_get(allowed, 2, AF_INET);
	difference = (struct conf_prefixes){out, allowed_subtract(&a, &b, out)};
	assert_list(&difference, before, 1);
	difference.count = allowed_subtract(&b, &a, out);
	assert_list(&difference, after + 2, 1);
	assert_int_equal(allowed_subtract(&a, &a, out), 0);
	b.count = 0;
	assert_int_equal(allowed_subtract(&a, &b, out), 3);
	allowed_free(allowed);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(keeps_one_list_for_each_rule),
	    cmocka_unit_test(follows_the_names_of_rules),
	    cmocka_unit_test(tells_what_is_new),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
