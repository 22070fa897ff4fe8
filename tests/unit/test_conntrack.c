/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The share of the kernel's connection tracking that a sweep may use. */
#include "common/cleanup.h"
#include "scanner/discover/conntrack.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <unistd.h>
/* after what it needs */
#include <cmocka.h>

#define MS INT64_C(1000000)

static void test_room(void **state)
{
	(void)state;
	assert_int_equal(conntrack_room(0, 262144), 196608);
	assert_int_equal(conntrack_room(196607, 262144), 1);
	assert_int_equal(conntrack_room(196608, 262144), 0);
	assert_int_equal(conntrack_room(262144, 262144), 0);
	assert_int_equal(conntrack_room(0, 3), 2);
	assert_true(conntrack_room(5, 0) == UINT64_MAX);
	assert_true(conntrack_room(0, UINT64_MAX) > UINT64_MAX / 2);
}

static void write_number(FILE *file, unsigned number)
{
	rewind(file);
	assert_int_equal(ftruncate(fileno(file), 0), 0);
	fprintf(file, "%u\n", number);
	fflush(file);
}

static void test_takes_no_more_than_the_share(void **state)
{
	auto_fclose FILE *count = tmpfile(), *max = tmpfile();
	struct conntrack c = {.look_ns = INT64_MIN};

	(void)state;
	assert_true(count && max);
	c.count_fd = fileno(count);
	c.max_fd = fileno(max);
	write_number(count, 100);
	write_number(max, 1000);
	assert_int_equal(conntrack_take(&c, 0, 600), 600);
	assert_int_equal(conntrack_wait_ns(&c, 0), 0);
	assert_int_equal(conntrack_take(&c, 0, 600), 50);
	assert_int_equal(conntrack_take(&c, 0, 600), 0);
	assert_int_equal(conntrack_wait_ns(&c, 10 * MS), 90 * MS);
	/* Given back, it may be taken again, before the next look. */
	conntrack_return(&c, 20);
	assert_int_equal(conntrack_take(&c, MS, 600), 20);
	/* Entries expire: the next look finds room. */
	write_number(count, 740);
	assert_int_equal(conntrack_take(&c, 99 * MS, 600), 0);
	assert_int_equal(conntrack_take(&c, 100 * MS, 600), 10);
	/* The limit was raised meanwhile. */
	write_number(max, 100000);
	assert_int_equal(conntrack_take(&c, 200 * MS, 600), 600);
}

static void test_without_tracking_there_is_no_limit(void **state)
{
	struct conntrack c = {.count_fd = -1, .max_fd = -1};

	(void)state;
	assert_int_equal(conntrack_take(&c, 0, 12345), 12345);
	assert_int_equal(conntrack_wait_ns(&c, 0), 0);
	assert_int_equal(conntrack_init(&c), 0);
	conntrack_fini(&c);
	assert_int_equal(c.count_fd, -1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_room),
	    cmocka_unit_test(test_takes_no_more_than_the_share),
	    cmocka_unit_test(test_without_tracking_there_is_no_limit),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
