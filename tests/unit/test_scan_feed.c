/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * From targets to batches: what is dealt to which shard, which target speaks for an endpoint, and
 * where an earlier run's marks begin. Names are where --resolve says: no DNS.
 */
#include "scanner/scan_feed.h"

#include "common/cleanup.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <unistd.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

enum { MAX_SEEN = 200000, MAX_ARGUMENTS = 16, SEEN_LEN = 96 };

static uint16_t some_ports[] = {80, 8080, 9090};

/* Everything that a scan would probe, as sorted lines "ENDPOINT HOST PATH LABELS". */
struct seen {
	char (*lines)[SEEN_LEN];
	size_t n, batches;
	uint64_t positions; /* of all parts, duplicates included */
};

struct run {
	const char *const *arguments;
	size_t n_arguments;
	struct sweep_shard shard;
	uint64_t seed;
	size_t n_ports; /* 0: all of some_ports */
	const struct scan_mark *mark;
	const char *const *resolves; /* until NULL; or NULL */
	struct scan_mark *cut;       /* a mark in the middle of the first batch; or NULL */
};

static void ignore_change(void *arg)
{
	(void)arg;
}

static void no_complaint(const char *why, bool incomplete, void *arg)
{
	(void)incomplete;
	(void)arg;
	fail_msg("%s", why);
}

static int compare_lines(const void *a, const void *b)
{
	return strcmp(a, b);
}

static void see(struct seen *seen, const struct endpoint *e, const struct scan_target *t)
{
	char text[ENDPOINT_TEXT_LEN];

	assert_true(seen->n < MAX_SEEN);
	snprintf(seen->lines[seen->n++], SEEN_LEN, "%s %s %s %s", endpoint_format(e, text),
	         t ? t->host : "", t ? t->path : "", t ? t->labels : "");
}

/* What the walk does with a part (scan_walk.c). */
static void see_part(struct seen *seen, const struct scan_part *part)
{
	for (uint64_t i = part->first; i < part->size; i++) {
		uint64_t position = sweep_shard_position(&part->shard, i), found;
		const struct scan_target *target;
		struct endpoint e;
		uint32_t token;
		size_t at = 0;

		assert_true(sweep_shard_find(&part->shard, position, &found) && found == i);
		seen->positions++;
		if (!sweep_space_at(part->space, sweep_order_at(&part->order, position), &e,
		                    &token))
			continue;
		while (scan_part_match(part, &e, &at, &target))
			see(seen, &e, target);
	}
}

static void cut_batch(const struct scan_batch *batch, struct scan_mark *mark)
{
	*mark = (struct scan_mark){.first_target = batch->first_target,
	                           .n_taken = batch->n_taken,
	                           .n_parts = batch->n_parts};
	for (size_t i = 0; i < batch->n_parts; i++) {
		mark->parts[i].digest = batch->parts[i].digest;
		mark->parts[i].position = batch->parts[i].size / 3;
	}
}

static void see_batch(struct seen *seen, struct scan_batch *batch)
{
	assert_true(batch->n_taken <= SCAN_BATCH_TARGETS);
	for (size_t i = 0; i < batch->n_parts; i++)
		see_part(seen, &batch->parts[i]);
	seen->batches++;
	scan_batch_free(batch);
}

static struct scan_options make_options(const struct run *run)
{
	struct scan_options o = {
	    .ports = {some_ports, run->n_ports ? run->n_ports : ARRAY_LEN(some_ports)},
	    .targets = (char **)(uintptr_t)run->arguments, /* only read */
	    .n_targets = run->n_arguments};
	char why[SCAN_ROUTE_ERROR_LEN];

	for (size_t i = 0; run->resolves && run->resolves[i]; i++)
		assert_int_equal(scan_route_add_resolve(&o.route, run->resolves[i], why), 0);
	return o;
}

static void take_batches(const struct run *run, struct scan_feed *feed, struct event_base *base,
                         struct seen *seen)
{
	for (;;) {
		struct scan_batch *batch = NULL;
		int got = scan_feed_next(feed, &batch);

		assert_true(got >= 0);
		if (got == SCAN_FEED_END)
			return;
		if (got == SCAN_FEED_WAIT) {
			assert_int_equal(event_base_loop(base, EVLOOP_ONCE), 0);
			continue;
		}
		if (run->cut && seen->batches == 0)
			cut_batch(batch, run->cut);
		see_batch(seen, batch);
	}
}

