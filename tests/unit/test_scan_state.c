/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Which sweep it is and how far: marks, and the file of --resume. */
#include "scanner/scan_state.h"

#include "common/cleanup.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <string.h>
#include <unistd.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

static uint16_t some_ports[] = {80, 8080};

static struct scan_options asked_for(const char *const *targets, size_t n)
{
	return (struct scan_options){.ports = {some_ports, 2},
	                             .targets = (char **)(uintptr_t)targets,
	                             /* only read */ .n_targets = n,
	                             .shard = {0, 1}};
}

/* Marks */

static void test_marks(void **state)
{
	static const char *const whole[] = {
	    "0:0",
	    "18446744073709551615:4096",
	    "3:17:0123456789abcdef=5",
	    "3:17:0123456789abcdef=5:ffffffffffffffff=18446744073709551615",
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(whole); i++) {
		char text[SCAN_MARK_TEXT_LEN];
		struct scan_mark mark;

		assert_int_equal(scan_mark_parse(whole[i], &mark), 0);
		scan_mark_format(&mark, text);
		assert_string_equal(text, whole[i]);
	}
}

static void test_bad_marks(void **state)
{
	static const char *const bad[] = {
	    "",
	    ":",
	    "1",
	    "1:",
	    ":1",
	    "1:4097",
	    "-1:1",
	    "+1:1",
	    " 1:1",
	    "1: 1",
	    "1:1 ",
	    "1:1:",
	    "18446744073709551616:1",
	    "1:1:0123456789abcde=5",
	    "1:1:0123456789abcdef0=5",
	    "1:1:0123456789ABCDEF=5",
	    "1:1:0123456789abcdef=",
	    "1:1:0123456789abcdef=-1",
	    "1:1:0123456789abcdef=18446744073709551616",
	    "1:1:0123456789abcdef=1:",
	    "1:1:0123456789abcdef=1=2",
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		struct scan_mark mark = {.first_target = 42};

		assert_int_equal(scan_mark_parse(bad[i], &mark), -EINVAL);
		assert_int_equal(mark.first_target, 42);
	}
}

static void test_the_largest_mark(void **state)
{
	struct scan_mark mark = {.first_target = UINT64_MAX,
	                         .n_taken = SCAN_MARK_MAX_TAKEN,
	                         .n_parts = SCAN_MARK_MAX_PARTS},
	                 back;
	char text[SCAN_MARK_TEXT_LEN];

	(void)state;
	for (size_t i = 0; i < mark.n_parts; i++) {
		mark.parts[i].digest = UINT64_MAX - i;
		mark.parts[i].position = UINT64_MAX - i;
	}
	scan_mark_format(&mark, text);
	assert_int_equal(scan_mark_parse(text, &back), 0);
	assert_memory_equal(&mark, &back, sizeof(mark));
	/* One part more has no room. */
	strcat(text, ":0123456789abcdef=1");
	assert_int_equal(scan_mark_parse(text, &back), -EINVAL);
}

/* Sweeps */

static void test_who_is_who(void **state)
{
	const char *one[] = {"10.0.0.0/8"}, *two[] = {"10.0.0.0/8", "fd00::1"};
	const char *joined[] = {"10.0.0.0/8fd00::1"};
	struct scan_options o = asked_for(one, 1), other;
	struct scan_state a, b;

	(void)state;
	o.seed = 5;
	o.seed_given = true;
	assert_int_equal(scan_state_begin(&o, &a), 0);
	assert_int_equal(scan_state_begin(&o, &b), 0);
	assert_memory_equal(&a, &b, sizeof(a));
	assert_int_equal(a.seed, 5);
	assert_int_equal(strlen(a.sweep_id), SCAN_SWEEP_ID_LEN - 1);

	/* Another order of the same question is another sweep. */
	other = o;
	other.seed = 6;
	assert_int_equal(scan_state_begin(&other, &b), 0);
	assert_string_equal(a.asked, b.asked);
	assert_string_not_equal(a.sweep_id, b.sweep_id);

	other = asked_for(two, 2);
	assert_int_equal(scan_state_begin(&other, &b), 0);
	assert_string_not_equal(a.asked, b.asked);
	other = asked_for(joined, 1);
	assert_int_equal(scan_state_begin(&other, &a), 0);
	assert_string_not_equal(a.asked, b.asked);
	other = o;
	other.ports.count = 1;
	assert_int_equal(scan_state_begin(&other, &b), 0);
	assert_int_equal(scan_state_begin(&o, &a), 0);
	assert_string_not_equal(a.asked, b.asked);
}

