/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/sender/queue.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
/* cmocka.h wants the above */
#include <cmocka.h>
#include <errno.h>
#include <string.h>

enum { NOW = 5000 * 1000 };

static const int64_t wall_ms = INT64_C(1763800000000);

static struct parcel *read_one(const char *text)
{
	int error;
	struct parcel *p = parcel_read(7, text, strlen(text), NOW, wall_ms, &error);

	assert_non_null(p);
	assert_int_equal(p->seq, 7);
	assert_int_equal(p->holders, 1);
	assert_int_equal(p->came_ms, NOW);
	return p;
}

static void test_reads_envelopes(void **state)
{
	struct parcel *p = read_one("{\"sinks\":[\"a\",\"b\"],\"queued_ms\":1763799999000,"
	                            "\"event\":{\"id\":\"x\"}}");

	(void)state;
	assert_int_equal(json_array_size(p->sinks), 2);
	assert_string_equal(json_string_value(json_object_get(p->event, "id")), "x");
	assert_int_equal(p->queued_ms, NOW - 1000);
	assert_false(p->best_effort || p->test || p->urgent);
	assert_true(parcel_release(p));
	p = read_one("{\"event\":{},\"test\":true,\"best_effort\":true}");
	assert_null(p->sinks);
	assert_true(p->test && p->best_effort);
	assert_int_equal(p->queued_ms, NOW);
	assert_true(parcel_release(p));
}

/* The agent is not trusted to have a clock that agrees, nor to say a time at all. */
static void test_times(void **state)
{
	static const char *const begun[] = {
	    "0", "-1", "\"1\"", "null", "1.5", "1763800000001", "9223372036854775807"};

	(void)state;
	for (unsigned i = 0; i < sizeof(begun) / sizeof(begun[0]); i++) {
		char text[128];
		struct parcel *p;

		snprintf(text, sizeof(text), "{\"event\":{},\"queued_ms\":%s}", begun[i]);
		p = read_one(text);
		assert_int_equal(p->queued_ms, NOW);
		parcel_release(p);
	}
}

static void test_refuses_what_is_no_event(void **state)
{
	static const char *const bad[] = {"",
	                                  "{",
	                                  "[]",
	                                  "5",
	                                  "\"x\"",
	                                  "null",
	                                  "{\"id\":\"x\"}",
	                                  "{\"event\":[]}",
	                                  "{\"event\":{}} x",
	                                  "{\"event\":{},\"sinks\":\"a\"}",
	                                  "{\"event\":\"opened\"}"};
	int error = 0;

	(void)state;
	for (unsigned i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		assert_null(parcel_read(1, bad[i], strlen(bad[i]), NOW, wall_ms, &error));
		assert_int_equal(error, -EINVAL);
	}
}

static void test_what_is_urgent(void **state)
{
	static const struct {
		const char *event, *severity;
		bool urgent;
	} cases[] = {{"opened", "high", true},     {"high_risk", "high", true},
	             {"escalated", "high", true},  {"opened", "medium", false},
	             {"reminder", "high", false},  {"closed", "high", false},
	             {"source_failed", "", false}, {"", "high", false}};

	(void)state;
	for (unsigned i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		char text[128];
		struct parcel *p;

		snprintf(text, sizeof(text),
		         "{\"event\":{\"event\":\"%s\",\"finding\":{\"severity\":\"%s\"}}}",
		         cases[i].event, cases[i].severity);
		p = read_one(text);
		assert_int_equal(p->urgent, cases[i].urgent);
		parcel_release(p);
	}
}

static const char refresh_a[] = "{\"best_effort\":true,\"event\":{\"event\":\"refresh\","
                                "\"endpoint\":\"10.0.0.1:1\"}}";
static const char refresh_b[] = "{\"best_effort\":true,\"event\":{\"event\":\"refresh\","
                                "\"endpoint\":\"10.0.0.2:1\"}}";
static const char opened_a[] = "{\"event\":{\"event\":\"opened\",\"endpoint\":\"10.0.0.1:1\","
                               "\"finding\":{\"severity\":\"high\"}}}";

static void append(struct queue *q, const char *text)
{
	struct parcel *p = read_one(text);

	assert_int_equal(queue_append(q, p), 0);
	assert_false(parcel_release(p)); /* the queue holds it */
}

static void empty(struct queue *q)
{
	while (queue_first(q))
		assert_true(parcel_release(queue_remove(q, queue_first(q))));
	assert_int_equal(q->length, 0);
	assert_int_equal(q->urgent, 0);
}

static void test_a_newer_one_replaces(void **state)
{
	struct parcel *again = read_one(refresh_a), *told = read_one(opened_a);
	struct delivery *found;
	struct queue q;

	(void)state;
	queue_init(&q);
	append(&q, opened_a);
	append(&q, refresh_b);
	assert_null(queue_replaced_by(&q, again));
	append(&q, refresh_a);
	found = queue_replaced_by(&q, again);
	assert_ptr_equal(found, TAILQ_LAST(&q.list, delivery_list));
	assert_null(queue_replaced_by(&q, told));
	found->tried = true; /* it may be under way */
	assert_null(queue_replaced_by(&q, again));
	empty(&q);
	parcel_release(again);
	parcel_release(told);
}

static void test_queue(void **state)
{
	struct queue q;

	(void)state;
	queue_init(&q);
	assert_int_equal(queue_fitting(&q, 10, 1000), 0);
	assert_null(queue_oldest_untried(&q));
	append(&q, refresh_a);
	append(&q, refresh_b);
	assert_int_equal(queue_urgent_ms(&q), INT64_MAX);
	append(&q, opened_a);
	assert_int_equal(queue_urgent_ms(&q), NOW);
	assert_int_equal(queue_fitting(&q, 10, 100000), 3);
	assert_int_equal(queue_fitting(&q, 2, 100000), 2);
	assert_int_equal(queue_fitting(&q, 10, 2 * strlen(refresh_a)), 2);
	assert_int_equal(queue_fitting(&q, 10, 1), 1); /* one alone may be larger */
	queue_first(&q)->tried = true;
	assert_ptr_equal(queue_oldest_untried(&q), TAILQ_NEXT(queue_first(&q), link));
	empty(&q);
	assert_int_equal(queue_urgent_ms(&q), INT64_MAX);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_reads_envelopes),          cmocka_unit_test(test_times),
	    cmocka_unit_test(test_refuses_what_is_no_event), cmocka_unit_test(test_what_is_urgent),
	    cmocka_unit_test(test_a_newer_one_replaces),     cmocka_unit_test(test_queue),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