static struct seen feed(const struct run *run)
{
	const struct scan_ledger_conf nothing = {0};
	struct scan_options o = make_options(run);
	struct scan_feed_conf conf = {.options = &o,
	                              .shard = run->shard,
	                              .seed = run->seed,
	                              .mark = run->mark,
	                              .changed = ignore_change,
	                              .complain = no_complaint};
	struct seen seen = {.lines = malloc(sizeof(*seen.lines) * MAX_SEEN)};
	char why[SCAN_SOURCE_ERROR_LEN], ledger_why[SCAN_LEDGER_ERROR_LEN];
	struct scan_feed *feed = NULL;

	if (!conf.shard.count)
		conf.shard.count = 1;
	conf.base = event_base_new();
	assert_non_null(seen.lines);
	assert_int_equal(scan_ledger_open(&nothing, &conf.ledger, ledger_why), 0);
	if (scan_source_open(o.targets, o.n_targets, &o.ports, &conf.source, why) < 0)
		fail_msg("%s", why);
	assert_int_equal(scan_feed_new(&conf, &feed), 0);
	assert_int_equal(scan_feed_position(feed), 0);
	take_batches(run, feed, conf.base, &seen);
	scan_feed_free(feed);
	scan_source_close(conf.source);
	scan_ledger_close(conf.ledger);
	event_base_free(conf.base);
	scan_route_fini(&o.route);
	qsort(seen.lines, seen.n, SEEN_LEN, compare_lines);
	return seen;
}

static struct seen feed_of(size_t n, const char *const *arguments)
{
	return feed(&(struct run){.arguments = arguments, .n_arguments = n, .seed = 1});
}

static void expect(const struct seen *seen, const char *const *lines, size_t n)
{
	for (size_t i = 0; i < seen->n && i < n; i++)
		assert_string_equal(seen->lines[i], lines[i]);
	assert_int_equal(seen->n, n);
	free(seen->lines);
}

#define EXPECT(found, ...)                                                                         \
	do {                                                                                       \
		static const char *const lines_[] = {__VA_ARGS__};                                 \
		struct seen seen_ = (found);                                                       \
		expect(&seen_, lines_, ARRAY_LEN(lines_));                                         \
	} while (0)

/* A file of targets; *path is "@/tmp/...", which the caller unlinks and frees. */
static void write_list(char **path, const char *text)
{
	int fd;

	*path = strdup("@/tmp/pw-feed-XXXXXX");
	fd = mkstemp(*path + 1);
	assert_true(fd >= 0);
	assert_int_equal(write(fd, text, strlen(text)), (ssize_t)strlen(text));
	close(fd);
}

static void remove_list(char **path)
{
	unlink(*path + 1);
	free(*path);
}

/* Which target speaks */

static void test_plain(void **state)
{
	(void)state;
	EXPECT(feed_of(2, (const char *[]){"10.0.0.1", "10.0.0.2:81"}), "10.0.0.1:80   ",
	       "10.0.0.1:8080   ", "10.0.0.1:9090   ", "10.0.0.2:81   ");
}

/* Overlapping networks: each endpoint once. */
static void test_overlapping(void **state)
{
	struct seen seen;

	(void)state;
	seen = feed_of(5, (const char *[]){"10.0.0.0/29", "10.0.0.4/30", "10.0.0.0/29",
	                                   "10.0.0.5:80", "10.0.0.6:7777"});
	assert_int_equal(seen.n, 8 * 3 + 1);
	for (size_t i = 1; i < seen.n; i++)
		assert_string_not_equal(seen.lines[i - 1], seen.lines[i]);
	free(seen.lines);
}

static void test_narrowest_label_wins(void **state)
{
	char *list;
	struct seen seen;

	(void)state;
	write_list(&list, "10.0.0.0/30 net=wide\n"
	                  "10.0.0.2/31 net=narrow env=x\n"
	                  "10.0.0.3:80\n" /* says nothing, and takes nothing away */
	                  "10.0.0.1:80 net=one\n"
	                  "fd00::/127 net=six\n");
	seen = feed(&(struct run){(const char *[]){list}, 1, .n_ports = 1});
	remove_list(&list);
	EXPECT(seen, "10.0.0.0:80   net=wide", "10.0.0.1:80   net=one",
	       "10.0.0.2:80   net=narrow env=x", "10.0.0.3:80   net=narrow env=x",
	       "[fd00::1]:80   net=six", "[fd00::]:80   net=six");
}

/* An endpoint is asked once for each name and URL, however many are there. */
static void test_particular(void **state)
{
	static const char *const resolves[] = {"a.test:80:10.0.0.1", "b.test:80:10.0.0.1",
	                                       "b.test:81:10.0.0.2", NULL};
	static const char *const targets[] = {"http://a.test/x/", "b.test:80", "b.test:81",
	                                      "http://10.0.0.1/y/", "10.0.0.1:80"};

	(void)state;
	EXPECT(feed(&(struct run){
	           .arguments = targets, .n_arguments = ARRAY_LEN(targets), .resolves = resolves}),
	       "10.0.0.1:80   ", "10.0.0.1:80  /y/ ", "10.0.0.1:80 a.test /x/ ",
	       "10.0.0.1:80 b.test  ", "10.0.0.2:81 b.test  ");
}