/* Shards come to one seed and one sweep without a word between them; lone sweeps differ. */
static void test_seeds(void **state)
{
	const char *targets[] = {"10.0.0.0/8"};
	struct scan_options o = asked_for(targets, 1);
	struct scan_state a, b;

	(void)state;
	o.shard = (struct sweep_shard){0, 3};
	assert_int_equal(scan_state_begin(&o, &a), 0);
	o.shard.index = 2;
	assert_int_equal(scan_state_begin(&o, &b), 0);
	assert_int_equal(a.seed, b.seed);
	assert_string_equal(a.sweep_id, b.sweep_id);
	o.shard.count = 4;
	assert_int_equal(scan_state_begin(&o, &b), 0);
	assert_string_not_equal(a.sweep_id, b.sweep_id);

	o.shard = (struct sweep_shard){0, 1};
	assert_int_equal(scan_state_begin(&o, &a), 0);
	assert_int_equal(scan_state_begin(&o, &b), 0);
	assert_int_not_equal(a.seed, b.seed);
	o.seed_given = true; /* 0 is a seed like any other */
	o.shard.count = 3;
	assert_int_equal(scan_state_begin(&o, &a), 0);
	assert_int_equal(a.seed, 0);
}

static struct scan_state full_state(void)
{
	struct scan_state s = {.sweep_id = "0123456789abcdef0123456789abcdef",
	                       .asked = "fedcba9876543210fedcba9876543210",
	                       .seed = UINT64_MAX,
	                       .shard = {6, 7},
	                       .endpoints = 1ULL << 40,
	                       .high_risk = 3,
	                       .set_aside = 4};

	for (size_t i = 0; i < VERDICT_COUNT; i++)
		s.verdicts[i] = 1000 + i;
	assert_int_equal(scan_mark_parse("8192:4096:0123456789abcdef=77", &s.mark), 0);
	return s;
}

static void test_round_trip(void **state)
{
	char why[SCAN_STATE_ERROR_LEN];
	struct scan_state s = full_state(), back;
	auto_free char *text = scan_state_format(&s), *again = NULL;

	(void)state;
	assert_non_null(text);
	assert_int_equal(scan_state_parse(text, strlen(text), &back, why), 0);
	assert_memory_equal(&s.mark, &back.mark, sizeof(s.mark));
	assert_int_equal(back.seed, UINT64_MAX);
	assert_int_equal(back.shard.index, 6);
	assert_int_equal(back.endpoints, 1ULL << 40);
	again = scan_state_format(&back);
	assert_string_equal(text, again);
}

/* Whatever is cut off, it is said, and nothing is taken. */
static void test_cut_short(void **state)
{
	struct scan_state s = full_state(), back = {.seed = 1};
	auto_free char *text = scan_state_format(&s);
	size_t length = strlen(text) - 1; /* the newline may be missing */

	(void)state;
	for (size_t i = 0; i < length; i++) {
		char why[SCAN_STATE_ERROR_LEN] = "";
		auto_free char *exact = malloc(i + !i);

		memcpy(exact, text, i);
		assert_int_equal(scan_state_parse(exact, i, &back, why), -EINVAL);
		assert_true(strlen(why) > 0 && !strchr(why, '\n'));
		assert_int_equal(back.seed, 1);
	}
}

static void test_damaged(void **state)
{
	static const struct {
		const char *from, *to;
	} damages[] = {
	    {"\"schema\":1", "\"schema\":2"},
	    {"\"type\":\"resume\"", "\"type\":\"sweep\""},
	    {"\"shard\":7", "\"shard\":0"},
	    {"\"shard\":7", "\"shard\":8"},
	    {"\"shards\":7", "\"shards\":4294967296"},
	    {"\"endpoints\":1099511627776", "\"endpoints\":-1"},
	    {"\"confirmed\":", "\"confirmed\":-"},
	    {"\"seed\":\"18446744073709551615\"", "\"seed\":\"18446744073709551616\""},
	    {"\"seed\":\"18446744073709551615\"", "\"seed\":18"},
	    {"\"sweep_id\":\"0", "\"sweep_id\":\"X"},
	    {"\"asked\":\"f", "\"asked\":\""},
	    {"\"start_at\":\"8192:4096", "\"start_at\":\"8192:4097"},
	    {"\"complete\":false", "\"complete\":0"},
	    {"\"schema\":1", "\"schema\":1,\"schema\":1"},
	};
	struct scan_state s = full_state(), back;
	auto_free char *text = scan_state_format(&s);

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(damages); i++) {
		const char *at = strstr(text, damages[i].from);
		char why[SCAN_STATE_ERROR_LEN];
		auto_free char *bad = NULL;

		assert_non_null(at);
		assert_true(asprintf(&bad, "%.*s%s%s", (int)(at - text), text, damages[i].to,
		                     at + strlen(damages[i].from)) > 0);
		if (scan_state_parse(bad, strlen(bad), &back, why) != -EINVAL)
			fail_msg("taken: %s", damages[i].to);
		assert_true(strncmp(why, "1:", 2) == 0);
	}
}

