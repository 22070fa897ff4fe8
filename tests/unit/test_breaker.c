/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The state table of the design, one row a transition: a breaker is brought into a state by a
 * script of probes, and each step states what must come out.
 */
#include "common/cleanup.h"
#include "daemon/agent/breaker.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

enum { SEC = 1000, MIN = 60 * SEC, HOUR = 60 * MIN };

static const struct breaker_conf usual = {
    .trip_after = 3,
    .trip_window = 3,
    .close_after = 2,
    .confirm_interval_ms = 10 * SEC,
    .interval_ms = 5 * MIN,
    .open_for_ms = 10 * MIN,
    .remind_every_ms = HOUR,
    .unknown_after_ms = 30 * MIN,
};

/* What a step does: a probe's observation, or one of these. */
enum { GO_ON = 100 };

enum { NO = 0, BLOCK, UNBLOCK };

struct step {
	int does;
	int64_t at_ms;
	enum breaker_state state;
	int wall;
	enum breaker_alert alert;
	int64_t next_ms; /* after at_ms */
};

#define E    BREAKER_EXPOSED
#define C    BREAKER_CLEAN
#define G    BREAKER_GONE
#define N    BREAKER_NO_VERDICT
#define CL   BREAKER_CLOSED
#define OP   BREAKER_OPEN
#define HO   BREAKER_HALF_OPEN
#define A(x) BREAKER_ALERT_##x

struct script {
	const char *name;
	const struct breaker_conf *conf;
	struct step steps[24];
};

static const struct breaker_conf window = {
    .trip_after = 3,
    .trip_window = 5,
    .close_after = 2,
    .confirm_interval_ms = 10 * SEC,
    .interval_ms = 5 * MIN,
    .open_for_ms = 10 * MIN,
};

static const struct breaker_conf at_once = {
    .trip_after = 1,
    .trip_window = 1,
    .close_after = 1,
    .confirm_interval_ms = 10 * SEC,
    .interval_ms = HOUR,
    .open_for_ms = 2 * MIN,
};

static const struct breaker_conf widest = {
    .trip_after = 2,
    .trip_window = 64,
    .close_after = 1,
    .confirm_interval_ms = 10 * SEC,
    .interval_ms = 5 * MIN,
    .open_for_ms = 10 * MIN,
};

