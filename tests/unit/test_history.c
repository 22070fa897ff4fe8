/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What a history says of an endpoint, above all: when it says "fixed", and when it must not. */
#include "common/cleanup.h"
#include "scanner/history.h"
#include "scanner/history_writer.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
/* after what it needs */
#include <cmocka.h>

#define TARGET "10.0.0.7:9100"

struct lab {
	char path[64];
	struct history *h;
	int64_t now_ms;
	unsigned sweeps;
};

static int set_up(void **state)
{
	struct lab *lab = calloc(1, sizeof(*lab));
	char why[HISTORY_ERROR_LEN];
	int fd;

	assert_non_null(lab);
	strcpy(lab->path, "/tmp/pprofwall-history-XXXXXX");
	fd = mkstemp(lab->path);
	assert_true(fd >= 0);
	close(fd);
	assert_int_equal(history_open(lab->path, HISTORY_WRITE, &lab->h, why), 0);
	lab->now_ms = 1000;
	*state = lab;
	return 0;
}

static int tear_down(void **state)
{
	struct lab *lab = *state;

	history_close(lab->h);
	unlink(lab->path);
	free(lab);
	return 0;
}

struct sweep {
	const char *vantage;  /* default "here" */
	const char *network;  /* default "10.0.0.0/24" */
	const char *ports;    /* default "9100" */
	const char *excludes; /* none */
	unsigned shard, shards;
	const char *name; /* default: its own */
	bool interrupted;
	/* What it saw; -1: no observation. */
	int verdict;
	const char *from; /* local address; default "10.0.0.1" */
	bool walled;
	const char *severity;
};

static void make_finding(char *line, size_t size, const struct history_observation *o,
                         const char *severity)
{
	struct finding f;
	auto_free char *text = NULL;

	finding_init(&f);
	f.endpoint = o->endpoint;
	f.time_ms = o->time_ms;
	f.verdict = o->verdict;
	if (severity)
		finding_severity_parse(severity, &f.severity);
	text = finding_to_line(&f);
	assert_non_null(text);
	snprintf(line, size, "%s", text);
	finding_fini(&f);
}

static void run(struct lab *lab, struct sweep s)
{
	struct history_observation o = {.time_ms = lab->now_ms + 1};
	struct history_end end = {.complete = !s.interrupted, .ended_ms = lab->now_ms + 2};
	char name[HISTORY_NAME_LEN], line[2048];
	int64_t id;

	snprintf(name, sizeof(name), "%032u", ++lab->sweeps);
	assert_int_equal(history_begin_sweep(lab->h,
	                                     &(struct history_begin){
	                                         .name = s.name ? s.name : name,
	                                         .shard = s.shard ? s.shard : 1,
	                                         .shards = s.shards ? s.shards : 1,
	                                         .started_ms = lab->now_ms,
	                                         .vantage = s.vantage ? s.vantage : "here",
	                                         .version = "0",
	                                         .options = "{}",
	                                     },
	                                     &id),
	                 0);
	assert_int_equal(history_add_coverage(lab->h, id, HISTORY_COVERS,
	                                      s.network ? s.network : "10.0.0.0/24",
	                                      s.ports ? s.ports : "9100"),
	                 0);
	if (s.excludes)
		assert_int_equal(history_add_coverage(lab->h, id, HISTORY_EXCLUDES, s.excludes, ""),
		                 0);
	if (s.verdict >= 0) {
		assert_int_equal(endpoint_parse(TARGET, &o.endpoint), 0);
		o.verdict = (uint32_t)s.verdict;
		o.walled = s.walled;
		strcpy(o.vantage, s.verdict == VERDICT_CLOSED ? "" : s.from ? s.from : "10.0.0.1");
		make_finding(line, sizeof(line), &o, s.severity);
		assert_int_equal(history_add_observation(lab->h, id, &o, line), 0);
	}
	assert_int_equal(history_end_sweep(lab->h, id, &end), 0);
	lab->now_ms += 1000;
}

static int take(const struct history_entry *entry, void *arg)
{
	struct history_entry *out = arg;

	assert_string_equal(entry->endpoint, TARGET);
	assert_int_equal(out->track.first_ms, 0); /* one entry an endpoint */
	*out = *entry;
	return 0;
}

/* How the one endpoint stands after the last sweep; HISTORY_STATE_COUNT: nowhere. */
static struct history_entry judge(struct lab *lab)
{
	struct history_entry entry = {.state = HISTORY_STATE_COUNT};
	struct history_sweep sweep;

