/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Joining shards: which finding stays, which lines are none, and histories. */
#include "common/cleanup.h"
#include "scanner/history_merge.h"
#include "scanner/merge_input.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
/* after what it needs */
#include <cmocka.h>

/* Findings */

struct lab {
	struct merge_input input;
	char *text; /* what walk() has seen */
	size_t size;
	FILE *out;
};

static int set_up(void **state)
{
	struct lab *lab = calloc(1, sizeof(*lab));
	char why[MERGE_ERROR_LEN];

	assert_non_null(lab);
	assert_int_equal(merge_store_new(&lab->input.store, why), 0);
	lab->input.tally = sweep_tally_new();
	lab->out = open_memstream(&lab->text, &lab->size);
	*state = lab;
	return 0;
}

static int tear_down(void **state)
{
	struct lab *lab = *state;

	merge_store_free(lab->input.store);
	sweep_tally_free(lab->input.tally);
	fclose(lab->out);
	free(lab->text);
	free(lab);
	return 0;
}

struct seen {
	const char *endpoint, *host, *path;
	int64_t time_ms;
	enum finding_verdict verdict;
	const char *kind; /* tells them apart */
};

static char *to_line(const struct seen *seen)
{
	struct finding f;
	char *line;

	finding_init(&f);
	assert_int_equal(endpoint_parse(seen->endpoint, &f.endpoint), 0);
	finding_set(&f.host, seen->host);
	finding_set(&f.path, seen->path);
	finding_set(&f.kind, seen->kind);
	f.time_ms = seen->time_ms;
	f.verdict = seen->verdict;
	line = finding_to_line(&f);
	assert_non_null(line);
	finding_fini(&f);
	return line;
}

static void add(struct lab *lab, struct seen seen)
{
	auto_free char *line = to_line(&seen);
	char why[128];
	struct finding f;

	assert_int_equal(finding_from_line(line, strlen(line), &f, why), 0);
	assert_int_equal(merge_store_add(lab->input.store, &f, line), 0);
	finding_fini(&f);
}

static int note(const struct finding *f, void *arg)
{
	struct lab *lab = arg;
	char endpoint[ENDPOINT_TEXT_LEN];

	fprintf(lab->out, "%s %s %s %s %s\n", endpoint_format(&f->endpoint, endpoint),
	        f->host ? f->host : "-", f->path ? f->path : "-", finding_verdict_name(f->verdict),
	        f->kind ? f->kind : "-");
	return 0;
}

static const char *walk(struct lab *lab)
{
	rewind(lab->out);
	assert_int_equal(merge_store_walk(lab->input.store, note, lab), 0);
	fflush(lab->out);
	return lab->text;
}

static void test_the_newest_stays_and_of_equals_the_graver(void **state)
{
	static const struct seen all[] = {
	    {"10.0.0.1:80", NULL, "/", 1000, VERDICT_CONFIRMED, "old"},
	    {"10.0.0.1:80", NULL, "/", 2000, VERDICT_CLEAR, "new"},
	    {"10.0.0.2:80", NULL, "/", 1000, VERDICT_CLEAR, "light"},
	    {"10.0.0.2:80", NULL, "/", 1000, VERDICT_LIKELY, "grave"},
	    {"10.0.0.2:80", NULL, "/", 1000, VERDICT_CLOSED, "lighter"},
	};
	struct lab *lab = *state;

	for (size_t i = 0; i < ARRAY_LEN(all); i++)
		add(lab, all[i]);
	for (size_t i = ARRAY_LEN(all); i > 0; i--) /* in any order */
		add(lab, all[i - 1]);
	assert_string_equal(walk(lab), "10.0.0.1:80 - / clear new\n"
	                               "10.0.0.2:80 - / likely grave\n");
}

static void test_order_and_what_is_another_one(void **state)
{
	struct lab *lab = *state;
	uint64_t count;

	add(lab, (struct seen){"[2001:db8::1]:80", NULL, "/", 1, VERDICT_CLEAR, NULL});
	add(lab, (struct seen){"10.0.0.10:80", NULL, "/", 1, VERDICT_CLEAR, NULL});
	add(lab, (struct seen){"10.0.0.9:8080", NULL, "/", 1, VERDICT_CLEAR, NULL});
	add(lab, (struct seen){"10.0.0.9:80", "b.example", "/", 1, VERDICT_CLEAR, NULL});
	add(lab, (struct seen){"10.0.0.9:80", "a.example", "/x/", 1, VERDICT_CLEAR, NULL});
	add(lab, (struct seen){"10.0.0.9:80", "a.example", "/", 1, VERDICT_CLEAR, NULL});
	add(lab, (struct seen){"10.0.0.9:80", NULL, NULL, 1, VERDICT_CLEAR, NULL});
	assert_string_equal(walk(lab), "10.0.0.9:80 - - clear -\n"
	                               "10.0.0.9:80 a.example / clear -\n"
	                               "10.0.0.9:80 a.example /x/ clear -\n"
	                               "10.0.0.9:80 b.example / clear -\n"
	                               "10.0.0.9:8080 - / clear -\n"
	                               "10.0.0.10:80 - / clear -\n"
	                               "[2001:db8::1]:80 - / clear -\n");
	assert_int_equal(merge_store_count(lab->input.store, &count), 0);
	assert_int_equal(count, 7);
}

