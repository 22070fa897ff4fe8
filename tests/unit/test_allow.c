/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/agent/allow.h"

#include "common/clock.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

struct bench {
	struct event_base *base;
	struct allow *allow;
	struct conf *conf;
	char directory[64], file[96];
	unsigned changed[4], learnt, failed, recovered;
	uint64_t tokens[8]; /* of the questions so far */
	unsigned asked;
};

static void on_changed(unsigned rule, void *arg)
{
	((struct bench *)arg)->changed[rule]++;
}

static void on_learnt(const struct allow_source *s, void *arg)
{
	(void)s;
	((struct bench *)arg)->learnt++;
}

static void on_failed(const struct allow_source *s, void *arg)
{
	assert_true(s->error[0]);
	((struct bench *)arg)->failed++;
}

static void on_recovered(const struct allow_source *s, void *arg)
{
	(void)s;
	((struct bench *)arg)->recovered++;
}

static int ask(const char *name, uint64_t token, void *arg)
{
	struct bench *b = arg;

	assert_true(token & ALLOW_TOKEN);
	assert_non_null(strchr(name, '.'));
	b->tokens[b->asked++] = token;
	return 0;
}

static void configure(struct bench *b, const char *lists)
{
	char text[4096], error[CONF_ERROR_LEN];

	snprintf(text, sizeof(text), "breakers:\n%s", lists);
	conf_free(b->conf);
	b->conf = conf_load("f", text, strlen(text), error);
	if (!b->conf)
		fail_msg("%s", error);
	assert_int_equal(allow_configure(b->allow, b->conf, clock_monotonic_ms()), 0);
}

static int setup(void **state)
{
	struct bench *b = calloc(1, sizeof(*b));
	const struct allow_handlers handlers = {
	    .changed = on_changed,
	    .learnt = on_learnt,
	    .failed = on_failed,
	    .recovered = on_recovered,
	    .arg = b,
	};

	if (!b)
		return -1;
	b->base = event_base_new();
	snprintf(b->directory, sizeof(b->directory), "/tmp/pprofwall-allow-XXXXXX");
	if (!b->base || !mkdtemp(b->directory))
		return -1;
	snprintf(b->file, sizeof(b->file), "%s/list", b->directory);
	*state = b;
	return allow_new(b->base, &handlers, &b->allow);
}

static int teardown(void **state)
{
	struct bench *b = *state;

	allow_free(b->allow);
	conf_free(b->conf);
	event_base_free(b->base);
	unlink(b->file);
	rmdir(b->directory);
	free(b);
	return 0;
}

static void write_file(const struct bench *b, const char *text)
{
	char other[128];
	FILE *out;

	snprintf(other, sizeof(other), "%s.new", b->file);
	out = fopen(other, "w");
	assert_non_null(out);
	fputs(text, out);
	fclose(out);
	assert_int_equal(rename(other, b->file), 0);
}

static struct ipc_addresses answer_of(const char *one, const char *two)
{
	struct ipc_addresses answer = {.ttl_s = 30};

	assert_int_equal(endpoint_parse_address(one, &answer.addresses[answer.count++]), 0);
	if (two)
		assert_int_equal(endpoint_parse_address(two, &answer.addresses[answer.count++]), 0);
	return answer;
}

/* "10.0.0.1 fd00::1": the rule's list. */
static const char *list_of(const struct bench *b, unsigned rule, char text[static 512])
{
	struct prefix *list;
	size_t count;

	assert_int_equal(allow_merge(b->allow, rule, &list, &count), 0);
	text[0] = '\0';
	for (size_t i = 0; i < count; i++) {
		char one[PREFIX_TEXT_LEN];

		if (i > 0)
			strcat(text, " ");
		strcat(text, prefix_format(&list[i], one));
	}
	free(list);
	return text;
}

static const char one_name[] = "- {name: a, allow_from: [scraper.example]}\n"
                               "- {name: b, allow_from: [10.0.0.9, SCRAPER.example]}\n"
                               "- {name: c, allow_from: [10.0.0.9]}\n";

static void test_a_name_of_two_rules_is_asked_once(void **state)
{
	struct bench *b = *state;
	int64_t now = clock_monotonic_ms();
	struct ipc_addresses answer = answer_of("10.0.0.1", "fd00::1");
	char text[512];

	configure(b, one_name);
	assert_false(allow_is_settled(b->allow, 0, now));
	assert_true(allow_is_settled(b->allow, 2, now));
	assert_true(allow_is_settled(b->allow, 0, now + ALLOW_PATIENCE_MS + 100));
	allow_ask_due(b->allow, now, ask, b);
	allow_ask_due(b->allow, now, ask, b);
	assert_int_equal(b->asked, 1);
	allow_take_answer(b->allow, b->tokens[0], &answer, now);
	assert_int_equal(b->changed[0] + b->changed[1], 2);
	assert_int_equal(b->changed[2], 0);
	assert_int_equal(b->learnt, 1);
	assert_string_equal(list_of(b, 0, text), "10.0.0.1 fd00::1");
	assert_string_equal(list_of(b, 1, text), "10.0.0.1 fd00::1");
	assert_string_equal(list_of(b, 2, text), "");
	assert_true(allow_is_settled(b->allow, 0, now));
	/* Again only when the TTL is over; the same answer is no change. */
	allow_ask_due(b->allow, now + 29999, ask, b);
	assert_int_equal(b->asked, 1);
	allow_ask_due(b->allow, now + 30000, ask, b);
	assert_int_equal(b->asked, 2);
	allow_take_answer(b->allow, b->tokens[1], &answer, now + 30000);
	assert_int_equal(b->changed[0], 1);
}