	assert_int_equal(history_find_sweep(lab->h, NULL, NULL, &sweep), 0);
	assert_int_equal(history_walk(lab->h, NULL, &sweep, take, &entry), 0);
	return entry;
}

static void test_new_and_still(void **state)
{
	struct lab *lab = *state;
	struct history_entry e;

	run(lab, (struct sweep){.verdict = VERDICT_CLEAR});
	assert_int_equal(judge(lab).state, HISTORY_STATE_COUNT);
	run(lab, (struct sweep){.verdict = VERDICT_CONFIRMED, .severity = "medium"});
	e = judge(lab);
	assert_int_equal(e.state, HISTORY_NEW);
	assert_true(e.worse);
	run(lab, (struct sweep){.verdict = VERDICT_CONFIRMED, .severity = "medium"});
	e = judge(lab);
	assert_int_equal(e.state, HISTORY_STILL);
	assert_false(e.worse);
	assert_int_equal(e.track.first_ms, 2001);
	assert_int_equal(e.track.last_ms, 3001);
}

static void test_changed(void **state)
{
	struct lab *lab = *state;
	struct history_entry e;

	run(lab, (struct sweep){.verdict = VERDICT_CONFIRMED, .severity = "medium"});
	run(lab, (struct sweep){.verdict = VERDICT_CONFIRMED, .severity = "high"});
	e = judge(lab);
	assert_int_equal(e.state, HISTORY_CHANGED);
	assert_true(e.worse);
	run(lab, (struct sweep){.verdict = VERDICT_LIKELY, .severity = "medium"});
	e = judge(lab);
	assert_int_equal(e.state, HISTORY_CHANGED);
	assert_false(e.worse);
}

static void test_fixed_is_earned(void **state)
{
	static const enum finding_verdict good[] = {VERDICT_CLEAR, VERDICT_PROTECTED,
	                                            VERDICT_CLOSED};
	struct lab *lab = *state;

	for (size_t i = 0; i < ARRAY_LEN(good); i++) {
		struct history_entry e;

		run(lab, (struct sweep){.verdict = VERDICT_CONFIRMED});
		run(lab, (struct sweep){.verdict = (int)good[i]});
		e = judge(lab);
		assert_int_equal(e.state, HISTORY_FIXED);
		assert_false(e.earlier);
		assert_int_equal(e.track.fixed_ms, lab->now_ms - 999);
	}
	/* It is fixed, whatever comes afterwards. */
	run(lab, (struct sweep){.verdict = VERDICT_FILTERED});
	assert_int_equal(judge(lab).state, HISTORY_FIXED);
	assert_true(judge(lab).earlier);
	run(lab, (struct sweep){.verdict = VERDICT_LIKELY});
	assert_int_equal(judge(lab).state, HISTORY_NEW);
	assert_true(judge(lab).track.returned);
}

static void test_never_fixed(void **state)
{
	static const struct {
		enum history_state state;
		struct sweep sweep;
	} cases[] = {
	    {HISTORY_FILTERED, {.verdict = VERDICT_FILTERED}},
	    {HISTORY_ERROR, {.verdict = VERDICT_ERROR}},
	    {HISTORY_UNKNOWN, {.verdict = VERDICT_UNKNOWN}},
	    {HISTORY_WALLED, {.verdict = VERDICT_CLOSED, .walled = true}},
	    {HISTORY_WALLED, {.verdict = VERDICT_FILTERED, .walled = true}},
	    {HISTORY_WALLED, {.verdict = VERDICT_CLEAR, .walled = true}},
	    {HISTORY_OTHER_VANTAGE, {.verdict = VERDICT_CLEAR, .from = "10.9.0.1"}},
	    {HISTORY_INTERRUPTED, {.verdict = -1, .interrupted = true}},
	    {HISTORY_INTERRUPTED, {.verdict = -1, .interrupted = true, .network = "10.1.0.0/24"}},
	    {HISTORY_EXCLUDED, {.verdict = -1, .excludes = "10.0.0.4/30"}},
	    {HISTORY_NOT_ASKED, {.verdict = -1, .network = "10.1.0.0/24"}},
	    {HISTORY_NOT_ASKED, {.verdict = -1, .ports = "80,9101-9110"}},
	    {HISTORY_SHARD_MISSING, {.verdict = -1, .shard = 2, .shards = 3}},
	    {HISTORY_NOT_REACHED, {.verdict = -1}},
	};
	struct lab *lab = *state;

	run(lab, (struct sweep){.verdict = VERDICT_CONFIRMED});
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct history_entry e;

		run(lab, cases[i].sweep);
		e = judge(lab);
		if (e.state != cases[i].state)
			fail_msg("case %zu: %s", i, history_state_name(e.state));
		/* It stays open through all of them. */
		assert_true(e.track.open);
		assert_int_equal(e.track.last_ms, 1001);
	}
	run(lab, (struct sweep){.verdict = VERDICT_CONFIRMED});
	assert_int_equal(judge(lab).state, HISTORY_STILL);
}

