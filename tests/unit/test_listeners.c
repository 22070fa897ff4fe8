/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "listeners_lab.h"

#include "common/cleanup.h"

#include <errno.h>
#include <string.h>

static void test_wildcards(void **state)
{
	struct table *t = *state;

	tell_listener(t, HOST, "0.0.0.0", 9100);
	assert_int_equal(watch_set_count(t->watches), 1);
	assert_non_null(find(t, "10.0.0.5:9100"));
	tell_listener(t, HOST, "::", 8080); /* takes IPv4, too */
	assert_int_equal(watch_set_count(t->watches), 3);
	assert_non_null(find(t, "10.0.0.5:8080"));
	assert_non_null(find(t, "[2001:db8::5]:8080"));
	assert_null(find(t, "10.96.0.1:8080"));
	assert_null(find(t, "[fe80::1]:8080"));
	assert_null(find(t, "127.0.0.1:8080"));
	struct inventory_listener f = make_listener(HOST, "::", 8081);

	f.v6only = 1;
	tell(t, &f, 1000);
	assert_int_equal(watch_set_count(t->watches), 4);
	assert_int_equal(t->appeared, 4);
	/* A rule that cuts local clients needs loopback, too. */
	configure(t, true);
	assert_non_null(find(t, "127.0.0.1:9100"));
	assert_non_null(find(t, "[::1]:8081"));
	assert_false(listener_is_loopback_only(find(t, "127.0.0.1:9100")->listener));
	configure(t, false);
	assert_null(find(t, "127.0.0.1:9100"));
}

static void test_addresses_come_and_go(void **state)
{
	struct table *t = *state;

	tell_listener(t, HOST, "0.0.0.0", 9100);
	tell_namespace(t, HOST, INVENTORY_CHANGED, "L127.0.0.1 10.0.0.6");
	assert_null(find(t, "10.0.0.5:9100"));
	assert_non_null(find(t, "10.0.0.6:9100"));
	assert_int_equal(t->gone, 1);
	/* Nothing but loopback: then that is what there is to see. */
	tell_namespace(t, HOST, INVENTORY_CHANGED, "L127.0.0.1");
	assert_int_equal(watch_set_count(t->watches), 1);
	assert_true(listener_is_loopback_only(find(t, "127.0.0.1:9100")->listener));
}

static void test_loopback(void **state)
{
	struct table *t = *state;
	struct listeners_stats stats;

	tell_namespace(t, POD, INVENTORY_ADDED, "L127.0.0.1 172.17.0.2");
	tell_listener(t, HOST, "127.0.0.1", 6060);
	tell_listener(t, POD, "127.0.0.1", 6061);
	assert_int_equal(watch_set_count(t->watches), 1);
	assert_true(listener_is_loopback_only(find(t, "127.0.0.1:6060")->listener));
	listeners_get_stats(t->l, &stats);
	assert_int_equal(stats.skipped[LISTENER_UNREACHED], 1);
	assert_int_equal(stats.skipped[LISTENER_PROBED], 1);
}

static void test_not_probed(void **state)
{
	struct table *t = *state;
	struct inventory_listener own = make_listener(HOST, "0.0.0.0", 7777);
	struct inventory_listener mysql = make_listener(HOST, "0.0.0.0", 13306);
	struct listeners_stats stats;

	own.pid = OWN_PID;
	snprintf(mysql.command, sizeof(mysql.command), "mysqld");
	tell(t, &own, 1000);
	tell(t, &mysql, 1000);
	tell_listener(t, HOST, "0.0.0.0", 22);
	tell_listener(t, HOST, "::", 8022);
	tell_listener(t, HOST, "0.0.0.0", 25);
	tell_listener(t, HOST, "fe80::1", 80);
	assert_int_equal(watch_set_count(t->watches), 0);
	listeners_get_stats(t->l, &stats);
	assert_int_equal(stats.skipped[LISTENER_OWN], 1);
	assert_int_equal(stats.skipped[LISTENER_PROTECTED], 2);
	assert_int_equal(stats.skipped[LISTENER_SPEAKS], 2);
	assert_int_equal(stats.skipped[LISTENER_LINK_LOCAL], 1);
	/* Another program on the port of a speaker's namesake is asked. */
	tell_listener(t, HOST, "0.0.0.0", 9100);
	assert_int_equal(watch_set_count(t->watches), 1);
}