/* The file */

static char *write_file(const char *text, size_t length)
{
	char *path = strdup("/tmp/pw-state-XXXXXX");
	int fd = mkstemp(path);

	assert_true(fd >= 0);
	assert_int_equal(write(fd, text, length), (ssize_t)length);
	close(fd);
	return path;
}

static int load(const char *text, size_t length, const struct scan_options *o, struct scan_state *s,
                char *why)
{
	auto_free char *path = write_file(text, length);
	int err = scan_state_load(path, o, s, why);

	unlink(path);
	return err;
}

static int load_text(const char *text, const struct scan_options *o, struct scan_state *s,
                     char *why)
{
	return load(text, strlen(text), o, s, why);
}

static void test_load(void **state)
{
	const char *targets[] = {"10.0.0.0/8"};
	struct scan_options o = asked_for(targets, 1);
	char why[SCAN_STATE_ERROR_LEN];
	struct scan_state first, s, fresh;
	auto_free char *text = NULL, *complete = NULL;

	(void)state;
	assert_int_equal(scan_state_begin(&o, &first), 0);
	assert_int_equal(scan_mark_parse("0:1:0123456789abcdef=77", &first.mark), 0);
	text = scan_state_format(&first);

	/* Another run comes to another seed, and goes on with the file's. */
	assert_int_equal(scan_state_begin(&o, &s), 0);
	assert_int_equal(load_text(text, &o, &s, why), 0);
	assert_int_equal(s.seed, first.seed);
	assert_int_equal(s.mark.parts[0].position, 77);

	/* None, an empty and a complete one: from the start. */
	assert_int_equal(scan_state_begin(&o, &fresh), 0);
	s = fresh;
	assert_int_equal(scan_state_load("/tmp/pw-state-that-is-not", &o, &s, why), 0);
	assert_int_equal(load_text("", &o, &s, why), 0);
	first.complete = true;
	complete = scan_state_format(&first);
	assert_int_equal(load_text(complete, &o, &s, why), 0);
	assert_memory_equal(&s, &fresh, sizeof(s));
}

static void test_load_refuses(void **state)
{
	const char *targets[] = {"10.0.0.0/8"}, *others[] = {"10.0.0.0/9"};
	struct scan_options o = asked_for(targets, 1), other;
	char why[SCAN_STATE_ERROR_LEN];
	struct scan_state first, s;
	auto_free char *text = NULL, *large = calloc(1, 70000);

	(void)state;
	assert_int_equal(scan_state_begin(&o, &first), 0);
	text = scan_state_format(&first);

	other = asked_for(others, 1);
	assert_int_equal(scan_state_begin(&other, &s), 0);
	assert_int_equal(load_text(text, &other, &s, why), -EINVAL);
	assert_non_null(strstr(why, "other targets"));

	other = o;
	other.shard = (struct sweep_shard){1, 2};
	assert_int_equal(scan_state_begin(&other, &s), 0);
	assert_int_equal(load_text(text, &other, &s, why), -EINVAL);
	assert_non_null(strstr(why, "of shard 1/1"));

	other = o;
	other.seed_given = true;
	other.seed = first.seed + 1;
	assert_int_equal(scan_state_begin(&other, &s), 0);
	assert_int_equal(load_text(text, &other, &s, why), -EINVAL);
	assert_non_null(strstr(why, "the seed"));

	assert_int_equal(load_text("{}", &o, &s, why), -EINVAL);
	assert_int_equal(load(large, 70000, &o, &s, why), -EFBIG);
	assert_int_equal(scan_state_load("/tmp", &o, &s, why), -EISDIR);
	assert_int_not_equal(scan_state_load("/dev/null", &o, &s, why), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_marks),      cmocka_unit_test(test_bad_marks),
	    cmocka_unit_test(test_seeds),      cmocka_unit_test(test_the_largest_mark),
	    cmocka_unit_test(test_who_is_who), cmocka_unit_test(test_round_trip),
	    cmocka_unit_test(test_cut_short),  cmocka_unit_test(test_damaged),
	    cmocka_unit_test(test_load),       cmocka_unit_test(test_load_refuses),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