/* A probe that takes no time: begin and record at `at_ms`. */
static const struct script scripts[] = {
    {"closed: trips at the third of three, not before",
     &usual,
     {
         {E, 0, CL, NO, A(NONE), 10 * SEC},
         {E, 10 * SEC, CL, NO, A(NONE), 10 * SEC},
         {E, 20 * SEC, OP, BLOCK, A(OPENED), 10 * MIN},
     }},
    {"closed: clean and gone want the usual interval, and say nothing",
     &usual,
     {
         {C, 0, CL, NO, A(NONE), 5 * MIN},
         {G, MIN, CL, NO, A(NONE), 5 * MIN},
         {G, 2 * MIN, CL, NO, A(NONE), 5 * MIN},
         {N, 3 * MIN, CL, NO, A(NONE), 5 * MIN},
     }},
    {"closed: a clean probe restarts the counting, 3 of 3",
     &usual,
     {
         {E, 0, CL, NO, A(NONE), 10 * SEC},
         {E, 1 * SEC, CL, NO, A(NONE), 10 * SEC},
         {C, 2 * SEC, CL, NO, A(NONE), 10 * SEC},
         {E, 3 * SEC, CL, NO, A(NONE), 10 * SEC},
         {E, 4 * SEC, CL, NO, A(NONE), 10 * SEC},
         {E, 5 * SEC, OP, BLOCK, A(OPENED), 10 * MIN},
     }},
    {"closed: clean until the window is empty, then the usual interval",
     &usual,
     {
         {E, 0, CL, NO, A(NONE), 10 * SEC},
         {C, 1 * SEC, CL, NO, A(NONE), 10 * SEC},
         {C, 2 * SEC, CL, NO, A(NONE), 10 * SEC},
         {C, 3 * SEC, CL, NO, A(NONE), 5 * MIN},
     }},
    {"closed: alternating workers trip 3 of 5",
     &window,
     {
         {E, 0, CL, NO, A(NONE), 10 * SEC},
         {C, 1 * SEC, CL, NO, A(NONE), 10 * SEC},
         {E, 2 * SEC, CL, NO, A(NONE), 10 * SEC},
         {C, 3 * SEC, CL, NO, A(NONE), 10 * SEC},
         {E, 4 * SEC, OP, BLOCK, A(OPENED), 10 * MIN},
     }},
    {"closed: 2 of any 5 do not trip",
     &window,
     {
         {E, 0, CL, NO, A(NONE), 10 * SEC},
         {E, 1 * SEC, CL, NO, A(NONE), 10 * SEC},
         {C, 2 * SEC, CL, NO, A(NONE), 10 * SEC},
         {C, 3 * SEC, CL, NO, A(NONE), 10 * SEC},
         {C, 4 * SEC, CL, NO, A(NONE), 10 * SEC},
         {E, 5 * SEC, CL, NO, A(NONE), 10 * SEC},
         {C, 6 * SEC, CL, NO, A(NONE), 10 * SEC},
         {E, 7 * SEC, CL, NO, A(NONE), 10 * SEC},
         {E, 8 * SEC, OP, BLOCK, A(OPENED), 10 * MIN},
     }},
    {"closed: probes without a verdict are not in the window; the next one backs off",
     &usual,
     {
         {E, 0, CL, NO, A(NONE), 10 * SEC},
         {E, 1 * SEC, CL, NO, A(NONE), 10 * SEC},
         {N, 2 * SEC, CL, NO, A(NONE), 10 * SEC},
         {N, 3 * SEC, CL, NO, A(NONE), 20 * SEC},
         {N, 4 * SEC, CL, NO, A(NONE), 40 * SEC},
         {E, 5 * SEC, OP, BLOCK, A(OPENED), 10 * MIN},
     }},
    {"closed: refused close_after times forgets, without an alert",
     &usual,
     {
         {E, 0, CL, NO, A(NONE), 10 * SEC},
         {E, 1 * SEC, CL, NO, A(NONE), 10 * SEC},
         {G, 2 * SEC, CL, NO, A(NONE), 10 * SEC},
         {G, 3 * SEC, CL, NO, A(NONE), 5 * MIN},
         {E, 4 * SEC, CL, NO, A(NONE), 10 * SEC},
     }},
    {"open: half-open only when open_for has passed",
     &at_once,
     {
         {E, 0, OP, BLOCK, A(OPENED), 2 * MIN},
         {GO_ON, 2 * MIN - 1, OP, NO, A(NONE), 0},
         {GO_ON, 2 * MIN, HO, NO, A(NONE), 0},
     }},
    {"open: a straggler's clean answer opens nothing",
     &at_once,
     {
         {E, 0, OP, BLOCK, A(OPENED), 2 * MIN},
         {C, 1 * SEC, OP, NO, A(NONE), 2 * MIN - 1 * SEC},
         {C, 2 * SEC, OP, NO, A(NONE), 2 * MIN - 2 * SEC},
     }},
    {"open: a straggler's exposure and silence renew the block",
     &at_once,
     {
         {E, 0, OP, BLOCK, A(OPENED), 2 * MIN},
         {E, 1 * SEC, OP, BLOCK, A(NONE), 2 * MIN},
         {N, 2 * SEC, OP, BLOCK, A(NONE), 2 * MIN - 1 * SEC},
     }},
    {"open: refused close_after times is gone",
     &usual,
     {
         {E, 0, CL, NO, A(NONE), 10 * SEC},
         {E, 0, CL, NO, A(NONE), 10 * SEC},
         {E, 0, OP, BLOCK, A(OPENED), 10 * MIN},
         {G, SEC, OP, NO, A(NONE), 10 * MIN - SEC},
         {G, 2 * SEC, CL, UNBLOCK, A(GONE), 5 * MIN},
     }},
    {"half-open: exposed opens again, renews, and alerts only as a reminder",
     &usual,
     {
         {E, 0, CL, NO, A(NONE), 10 * SEC},
         {E, 0, CL, NO, A(NONE), 10 * SEC},
         {E, 0, OP, BLOCK, A(OPENED), 10 * MIN},
         {E, 10 * MIN, OP, BLOCK, A(NONE), 10 * MIN},
         {E, 20 * MIN, OP, BLOCK, A(NONE), 10 * MIN},
         {E, 30 * MIN, OP, BLOCK, A(NONE), 10 * MIN},
         {E, HOUR - 1, OP, BLOCK, A(NONE), 10 * MIN},
         {E, HOUR + 10 * MIN, OP, BLOCK, A(REMINDER), 10 * MIN},
         {E, HOUR + 20 * MIN, OP, BLOCK, A(NONE), 10 * MIN},
         {E, 2 * HOUR + 10 * MIN, OP, BLOCK, A(REMINDER), 10 * MIN},
     }},
    {"half-open: no reminders when remind_every is 0",
     &at_once,
     {
         {E, 0, OP, BLOCK, A(OPENED), 2 * MIN},
         {E, 100 * HOUR, OP, BLOCK, A(NONE), 2 * MIN},
     }},
    {"half-open: close_after consecutive clean close; the wall stays until then",
     &usual,
     {
         {E, 0, CL, NO, A(NONE), 10 * SEC},
         {E, 0, CL, NO, A(NONE), 10 * SEC},
         {E, 0, OP, BLOCK, A(OPENED), 10 * MIN},
         {C, 10 * MIN, HO, BLOCK, A(NONE), 10 * SEC},
         {E, 11 * MIN, OP, BLOCK, A(NONE), 10 * MIN},
         {C, 21 * MIN, HO, BLOCK, A(NONE), 10 * SEC},
         {C, 22 * MIN, CL, UNBLOCK, A(CLOSED), 5 * MIN},
         {E, 23 * MIN, CL, NO, A(NONE), 10 * SEC}, /* counted from nothing */
         {E, 24 * MIN, CL, NO, A(NONE), 10 * SEC},
         {E, 25 * MIN, OP, BLOCK, A(OPENED), 10 * MIN},
     }},
    {"half-open: silence or a refusal between two clean ones starts them anew",
     &usual,
     {
         {E, 0, CL, NO, A(NONE), 10 * SEC},
         {E, 0, CL, NO, A(NONE), 10 * SEC},
         {E, 0, OP, BLOCK, A(OPENED), 10 * MIN},
         {C, 10 * MIN, HO, BLOCK, A(NONE), 10 * SEC},
         {N, 11 * MIN, HO, BLOCK, A(NONE), 10 * SEC},
         {C, 12 * MIN, HO, BLOCK, A(NONE), 10 * SEC},
         {G, 13 * MIN, HO, BLOCK, A(NONE), 10 * SEC},
         {C, 14 * MIN, HO, BLOCK, A(NONE), 10 * SEC},
         {C, 15 * MIN, CL, UNBLOCK, A(CLOSED), 5 * MIN},
     }},
    {"half-open: refused close_after times in a row is gone",
     &usual,
     {
         {E, 0, CL, NO, A(NONE), 10 * SEC},
         {E, 0, CL, NO, A(NONE), 10 * SEC},
         {E, 0, OP, BLOCK, A(OPENED), 10 * MIN},
         {G, 10 * MIN, HO, BLOCK, A(NONE), 10 * SEC},
         {N, 11 * MIN, HO, BLOCK, A(NONE), 10 * SEC},
         {G, 12 * MIN, HO, BLOCK, A(NONE), 10 * SEC},
         {G, 13 * MIN, CL, UNBLOCK, A(GONE), 5 * MIN},
     }},
    {"half-open: silence never opens the wall, backs off, and alerts once",
     &usual,
     {
         {E, 0, CL, NO, A(NONE), 10 * SEC},
         {E, 0, CL, NO, A(NONE), 10 * SEC},
         {E, 0, OP, BLOCK, A(OPENED), 10 * MIN},
         {N, 10 * MIN, HO, BLOCK, A(NONE), 10 * SEC},
         {N, 11 * MIN, HO, BLOCK, A(NONE), 20 * SEC},
         {N, 12 * MIN, HO, BLOCK, A(NONE), 40 * SEC},
         {N, 13 * MIN, HO, BLOCK, A(NONE), 80 * SEC},
         {N, 14 * MIN, HO, BLOCK, A(NONE), 160 * SEC},
         {N, 15 * MIN, HO, BLOCK, A(NONE), 5 * MIN},
         {N, 30 * MIN - 1, HO, BLOCK, A(NONE), 5 * MIN},
         {N, 30 * MIN, HO, BLOCK, A(UNKNOWN), 5 * MIN},
         {N, 3 * HOUR, HO, BLOCK, A(NONE), 5 * MIN},
         {E, 4 * HOUR, OP, BLOCK, A(REMINDER), 10 * MIN},
         {N, 4 * HOUR + 10 * MIN, HO, BLOCK, A(NONE), 10 * SEC},
         {N, 4 * HOUR + 30 * MIN, HO, BLOCK, A(UNKNOWN), 20 * SEC},
     }},
    {"half-open: no `unknown` when unknown_after is 0, and never past open_for",
     &at_once,
     {
         {E, 0, OP, BLOCK, A(OPENED), 2 * MIN},
         {N, HOUR, HO, BLOCK, A(NONE), 10 * SEC},
         {N, 2 * HOUR, HO, BLOCK, A(NONE), 20 * SEC},
         {N, 3 * HOUR, HO, BLOCK, A(NONE), 40 * SEC},
         {N, 4 * HOUR, HO, BLOCK, A(NONE), 80 * SEC},
         {N, 5 * HOUR, HO, BLOCK, A(NONE), 2 * MIN},
         {N, 6 * HOUR, HO, BLOCK, A(NONE), 2 * MIN},
     }},
    {"a window of 64",
     &widest,
     {
         {E, 0, CL, NO, A(NONE), 10 * SEC},
         {C, SEC, CL, NO, A(NONE), 10 * SEC},
         {E, 2 * SEC, OP, BLOCK, A(OPENED), 10 * MIN},
         {C, 20 * MIN, CL, UNBLOCK, A(CLOSED), 5 * MIN},
     }},
};

