/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The line that says which shard a file is of, and which shards are there. */
#include "common/cleanup.h"
#include "scanner/sweep_tally.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
/* after what it needs */
#include <cmocka.h>

static struct sweep_trailer make(char sweep, char scan, unsigned shard, unsigned shards,
                                 bool complete)
{
	struct sweep_trailer t = {.shard = shard,
	                          .shards = shards,
	                          .complete = complete,
	                          .started_ms = 1000,
	                          .ended_ms = 61000,
	                          .endpoints = 10};

	memset(t.sweep_id, sweep, sizeof(t.sweep_id) - 1);
	memset(t.scan_id, scan, sizeof(t.scan_id) - 1);
	t.verdicts[VERDICT_CONFIRMED] = 4;
	t.verdicts[VERDICT_CLEAR] = 6;
	return t;
}

static void test_round_trip(void **state)
{
	struct sweep_trailer t = make('a', 'b', 3, 8, true), back;
	auto_free char *line = sweep_trailer_to_line(&t);
	char why[SWEEP_TRAILER_ERROR_LEN];

	(void)state;
	assert_string_equal(line, "{\"schema\":1,\"type\":\"sweep\","
	                          "\"sweep_id\":\"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\","
	                          "\"scan_id\":\"bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb\","
	                          "\"shard\":3,\"shards\":8,\"complete\":true,"
	                          "\"started\":\"1970-01-01T00:00:01Z\","
	                          "\"ended\":\"1970-01-01T00:01:01Z\",\"endpoints\":10,"
	                          "\"verdicts\":{\"error\":0,\"confirmed\":4,\"likely\":0,"
	                          "\"protected\":0,\"unknown\":0,\"clear\":6,\"closed\":0,"
	                          "\"filtered\":0}}");
	assert_int_equal(sweep_trailer_from_line(line, strlen(line), &back, why), 0);
	assert_memory_equal(&t, &back, sizeof(t));
}

static void refuse(const char *was, const char *is, const char *expected)
{
	struct sweep_trailer t = make('a', 'b', 3, 8, true), back = {.shard = 77};
	auto_free char *line = sweep_trailer_to_line(&t);
	const char *at = strstr(line, was);
	auto_free char *bad = NULL;
	char why[SWEEP_TRAILER_ERROR_LEN];

	assert_non_null(at);
	assert_true(asprintf(&bad, "%.*s%s%s", (int)(at - line), line, is, at + strlen(was)) > 0);
	assert_int_equal(sweep_trailer_from_line(bad, strlen(bad), &back, why), -EINVAL);
	assert_string_equal(why, expected);
	assert_int_equal(back.shard, 77); /* untouched */
}

static void test_what_is_refused(void **state)
{
	(void)state;
	refuse("\"schema\":1", "\"schema\":2", "schema: out of range");
	refuse("\"sweep\"", "\"note\"", "type: not \"sweep\"");
	refuse("aaaa", "AAAA", "sweep_id: not 32 digits of hex");
	refuse("bbbb", "bbb", "scan_id: not 32 digits of hex");
	refuse("\"shard\":3", "\"shard\":9", "shard: out of range");
	refuse("\"shard\":3", "\"shard\":0", "shard: out of range");
	refuse("\"shards\":8", "\"shards\":1048577", "shards: out of range");
	refuse("\"shards\":8", "\"shards\":\"8\"", "shards: not a number");
	refuse("true", "1", "complete: neither true nor false");
	refuse("1970-01-01T00:00:01Z", "1970-01-32T00:00:01Z",
	       "started: not a time as 2026-11-22T21:00:00Z");
	refuse("1970-01-01T00:01:01Z", "yesterday", "ended: not a time as 2026-11-22T21:00:00Z");
	refuse("\"endpoints\":10", "\"endpoints\":-10", "endpoints: out of range");
	refuse("\"confirmed\":4,", "", "confirmed: not a number");
	refuse("{\"schema\"", "{\"schema", "not JSON");
}

