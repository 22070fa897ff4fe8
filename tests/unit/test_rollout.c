/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "conf/conf_rollout.h"

#include "common/host_id.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

enum { HOSTS = 1000 };

/* As machine-id(5) has them, but in a row: the hash has to spread them. */
static void name_host(unsigned i, char id[static 40])
{
	snprintf(id, 40, "4a1f0c%026x", i);
}

static bool is_in(unsigned percent, const char *id, const char *salt)
{
	char copy[65];
	struct conf conf = {
	    .mode = CONF_MODE_ENFORCE, .enforce_percent = percent, .enforce_salt = copy};

	snprintf(copy, sizeof(copy), "%s", salt);
	conf_rollout_apply(&conf, id);
	assert_int_equal(conf.rollout.held_back, conf.mode == CONF_MODE_OBSERVE);
	return conf.mode == CONF_MODE_ENFORCE;
}

static unsigned count_in(unsigned percent, const char *salt)
{
	unsigned count = 0;
	char id[40];

	for (unsigned i = 0; i < HOSTS; i++) {
		name_host(i, id);
		count += is_in(percent, id, salt);
	}
	return count;
}

/* Four standard deviations of a fair draw; at the ends there is nothing to draw. */
static void test_fraction(void **state)
{
	(void)state;
	assert_int_equal(count_in(0, "pprofwall"), 0);
	assert_int_equal(count_in(100, "pprofwall"), HOSTS);
	for (unsigned percent = 1; percent < 100; percent++) {
		unsigned expected = HOSTS * percent / 100, count = count_in(percent, "pprofwall");
		unsigned variance = expected * (100 - percent) / 100;
		unsigned off = count > expected ? count - expected : expected - count;

		if (off * off > 16 * (variance + 1))
			fail_msg("%u%%: %u of %d", percent, count, HOSTS);
	}
}

static void test_monotone(void **state)
{
	char id[40];

	(void)state;
	for (unsigned i = 0; i < HOSTS; i++) {
		name_host(i, id);
		for (unsigned percent = 0; percent < 100; percent++)
			assert_true(!is_in(percent, id, "pprofwall") ||
			            is_in(percent + 1, id, "pprofwall"));
	}
}

/* Another salt, other hosts: about a quarter of those that are in at 50% by each is in by both. */
static void test_salt(void **state)
{
	unsigned both = 0;
	char id[40];

	(void)state;
	for (unsigned i = 0; i < HOSTS; i++) {
		name_host(i, id);
		both += is_in(50, id, "pprofwall") && is_in(50, id, "second");
	}
	assert_in_range(both, 195, 305);
	assert_int_not_equal(conf_rollout_draw("bc", "a"), conf_rollout_draw("c", "ab"));
}

/* The number is a contract: an upgrade must not choose other hosts. */
static void test_stable(void **state)
{
	(void)state;
	assert_int_equal(conf_rollout_draw("0123456789abcdef0123456789abcdef", "pprofwall"), 3909);
}

static void test_observing_stays(void **state)
{
	char salt[] = "pprofwall";
	struct conf conf = {.mode = CONF_MODE_OBSERVE, .enforce_percent = 0, .enforce_salt = salt};

	(void)state;
	conf_rollout_apply(&conf, "host");
	assert_false(conf.rollout.held_back);
	assert_int_equal(conf.mode, CONF_MODE_OBSERVE);
}

static void test_host_id(void **state)
{
	char id[HOST_ID_LEN], again[HOST_ID_LEN];

	(void)state;
	host_id_read(id);
	host_id_read(again);
	assert_true(id[0] && strlen(id) < HOST_ID_LEN);
	assert_string_equal(id, again);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_fraction),
	    cmocka_unit_test(test_monotone),
	    cmocka_unit_test(test_salt),
	    cmocka_unit_test(test_stable),
	    cmocka_unit_test(test_observing_stays),
	    cmocka_unit_test(test_host_id),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
