/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "daemon/agent/ledger.h"
#include "daemon/inventory/wire.h"

#include <stdlib.h>
#include <string.h>

static struct endpoint endpoint_of(const char *text)
{
	struct endpoint e;

	assert_int_equal(endpoint_parse(text, &e), 0);
	return e;
}

static struct endpoint peer_number(uint32_t n)
{
	struct endpoint e = {.family = AF_INET};

	e.address[0] = 10;
	e.address[1] = (uint8_t)(n >> 16);
	e.address[2] = (uint8_t)(n >> 8);
	e.address[3] = (uint8_t)n;
	return e;
}

static int begin(void **state)
{
	*state = ledger_new();
	return *state ? 0 : -1;
}

static int end(void **state)
{
	ledger_free(*state);
	return 0;
}

static void test_pages(void **state)
{
	struct ledger *l = *state;
	const struct endpoint a = endpoint_of("10.0.0.7:9100"), b = endpoint_of("10.0.0.7:9101"),
	                      c = endpoint_of("[2001:db8::1]:9100");

	assert_null(ledger_find(l, &a));
	assert_int_equal(ledger_open(l, &c, 3)->since_ms, 3);
	assert_int_equal(ledger_open(l, &a, 1)->since_ms, 1);
	assert_int_equal(ledger_open(l, &b, 2)->since_ms, 2);
	assert_int_equal(ledger_open(l, &a, 9)->since_ms, 1);
	assert_int_equal(ledger_count(l), 3);
	assert_int_equal(ledger_at(l, 0)->endpoint.port, 9100);
	assert_int_equal(ledger_at(l, 1)->endpoint.port, 9101);
	ledger_close(l, &a);
	ledger_close(l, &a);
	assert_int_equal(ledger_count(l), 2);
	assert_null(ledger_find(l, &a));
	assert_non_null(ledger_find(l, &b));
}

/* The kernel's counters are totals since it began; what counts is what came since we looked. */
static void test_counts_go_on(void **state)
{
	struct ledger *l = *state;
	const struct endpoint a = endpoint_of("10.0.0.7:9100"), peer = peer_number(1);
	struct ledger_page *page = ledger_open(l, &a, 0);
	const struct ledger_peer *p;

	ledger_note_opened(l, page, &peer, 2, 100);
	p = ledger_find_peer(page, &peer);
	assert_non_null(p);
	assert_int_equal(p->first_ms, 100);
	assert_int_equal(p->connections, 2);
	assert_false(p->connected || p->was_connected);
	ledger_page_saved(page, 1);
	ledger_note_opened(l, page, &peer, 2, 100);
	assert_false(page->changed || page->counted);
	ledger_note_opened(l, page, &peer, 5, 200);
	assert_true(page->counted && !page->changed);
	assert_int_equal(p->connections, 5);
	assert_int_equal(p->last_ms, 200);
	/* the set was made anew: it counts from zero */
	ledger_note_opened(l, page, &peer, 1, 300);
	assert_int_equal(p->connections, 6);
	assert_int_equal(p->first_ms, 100);
	/* told a little later what was told already; and as much, long after: anew again */
	ledger_note_opened(l, page, &peer, 1, 400);
	assert_int_equal(p->connections, 6);
	ledger_note_opened(l, page, &peer, 1, 5000);
	assert_int_equal(p->connections, 7);
	assert_int_equal(p->last_ms, 5000);
	assert_int_equal(page->count, 1);
}

static void test_those_who_were_there_before(void **state)
{
	struct ledger *l = *state;
	const struct endpoint a = endpoint_of("10.0.0.7:9100"), peer = peer_number(1);
	struct ledger_page *page = ledger_open(l, &a, 0);
	const struct ledger_peer *p;

	ledger_begin_look(page);
	ledger_note_connected(l, page, &peer, 50);
	ledger_note_connected(l, page, &peer, 50); /* a second connection */
	p = ledger_find_peer(page, &peer);
	assert_int_equal(p->connections, 1);
	assert_true(p->connected && p->was_connected);
	ledger_note_opened(l, page, &peer, 1, 60); /* and one more */
	assert_int_equal(p->connections, 2);
	ledger_begin_look(page);
	assert_true(!p->connected && p->was_connected);
}

static void test_full_pages_prefer_who_was_connected(void **state)
{
	struct ledger *l = *state;
	const struct endpoint a = endpoint_of("10.0.0.7:9100");
	const struct endpoint real = peer_number(70000), late = peer_number(70001);
	struct ledger_page *page = ledger_open(l, &a, 0);

	for (uint32_t i = 0; i < LEDGER_MAX_PEERS; i++) {
		const struct endpoint forged = peer_number(i);

		ledger_note_opened(l, page, &forged, 1, 1000 - (int64_t)i % 500);
	}
	assert_int_equal(page->count, LEDGER_MAX_PEERS);
	assert_int_equal(page->unlisted, 0);
	ledger_note_opened(l, page, &late, 1, 2000);
	assert_null(ledger_find_peer(page, &late));
	assert_int_equal(page->unlisted, 1);
	ledger_note_connected(l, page, &real, 2000);
	assert_non_null(ledger_find_peer(page, &real));
	assert_int_equal(page->count, LEDGER_MAX_PEERS);
	assert_int_equal(ledger_peers(l), LEDGER_MAX_PEERS);
	for (uint32_t i = 0; i < LEDGER_MAX_PEERS; i++) {
		const struct endpoint e = peer_number(80000 + i);

		ledger_note_connected(l, page, &e, 3000);
	}
	/* all of them were connected now: nobody gives way any more */
	assert_non_null(ledger_find_peer(page, &real));
	assert_int_equal(page->count, LEDGER_MAX_PEERS);
	for (size_t i = 1; i < page->count; i++)
		assert_true(endpoint_compare(&page->peers[i - 1].address, &page->peers[i].address) <
		            0);
}