static void test_failures_keep_what_was_said(void **state)
{
	struct bench *b = *state;
	int64_t now = clock_monotonic_ms();
	struct ipc_addresses good = answer_of("10.0.0.1", NULL), empty = {0};
	struct ipc_addresses failure = {.error = -ETIMEDOUT, .text = "no answer in time"};
	char text[512];

	configure(b, one_name);
	allow_ask_due(b->allow, now, ask, b);
	allow_take_answer(b->allow, b->tokens[0], &good, now);
	allow_take_answer(b->allow, b->tokens[0], &failure, now);
	allow_take_answer(b->allow, b->tokens[0], &empty, now);
	assert_int_equal(b->failed, 0); /* a packet or two may be lost */
	assert_int_equal(allow_source_state(allow_source_at(b->allow, 0)), ALLOW_STALE);
	allow_take_answer(b->allow, b->tokens[0], &failure, now);
	allow_take_answer(b->allow, b->tokens[0], &failure, now);
	assert_int_equal(b->failed, 1);
	assert_string_equal(allow_source_at(b->allow, 0)->error, "no answer in time");
	assert_string_equal(list_of(b, 0, text), "10.0.0.1");
	assert_int_equal(b->changed[0], 1);
	/* Soon again, and once it is good the same people are told. */
	b->asked = 0;
	allow_ask_due(b->allow, now + ALLOW_RETRY_MS, ask, b);
	assert_int_equal(b->asked, 1);
	allow_take_answer(b->allow, b->tokens[0], &good, now);
	assert_int_equal(b->recovered, 1);
	assert_int_equal(allow_source_state(allow_source_at(b->allow, 0)), ALLOW_GOOD);
}

static void test_a_family_without_answer_stays(void **state)
{
	struct bench *b = *state;
	int64_t now = clock_monotonic_ms();
	struct ipc_addresses both = answer_of("10.0.0.1", "fd00::1"),
	                     half = answer_of("10.0.0.2", NULL);
	char text[512];

	configure(b, one_name);
	allow_ask_due(b->allow, now, ask, b);
	allow_take_answer(b->allow, b->tokens[0], &both, now);
	half.unanswered = AF_INET6;
	allow_take_answer(b->allow, b->tokens[0], &half, now);
	assert_string_equal(list_of(b, 0, text), "10.0.0.2 fd00::1");
	half.unanswered = 0;
	allow_take_answer(b->allow, b->tokens[0], &half, now);
	assert_string_equal(list_of(b, 0, text), "10.0.0.2");
}

static void test_a_reload_keeps_what_is_known(void **state)
{
	struct bench *b = *state;
	int64_t now = clock_monotonic_ms();
	struct ipc_addresses good = answer_of("10.0.0.1", NULL), late = answer_of("10.0.0.3", NULL);
	char text[512];

	configure(b, one_name);
	allow_ask_due(b->allow, now, ask, b);
	allow_take_answer(b->allow, b->tokens[0], &good, now);
	configure(b, "- {name: b, allow_from: [other.example, scraper.example]}\n");
	assert_string_equal(list_of(b, 0, text), "10.0.0.1");
	assert_false(allow_is_settled(b->allow, 0, now));
	/* An answer to a question of before is not taken for that of another name. */
	allow_take_answer(b->allow, b->tokens[0], &late, now);
	assert_string_equal(list_of(b, 0, text), "10.0.0.1");
	allow_take_answer(b->allow, ALLOW_TOKEN | 77, &late, now);
	allow_take_answer(b->allow, UINT64_MAX, &late, now);
	configure(b, "- {name: b, allow_from: [10.0.0.1]}\n");
	assert_int_equal(allow_source_count(b->allow), 0);
}

