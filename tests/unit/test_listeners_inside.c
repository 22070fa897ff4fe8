/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What is asked inside its own network namespace, and until when. */
#include "listeners_lab.h"

#include <errno.h>
#include <string.h>

static const char container[] = "0123456789abcdef";

static int set_up_inside(void **state)
{
	int err = set_up(state);
	struct table *t = *state;

	t->inside = CONF_INSIDE_CONTAINERS;
	configure(t, false);
	tell_namespace(t, POD, INVENTORY_ADDED, "L127.0.0.1 L::1 172.17.0.2 10.0.0.5");
	tell_namespace(t, OTHER, INVENTORY_ADDED, "L127.0.0.1 172.17.0.2");
	return err;
}

static void tell_contained(struct table *t, uint64_t netns, const char *address, uint16_t port)
{
	struct inventory_listener f = make_listener(netns, address, port);

	snprintf(f.container, sizeof(f.container), "%s", container);
	tell(t, &f, 1000);
}

static void tell_contained_gone(struct table *t, uint64_t netns, const char *address, uint16_t port)
{
	tell_gone(t, netns, address, port, 2000);
	listeners_expire(t->l, 2000 + LISTENERS_GRACE_MS);
}

static void test_loopback(void **state)
{
	struct table *t = *state;
	struct listeners_stats stats;
	const struct watch *host, *pod, *other;

	tell_listener(t, HOST, "127.0.0.1", 6060);
	tell_contained(t, POD, "127.0.0.1", 6060);
	tell_contained(t, OTHER, "127.0.0.1", 6060);
	tell_contained(t, POD, "::1", 6061);
	host = find(t, "127.0.0.1:6060");
	pod = find(t, "127.0.0.1:6060@netns:200");
	other = find(t, "127.0.0.1:6060@netns:300");
	assert_int_equal(watch_set_count(t->watches), 4);
	assert_true(host && pod && other && find(t, "[::1]:6061@netns:200"));
	assert_int_equal(listener_netns(host->listener), HOST);
	assert_int_equal(listener_netns(pod->listener), POD);
	assert_int_equal(listener_netns(other->listener), OTHER);
	assert_false(host->ambiguous || pod->ambiguous || other->ambiguous);
	assert_true(listener_is_loopback_only(pod->listener));
	listeners_get_stats(t->l, &stats);
	assert_int_equal(stats.skipped[LISTENER_PROBED], 4);
	tell_contained_gone(t, POD, "127.0.0.1", 6060);
	assert_null(find(t, "127.0.0.1:6060@netns:200"));
	assert_int_equal(watch_set_count(t->watches), 3);
}

static void test_who_is_asked(void **state)
{
	struct table *t = *state;
	struct listeners_stats stats;

	/* Anybody can make a namespace: only containers are asked, but where all are wanted. */
	tell_listener(t, OTHER, "127.0.0.1", 6060);
	tell_contained(t, POD, "127.0.0.1", 6060);
	assert_int_equal(watch_set_count(t->watches), 1);
	listeners_get_stats(t->l, &stats);
	assert_int_equal(stats.skipped[LISTENER_UNREACHED], 1);
	t->inside = CONF_INSIDE_ALL;
	configure(t, false);
	assert_int_equal(watch_set_count(t->watches), 2);
	t->inside = CONF_INSIDE_NONE;
	configure(t, false);
	assert_int_equal(watch_set_count(t->watches), 0);
	listeners_get_stats(t->l, &stats);
	assert_int_equal(stats.skipped[LISTENER_UNREACHED], 2);
}

static void test_wildcards(void **state)
{
	struct table *t = *state;

	/* From the host where that is possible; 10.0.0.5 means the host there. */
	tell_contained(t, POD, "0.0.0.0", 9100);
	assert_non_null(find(t, "172.17.0.2:9100"));
	assert_non_null(find(t, "10.0.0.5:9100@netns:200"));
	assert_int_equal(watch_set_count(t->watches), 2);
	/* Loopback is asked where there is nothing else. */
	tell_namespace(t, POD, INVENTORY_CHANGED, "L127.0.0.1");
	assert_int_equal(watch_set_count(t->watches), 1);
	assert_non_null(find(t, "127.0.0.1:9100@netns:200"));
	tell_namespace(t, POD, INVENTORY_CHANGED, "");
	assert_int_equal(watch_set_count(t->watches), 0);
}