static void test_all_pages_together_are_bounded(void **state)
{
	struct ledger *l = *state;
	struct endpoint e = endpoint_of("10.0.0.7:1");

	for (uint32_t i = 0; i < LEDGER_MAX_PEERS_ALL + 100; i++) {
		const struct endpoint peer = peer_number(i);
		struct ledger_page *page;

		e.port = (uint16_t)(1 + i / LEDGER_MAX_PEERS);
		page = ledger_open(l, &e, 0);
		assert_non_null(page);
		ledger_note_opened(l, page, &peer, 1, 1);
	}
	assert_int_equal(ledger_peers(l), LEDGER_MAX_PEERS_ALL);
	e.port = 1;
	ledger_close(l, &e);
	assert_int_equal(ledger_peers(l), LEDGER_MAX_PEERS_ALL - LEDGER_MAX_PEERS);
	for (uint32_t i = 0; i < LEDGER_MAX_PAGES + 10; i++) {
		e.port = (uint16_t)(1000 + i);
		ledger_open(l, &e, 0);
	}
	assert_int_equal(ledger_count(l), LEDGER_MAX_PAGES);
}

static void test_restores(void **state)
{
	struct ledger *l = *state;
	const struct endpoint a = endpoint_of("10.0.0.7:9100");
	const struct ledger_peer saved = {.address = peer_number(1),
	                                  .first_ms = 10,
	                                  .last_ms = 20,
	                                  .connections = 7,
	                                  .kernel_count = 3,
	                                  .was_connected = true};
	struct ledger_page *page = ledger_open(l, &a, 5);
	struct ledger_peer *p;

	ledger_restore(l, page, &saved);
	p = ledger_find_peer(page, &saved.address);
	assert_int_equal(p->connections, 7);
	assert_true(p->was_connected && !p->connected);
	/* the set went on while we were away */
	ledger_note_opened(l, page, &saved.address, 4, 30);
	assert_int_equal(p->connections, 8);
	assert_int_equal(p->first_ms, 10);
	ledger_set_name(p, "prom-1.example.com", 40);
	assert_string_equal(p->name, "prom-1.example.com");
	ledger_set_name(p, NULL, 41);
	assert_null(p->name);
}

static void test_text_and_back(void **state)
{
	struct ledger *l = *state;
	const struct endpoint a = endpoint_of("10.0.0.7:9100"), b = endpoint_of("10.0.0.8:9100");
	const struct endpoint four = peer_number(1), six = endpoint_of("[2001:db8::1]:1");
	struct ledger_page *from = ledger_open(l, &a, 0), *to = ledger_open(l, &b, 0);
	struct endpoint six_address = six;
	const struct ledger_peer *p;
	char *text;

	six_address.port = 0;
	ledger_note_opened(l, from, &four, 3, 1000);
	ledger_note_connected(l, from, &six_address, 2000);
	text = ledger_format_peers(from);
	assert_string_equal(text, "[[\"10.0.0.1\",1000,1000,3,3,false],"
	                          "[\"2001:db8::1\",2000,2000,1,0,true]]");
	ledger_parse_peers(l, to, text, 50);
	free(text);
	assert_int_equal(to->count, 2);
	p = ledger_find_peer(to, &four);
	assert_true(p->first_ms == 1050 && p->last_ms == 1050 && p->connections == 3);
	assert_true(ledger_find_peer(to, &six_address)->was_connected);
	/* what is damaged is left out, and the rest is taken */
	ledger_close(l, &b);
	to = ledger_open(l, &b, 0);
	ledger_parse_peers(l, to, "nonsense", 0);
	ledger_parse_peers(l, to, "{}", 0);
	ledger_parse_peers(l, to,
	                   "[1,[],[\"10.0.0.1\",1,1,-1,0,false],[\"10.0.0\",1,1,1,0,false],"
	                   "[\"10.0.0.1\",1,1,1,0,false,7],[\"10.0.0.2\",1,1,1,0,false]]",
	                   0);
	assert_int_equal(to->count, 1);
}

static void test_who_verifies_is_nobody(void **state)
{
	static const struct {
		const char *endpoint;
		bool vantage;
	} cases[] = {
	    {"169.254.213.0:1", true},        {"169.254.213.127:1", true},
	    {"169.254.213.128:1", false},     {"169.254.214.1:1", false},
	    {"[fd70:7077:616c::3]:1", true},  {"[fd70:7077:616c::1:3]:1", false},
	    {"[fd70:7077:616d::3]:1", false},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		const struct endpoint e = endpoint_of(cases[i].endpoint);

		if (inventory_is_vantage(&e) != cases[i].vantage)
			fail_msg("%s", cases[i].endpoint);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(test_pages, begin, end),
	    cmocka_unit_test_setup_teardown(test_counts_go_on, begin, end),
	    cmocka_unit_test_setup_teardown(test_those_who_were_there_before, begin, end),
	    cmocka_unit_test_setup_teardown(test_full_pages_prefer_who_was_connected, begin, end),
	    cmocka_unit_test_setup_teardown(test_all_pages_together_are_bounded, begin, end),
	    cmocka_unit_test_setup_teardown(test_restores, begin, end),
	    cmocka_unit_test_setup_teardown(test_text_and_back, begin, end),
	    cmocka_unit_test(test_who_verifies_is_nobody),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