static void run_step(struct breaker *b, const struct script *s, const struct step *step, size_t n)
{
	struct breaker_decision d = {.next_probe_ms = step->at_ms};

	breaker_begin_probe(b, step->at_ms);
	if (step->does != GO_ON)
		d = breaker_record_probe(b, s->conf, (enum breaker_observation)step->does,
		                         step->at_ms);
	if (b->state == step->state && d.block == (step->wall == BLOCK) &&
	    d.unblock == (step->wall == UNBLOCK) && d.alert == step->alert &&
	    d.next_probe_ms == step->at_ms + step->next_ms)
		return;
	fail_msg("%s, step %zu: %s block=%d unblock=%d alert=%s next=+%lld", s->name, n,
	         breaker_state_name(b->state), d.block, d.unblock, breaker_alert_name(d.alert),
	         (long long)(d.next_probe_ms - step->at_ms));
}

static bool is_last(const struct step *s)
{
	static const struct step none;

	return memcmp(s, &none, sizeof(none)) == 0;
}

static void test_table(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(scripts); i++) {
		struct breaker b;

		breaker_init(&b);
		for (size_t n = 0; n < ARRAY_LEN(scripts[i].steps); n++) {
			if (is_last(&scripts[i].steps[n]))
				break;
			run_step(&b, &scripts[i], &scripts[i].steps[n], n);
		}
	}
}