static void test_two_namespaces(void **state)
{
	struct inventory_listener f = make_listener(POD, "0.0.0.0", 9100);
	struct table *t = *state;
	struct watch *w;

	tell_namespace(t, POD, INVENTORY_ADDED, "172.17.0.2 10.0.0.5");
	tell_namespace(t, OTHER, INVENTORY_ADDED, "172.17.0.2");
	tell_listener(t, POD, "0.0.0.0", 9100);
	/* The host has 10.0.0.5, whatever a container says. */
	assert_int_equal(watch_set_count(t->watches), 1);
	w = find(t, "172.17.0.2:9100");
	assert_non_null(w);
	assert_false(w->ambiguous);
	tell_listener(t, OTHER, "172.17.0.2", 9100);
	assert_true(w->ambiguous);
	assert_int_equal(watch_set_count(t->watches), 1);
	tell_gone(t, OTHER, "172.17.0.2", 9100, 2000);
	listeners_expire(t->l, 2000 + LISTENERS_GRACE_MS);
	w = find(t, "172.17.0.2:9100");
	assert_non_null(w);
	assert_false(w->ambiguous);
	assert_int_equal(listener_netns(w->listener), POD);
	/* A namespace that anybody may have made does not put a container in doubt. */
	f.change = INVENTORY_CHANGED;
	snprintf(f.container, sizeof(f.container), "0123456789abcdef");
	tell(t, &f, 6000);
	tell_listener(t, OTHER, "172.17.0.2", 9100);
	assert_false(w->ambiguous);
	assert_int_equal(listener_netns(w->listener), POD);
	/* Nor does one whose user has named a cgroup like a container's. */
	f = make_listener(OTHER, "172.17.0.2", 9100);
	f.change = INVENTORY_CHANGED;
	snprintf(f.container, sizeof(f.container), "fedcba9876543210");
	snprintf(f.cgroup, sizeof(f.cgroup), "/user.slice/user-1000.slice/docker-fedcba.scope");
	tell(t, &f, 6000);
	assert_false(w->ambiguous);
	assert_int_equal(listener_netns(w->listener), POD);
	snprintf(f.cgroup, sizeof(f.cgroup), "/system.slice/docker-fedcba.scope");
	tell(t, &f, 6000);
	assert_true(w->ambiguous);
	/* And the host's own listener wins over both. */
	tell_namespace(t, HOST, INVENTORY_CHANGED, "172.17.0.2");
	assert_null(find(t, "172.17.0.2:9100"));
	tell_listener(t, HOST, "0.0.0.0", 9100);
	assert_true(listener_is_in_host(find(t, "172.17.0.2:9100")->listener));
}

/* What anybody can make, at any number of addresses, leaves room for the host's. */
static void test_a_stranger_leaves_room(void **state)
{
	struct inventory_namespace f = {.version = INVENTORY_WIRE_VERSION,
	                                .change = INVENTORY_ADDED,
	                                .count = INVENTORY_MAX_ADDRESSES,
	                                .netns = POD};
	struct table *t = *state;

	for (unsigned i = 0; i < f.count; i++) {
		f.addresses[i].family = AF_INET;
		f.addresses[i].address[0] = 10;
		f.addresses[i].address[2] = (uint8_t)(i >> 8);
		f.addresses[i].address[3] = (uint8_t)i;
	}
	assert_int_equal(listeners_take_namespace(t->l, &f, sizeof(f), 1000), 0);
	for (unsigned port = 1001; port <= 1130; port++)
		tell_listener(t, POD, "0.0.0.0", (uint16_t)port);
	assert_int_equal(watch_set_count(t->watches), CONF_MAX_TARGETS / 2);
	tell_namespace(t, HOST, INVENTORY_CHANGED, "192.0.2.1");
	tell_listener(t, HOST, "192.0.2.1", 6060);
	assert_non_null(find(t, "192.0.2.1:6060"));
}

