/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/agent/targets.h"

#include <errno.h>
#include <string.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

struct asked {
	unsigned count;
	char name[64];
	uint64_t token;
};

static unsigned added;

static void on_added(struct watch *w, void *arg)
{
	(void)w;
	(void)arg;
	added++;
}

static int on_ask(const char *name, uint64_t token, void *arg)
{
	struct asked *asked = arg;

	asked->count++;
	snprintf(asked->name, sizeof(asked->name), "%s", name);
	asked->token = token;
	return 0;
}

static struct conf *load(const char *targets)
{
	char text[512], error[CONF_ERROR_LEN];
	struct conf *conf;

	snprintf(text, sizeof(text), "scan:\n  targets: [%s]\n  ports: [6060, 9100]\n", targets);
	conf = conf_load("test.yaml", text, strlen(text), error);
	if (!conf)
		fail_msg("%s", error);
	return conf;
}

static struct watch *find(const struct watch_set *set, const char *endpoint)
{
	struct endpoint e;

	assert_int_equal(endpoint_parse(endpoint, &e), 0);
	return watch_set_find(set, &e);
}

static void test_addresses_and_prefixes(void **state)
{
	auto_conf struct conf *conf =
	    load("\"192.0.2.1:80\", \"192.0.2.4/31\", \"https://192.0.2.9:8443/x/debug/pprof/\"");
	struct targets *t = targets_new();
	struct watch_set *set = watch_set_new();

	(void)state;
	added = 0;
	assert_int_equal(targets_configure(t, conf), 0);
	targets_apply(t, set, on_added, NULL);
	assert_int_equal(watch_set_count(set), 1 + 2 * 2 + 1);
	assert_int_equal(added, 6);
	assert_non_null(find(set, "192.0.2.1:80"));
	assert_null(find(set, "192.0.2.1:6060"));
	assert_non_null(find(set, "192.0.2.5:9100"));
	assert_true(find(set, "192.0.2.9:8443")->tls_only);
	assert_string_equal(find(set, "192.0.2.9:8443")->prefix, "/x/debug/pprof/");
	assert_null(find(set, "192.0.2.1:80")->host);
	/* Once more changes nothing. */
	targets_apply(t, set, on_added, NULL);
	assert_int_equal(added, 6);
	watch_set_free(set);
	targets_free(t);
}

static void test_removed_targets_are_left_behind(void **state)
{
	auto_conf struct conf *before = load("\"192.0.2.1:80\", \"192.0.2.2:80\"");
	auto_conf struct conf *after = load("\"192.0.2.2:80\"");
	struct targets *t = targets_new();
	struct watch_set *set = watch_set_new();
	uint64_t epoch;

	(void)state;
	targets_configure(t, before);
	targets_apply(t, set, on_added, NULL);
	targets_configure(t, after);
	epoch = targets_apply(t, set, on_added, NULL);
	assert_true(find(set, "192.0.2.1:80")->epoch != epoch);
	assert_true(find(set, "192.0.2.2:80")->epoch == epoch);
	watch_set_free(set);
	targets_free(t);
}

static struct ipc_addresses make_answer(const char *address)
{
	struct ipc_addresses answer = {.count = 1};

	assert_int_equal(endpoint_parse_address(address, &answer.addresses[0]), 0);
	return answer;
}

static void test_names(void **state)
{
	auto_conf struct conf *conf = load("\"db.example:6060\"");
	struct targets *t = targets_new();
	struct watch_set *set = watch_set_new();
	struct asked asked = {0};
	struct ipc_addresses answer = make_answer("192.0.2.7");
	struct ipc_addresses failure = {.error = -ENOENT, .text = "no such name"};
	const char *why;

	(void)state;
	targets_configure(t, conf);
	targets_apply(t, set, on_added, NULL);
	assert_int_equal(watch_set_count(set), 0);
	assert_string_equal(targets_unresolved(t, 0, &why), "db.example");
	targets_ask_due(t, 1000, on_ask, &asked);
	targets_ask_due(t, 1001, on_ask, &asked);
	assert_int_equal(asked.count, 1);
	assert_string_equal(asked.name, "db.example");

	/* A failure is asked for again soon, and told. */
	assert_false(targets_take_answer(t, asked.token, &failure, 2000));
	assert_non_null(targets_unresolved(t, 0, &why));
	assert_string_equal(why, "no such name");
	targets_ask_due(t, 2000 + TARGETS_RESOLVE_RETRY_MS, on_ask, &asked);
	assert_int_equal(asked.count, 2);

	assert_true(targets_take_answer(t, asked.token, &answer, 8000));
	assert_null(targets_unresolved(t, 0, &why));
	targets_apply(t, set, on_added, NULL);
	assert_string_equal(find(set, "192.0.2.7:6060")->host, "db.example");

	/* Later failures keep what was known; the same answer is no change. */
	assert_false(targets_take_answer(t, asked.token, &failure, 9000));
	assert_false(targets_take_answer(t, asked.token, &answer, 9000));
	assert_null(targets_unresolved(t, 0, &why));
	/* An answer to a question of an earlier configuration. */
	targets_configure(t, conf);
	answer = make_answer("192.0.2.8");
	assert_false(targets_take_answer(t, asked.token, &answer, 9500));
	targets_apply(t, set, on_added, NULL);
	assert_non_null(find(set, "192.0.2.7:6060"));
	assert_null(find(set, "192.0.2.8:6060"));
	watch_set_free(set);
	targets_free(t);
}

static void test_set_keeps_order_and_identity(void **state)
{
	struct watch_set *set = watch_set_new();
	struct watch *known = NULL;
	struct endpoint e;
	char text[32];

	(void)state;
	for (unsigned i = 0; i < 2000; i++) {
		snprintf(text, sizeof(text), "10.0.%u.%u:80", (i * 7919 % 2000) / 250,
		         (i * 7919 % 2000) % 250);
		assert_int_equal(endpoint_parse(text, &e), 0);
		known = watch_set_get(set, &e);
		assert_ptr_equal(known, watch_set_get(set, &e));
	}
	assert_int_equal(watch_set_count(set), 2000);
	for (size_t i = 1; i < 2000; i++)
		assert_true(endpoint_compare(&watch_set_at(set, i - 1)->endpoint,
		                             &watch_set_at(set, i)->endpoint) < 0);
	e = known->endpoint;
	watch_set_remove(set, known);
	assert_null(watch_set_find(set, &e));
	assert_int_equal(watch_set_count(set), 1999);
	watch_set_free(set);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_addresses_and_prefixes),
	    cmocka_unit_test(test_removed_targets_are_left_behind),
	    cmocka_unit_test(test_names),
	    cmocka_unit_test(test_set_keeps_order_and_identity),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
