/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Its commands are its own. NOLINTBEGIN(cert-env33-c) */
#include "scanner/knock.h"
#include "tests/unit/guard_lab.h"

#include <string.h>
#include <sys/resource.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

static void knock_once(struct guard_lab *lab, struct knocker *k, const char *where,
                       int64_t banner_ms, enum knock_result wanted)
{
	struct endpoint e = guard_lab_at(where);

	assert_int_equal(knock_start(k, &e, 300, banner_ms, guard_lab_on_knock, lab), 0);
	guard_lab_await(lab, lab->n_said + 1);
	assert_int_equal(lab->said[lab->n_said - 1].result, wanted);
	assert_int_equal(endpoint_compare(&lab->said[lab->n_said - 1].endpoint, &e), 0);
}

static void test_knock_results(void **state)
{
	static const char long_banner[] = "0123456789012345678901234567890123456789"
	                                  "012345678901234567890123456789";
	auto_guard_lab struct guard_lab *lab = guard_lab_new();
	struct guard_lab_listener *mute, *talker;
	struct knocker *k;

	(void)state;
	mute = guard_lab_serve(lab, "127.1.0.1:7000", NULL);
	talker = guard_lab_serve(lab, "127.1.0.1:7001", long_banner);
	guard_lab_serve(lab, "[::1]:7000", NULL);
	assert_int_equal(knocker_new(lab->base, NULL, &k), 0);
	knock_once(lab, k, "127.1.0.1:7000", 0, KNOCK_OPEN);
	knock_once(lab, k, "127.1.0.1:7000", 100, KNOCK_OPEN);
	knock_once(lab, k, "127.1.0.1:7001", 0, KNOCK_OPEN);
	knock_once(lab, k, "127.1.0.1:7001", 2000, KNOCK_BANNER);
	assert_int_equal(lab->said[lab->n_said - 1].length, KNOCK_BANNER_MAX_BYTES);
	knock_once(lab, k, "[::1]:7000", 0, KNOCK_OPEN);
	knock_once(lab, k, "127.1.0.1:7002", 100, KNOCK_CLOSED);
	knock_once(lab, k, "10.9.9.9:80", 100, KNOCK_UNREACHABLE);
	assert_int_equal(mute->accepted, 2);
	assert_int_equal(mute->bytes + talker->bytes, 0);
	assert_int_equal(knock_room(k), KNOCK_MAX);
	knocker_free(k);
}

/* A listener whose queue is full drops SYNs: silence without a firewall. */
static void test_knock_silence(void **state)
{
	auto_guard_lab struct guard_lab *lab = guard_lab_new();
	struct endpoint e = guard_lab_at("127.1.0.2:7000");
	struct sockaddr_storage address;
	socklen_t length = endpoint_to_sockaddr(&e, &address);
	auto_close int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	int fill[4];
	struct knocker *k;

	(void)state;
	assert_int_equal(bind(listener, (struct sockaddr *)&address, length), 0);
	assert_int_equal(listen(listener, 0), 0);
	for (size_t i = 0; i < ARRAY_LEN(fill); i++) {
		fill[i] = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
		(void)connect(fill[i], (struct sockaddr *)&address, length);
	}
	assert_int_equal(knocker_new(lab->base, NULL, &k), 0);
	knock_once(lab, k, "127.1.0.2:7000", 100, KNOCK_SILENT);
	knocker_free(k);
	for (size_t i = 0; i < ARRAY_LEN(fill); i++)
		close(fill[i]);
}

static void test_knock_by_a_route(void **state)
{
	auto_guard_lab struct guard_lab *lab = guard_lab_new();
	struct probe_route route = {.source = guard_lab_at("127.1.0.99:1"), .interface = "lo"};
	struct knocker *k;

	(void)state;
	route.source.port = 0;
	guard_lab_serve(lab, "127.1.0.3:7000", NULL);
	assert_int_equal(knocker_new(lab->base, &route, &k), 0);
	knock_once(lab, k, "127.1.0.3:7000", 0, KNOCK_OPEN);
	knock_once(lab, k, "[::1]:7000", 0, KNOCK_UNREACHABLE);
	route.proxy = guard_lab_at("127.1.0.3:7000");
	knock_once(lab, k, "127.1.0.3:7000", 0, KNOCK_UNTOLD);
	knocker_free(k);
}

static void test_knock_room_and_descriptors(void **state)
{
	auto_guard_lab struct guard_lab *lab = guard_lab_new();
	struct endpoint e = guard_lab_at("127.1.0.4:7000");
	struct rlimit limit, none;
	struct knocker *k;

	(void)state;
	assert_int_equal(knocker_new(lab->base, NULL, &k), 0);
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &limit), 0);
	none = limit;
	none.rlim_cur = 3;
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
	assert_int_equal(knock_start(k, &e, 60, 0, guard_lab_on_knock, lab), 0);
	for (int i = 1; i < KNOCK_MAX; i++)
		assert_int_equal(knock_start(k, &e, 60000, 0, guard_lab_on_knock, lab), 0);
	assert_int_equal(knock_start(k, &e, 60, 0, guard_lab_on_knock, lab), -EAGAIN);
	guard_lab_await(lab, 1);
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &limit), 0);
	assert_int_equal(lab->said[0].result, KNOCK_UNTOLD);
	assert_true(knock_room(k) >= 1);
	knocker_free(k); /* with the others under way */
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_knock_results),
	    cmocka_unit_test(test_knock_silence),
	    cmocka_unit_test(test_knock_by_a_route),
	    cmocka_unit_test(test_knock_room_and_descriptors),
	};

	return cmocka_run_group_tests(tests, guard_lab_enter_namespace, NULL);
}

/* NOLINTEND(cert-env33-c) */