/* Namespaces come in any order: a container's must not stand for the host's, not for a moment. */
static void test_waits_until_everything_is_told(void **state)
{
	struct table *t = *state;

	listeners_clear(t->l);
	tell_namespace(t, POD, INVENTORY_ADDED, "10.0.0.5 172.17.0.2");
	tell_listener(t, POD, "0.0.0.0", 9100);
	tell_namespace(t, HOST, INVENTORY_ADDED, "L127.0.0.1 10.0.0.5");
	tell_listener(t, HOST, "0.0.0.0", 9100);
	assert_int_equal(watch_set_count(t->watches), 0);
	tell_synced(t, 1000);
	assert_int_equal(watch_set_count(t->watches), 2);
	assert_int_equal(t->appeared, 2);
	assert_int_equal(t->seen_ns, 0); /* they listened before we looked */
	assert_int_equal(t->changed + t->gone, 0);
	assert_true(listener_is_in_host(find(t, "10.0.0.5:9100")->listener));
	assert_int_equal(listener_netns(find(t, "172.17.0.2:9100")->listener), POD);
}

static void test_exact_wins_over_wildcard(void **state)
{
	struct table *t = *state;
	struct inventory_listener f = make_listener(HOST, "10.0.0.5", 80);
	struct watch *w;

	tell_listener(t, HOST, "0.0.0.0", 80);
	w = find(t, "10.0.0.5:80");
	assert_true(w->listener->wildcard);
	f.pid = 5;
	tell(t, &f, 1000);
	assert_false(w->listener->wildcard);
	assert_int_equal(w->listener->owner->pid, 5);
	assert_int_equal(watch_set_count(t->watches), 1);
	assert_true(t->changed > 0);
	/* It goes: the wildcard takes over at once, before the grace is over. */
	tell_gone(t, HOST, "10.0.0.5", 80, 2000);
	assert_true(w->listener->wildcard);
}

static void test_restart_within_grace(void **state)
{
	struct table *t = *state;
	struct inventory_listener f = make_listener(HOST, "0.0.0.0", 9100);
	struct watch *w;

	tell(t, &f, 1000);
	assert_int_equal(t->seen_ns, 77);
	w = find(t, "10.0.0.5:9100");
	tell_gone(t, HOST, "0.0.0.0", 9100, 2000);
	listeners_expire(t->l, 2000 + LISTENERS_GRACE_MS - 1);
	assert_int_equal(t->gone, 0);
	f.pid = 2;
	f.seen_ns = 99;
	tell(t, &f, 4000);
	assert_ptr_equal(find(t, "10.0.0.5:9100"), w);
	assert_int_equal(t->appeared, 2);
	assert_int_equal(t->seen_ns, 99);
	assert_int_equal(w->listener->owner->pid, 2);
	listeners_expire(t->l, 100000);
	assert_int_equal(t->gone, 0);
	tell_gone(t, HOST, "0.0.0.0", 9100, 100000);
	listeners_expire(t->l, 100000 + LISTENERS_GRACE_MS);
	assert_int_equal(t->gone, 1);
	assert_int_equal(watch_set_count(t->watches), 0);
}

static void test_helper_lost(void **state)
{
	struct table *t = *state;

	tell_listener(t, HOST, "0.0.0.0", 9100);
	tell_listener(t, HOST, "0.0.0.0", 9101);
	tell_gone(t, HOST, "0.0.0.0", 9101, 1500);
	listeners_lose_helper(t->l);
	assert_false(listeners_is_synced(t->l));
	listeners_expire(t->l, 100000);
	assert_int_equal(watch_set_count(t->watches), 2); /* who knows */
	/* The next one tells of one of them. */
	tell_namespace(t, HOST, INVENTORY_ADDED,
	               "L127.0.0.1 10.0.0.5 S10.96.0.1 L::1 2001:db8::5 Zfe80::1");
	tell_listener(t, HOST, "0.0.0.0", 9100);
	tell_synced(t, 100000);
	assert_true(listeners_is_synced(t->l));
	listeners_expire(t->l, 100000 + LISTENERS_GRACE_MS);
	assert_int_equal(watch_set_count(t->watches), 1);
	assert_non_null(find(t, "10.0.0.5:9100"));
	assert_int_equal(t->appeared, 2);
}

static void test_namespace_gone(void **state)
{
	struct table *t = *state;
	struct listeners_stats stats;

	tell_namespace(t, POD, INVENTORY_ADDED, "172.17.0.2");
	tell_listener(t, POD, "::", 9100);
	assert_non_null(find(t, "172.17.0.2:9100"));
	tell_namespace(t, POD, INVENTORY_GONE, "");
	listeners_expire(t->l, 1000 + LISTENERS_GRACE_MS);
	assert_int_equal(watch_set_count(t->watches), 0);
	listeners_get_stats(t->l, &stats);
	assert_int_equal(stats.namespaces, 1);
	assert_int_equal(stats.listeners, 0);
}

