/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/agent/refusals.h"

#include <stdio.h>
#include <string.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

enum { NOW = 1000 };

static struct refusal make(unsigned client, enum filter_reason reason, uint64_t count)
{
	struct refusal r = {.reason = reason, .count = count, .path = "/debug/pprof/"};
	char text[32];

	assert_int_equal(endpoint_parse("10.0.0.7:9100", &r.endpoint), 0);
	snprintf(text, sizeof(text), "10.1.%u.%u:1", client / 256, client % 256);
	assert_int_equal(endpoint_parse(text, &r.client), 0);
	return r;
}

static void tells_the_first_at_once_and_the_others_together(void **state)
{
	struct refusals *r = refusals_new();
	struct refusal one = make(1, FILTER_DENIED_PATH, 2), out = {0};

	(void)state;
	assert_true(refusals_note(r, &one, NOW, &out));
	assert_int_equal(out.count, 2);
	assert_string_equal(out.path, "/debug/pprof/");
	for (int i = 0; i < 5; i++)
		assert_false(refusals_note(r, &one, NOW + i, &out));
	assert_false(refusals_next(r, NOW + REFUSALS_EVERY_MS - 1, &out));
	strcpy(one.path, "/debug/vars");
	assert_false(refusals_note(r, &one, NOW + 6, &out));
	assert_true(refusals_next(r, NOW + REFUSALS_EVERY_MS, &out));
	assert_int_equal(out.count, 12);
	assert_string_equal(out.path, "/debug/vars");
	assert_false(refusals_next(r, NOW + REFUSALS_EVERY_MS, &out));
	/* Quiet for as long again: then it is a first one. */
	assert_false(refusals_next(r, NOW + 2 * REFUSALS_EVERY_MS, &out));
	assert_true(refusals_note(r, &one, NOW + 2 * REFUSALS_EVERY_MS, &out));
	assert_int_equal(out.count, 2);
	refusals_free(r);
}

static void tells_clients_endpoints_and_reasons_apart(void **state)
{
	struct refusal a = make(1, FILTER_DENIED_PATH, 1), b = make(2, FILTER_DENIED_PATH, 1),
	               c = make(1, FILTER_DENIED_OPAQUE, 1), d = a, out;
	struct refusals *r = refusals_new();

	(void)state;
	d.endpoint.port = 80;
	assert_true(refusals_note(r, &a, NOW, &out));
	assert_true(refusals_note(r, &b, NOW, &out));
	assert_true(refusals_note(r, &c, NOW, &out));
	assert_true(refusals_note(r, &d, NOW, &out));
	assert_false(refusals_note(r, &a, NOW, &out));
	refusals_free(r);
}

static void counts_what_has_no_place(void **state)
{
	struct refusals *r = refusals_new();
	struct refusal one, out;

	(void)state;
	for (unsigned i = 0; i < REFUSALS_MAX + 3; i++) {
		one = make(i, FILTER_DENIED_PATH, 2);
		assert_int_equal(refusals_note(r, &one, NOW, &out), i < REFUSALS_MAX);
	}
	assert_int_equal(refusals_untold(r), 6);
	/* Those that were quiet make room. */
	assert_false(refusals_next(r, NOW + REFUSALS_EVERY_MS, &out));
	assert_true(refusals_note(r, &one, NOW + REFUSALS_EVERY_MS, &out));
	refusals_free(r);
}

static void counters_stop_at_their_end(void **state)
{
	struct refusal one = make(1, FILTER_DENIED_PATH, UINT64_MAX), out;
	struct refusals *r = refusals_new();

	(void)state;
	assert_true(refusals_note(r, &one, NOW, &out));
	assert_false(refusals_note(r, &one, NOW, &out));
	assert_false(refusals_note(r, &one, NOW, &out));
	assert_true(refusals_next(r, NOW + REFUSALS_EVERY_MS, &out));
	assert_true(out.count == UINT64_MAX);
	refusals_free(r);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
	    cmocka_unit_test(tells_the_first_at_once_and_the_others_together),
	    cmocka_unit_test(tells_clients_endpoints_and_reasons_apart),
	    cmocka_unit_test(counts_what_has_no_place),
	    cmocka_unit_test(counters_stop_at_their_end),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