/* Input */

static int read_text(struct lab *lab, const char *text, struct merge_oddities *odd, char *why)
{
	FILE *in = fmemopen((void *)(uintptr_t)text, strlen(text), "r");
	int err = merge_input_read(&lab->input, in, "f", odd, why);

	fclose(in);
	return err;
}

static void test_lines(void **state)
{
	const struct sweep_trailer t = {.sweep_id = "0123456789abcdef0123456789abcdef",
	                                .scan_id = "0123456789abcdef0123456789abcdef",
	                                .shard = 1,
	                                .shards = 2};
	const struct seen seen = {"10.0.0.1:80", NULL, "/", 1, VERDICT_CLEAR, NULL};
	auto_free char *line = to_line(&seen), *trailer = sweep_trailer_to_line(&t);
	auto_free char *text = NULL, *again = NULL, *cut = NULL;
	struct lab *lab = *state;
	struct merge_oddities odd;
	char why[MERGE_ERROR_LEN];

	assert_true(asprintf(&text, "%s\n\n%s\n", line, trailer) > 0);
	assert_int_equal(read_text(lab, text, &odd, why), 0);
	assert_false(odd.torn || odd.no_trailer);
	assert_int_equal(lab->input.findings, 1);
	assert_int_equal(lab->input.trailers, 1);
	/* A scan that was killed while it wrote. */
	assert_true(asprintf(&cut, "%s\n%.*s", line, (int)strlen(line) / 2, line) > 0);
	assert_int_equal(read_text(lab, cut, &odd, why), 0);
	assert_true(odd.torn && odd.no_trailer);
	assert_int_equal(lab->input.findings, 2);
	/* What was joined before is a whole one, too. */
	assert_true(asprintf(&again, "%s\n%s\n%s", line, trailer, trailer) > 0);
	assert_int_equal(read_text(lab, again, &odd, why), 0);
	assert_false(odd.torn || odd.no_trailer);
	assert_int_equal(sweep_tally_sweeps(lab->input.tally), 1);
}

static void test_lines_that_are_none(void **state)
{
	struct lab *lab = *state;
	struct merge_oddities odd;
	char why[MERGE_ERROR_LEN];
	auto_free char *longer = NULL;

	assert_int_equal(read_text(lab, "\n{\"schema\":1}\n", &odd, why), -EINVAL);
	assert_non_null(strstr(why, "f:2: no finding: "));
	assert_int_equal(read_text(lab, "[\n", &odd, why), -EINVAL);
	assert_non_null(strstr(why, "f:1: not JSON: "));
	assert_int_equal(read_text(lab, "{\"type\":\"other\"}\n", &odd, why), -EINVAL);
	assert_string_equal(why, "f:1: schema: not a number");
	longer = calloc(1, 1 << 20);
	memset(longer, ' ', (1 << 20) - 1);
	assert_int_equal(read_text(lab, longer, &odd, why), -EINVAL);
	assert_string_equal(why, "f:1: not a line of NDJSON");
}

/* Histories */

struct book {
	char path[64];
	struct history *h;
};

static void book_open(struct book *b)
{
	char why[HISTORY_ERROR_LEN];
	int fd;

	strcpy(b->path, "/tmp/pprofwall-merge-XXXXXX");
	fd = mkstemp(b->path);
	assert_true(fd >= 0);
	close(fd);
	assert_int_equal(history_open(b->path, HISTORY_WRITE, &b->h, why), 0);
}

static void book_close(struct book *b)
{
	history_close(b->h);
	unlink(b->path);
}

/* One shard's run, which has seen one endpoint. */
static void run(struct book *b, const char *name, unsigned shard, unsigned shards, bool complete,
                const char *endpoint, int64_t time_ms, enum finding_verdict verdict)
{
	const struct history_begin begin = {.name = name,
	                                    .shard = shard,
	                                    .shards = shards,
	                                    .started_ms = time_ms - 1,
	                                    .vantage = "here",
	                                    .version = "test",
	                                    .options = "{}"};
	struct history_end end = {.complete = complete, .ended_ms = time_ms + 1};
	struct history_observation o = {.time_ms = time_ms, .verdict = verdict};
	const struct seen seen = {endpoint, NULL, "/", time_ms, verdict, NULL};
	auto_free char *line = to_line(&seen);
	int64_t sweep;

	end.verdicts[verdict] = 1;
	assert_int_equal(endpoint_parse(endpoint, &o.endpoint), 0);
	assert_int_equal(history_begin_sweep(b->h, &begin, &sweep), 0);
	assert_int_equal(history_add_coverage(b->h, sweep, HISTORY_COVERS, "10.0.0.0/24", "80"), 0);
	assert_int_equal(history_add_observation(b->h, sweep, &o, line), 0);
	assert_int_equal(history_end_sweep(b->h, sweep, &end), 0);
}

