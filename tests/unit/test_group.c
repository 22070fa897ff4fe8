/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/sender/group.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
/* cmocka.h wants the above */
#include <cmocka.h>

enum { NOW = 1000 * 1000 };

static const struct group_conf chat = {.together = true, .wait_ms = 5000, .per_minute = 10};
static const struct group_conf plain = {0};
static const struct group_facts calm = {.first_ms = NOW, .urgent_ms = INT64_MAX};

static void test_without_limits_at_once(void **state)
{
	struct group_pace pace = {0};

	(void)state;
	for (int i = 0; i < 1000; i++) {
		assert_int_equal(group_due_ms(&plain, &pace, &calm), NOW);
		group_take(&plain, &pace, NOW);
	}
}

static void test_collects(void **state)
{
	struct group_facts urgent = {.first_ms = NOW, .urgent_ms = NOW + 3000};
	struct group_pace pace = {0};

	(void)state;
	assert_int_equal(group_due_ms(&chat, &pace, &calm), NOW + 5000);
	/* What is urgent goes along with those that came before it. */
	assert_int_equal(group_due_ms(&chat, &pace, &urgent), NOW + 5000);
}

/* So many at once, then one each sixth second; the rest of the time fills the bucket again. */
static void test_tokens(void **state)
{
	const struct group_conf conf = {.together = true, .per_minute = 10};
	struct group_pace pace = {0};
	int64_t at_ms = NOW;

	(void)state;
	for (int i = 0; i < 10; i++) {
		assert_true(group_due_ms(&conf, &pace, &calm) <= NOW);
		group_take(&conf, &pace, NOW);
	}
	for (int i = 0; i < 100; i++) {
		assert_int_equal(group_due_ms(&conf, &pace, &calm), at_ms + 6000);
		at_ms += 6000;
		group_take(&conf, &pace, at_ms);
	}
	at_ms += 60 * 1000;
	for (int i = 0; i < 10; i++) {
		assert_true(group_due_ms(&conf, &pace, &calm) <= at_ms);
		group_take(&conf, &pace, at_ms);
	}
	assert_int_equal(group_due_ms(&conf, &pace, &calm), at_ms + 6000);
}

static void test_once_a_minute(void **state)
{
	const struct group_conf conf = {.together = true, .per_minute = 1};
	struct group_pace pace = {0};

	(void)state;
	assert_int_equal(group_due_ms(&conf, &pace, &calm), NOW);
	group_take(&conf, &pace, NOW);
	assert_int_equal(group_due_ms(&conf, &pace, &calm), NOW + 60000);
}

/* No longer than group_wait, tokens or not; what came too soon is paid for later, up to a minute.
 */
static void test_urgent(void **state)
{
	struct group_facts urgent = {.first_ms = NOW, .urgent_ms = NOW + 1000};
	struct group_pace pace = {0};

	(void)state;
	for (int i = 0; i < 10; i++)
		group_take(&chat, &pace, NOW);
	assert_int_equal(group_due_ms(&chat, &pace, &calm), NOW + 6000);
	group_take(&chat, &pace, NOW);
	assert_int_equal(group_due_ms(&chat, &pace, &calm), NOW + 12000);
	assert_int_equal(group_due_ms(&chat, &pace, &urgent), NOW + 6000);
	for (int i = 0; i < 1000; i++)
		group_take(&chat, &pace, NOW);
	assert_int_equal(group_due_ms(&chat, &pace, &urgent), NOW + 6000);
	assert_int_equal(group_due_ms(&chat, &pace, &calm), NOW + 66000);
}

static void test_size(void **state)
{
	struct group_split split = {0};

	(void)state;
	assert_int_equal(group_size(&plain, &split, 100), 1);
	assert_int_equal(group_size(&chat, &split, 1), 1);
	assert_int_equal(group_size(&chat, &split, 100), 100);
	assert_int_equal(group_size(&chat, &split, 100000), GROUP_MAX_EVENTS);
}

/* A receiver that takes up to `most` events at once, and never event `bad`: what does it cost? */
static unsigned deliver(size_t count, size_t most, size_t bad, size_t *refused)
{
	struct group_split split = {0};
	unsigned messages = 0;

	*refused = 0;
	for (size_t at = 0; at < count;) {
		size_t n = group_size(&chat, &split, count - at);
		int status = n > most ? 413 : at <= bad && bad < at + n ? 400 : 200;

		assert_in_range(n, 1, count - at);
		assert_true(++messages < 10000);
		if (status != 200 && group_refused(&split, n, status))
			continue;
		*refused += status != 200 ? n : 0;
		group_over(&split, n, status == 200);
		at += n;
	}
	return messages;
}

static void test_splits(void **state)
{
	size_t refused;

	(void)state;
	assert_int_equal(deliver(256, 1000, 1000, &refused), 1);
	assert_int_equal(refused, 0);
	/* One that spoils the others costs a few messages, and is refused alone, wherever it is. */
	for (size_t bad = 0; bad < 256; bad++) {
		assert_in_range(deliver(256, 1000, bad, &refused), 2, 60);
		assert_int_equal(refused, 1);
	}
	/* However little is taken at once: not endlessly many, and all arrive. */
	for (size_t most = 1; most < 256; most++) {
		assert_in_range(deliver(256, most, 1000, &refused), 2, 256 * 2 + 10);
		assert_int_equal(refused, 0);
	}
	assert_in_range(deliver(256, 0, 1000, &refused), 256, 256 + 8);
	assert_int_equal(refused, 256);
}

/* What refuses all alike is no reason to ask for each. */
static void test_refusals_of_all(void **state)
{
	static const int whole[] = {0, 301, 401, 403, 404, 410, 415};
	struct group_split split = {0};

	(void)state;
	for (unsigned i = 0; i < sizeof(whole) / sizeof(whole[0]); i++)
		assert_false(group_refused(&split, 100, whole[i]));
	assert_false(group_refused(&split, 1, 413));
	assert_int_equal(group_size(&chat, &split, 100), 100);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_without_limits_at_once),
	    cmocka_unit_test(test_collects),
	    cmocka_unit_test(test_tokens),
	    cmocka_unit_test(test_once_a_minute),
	    cmocka_unit_test(test_urgent),
	    cmocka_unit_test(test_size),
	    cmocka_unit_test(test_splits),
	    cmocka_unit_test(test_refusals_of_all),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