static void test_targets_share_the_watch(void **state)
{
	struct table *t = *state;
	struct endpoint e;
	struct watch *w;

	assert_int_equal(endpoint_parse("10.0.0.5:9100", &e), 0);
	w = watch_set_get(t->watches, &e);
	w->configured = w->targeted = true;
	tell_listener(t, HOST, "0.0.0.0", 9100);
	assert_int_equal(watch_set_count(t->watches), 1);
	assert_ptr_equal(w->listener, LIST_FIRST(&w->claims)->listener);
}

static void test_skipped_are_found(void **state)
{
	struct table *t = *state;
	const struct listener *l;
	struct endpoint e;

	tell_listener(t, HOST, "0.0.0.0", 22);
	assert_int_equal(endpoint_parse("10.0.0.5:22", &e), 0);
	l = listeners_find_skipped(t->l, &e);
	assert_non_null(l);
	assert_string_equal(listener_skip_text(l->skip), "its port is protected");
	e.port = 23;
	assert_null(listeners_find_skipped(t->l, &e));
}

static void test_refuses_nonsense(void **state)
{
	struct table *t = *state;
	struct inventory_listener f = make_listener(HOST, "0.0.0.0", 80);
	struct inventory_namespace ns = {.version = INVENTORY_WIRE_VERSION,
	                                 .change = INVENTORY_ADDED,
	                                 .count = INVENTORY_MAX_ADDRESSES + 1,
	                                 .netns = 5};
	struct inventory_status status = {.version = INVENTORY_WIRE_VERSION + 1};
	const size_t fixed = offsetof(struct inventory_namespace, addresses);

	assert_int_equal(listeners_take_listener(t->l, &f, sizeof(f) - 1, 1), -EPROTO);
	f.family = 1;
	assert_int_equal(listeners_take_listener(t->l, &f, sizeof(f), 1), -EPROTO);
	f = make_listener(HOST, "0.0.0.0", 0);
	assert_int_equal(listeners_take_listener(t->l, &f, sizeof(f), 1), -EPROTO);
	f = make_listener(HOST, "0.0.0.0", 80);
	f.change = 9;
	assert_int_equal(listeners_take_listener(t->l, &f, sizeof(f), 1), -EPROTO);
	/* Texts without an end are cut, not read beyond. */
	f = make_listener(HOST, "0.0.0.0", 80);
	memset(f.command, 'x', sizeof(f.command));
	memset(f.executable, 'y', sizeof(f.executable));
	assert_int_equal(listeners_take_listener(t->l, &f, sizeof(f), 1), 0);
	assert_int_equal(strlen(find(t, "10.0.0.5:80")->listener->owner->command),
	                 sizeof(f.command) - 1);
	/* One of a namespace that was not told: passed over. */
	f = make_listener(OTHER, "0.0.0.0", 80);
	assert_int_equal(listeners_take_listener(t->l, &f, sizeof(f), 1), 0);
	assert_int_equal(watch_set_count(t->watches), 2 - 1);

	assert_int_equal(listeners_take_namespace(t->l, &ns, sizeof(ns), 1), -EPROTO);
	ns.count = 2;
	assert_int_equal(listeners_take_namespace(t->l, &ns, fixed + 20, 1), -EPROTO);
	assert_int_equal(listeners_take_namespace(t->l, &ns, fixed - 1, 1), -EPROTO);
	assert_int_equal(listeners_take_synced(t->l, &status, sizeof(status), 1), -EPROTO);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
	const struct CMUnitTest tests[] = {
	    TEST(test_wildcards),
	    TEST(test_addresses_come_and_go),
	    TEST(test_loopback),
	    TEST(test_not_probed),
	    TEST(test_two_namespaces),
	    TEST(test_a_stranger_leaves_room),
	    TEST(test_waits_until_everything_is_told),
	    TEST(test_exact_wins_over_wildcard),
	    TEST(test_restart_within_grace),
	    TEST(test_helper_lost),
	    TEST(test_namespace_gone),
	    TEST(test_targets_share_the_watch),
	    TEST(test_skipped_are_found),
	    TEST(test_refuses_nonsense),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
