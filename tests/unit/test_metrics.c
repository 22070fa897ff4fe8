/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/agent/metrics.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static void expect(struct evbuffer *out, const char *text)
{
	assert_int_equal(evbuffer_add(out, "", 1), 0);
	assert_string_equal((const char *)evbuffer_pullup(out, -1), text);
	evbuffer_drain(out, evbuffer_get_length(out));
}

static void test_family(void **state)
{
	struct evbuffer *out = *state;

	metrics_family(out, "pprofwall_probes_total", METRICS_COUNTER,
	               "Probes\nby \"verdict\" \\.");
	metrics_family(out, "pprofwall_blocks", METRICS_GAUGE, "B");
	metrics_family(out, "x_seconds", METRICS_HISTOGRAM, "H");
	expect(out, "# HELP pprofwall_probes_total Probes\\nby \"verdict\" \\\\.\n"
	            "# TYPE pprofwall_probes_total counter\n"
	            "# HELP pprofwall_blocks B\n# TYPE pprofwall_blocks gauge\n"
	            "# HELP x_seconds H\n# TYPE x_seconds histogram\n");
}

static void test_numbers(void **state)
{
	static const struct {
		double value;
		const char *text;
	} numbers[] = {
	    {0, "x 0\n"},
	    {1, "x 1\n"},
	    {0.1, "x 0.1\n"},
	    {1.0 / 3, "x 0.33333333333333331\n"},
	    {-2.5, "x -2.5\n"},
	    {1764450000123, "x 1764450000123\n"},
	    {4294967295, "x 4294967295\n"},
	    {9007199254740991, "x 9007199254740991\n"},
	    {INFINITY, "x +Inf\n"},
	    {-INFINITY, "x -Inf\n"},
	    {NAN, "x NaN\n"},
	};

	for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++) {
		metrics_sample(*state, "x", NULL, 0, numbers[i].value);
		expect(*state, numbers[i].text);
	}
}

static void test_labels_are_escaped(void **state)
{
	static const struct metrics_label labels[] = {
	    {"a", "back\\slash \"quote\"\nline"},
	    {"b", "\xc3\xa9 \xf0\x9f\x94\xa5"},
	    /* cut short, overlong, surrogate, beyond U+10FFFF, stray */
	    {"c", "1\xc3|\xc0\xaf|\xed\xa0\x80|\xf4\x90\x80\x80|\xff|\xe2\x82"},
	    {"d", NULL},
	};

	metrics_sample(*state, "x", labels, 4, 1);
#define FFFD "\xef\xbf\xbd"
	expect(*state, "x{a=\"back\\\\slash \\\"quote\\\"\\nline\",b=\"\xc3\xa9 \xf0\x9f\x94\xa5\","
	               "c=\"1" FFFD "|" FFFD FFFD "|" FFFD FFFD FFFD "|" FFFD FFFD FFFD FFFD
	               "|" FFFD "|" FFFD FFFD "\",d=\"\"} 1\n");
}

static void test_histogram(void **state)
{
	static const double bounds[] = {0.005, 0.1, 2.5};
	static const struct metrics_label labels[] = {{"verdict", "clear"}};
	struct metrics_histogram h = {.bounds = bounds, .n_bounds = 3};

	metrics_observe(&h, 0.005); /* a bound is within its bucket */
	metrics_observe(&h, 0.05);
	metrics_observe(&h, 0.0625);
	metrics_observe(&h, 100);
	metrics_observe(&h, NAN);
	metrics_histogram_write(*state, "d_seconds", labels, 1, &h);
	expect(*state, "d_seconds_bucket{verdict=\"clear\",le=\"0.005\"} 1\n"
	               "d_seconds_bucket{verdict=\"clear\",le=\"0.1\"} 3\n"
	               "d_seconds_bucket{verdict=\"clear\",le=\"2.5\"} 3\n"
	               "d_seconds_bucket{verdict=\"clear\",le=\"+Inf\"} 4\n"
	               "d_seconds_sum{verdict=\"clear\"} 100.1175\n"
	               "d_seconds_count{verdict=\"clear\"} 4\n");
	metrics_histogram_write(*state, "e", NULL, 0, &(struct metrics_histogram){.n_bounds = 0});
	expect(*state, "e_bucket{le=\"+Inf\"} 0\ne_sum 0\ne_count 0\n");
}

static int set_up(void **state)
{
	*state = evbuffer_new();
	return *state ? 0 : -1;
}

static int tear_down(void **state)
{
	evbuffer_free(*state);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(test_family, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(test_numbers, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(test_labels_are_escaped, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(test_histogram, set_up, tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