static int list_entry(const struct history_entry *entry, void *arg)
{
	char *all = arg;

	snprintf(all + strlen(all), 512 - strlen(all), "%s %s\n", entry->endpoint,
	         history_state_name(entry->state));
	return 0;
}

static void expect(struct book *b, unsigned shards_present, bool interrupted, const char *entries)
{
	struct history_sweep sweep;
	char all[512] = "";

	assert_int_equal(history_find_sweep(b->h, NULL, NULL, &sweep), 0);
	assert_int_equal(sweep.shards_present, shards_present);
	assert_int_equal(sweep.interrupted, interrupted);
	assert_int_equal(history_walk(b->h, NULL, &sweep, list_entry, all), 0);
	assert_string_equal(all, entries);
}

#define FIRST  "11111111111111111111111111111111"
#define SECOND "22222222222222222222222222222222"

static void test_histories_of_shards(void **state)
{
	struct book one, two, both;
	struct history_merge sum = {0};
	char why[HISTORY_ERROR_LEN];

	(void)state;
	book_open(&one);
	book_open(&two);
	book_open(&both);
	run(&one, FIRST, 1, 2, true, "10.0.0.1:80", 1000, VERDICT_CONFIRMED);
	run(&two, FIRST, 2, 2, true, "10.0.0.2:80", 1001, VERDICT_CONFIRMED);
	run(&one, SECOND, 1, 2, true, "10.0.0.1:80", 2000, VERDICT_CLEAR);
	run(&two, SECOND, 2, 2, false, "10.0.0.2:80", 2001, VERDICT_CONFIRMED);
	assert_int_equal(history_merge(both.h, one.h, &sum, why), 0);
	expect(&both, 1, false, "10.0.0.1:80 fixed\n");
	assert_int_equal(history_merge(both.h, two.h, &sum, why), 0);
	expect(&both, 2, true, "10.0.0.1:80 fixed\n10.0.0.2:80 still\n");
	assert_int_equal(sum.added, 4);
	/* Again: nothing is new. */
	assert_int_equal(history_merge(both.h, one.h, &sum, why), 0);
	assert_int_equal(sum.added, 4);
	assert_int_equal(sum.same, 2);
	assert_int_equal(sum.twice, 0);
	expect(&both, 2, true, "10.0.0.1:80 fixed\n10.0.0.2:80 still\n");
	book_close(&one);
	book_close(&two);
	book_close(&both);
}

static void test_a_shard_that_was_run_twice(void **state)
{
	struct book one, two;
	struct history_merge sum = {0};
	struct sweep_tally *tally = sweep_tally_new();
	const struct sweep_trailer *runs;
	char why[HISTORY_ERROR_LEN];

	(void)state;
	book_open(&one);
	book_open(&two);
	run(&one, FIRST, 1, 1, false, "10.0.0.1:80", 1000, VERDICT_CONFIRMED);
	run(&two, FIRST, 1, 1, true, "10.0.0.1:80", 3000, VERDICT_LIKELY);
	assert_int_equal(history_merge(one.h, two.h, &sum, why), 0);
	assert_int_equal(sum.twice, 1);
	expect(&one, 1, false, "10.0.0.1:80 new\n");
	assert_int_equal(history_tally_sweep(one.h, FIRST, tally), 0);
	assert_int_equal(sweep_tally_runs(tally, &runs), 1);
	assert_true(runs->complete);
	sweep_tally_free(tally);
	book_close(&one);
	book_close(&two);
}

static void test_all_or_nothing(void **state)
{
	struct book one, two;
	struct history_merge sum = {0};
	char why[HISTORY_ERROR_LEN];

	(void)state;
	book_open(&one);
	book_open(&two);
	run(&one, SECOND, 1, 2, true, "10.0.0.1:80", 2000, VERDICT_CLEAR);
	run(&two, FIRST, 1, 1, true, "10.0.0.2:80", 1000, VERDICT_CONFIRMED);
	run(&two, SECOND, 3, 3, true, "10.0.0.2:80", 2000, VERDICT_CONFIRMED);
	assert_int_equal(history_merge(one.h, two.h, &sum, why), -EINVAL);
	assert_string_equal(why, "sweep 22222222 is in 2 shards and in 3");
	assert_int_equal(sum.added, 0);
	expect(&one, 1, false, "");
	book_close(&one);
	book_close(&two);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(test_the_newest_stays_and_of_equals_the_graver, set_up,
	                                    tear_down),
	    cmocka_unit_test_setup_teardown(test_order_and_what_is_another_one, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(test_lines, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(test_lines_that_are_none, set_up, tear_down),
	    cmocka_unit_test(test_histories_of_shards),
	    cmocka_unit_test(test_a_shard_that_was_run_twice),
	    cmocka_unit_test(test_all_or_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
