/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What a configuration says of filters. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/unit/conf_bad_filters.h"

/* In one list, wherever they stand in the file, and each with what a breaker has. */
static void puts_standing_filters_first(void **state)
{
	auto_conf struct conf *c = conf_lab_load(
	    "breakers: [{name: a, action: alert}, {name: b, action: filter, on_opaque: pass, "
	    "drain: 1s, deny: [/debug/pprof/, /]}]\n"
	    "filters: [{name: f, match: {ports: [9100]}}, {name: g, match: {user: [root]}, "
	    "allow: [/metrics, /-/healthy/], on_failure: open, fallback: drop, seal_local: "
	    "true, refuse: drop, allow_from: [10.0.0.1, x.example]}]\n");
	auto_conf struct conf *alone =
	    conf_lab_load("filters: [{name: f, match: {ports: [9100]}}]\n");
	const struct conf_breaker *f = &c->breakers[0], *g = &c->breakers[1], *b = &c->breakers[3];

	(void)state;
	assert_int_equal(c->n_filters, 2);
	assert_int_equal(c->n_breakers, 4);
	assert_true(conf_has_filter(c));
	assert_string_equal(f->name, "f");
	assert_true(f->standing && g->standing);
	assert_int_equal(f->action, CONF_ACTION_FILTER);
	assert_int_equal(f->filter.on_opaque, CONF_ON_OPAQUE_DROP);
	assert_int_equal(f->filter.on_failure, CONF_ON_FAILURE_CLOSED);
	assert_int_equal(f->filter.fallback, CONF_ACTION_ALERT);
	assert_int_equal(f->filter.drain_ms, 30000);
	assert_int_equal(f->open_for_ms, 3600 * 1000);
	assert_int_equal(f->trip_window, 3);
	assert_int_equal(f->severity, SEVERITY_MEDIUM);
	assert_string_equal(g->filter.allow.items[0], "/metrics");
	assert_string_equal(g->filter.allow.items[1], "/-/healthy");
	assert_int_equal(g->filter.on_failure, CONF_ON_FAILURE_OPEN);
	assert_int_equal(g->filter.fallback, CONF_ACTION_DROP);
	assert_int_equal(g->refuse, CONF_REFUSE_DROP);
	assert_true(g->seal_local && g->allow_dynamic);
	assert_string_equal(c->breakers[2].name, "a");
	assert_false(b->standing);
	assert_int_equal(b->action, CONF_ACTION_FILTER);
	assert_int_equal(b->filter.on_opaque, CONF_ON_OPAQUE_PASS);
	assert_int_equal(b->filter.drain_ms, 1000);
	assert_string_equal(b->filter.deny.items[0], "/debug/pprof");
	assert_string_equal(b->filter.deny.items[1], "/");
	assert_string_equal(c->breakers[4].name, CONF_UNMATCHED);
	assert_string_equal(alone->breakers[1].name, "default");
	assert_int_equal(alone->n_breakers, 2);
}

/* A mask of one's own needs no second mark, until something is routed by it. */
static void finds_a_route_mark_within_the_mask(void **state)
{
	static const struct {
		const char *text;
		uint32_t mark;
	} cases[] = {
	    {"firewall: {max_blocks: 5}", 0x60000000},
	    {"firewall: {mark: 0x60000000}", 0x10000000},
	    {"firewall: {mark: 0x40000000}", 0x10000000},
	    {"firewall: {mark: 3, mark_mask: 0xF}", 4},
	    {"firewall: {mark: 0xe, mark_mask: 0xF}", 1},
	    {"firewall: {mark: 4, mark_mask: 0xC}", 8},
	    {"firewall: {mark: 1, mark_mask: 1}", 0},
	    {"firewall: {mark: 1, mark_mask: 0xff, route_mark: 0x22}", 0x22},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		auto_conf struct conf *c = conf_lab_load(cases[i].text);

		assert_int_equal(c->firewall.route_mark, cases[i].mark);
	}
}

static void refuses_each_bad_input(void **state)
{
	(void)state;
	conf_lab_expect_refused(bad_filters, ARRAY_LEN(bad_filters));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(puts_standing_filters_first),
	    cmocka_unit_test(finds_a_route_mark_within_the_mask),
	    cmocka_unit_test(refuses_each_bad_input),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