/* Shards */

static const char mixed[] = "10.0.0.0/26 net=a\n"
                            "10.0.0.16/28 net=b\n"
                            "10.0.0.20:4444\n"
                            "http://10.0.0.1/x/\n"
                            "https://10.0.0.2/ team=t\n"
                            "a.test\n"
                            "b.test:80\n"
                            "10.0.0.0/27\n"
                            "fd00::/124\n"
                            "fd00::8/125 net=c\n"
                            "b.test:81\n"
                            "http://a.test/debug/\n"
                            "10.0.0.1:80\n";
static const char *const mixed_resolves[] = {"a.test:80:10.0.0.1",   "a.test:8080:10.0.0.3",
                                             "a.test:9090:10.0.0.3", "b.test:80:10.0.0.1",
                                             "b.test:81:fd00::9",    NULL};

static void join(struct seen *all, const struct seen *more)
{
	assert_true(all->n + more->n <= MAX_SEEN);
	memcpy(all->lines + all->n, more->lines, more->n * SEEN_LEN);
	all->n += more->n;
	all->positions += more->positions;
	free(more->lines);
}

static void expect_same(const struct seen *a, const struct seen *b)
{
	assert_int_equal(a->n, b->n);
	for (size_t i = 0; i < a->n; i++)
		assert_string_equal(a->lines[i], b->lines[i]);
}

static void test_shards(void **state)
{
	static const uint32_t counts[] = {1, 2, 3, 5, 7, 13, 64, 1000};
	char *list;
	struct seen whole;

	(void)state;
	write_list(&list, mixed);
	whole =
	    feed(&(struct run){(const char *[]){list}, 1, .seed = 9, .resolves = mixed_resolves});
	/* Networks 64 + 1 and 16 addresses and ports; 2 URLs; a.test 3, b.test 1 + 1, a URL */
	assert_int_equal(whole.n, 64 * 3 + 1 + 16 * 3 + 2 + 3 + 1 + 1 + 1);
	for (size_t c = 0; c < ARRAY_LEN(counts); c++) {
		struct seen all = {.lines = malloc(sizeof(*all.lines) * MAX_SEEN)};

		for (uint32_t i = 0; i < counts[c]; i++) {
			struct seen one =
			    feed(&(struct run){(const char *[]){list}, 1, .shard = {i, counts[c]},
			                       .seed = 9, .resolves = mixed_resolves});

			join(&all, &one);
		}
		qsort(all.lines, all.n, SEEN_LEN, compare_lines);
		expect_same(&all, &whole);
		free(all.lines);
	}
	free(whole.lines);
	remove_list(&list);
}

/* Names are dealt by their number in the input, whatever else is between them. */
static void test_names_by_number(void **state)
{
	static const char *const resolves[] = {"a.test:80:10.1.0.1", "b.test:80:10.1.0.2",
	                                       "c.test:80:10.1.0.3", "d.test:80:10.1.0.4", NULL};
	static const char *const targets[] = {"a.test:80", "b.test:80", "10.0.0.1:80", "c.test:80",
	                                      "d.test:80"};
	struct run run = {.arguments = targets,
	                  .n_arguments = ARRAY_LEN(targets),
	                  .resolves = resolves,
	                  .shard = {1, 2}};
	struct seen seen = feed(&run);

	(void)state;
	/* the second and the fourth; the network is the shard's that its only position falls to */
	assert_true(seen.n == 2 || seen.n == 3);
	assert_string_equal(seen.lines[seen.n - 2], "10.1.0.2:80 b.test  ");
	assert_string_equal(seen.lines[seen.n - 1], "10.1.0.3:80 c.test  ");
	free(seen.lines);
}

/* More targets than one batch takes: cut alike everywhere, nothing lost. */
static void test_many_batches(void **state)
{
	auto_free char *text = malloc(20 * 10001);
	size_t length = 0;
	struct seen whole, all;
	char *list;

	(void)state;
	for (unsigned i = 0; i < 10000; i++)
		length += (size_t)sprintf(text + length,
		                          i % 10 ? "10.%u.%u.1:80\n" : "http://10.%u.%u.1/\n",
		                          i / 250, i % 250);
	write_list(&list, text);
	whole = feed(&(struct run){(const char *[]){list}, 1, .seed = 9});
	assert_int_equal(whole.n, 10000);
	assert_int_equal(whole.batches, 3);
	all = (struct seen){.lines = malloc(sizeof(*all.lines) * MAX_SEEN)};
	for (uint32_t i = 0; i < 3; i++) {
		struct seen one =
		    feed(&(struct run){(const char *[]){list}, 1, .shard = {i, 3}, .seed = 9});

		assert_true(one.n > 3000 && one.n < 3700);
		join(&all, &one);
	}
	qsort(all.lines, all.n, SEEN_LEN, compare_lines);
	expect_same(&all, &whole);
	free(all.lines);
	free(whole.lines);
	remove_list(&list);
}

