/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What is known of listeners has its bounds, and the host's own have their place within them. */
#include "common/cleanup.h"
#include "daemon/inventory/table.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

enum { HOST = 1 };

static struct table_netns *add(struct table *t, uint64_t netns)
{
	const struct namespaces_ref ref = {.netns = netns, .task = 1};

	return table_add(t, &ref, netns == HOST);
}

static void set_list(struct table *t, struct table_netns *ns, uint32_t first, size_t count,
                     bool cut)
{
	auto_free struct diag_socket *items = calloc(count + 1, sizeof(*items));
	const struct diag_list list = {.items = items, .count = count, .cut = cut};

	assert_non_null(items);
	for (size_t i = 0; i < count; i++) {
		uint32_t address = first + (uint32_t)i;

		items[i] = (struct diag_socket){.family = AF_INET, .port = 80, .inode = address};
		for (unsigned byte = 0; byte < 4; byte++)
			items[i].address[byte] = (uint8_t)(address >> (24 - 8 * byte));
	}
	assert_int_equal(table_set_listeners(t, ns, &list, 0), 0);
}

/* So many listeners, on one port of so many addresses, from `first` on. */
static void set(struct table *t, struct table_netns *ns, uint32_t first, size_t count)
{
	set_list(t, ns, first, count, false);
}

static void tell_all(struct table *t)
{
	struct table_entry *e;

	while ((e = table_next(t)))
		table_told(t, e);
}

static void test_namespaces_are_found(void **state)
{
	struct table t;

	(void)state;
	table_init(&t);
	for (uint64_t i = 0; i < 1000; i++) /* in no order: 37 and 1009 share no divisor */
		assert_non_null(add(&t, 2 + i * 37 % 1009));
	for (uint64_t i = 0; i < 1000; i += 3)
		table_remove(&t, table_find(&t, 2 + i * 37 % 1009));
	for (uint64_t i = 0; i < 1000; i++) {
		const struct table_netns *ns = table_find(&t, 2 + i * 37 % 1009);

		if (i % 3 == 0)
			assert_null(ns);
		else
			assert_int_equal(ns->ref.netns, 2 + i * 37 % 1009);
	}
	assert_null(table_find(&t, 5000));
	table_clear(&t);
	assert_null(table_find(&t, 39));
}

static void test_so_many_namespaces(void **state)
{
	struct table t;

	(void)state;
	table_init(&t);
	for (uint64_t i = 0; i < TABLE_MAX_NAMESPACES; i++)
		assert_non_null(add(&t, 2 + i));
	assert_false(t.full);
	assert_null(add(&t, 2 + TABLE_MAX_NAMESPACES));
	assert_true(t.full);
	assert_non_null(add(&t, HOST));
	assert_ptr_equal(table_find(&t, HOST), t.sorted[0]);
	table_clear(&t);
}

static void test_half_of_it_is_the_hosts(void **state)
{
	struct table_netns *host, *a, *b;
	struct table t;

	(void)state;
	table_init(&t);
	host = add(&t, HOST);
	a = add(&t, 2);
	b = add(&t, 3);
	set(&t, b, 0, 10);
	assert_false(t.full);
	set(&t, a, 0, TABLE_MAX_LISTENERS);
	assert_true(t.full);
	assert_int_equal(a->n_listeners, TABLE_MAX_ELSEWHERE - 10);
	tell_all(&t);
	set(&t, b, 0, 20);
	assert_int_equal(b->n_listeners, 10);
	set(&t, host, 0, TABLE_MAX_LISTENERS);
	assert_int_equal(host->n_listeners, TABLE_MAX_LISTENERS - TABLE_MAX_ELSEWHERE);
	assert_int_equal(t.n_listeners, TABLE_MAX_LISTENERS);
	table_remove(&t, a);
	set(&t, b, 0, 20);
	assert_int_equal(b->n_listeners, 20);
	assert_int_equal(t.n_elsewhere, 20);
	table_clear(&t);
}

/* Else whoever opens many could push out what was known before. */
static void test_what_was_there_stays(void **state)
{
	struct table_netns *a;
	struct table t;

	(void)state;
	table_init(&t);
	a = add(&t, 2);
	set(&t, a, 1000, 10);
	set(&t, a, 0, TABLE_MAX_LISTENERS);
	assert_int_equal(a->n_listeners, TABLE_MAX_ELSEWHERE);
	for (uint32_t i = 0; i < 10; i++)
		assert_int_equal(a->listeners[1000 + i]->socket.inode, 1000 + i);
	set(&t, a, TABLE_MAX_LISTENERS - 1010, 1010);
	assert_int_equal(a->n_listeners, 1010);
	set(&t, a, 0, TABLE_MAX_LISTENERS);
	assert_int_equal(a->listeners[a->n_listeners - 1]->socket.inode, TABLE_MAX_LISTENERS - 1);
	table_clear(&t);
}

/* Who is not in a list that is cut may be behind its end. */
static void test_a_list_that_is_cut_ends_nobody(void **state)
{
	struct table_netns *a;
	struct table t;

	(void)state;
	table_init(&t);
	a = add(&t, HOST);
	set(&t, a, 10, 20);
	tell_all(&t);
	set_list(&t, a, 15, 5, true);
	assert_int_equal(a->n_listeners, 20);
	assert_null(table_next(&t));
	assert_true(t.full);
	set_list(&t, a, 0, 12, true); /* some before, and some of those */
	assert_int_equal(a->n_listeners, 30);
	for (uint32_t i = 0; i < 30; i++)
		assert_int_equal(a->listeners[i]->socket.inode, i);
	set_list(&t, a, 100, TABLE_MAX_LISTENERS, true);
	assert_int_equal(a->n_listeners, TABLE_MAX_LISTENERS);
	assert_int_equal(a->listeners[29]->socket.inode, 29);
	set(&t, a, 15, 5);
	assert_int_equal(a->n_listeners, 5);
	table_clear(&t);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_namespaces_are_found),
	    cmocka_unit_test(test_so_many_namespaces),
	    cmocka_unit_test(test_half_of_it_is_the_hosts),
	    cmocka_unit_test(test_what_was_there_stays),
	    cmocka_unit_test(test_a_list_that_is_cut_ends_nobody),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
