/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/firewall/blocks.h"

#include "common/cleanup.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

AUTO_CLEANUP(blocks, struct blocks *, blocks_free)
#define auto_blocks __attribute__((cleanup(cleanup_blocks)))

static struct block make_block(unsigned n, int64_t deadline_ms)
{
	struct block b = {.endpoint = {.family = AF_INET, .port = 9100},
	                  .deadline_ms = deadline_ms};

	b.endpoint.address[0] = 10;
	b.endpoint.address[2] = (uint8_t)(n >> 8);
	b.endpoint.address[3] = (uint8_t)n;
	return b;
}

static void put(struct blocks *blocks, unsigned n, int64_t deadline_ms)
{
	const struct block b = make_block(n, deadline_ms);

	assert_int_equal(blocks_put(blocks, &b), 0);
}

static void keeps_one_block_an_endpoint(void **state)
{
	auto_blocks struct blocks *blocks = blocks_new();
	struct block b = make_block(1, 100);

	(void)state;
	put(blocks, 1, 100);
	b.rule = 7;
	assert_int_equal(blocks_put(blocks, &b), 0);
	assert_int_equal(blocks_count(blocks), 1);
	assert_int_equal(blocks_find(blocks, &b.endpoint)->rule, 7);
	b.endpoint.port++;
	assert_null(blocks_find(blocks, &b.endpoint));
	blocks_remove(blocks, &b.endpoint); /* of what is not there: nothing */
	b.endpoint.port--;
	blocks_remove(blocks, &b.endpoint);
	assert_int_equal(blocks_count(blocks), 0);
	assert_null(blocks_find(blocks, &b.endpoint));
}

static void lists_in_order(void **state)
{
	auto_blocks struct blocks *blocks = blocks_new();
	auto_free struct block **list = NULL;
	size_t count;

	(void)state;
	assert_int_equal(blocks_list(blocks, &list, &count), 0);
	assert_int_equal(count, 0);
	for (unsigned i = 0; i < 1000; i++)
		put(blocks, i * 7919 % 1000, 100);
	assert_int_equal(blocks_list(blocks, &list, &count), 0);
	assert_int_equal(count, 1000);
	for (size_t i = 1; i < count; i++)
		assert_true(endpoint_compare(&list[i - 1]->endpoint, &list[i]->endpoint) < 0);
}

static void expires_by_deadline(void **state)
{
	auto_blocks struct blocks *blocks = blocks_new();
	const struct block kept = make_block(2, 0);

	(void)state;
	for (unsigned i = 0; i < 100; i++)
		put(blocks, i, i == 2 ? 500 : 100 + i % 2);
	blocks_expire(blocks, 99);
	assert_int_equal(blocks_count(blocks), 100);
	blocks_expire(blocks, 100);
	assert_int_equal(blocks_count(blocks), 51);
	blocks_expire(blocks, 499);
	assert_int_equal(blocks_count(blocks), 1);
	assert_non_null(blocks_find(blocks, &kept.endpoint));
	put(blocks, 2, 900); /* refreshed */
	blocks_expire(blocks, 500);
	assert_int_equal(blocks_count(blocks), 1);
	put(blocks, 3, 600);
	blocks_expire(blocks, 600);
	assert_int_equal(blocks_count(blocks), 1);
	blocks_clear(blocks);
	assert_int_equal(blocks_count(blocks), 0);
	put(blocks, 3, 10);
	blocks_expire(blocks, 10);
	assert_int_equal(blocks_count(blocks), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(keeps_one_block_an_endpoint),
	    cmocka_unit_test(lists_in_order),
	    cmocka_unit_test(expires_by_deadline),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