static void test_shards_are_one_sweep(void **state)
{
	struct lab *lab = *state;
	struct history_sweep sweep;

	run(lab, (struct sweep){.verdict = VERDICT_CONFIRMED});
	run(lab, (struct sweep){.verdict = -1, .name = "abc", .shard = 1, .shards = 2});
	assert_int_equal(judge(lab).state, HISTORY_SHARD_MISSING);
	run(lab, (struct sweep){.verdict = VERDICT_CLEAR, .name = "abc", .shard = 2, .shards = 2});
	assert_int_equal(history_find_sweep(lab->h, "abc", NULL, &sweep), 0);
	assert_int_equal(sweep.shards_present, 2);
	assert_false(sweep.interrupted);
	assert_int_equal(judge(lab).state, HISTORY_FIXED);
}

static void test_another_vantage_is_another_story(void **state)
{
	struct lab *lab = *state;
	struct history_sweep sweep, base;

	run(lab, (struct sweep){.verdict = VERDICT_CONFIRMED});
	run(lab, (struct sweep){.verdict = VERDICT_CLOSED, .vantage = "there"});
	assert_int_equal(judge(lab).state, HISTORY_STATE_COUNT);
	run(lab, (struct sweep){.verdict = VERDICT_CONFIRMED});
	assert_int_equal(judge(lab).state, HISTORY_STILL);
	assert_int_equal(history_find_sweep(lab->h, NULL, NULL, &sweep), 0);
	assert_int_equal(history_find_sweep(lab->h, NULL, &sweep, &base), 0);
	assert_int_equal(base.started_ms, 1000);
}

static void test_overlap_keeps_the_worse(void **state)
{
	struct lab *lab = *state;

	run(lab, (struct sweep){.verdict = VERDICT_CONFIRMED, .name = "abc"});
	run(lab, (struct sweep){.verdict = VERDICT_CLOSED, .name = "abd", .shard = 1, .shards = 2});
	run(lab,
	    (struct sweep){.verdict = VERDICT_CONFIRMED, .name = "abd", .shard = 2, .shards = 2});
	assert_int_equal(judge(lab).state, HISTORY_STILL);
}

static void test_names_of_sweeps(void **state)
{
	struct lab *lab = *state;
	struct history_sweep sweep;

	run(lab, (struct sweep){.verdict = -1, .name = "abc"});
	run(lab, (struct sweep){.verdict = -1, .name = "abd"});
	assert_int_equal(history_find_sweep(lab->h, "ab", NULL, &sweep), -EINVAL);
	assert_int_equal(history_find_sweep(lab->h, "abd", NULL, &sweep), 0);
	assert_string_equal(sweep.name, "abd");
	assert_int_equal(history_find_sweep(lab->h, "x", NULL, &sweep), -ENOENT);
	assert_int_equal(history_find_sweep(lab->h, "%", NULL, &sweep), -ENOENT);
}

static void test_no_history(void **state)
{
	char path[] = "/tmp/pprofwall-nohistory-XXXXXX", why[HISTORY_ERROR_LEN];
	int fd = mkstemp(path);
	struct history *h;

	(void)state;
	assert_true(fd >= 0);
	assert_int_equal(write(fd, "this is a letter to my aunt\n", 28), 28);
	close(fd);
	assert_true(history_open(path, HISTORY_WRITE, &h, why) < 0);
	assert_true(history_open(path, HISTORY_READ, &h, why) < 0);
	unlink(path);
	assert_true(history_open(path, HISTORY_READ, &h, why) < 0);
}

int main(void)
{
#define IN_LAB(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)
	const struct CMUnitTest tests[] = {
	    IN_LAB(test_new_and_still),           IN_LAB(test_changed),
	    IN_LAB(test_fixed_is_earned),         IN_LAB(test_never_fixed),
	    IN_LAB(test_shards_are_one_sweep),    IN_LAB(test_another_vantage_is_another_story),
	    IN_LAB(test_overlap_keeps_the_worse), IN_LAB(test_names_of_sweeps),
	    cmocka_unit_test(test_no_history),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