static void test_adopt_probes_at_once_and_alerts_nothing(void **state)
{
	struct breaker_decision d;
	struct breaker b;

	(void)state;
	breaker_adopt(&b, &usual, HOUR);
	assert_int_equal(b.state, BREAKER_OPEN);
	assert_int_equal(b.open_until_ms, HOUR);
	breaker_begin_probe(&b, HOUR);
	assert_int_equal(b.state, BREAKER_HALF_OPEN);
	d = breaker_record_probe(&b, &usual, BREAKER_EXPOSED, HOUR);
	assert_true(d.block);
	assert_int_equal(d.alert, BREAKER_ALERT_NONE);
	assert_int_equal(b.state, BREAKER_OPEN);
}

static void test_reset_forgets(void **state)
{
	struct breaker_decision d;
	struct breaker b;

	(void)state;
	breaker_adopt(&b, &usual, 0);
	breaker_reset(&b);
	assert_int_equal(b.state, BREAKER_CLOSED);
	d = breaker_record_probe(&b, &usual, BREAKER_EXPOSED, 1);
	assert_false(d.block);
	assert_int_equal(b.state, BREAKER_CLOSED);
}

static void test_shorter_window_after_reload(void **state)
{
	struct breaker_decision d;
	struct breaker b;

	(void)state;
	breaker_init(&b);
	for (int i = 0; i < 2; i++)
		breaker_record_probe(&b, &window, BREAKER_EXPOSED, i);
	for (int i = 0; i < 3; i++)
		breaker_record_probe(&b, &window, BREAKER_CLEAN, i);
	/* Three exposed of five with this one, but only one of the new three. */
	d = breaker_record_probe(&b, &usual, BREAKER_EXPOSED, 9);
	assert_int_equal(b.state, BREAKER_CLOSED);
	assert_int_equal(d.next_probe_ms, 9 + 10 * SEC);
	assert_int_equal(b.history_length, 3);
}