static void test_two_containers_with_one_address(void **state)
{
	struct table *t = *state;

	tell_contained(t, POD, "0.0.0.0", 9100);
	tell_namespace(t, POD, INVENTORY_CHANGED, "L127.0.0.1 172.17.0.2");
	assert_int_equal(watch_set_count(t->watches), 1);
	tell_contained(t, OTHER, "172.17.0.2", 9100);
	assert_true(find(t, "172.17.0.2:9100")->ambiguous);
	assert_int_equal(listener_netns(find(t, "172.17.0.2:9100@netns:200")->listener), POD);
	assert_int_equal(listener_netns(find(t, "172.17.0.2:9100@netns:300")->listener), OTHER);
	assert_int_equal(watch_set_count(t->watches), 3);
	/* It cannot be mistaken any more: the host's view is enough. */
	tell_contained_gone(t, OTHER, "172.17.0.2", 9100);
	assert_false(find(t, "172.17.0.2:9100")->ambiguous);
	assert_int_equal(watch_set_count(t->watches), 1);
}

static void test_no_route_from_the_host(void **state)
{
	struct table *t = *state;
	struct watch *w;

	tell_contained(t, POD, "172.17.0.2", 9100);
	w = find(t, "172.17.0.2:9100");
	listeners_note_reach(t->l, w, true, 1000);
	assert_int_equal(watch_set_count(t->watches), 1);
	listeners_note_reach(t->l, w, false, 1000);
	assert_int_equal(watch_set_count(t->watches), 2);
	assert_non_null(find(t, "172.17.0.2:9100@netns:200"));
	assert_int_equal(t->appeared, 2);
	listeners_note_reach(t->l, w, false, 1000);
	assert_int_equal(t->appeared, 2);
	/* What is told of the namespace meanwhile changes nothing about that. */
	tell_namespace(t, POD, INVENTORY_CHANGED, "L127.0.0.1 172.17.0.2 172.17.0.3");
	assert_int_equal(watch_set_count(t->watches), 2);
	listeners_note_reach(t->l, w, true, 1000);
	assert_int_equal(watch_set_count(t->watches), 1);
	assert_ptr_equal(find(t, "172.17.0.2:9100"), w);
}

static void test_the_namespace_goes(void **state)
{
	struct table *t = *state;

	tell_contained(t, POD, "127.0.0.1", 6060);
	tell_contained(t, POD, "0.0.0.0", 9100);
	tell_contained(t, OTHER, "0.0.0.0", 9100);
	assert_int_equal(watch_set_count(t->watches), 5);
	tell_namespace(t, POD, INVENTORY_GONE, "");
	listeners_expire(t->l, 1000 + LISTENERS_GRACE_MS);
	assert_int_equal(watch_set_count(t->watches), 1);
	assert_non_null(find(t, "172.17.0.2:9100"));
}

static void test_names(void **state)
{
	static const char *const good[] = {"127.0.0.1:80", "127.0.0.1:80@netns:4026532281",
	                                   "[::1]:80@netns:18446744073709551615"};
	static const char *const bad[] = {"",
	                                  "@netns:1",
	                                  "127.0.0.1:80@netns:",
	                                  "127.0.0.1:80@netns:0",
	                                  "127.0.0.1:80@netns:-1",
	                                  "127.0.0.1:80@netns:1x",
	                                  "127.0.0.1:80@netns:18446744073709551616",
	                                  "127.0.0.1@netns:1:80",
	                                  "127.0.0.1:80@1"};
	struct watch_key key;

	(void)state;
	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
		char text[WATCH_NAME_LEN];
		struct watch w = {0};

		assert_int_equal(watch_parse_name(good[i], &key), 0);
		w.endpoint = key.endpoint;
		w.netns = key.netns;
		assert_string_equal(watch_name(&w, text), good[i]);
	}
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_int_equal(watch_parse_name(bad[i], &key), -EINVAL);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up_inside, tear_down)
	const struct CMUnitTest tests[] = {
	    TEST(test_loopback),
	    TEST(test_who_is_asked),
	    TEST(test_wildcards),
	    TEST(test_two_containers_with_one_address),
	    TEST(test_no_route_from_the_host),
	    TEST(test_the_namespace_goes),
	    cmocka_unit_test(test_names),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