static void test_a_finding_is_none(void **state)
{
	struct finding f;
	json_t *object;

	(void)state;
	finding_init(&f);
	f.endpoint.family = AF_INET;
	f.endpoint.port = 80;
	object = finding_to_json(&f);
	assert_false(sweep_trailer_is(object));
	json_object_set_new(object, "type", json_string("sweep"));
	assert_true(sweep_trailer_is(object));
	json_decref(object);
	finding_fini(&f);
}

static void collect(const char *line, void *arg)
{
	char *all = arg;

	snprintf(all + strlen(all), 1024 - strlen(all), "%s\n", line);
}

static int add(struct sweep_tally *tally, struct sweep_trailer t)
{
	return sweep_tally_add(tally, &t);
}

static void test_shards(void **state)
{
	struct sweep_tally *tally = sweep_tally_new();
	char said[1024] = "";

	(void)state;
	assert_int_equal(sweep_tally_report(tally, collect, said), 0); /* nothing is not whole */
	for (unsigned shard = 1; shard <= 8; shard++)
		if (shard != 2 && shard != 5 && shard != 6)
			assert_int_equal(add(tally, make('a', (char)('0' + shard), shard, 8, true)),
			                 0);
	assert_int_equal(add(tally, make('a', '5', 5, 8, false)), 0);
	assert_int_equal(add(tally, make('a', 'f', 7, 8, true)), 0);
	assert_int_equal(sweep_tally_report(tally, collect, said), 0);
	assert_string_equal(said, "sweep aaaaaaaa: of 8 shards these are missing: 2, 6\n"
	                          "sweep aaaaaaaa: of 8 shards these are incomplete: 5\n"
	                          "sweep aaaaaaaa: of 8 shards these are here twice: 7\n");
	/* What was resumed and came to its end makes it whole. */
	assert_int_equal(add(tally, make('a', 'e', 5, 8, true)), 0);
	assert_int_equal(add(tally, make('a', '2', 2, 8, true)), 0);
	assert_int_equal(add(tally, make('a', '6', 6, 8, true)), 0);
	said[0] = '\0';
	assert_int_equal(sweep_tally_report(tally, collect, said), 1);
	assert_string_equal(said, "sweep aaaaaaaa: of 8 shards these are here twice: 7\n");
	assert_int_equal(sweep_tally_endpoints(tally), 80);
	assert_int_equal(add(tally, make('a', '1', 1, 9, true)), -EINVAL);
	sweep_tally_free(tally);
}

static void test_the_same_run_counts_once(void **state)
{
	struct sweep_tally *tally = sweep_tally_new();
	const struct sweep_trailer *runs;
	char said[1024] = "";

	(void)state;
	assert_int_equal(add(tally, make('a', '1', 1, 1, false)), 0);
	assert_int_equal(add(tally, make('a', '1', 1, 1, true)), 0);
	assert_int_equal(add(tally, make('a', '1', 1, 1, false)), 0);
	assert_int_equal(sweep_tally_runs(tally, &runs), 1);
	assert_int_equal(sweep_tally_report(tally, collect, said), 1);
	assert_string_equal(said, "");
	assert_int_equal(add(tally, make('b', '1', 1, 2, true)), 0);
	assert_int_equal(sweep_tally_sweeps(tally), 2);
	assert_int_equal(sweep_tally_endpoints(tally), 20);
	assert_int_equal(sweep_tally_report(tally, collect, said), 0);
	assert_string_equal(said, "sweep bbbbbbbb: of 2 shards these are missing: 2\n");
	sweep_tally_free(tally);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_round_trip),
	    cmocka_unit_test(test_what_is_refused),
	    cmocka_unit_test(test_a_finding_is_none),
	    cmocka_unit_test(test_shards),
	    cmocka_unit_test(test_the_same_run_counts_once),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