static enum breaker_observation
classify(enum finding_verdict verdict, enum finding_severity severity, enum finding_severity floor)
{
	struct finding f;
	enum breaker_observation seen;

	finding_init(&f);
	f.verdict = verdict;
	f.severity = severity;
	seen = breaker_classify(&f, floor);
	finding_fini(&f);
	return seen;
}

static void test_classify(void **state)
{
	(void)state;
	assert_int_equal(classify(VERDICT_CONFIRMED, SEVERITY_HIGH, SEVERITY_MEDIUM), E);
	assert_int_equal(classify(VERDICT_LIKELY, SEVERITY_MEDIUM, SEVERITY_MEDIUM), E);
	assert_int_equal(classify(VERDICT_CONFIRMED, SEVERITY_LOW, SEVERITY_MEDIUM), C);
	assert_int_equal(classify(VERDICT_PROTECTED, SEVERITY_INFO, SEVERITY_LOW), C);
	assert_int_equal(classify(VERDICT_UNKNOWN, SEVERITY_NONE, SEVERITY_LOW), C);
	assert_int_equal(classify(VERDICT_CLEAR, SEVERITY_NONE, SEVERITY_LOW), C);
	assert_int_equal(classify(VERDICT_CLOSED, SEVERITY_NONE, SEVERITY_LOW), G);
	assert_int_equal(classify(VERDICT_FILTERED, SEVERITY_NONE, SEVERITY_LOW), N);
	assert_int_equal(classify(VERDICT_ERROR, SEVERITY_NONE, SEVERITY_LOW), N);
}

static void test_not_now_is_no_verdict(void **state)
{
	static const struct {
		int status;
		enum breaker_observation seen;
	} cases[] = {{200, C}, {404, C}, {429, N}, {499, C}, {500, N}, {502, N}, {503, N}};
	struct finding f;

	(void)state;
	finding_init(&f);
	f.verdict = VERDICT_CLEAR;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		f.status = cases[i].status;
		assert_int_equal(breaker_classify(&f, SEVERITY_MEDIUM), cases[i].seen);
	}
	finding_fini(&f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_table),
	    cmocka_unit_test(test_adopt_probes_at_once_and_alerts_nothing),
	    cmocka_unit_test(test_reset_forgets),
	    cmocka_unit_test(test_shorter_window_after_reload),
	    cmocka_unit_test(test_classify),
	    cmocka_unit_test(test_not_now_is_no_verdict),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
