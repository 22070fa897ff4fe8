/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "common/bisect.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static int compare(const void *items, size_t i, const void *key)
{
	size_t item = ((const size_t *)items)[i], wanted = *(const size_t *)key;

	return (item > wanted) - (item < wanted);
}

static void test_every_place(void **state)
{
	enum { N = 100 };
	size_t items[N];
	bool found;

	(void)state;
	for (size_t i = 0; i < N; i++)
		items[i] = 2 * i + 1;
	for (size_t count = 0; count <= N; count++) {
		for (size_t key = 0; key <= 2 * count; key++) {
			assert_int_equal(bisect_find(items, count, compare, &key, &found), key / 2);
			assert_int_equal(found, key % 2 == 1);
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_every_place)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