static void test_restores_only_what_is_not_known(void **state)
{
	struct bench *b = *state;
	struct prefix p, q;
	char text[512];

	assert_int_equal(prefix_parse("10.0.0.5", &p), PREFIX_OK);
	assert_int_equal(prefix_parse("10.0.0.6", &q), PREFIX_OK);
	configure(b, one_name);
	allow_restore(b->allow, "elsewhere.example", &p, 1, 1000);
	assert_false(allow_is_settled(b->allow, 0, clock_monotonic_ms()));
	allow_restore(b->allow, "scraper.example", &p, 1, 1000);
	allow_restore(b->allow, "scraper.example", &q, 1, 2000);
	assert_string_equal(list_of(b, 1, text), "10.0.0.5");
	assert_true(allow_is_settled(b->allow, 0, clock_monotonic_ms()));
	assert_int_equal(b->learnt, 0);
}

static void run_until(struct bench *b, const unsigned *counter, unsigned value)
{
	int64_t deadline = clock_monotonic_ms() + 10 * 1000;

	while (*counter < value && clock_monotonic_ms() < deadline) {
		const struct timeval step = {.tv_usec = 20 * 1000};

		event_base_loopexit(b->base, &step);
		event_base_dispatch(b->base);
	}
	assert_int_equal(*counter, value);
}

static void test_files_are_followed(void **state)
{
	struct bench *b = *state;
	char lists[256], text[512];

	write_file(b, "10.0.0.1 # one\n10.0.1.0/24\n10.0.1.7\n");
	snprintf(lists, sizeof(lists), "- {name: a, allow_from: ['@%s']}\n", b->file);
	configure(b, lists);
	assert_string_equal(list_of(b, 0, text), "10.0.0.1 10.0.1.0/24");
	assert_true(allow_is_settled(b->allow, 0, clock_monotonic_ms()));
	write_file(b, "10.0.0.2\n");
	run_until(b, &b->changed[0], 1);
	assert_string_equal(list_of(b, 0, text), "10.0.0.2");
	write_file(b, "10.0.0.3\n10.0.0.300\n");
	run_until(b, &b->failed, 1);
	assert_non_null(strstr(allow_source_at(b->allow, 0)->error, "list:2:1: "));
	assert_string_equal(list_of(b, 0, text), "10.0.0.2");
	unlink(b->file);
	write_file(b, "10.0.0.4\n");
	run_until(b, &b->recovered, 1);
	assert_string_equal(list_of(b, 0, text), "10.0.0.4");
}

/* More than the firewall takes for one rule: neither source alone, but both. */
static void test_too_many_together(void **state)
{
	struct bench *b = *state;
	struct ipc_addresses more = answer_of("10.9.0.1", "10.9.0.3");
	int64_t now = clock_monotonic_ms();
	FILE *out = fopen(b->file, "w");
	char lists[256];
	struct prefix *list;
	size_t count;

	assert_non_null(out);
	for (unsigned i = 0; i < ALLOW_RULE_MAX - 1; i++)
		fprintf(out, "10.0.%u.%u\n", i / 100, i % 100 * 2);
	fclose(out);
	snprintf(lists, sizeof(lists), "- {name: a, allow_from: ['@%s', a.example]}\n", b->file);
	configure(b, lists);
	allow_ask_due(b->allow, now, ask, b);
	for (unsigned i = 0; i < ALLOW_TELL_AFTER; i++)
		allow_take_answer(b->allow, b->tokens[0], &more, now);
	assert_int_equal(b->failed, 1);
	assert_int_equal(allow_merge(b->allow, 0, &list, &count), 0);
	assert_int_equal(count, ALLOW_RULE_MAX - 1);
	free(list);
	more.count = 1;
	allow_take_answer(b->allow, b->tokens[0], &more, now);
	assert_int_equal(b->changed[0], 1);
}

static void test_check_says_where(void **state)
{
	struct bench *b = *state;
	char lists[256], error[CONF_ERROR_LEN] = "";

	write_file(b, "10.0.0.1\n");
	snprintf(lists, sizeof(lists), "- name: a\n  allow_from:\n  - '@%s'\n", b->file);
	configure(b, lists);
	assert_int_equal(allow_check(b->conf, "conf.yaml", error), 0);
	write_file(b, "10.0.0.1/8\n");
	assert_int_equal(allow_check(b->conf, "conf.yaml", error), -EINVAL);
	assert_non_null(strstr(error, "conf.yaml:4:5: breakers[].allow_from: /tmp/"));
	assert_non_null(strstr(error, "list:1:1: '10.0.0.1/8'"));
	unlink(b->file);
	assert_int_equal(mkfifo(b->file, 0600), 0);
	assert_int_equal(allow_check(b->conf, "conf.yaml", error), -EINVAL);
	assert_non_null(strstr(error, "no regular file"));
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(test_a_name_of_two_rules_is_asked_once),
	    TEST(test_failures_keep_what_was_said),
	    TEST(test_a_family_without_answer_stays),
	    TEST(test_a_reload_keeps_what_is_known),
	    TEST(test_restores_only_what_is_not_known),
	    TEST(test_files_are_followed),
	    TEST(test_too_many_together),
	    TEST(test_check_says_where),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