/* Marks */

/* What was before the mark and what comes after it are all; the mark alone says where. */
static void test_resumed(void **state)
{
	static const struct sweep_shard shards[] = {{0, 1}, {1, 3}};
	char *list;

	(void)state;
	write_list(&list, mixed);
	for (size_t i = 0; i < ARRAY_LEN(shards); i++) {
		struct run run = {(const char *[]){list}, 1, .shard = shards[i], .seed = 9,
		                  .resolves = mixed_resolves};
		struct scan_mark mark;
		struct seen whole, rest;
		size_t k = 0;
		uint64_t done = 0;

		run.cut = &mark;
		whole = feed(&run);
		run.cut = NULL;
		run.mark = &mark;
		rest = feed(&run);
		for (size_t p = 0; p < mark.n_parts; p++)
			done += mark.parts[p].position;
		assert_int_equal(mark.n_parts, 2);
		assert_int_equal(rest.positions, whole.positions - done);
		assert_true(rest.n < whole.n);
		for (size_t r = 0; r < rest.n; r++) { /* a part of the whole */
			while (k < whole.n && strcmp(whole.lines[k], rest.lines[r]) != 0)
				k++;
			assert_true(k++ < whole.n);
		}
		free(whole.lines);
		free(rest.lines);
	}
	remove_list(&list);
}

/* Names that are elsewhere by now: what was done of them says nothing. */
static void test_resumed_elsewhere(void **state)
{
	static const char *const before[] = {"a.test:80:10.1.0.1", NULL};
	static const char *const after[] = {"a.test:80:10.1.0.2", NULL};
	static const char *const targets[] = {"a.test:80", "10.0.0.0/30"};
	struct scan_mark mark;
	struct run run = {targets, 2, .n_ports = 1, .resolves = before, .cut = &mark};
	struct seen seen = feed(&run);

	(void)state;
	assert_int_equal(seen.n, 5);
	free(seen.lines);
	for (size_t i = 0; i < mark.n_parts; i++)
		mark.parts[i].position = i == 0 ? 4 : 1; /* all */
	run.cut = NULL;
	run.mark = &mark;
	seen = feed(&run);
	assert_int_equal(seen.n, 0);
	free(seen.lines);
	run.resolves = after;
	EXPECT(feed(&run), "10.1.0.2:80 a.test  ");
}

/* Whole batches that were done are read over, and not made. */
static void test_resumed_later(void **state)
{
	auto_free char *text = malloc(20 * 5001);
	struct scan_mark mark = {.first_target = SCAN_BATCH_TARGETS};
	size_t length = 0;
	struct seen seen;
	char *list;

	(void)state;
	for (unsigned i = 0; i < 5000; i++)
		length +=
		    (size_t)sprintf(text + length, "10.0.%u.%u:80\n", 100 + i / 100, 100 + i % 100);
	write_list(&list, text);
	seen = feed(&(struct run){(const char *[]){list}, 1, .mark = &mark});
	assert_int_equal(seen.n, 5000 - SCAN_BATCH_TARGETS);
	assert_string_equal(seen.lines[0], "10.0.140.196:80   ");
	assert_int_equal(seen.batches, 1);
	free(seen.lines);
	/* A batch that a pipe had made shorter is made as short again. */
	mark = (struct scan_mark){.first_target = 10, .n_taken = 7};
	seen = feed(&(struct run){(const char *[]){list}, 1, .mark = &mark});
	assert_int_equal(seen.n, 4990);
	assert_int_equal(seen.batches, 3);
	free(seen.lines);
	remove_list(&list);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_plain),
	    cmocka_unit_test(test_overlapping),
	    cmocka_unit_test(test_narrowest_label_wins),
	    cmocka_unit_test(test_particular),
	    cmocka_unit_test(test_shards),
	    cmocka_unit_test(test_names_by_number),
	    cmocka_unit_test(test_many_batches),
	    cmocka_unit_test(test_resumed),
	    cmocka_unit_test(test_resumed_elsewhere),
	    cmocka_unit_test(test_resumed_later),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
