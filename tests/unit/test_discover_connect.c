/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The connect engine, on loopback: everything is found, and nothing but the truth is told. */
#include "common/cleanup.h"
#include "common/clock.h"
#include "fake_child.h"
#include "scanner/discover/connect_socket.h"
#include "scanner/discover/discover_connect.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
/* after what it needs */
#include <cmocka.h>

enum { LISTENERS = 50, EVERY = 97, ENDPOINTS = 9000 };

#define MS INT64_C(1000000)

/* Among many closed endpoints, every so often one where somebody listens. */
struct range {
	struct endpoint open[LISTENERS];
	struct endpoint closed; /* bound, but nobody listens */
	int listener[LISTENERS];
	int reserved;
	unsigned results[DISCOVER_UNREACHABLE + 1];
	unsigned wrong;
	unsigned turns_left; /* 0: for ever */
	uint8_t seen[ENDPOINTS];
};

static struct endpoint numbered(uint8_t net, uint32_t n)
{
	return (struct endpoint){.family = AF_INET,
	                         .address = {127, net, (uint8_t)(n >> 8), (uint8_t)n}};
}

/* At a port of the kernel's choice. */
static int bind_at(struct endpoint *e)
{
	struct sockaddr_storage address;
	socklen_t len = endpoint_to_sockaddr(e, &address);
	int fd = socket(e->family, SOCK_STREAM | SOCK_CLOEXEC, 0);

	assert_true(fd >= 0);
	assert_int_equal(bind(fd, (struct sockaddr *)&address, len), 0);
	assert_int_equal(getsockname(fd, (struct sockaddr *)&address, &len), 0);
	assert_int_equal(endpoint_from_sockaddr((struct sockaddr *)&address, e), 0);
	return fd;
}

static struct range *range_new(void)
{
	static struct range r;

	memset(&r, 0, sizeof(r));
	r.closed = (struct endpoint){.family = AF_INET};
	r.reserved = bind_at(&r.closed);
	for (uint32_t i = 0; i < LISTENERS; i++) {
		r.open[i] = numbered(78, i + 1);
		if (i % 5 == 0)
			r.open[i] = (struct endpoint){.family = AF_INET6, .address = {[15] = 1}};
		r.listener[i] = bind_at(&r.open[i]);
		assert_int_equal(listen(r.listener[i], 16), 0);
	}
	return &r;
}

static void range_free(struct range *r)
{
	for (size_t i = 0; i < LISTENERS; i++)
		close(r->listener[i]);
	close(r->reserved);
}

static struct endpoint range_endpoint(const struct range *r, uint64_t index)
{
	struct endpoint e;

	if (index % EVERY == 0 && index / EVERY < LISTENERS)
		return r->open[index / EVERY];
	/* Numbered by address: so a result is known again. */
	e = numbered((uint8_t)(80 + (index >> 16)), (uint32_t)index & 0xffff);
	e.port = r->closed.port;
	return e;
}

static bool range_at(const struct discover_child *c, uint64_t index, struct endpoint *out)
{
	*out = range_endpoint(c->arg, index);
	return true;
}

static uint64_t range_index(const struct range *r, const struct endpoint *e)
{
	for (uint64_t i = 0; i < LISTENERS; i++) {
		if (endpoint_compare(&r->open[i], e) == 0)
			return i * EVERY;
	}
	return ((uint64_t)(e->address[1] - 80) << 16) + ((uint64_t)e->address[2] << 8) +
	       e->address[3];
}

static void range_result(struct discover_child *c, const struct endpoint *e,
                         enum discover_state state)
{
	struct range *r = c->arg;
	uint64_t index = range_index(r, e);
	bool is_open = index % EVERY == 0 && index / EVERY < LISTENERS;

	r->results[state]++;
	if (index >= ENDPOINTS || r->seen[index]++)
		r->wrong++;
	if (state != (is_open ? DISCOVER_OPEN : DISCOVER_CLOSED))
		r->wrong++;
}

static struct discover_child child_of(struct range *r)
{
	return (struct discover_child){
	    .limits = {.timeout_ms = 3000, .retries = -1, .concurrency = 256, .want_all = true},
	    .total = ENDPOINTS,
	    .at = range_at,
	    .result = range_result,
	    .arg = r,
	    .fd = eventfd(0, EFD_CLOEXEC),
	};
}

static struct discover_connect *open_engine(const struct discover_child *c)
{
	char why[DISCOVER_CONNECT_ERROR_LEN] = "";
	struct discover_connect *k = NULL;

	if (discover_connect_open(&c->limits, &k, why))
		fail_msg("%s", why);
	return k;
}

static int run(struct discover_child *c)
{
	struct discover_connect *k = open_engine(c);
	int err = discover_connect_run(k, c);

	discover_connect_free(k);
	close(c->fd);
	return err;
}

static void test_finds_everything_once(void **state)
{
	struct range *r = range_new();
	struct discover_child c = child_of(r);

	(void)state;
	assert_int_equal(run(&c), 0);
	assert_int_equal(r->wrong, 0);
	assert_int_equal(r->results[DISCOVER_OPEN], LISTENERS);
	assert_int_equal(r->results[DISCOVER_CLOSED], ENDPOINTS - LISTENERS);
	assert_int_equal(c.stats.sent, ENDPOINTS);
	assert_int_equal(c.stats.answered, ENDPOINTS);
	assert_int_equal(c.open, 0);
	assert_int_equal(c.notes, 0);
	range_free(r);
}

/* An open connection ends by a reset: neither side keeps anything of it. */
static void test_leaves_by_reset(void **state)
{
	struct range *r = range_new();
	struct discover_child c = child_of(r);
	int fd;
	char byte;

	(void)state;
	assert_int_equal(run(&c), 0);
	for (size_t i = 0; i < LISTENERS; i++) {
		fd = accept4(r->listener[i], NULL, NULL, SOCK_CLOEXEC);
		assert_true(fd >= 0);
		assert_int_equal(recv(fd, &byte, 1, 0), -1);
		assert_int_equal(errno, ECONNRESET);
		close(fd);
	}
	range_free(r);
}

static bool leaves_out_odd(const struct discover_child *c, uint64_t index, struct endpoint *out)
{
	return index % 2 == 0 && range_at(c, index, out);
}

static void test_asks_nothing_that_is_left_out(void **state)
{
	struct range *r = range_new();
	struct discover_child c = child_of(r);

	(void)state;
	c.at = leaves_out_odd;
	assert_int_equal(run(&c), 0);
	assert_int_equal(r->wrong, 0);
	assert_int_equal(c.stats.sent, ENDPOINTS / 2);
	for (size_t i = 0; i < ENDPOINTS; i++)
		assert_int_equal(r->seen[i], i % 2 == 0);
	range_free(r);
}

static bool leaves_out_all(const struct discover_child *c, uint64_t index, struct endpoint *out)
{
	(void)c, (void)index, (void)out;
	return false;
}

static void test_ends_when_all_is_left_out(void **state)
{
	struct range *r = range_new();
	struct discover_child c = child_of(r);

	(void)state;
	c.at = leaves_out_all;
	c.total = 1000000;
	assert_int_equal(run(&c), 0);
	assert_int_equal(c.stats.sent, 0);
	range_free(r);
}

static void test_keeps_the_rate(void **state)
{
	struct range *r = range_new();
	struct discover_child c = child_of(r);
	int64_t begun;

	(void)state;
	c.limits.rate_per_sec = 2000;
	c.total = 620;
	begun = clock_monotonic_ns();
	assert_int_equal(run(&c), 0);
	/* 600 beyond the burst of 20 */
	assert_true(clock_monotonic_ns() - begun >= 299 * MS);
	assert_int_equal(r->wrong, 0);
	assert_int_equal(c.stats.sent, 620);
	range_free(r);
}

/* One host with many ports. */
struct host {
	uint16_t first_port;
	unsigned results;
};

static bool host_at(const struct discover_child *c, uint64_t index, struct endpoint *out)
{
	const struct host *h = c->arg;

	*out = numbered(79, 1);
	out->port = (uint16_t)(h->first_port + index);
	return true;
}

static void host_result(struct discover_child *c, const struct endpoint *e,
                        enum discover_state state)
{
	(void)e, (void)state;
	((struct host *)c->arg)->results++;
}

static void test_keeps_the_rate_of_a_host(void **state)
{
	struct range *r = range_new();
	struct discover_child c = child_of(r);
	struct host h = {.first_port = 1};
	int64_t begun = clock_monotonic_ns();

	(void)state;
	c.limits.per_host_per_sec = 100;
	c.total = 31;
	c.at = host_at;
	c.result = host_result;
	c.arg = &h;
	assert_int_equal(run(&c), 0);
	assert_int_equal(h.results, 31);
	assert_true(clock_monotonic_ns() - begun >= 299 * MS);
	range_free(r);
}

/* More ports of one host than can be put off at once. */
static void test_waits_when_all_is_put_off(void **state)
{
	struct range *r = range_new();
	struct discover_child c = child_of(r);
	struct host h = {.first_port = 1};

	(void)state;
	c.limits.per_host_per_sec = 20000;
	c.total = 6000;
	c.at = host_at;
	c.result = host_result;
	c.arg = &h;
	assert_int_equal(run(&c), 0);
	assert_int_equal(h.results, 6000);
	assert_int_equal(c.open, 0);
	range_free(r);
}

/* Descriptors run out: that slows it down, and is no verdict. */
static void test_starvation_is_no_verdict(void **state)
{
	struct range *r = range_new();
	struct discover_child c = child_of(r);
	struct discover_connect *k = open_engine(&c);
	struct rlimit old, few;
	int lowest = dup(0);

	(void)state;
	assert_true(lowest >= 0);
	close(lowest);
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &old), 0);
	few = old;
	few.rlim_cur = (rlim_t)lowest + 20;
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &few), 0);
	assert_int_equal(discover_connect_run(k, &c), 0);
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &old), 0);
	assert_int_equal(r->wrong, 0);
	assert_int_equal(r->results[DISCOVER_OPEN], LISTENERS);
	assert_int_equal(c.stats.sent, ENDPOINTS);
	assert_int_equal(c.notes, 1);
	assert_non_null(strstr(c.note, strerror(EMFILE)));
	discover_connect_free(k);
	close(c.fd);
	range_free(r);
}

static void test_makes_do_with_the_hard_limit(void **state)
{
	struct range *r = range_new();
	struct discover_child c = child_of(r);
	struct rlimit limit;
	struct discover_connect *k;

	(void)state;
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &limit), 0);
	c.limits.concurrency = limit.rlim_max < 100000 ? (unsigned)limit.rlim_max : 100000;
	k = open_engine(&c);
	if (limit.rlim_max < 100000)
		assert_in_range(discover_connect_concurrency(k), 1, limit.rlim_max - 1);
	else
		assert_int_equal(discover_connect_concurrency(k), 100000);
	discover_connect_free(k);
	setrlimit(RLIMIT_NOFILE, &limit);
	close(c.fd);
	range_free(r);
}

/* A listener whose queue is full drops SYNs: silence, on loopback. */
struct silent {
	struct endpoint endpoint;
	enum discover_state state;
};

static bool silent_at(const struct discover_child *c, uint64_t index, struct endpoint *out)
{
	(void)index;
	*out = ((struct silent *)c->arg)->endpoint;
	return true;
}

static void silent_result(struct discover_child *c, const struct endpoint *e,
                          enum discover_state state)
{
	(void)e;
	((struct silent *)c->arg)->state = state;
}

static int fill_queue(struct endpoint *e, int filler[static 8])
{
	struct sockaddr_storage address;
	int fd = bind_at(e);
	socklen_t len = endpoint_to_sockaddr(e, &address);

	assert_int_equal(listen(fd, 0), 0);
	for (int i = 0; i < 8; i++) {
		filler[i] = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
		assert_true(filler[i] >= 0);
		(void)!connect(filler[i], (struct sockaddr *)&address, len);
	}
	return fd;
}

static void expect_silence(int64_t timeout_ms, int retries, int64_t at_least_ms, int64_t at_most_ms,
                           uint64_t retransmitted)
{
	struct silent s = {.endpoint = numbered(79, 2)};
	int filler[8], listener = fill_queue(&s.endpoint, filler);
	struct discover_child c = {
	    .limits = {.timeout_ms = timeout_ms, .retries = retries, .concurrency = 4},
	    .total = 1,
	    .at = silent_at,
	    .result = silent_result,
	    .arg = &s,
	    .fd = eventfd(0, EFD_CLOEXEC)};
	int64_t begun = clock_monotonic_ms(), lasted;

	assert_int_equal(run(&c), 0);
	lasted = clock_monotonic_ms() - begun;
	assert_int_equal(s.state, DISCOVER_FILTERED);
	assert_in_range(lasted, at_least_ms, at_most_ms);
	assert_int_equal(c.stats.retransmitted, retransmitted);
	assert_int_equal(c.stats.sent, 1 + retransmitted);
	assert_int_equal(c.stats.answered, 0);
	for (int i = 0; i < 8; i++)
		close(filler[i]);
	close(listener);
}

static void test_silence_takes_its_time(void **state)
{
	(void)state;
	expect_silence(300, -1, 300, 3000, 0);
}

static void test_the_kernel_tries_again(void **state)
{
	(void)state;
	expect_silence(1500, -1, 1500, 5000, 1);
}

static void test_no_retries_means_one_syn(void **state)
{
	(void)state;
	expect_silence(5000, 0, 950, 4500, 0);
}

static bool turns_end(struct discover_child *c)
{
	return --((struct range *)c->arg)->turns_left == 0;
}

static void test_ends_with_its_parent(void **state)
{
	struct range *r = range_new();
	struct discover_child c = child_of(r);

	(void)state;
	r->turns_left = 5;
	c.turn = turns_end;
	assert_int_equal(run(&c), -EPIPE);
	assert_in_range(c.stats.sent, 1, ENDPOINTS - 1);
	range_free(r);
}

static bool turns_behind(struct discover_child *c)
{
	struct range *r = c->arg;

	c->is_behind = r->turns_left > 0;
	if (c->is_behind && --r->turns_left > 0)
		assert_int_equal(c->stats.sent, 0);
	return false;
}

static void test_sends_nothing_while_the_parent_is_behind(void **state)
{
	struct range *r = range_new();
	struct discover_child c = child_of(r);

	(void)state;
	r->turns_left = 3;
	c.turn = turns_behind;
	assert_int_equal(run(&c), 0);
	assert_int_equal(c.stats.sent, ENDPOINTS);
	range_free(r);
}

static void test_uses_the_source(void **state)
{
	struct range *r = range_new();
	struct discover_child c = child_of(r);
	struct sockaddr_storage address;
	socklen_t len = sizeof(address);
	struct endpoint from;
	int fd;

	(void)state;
	c.limits.source = numbered(77, 7);
	assert_int_equal(run(&c), 0);
	fd = accept4(r->listener[1], (struct sockaddr *)&address, &len, SOCK_CLOEXEC);
	assert_true(fd >= 0);
	assert_int_equal(endpoint_from_sockaddr((struct sockaddr *)&address, &from), 0);
	assert_memory_equal(from.address, c.limits.source.address, 16);
	close(fd);
	range_free(r);
}

static void test_refuses_a_source_that_cannot_be(void **state)
{
	struct discover_limits limits = {.timeout_ms = 100, .concurrency = 1};
	struct discover_connect *k = NULL;
	char why[DISCOVER_CONNECT_ERROR_LEN] = "";

	(void)state;
	limits.source = (struct endpoint){.family = AF_INET, .address = {192, 0, 2, 1}};
	assert_int_equal(discover_connect_open(&limits, &k, why), -EADDRNOTAVAIL);
	assert_null(k);
	assert_non_null(strstr(why, "source address"));
}

static void test_knows_itself(void **state)
{
	struct endpoint own = numbered(79, 3), other = numbered(79, 4);
	struct connect_socket s = {.family = AF_INET};
	struct sockaddr_storage address;
	socklen_t len;

	(void)state;
	s.fd = bind_at(&own);
	len = endpoint_to_sockaddr(&own, &address);
	assert_int_equal(connect(s.fd, (struct sockaddr *)&address, len), 0);
	assert_true(connect_socket_is_own_peer(&s, &own));
	assert_false(connect_socket_is_own_peer(&s, &other));
	connect_socket_close(&s);
}

/* Ports that ran out are one thing, an address that cannot be reached from here another. */
static void test_tells_starvation_from_no_source(void **state)
{
	struct endpoint here = numbered(79, 5);
	struct connect_options o = {.epoll_fd = -1};

	(void)state;
	here.port = 80;
	assert_int_equal(connect_options_open(&o), 0);
	for (int i = 0; i < 3; i++)
		assert_true(connect_is_starved(&o, &here, -EADDRNOTAVAIL));
	assert_true(connect_is_starved(&o, &here, -EMFILE));
	assert_true(connect_is_starved(&o, &here, -ENOBUFS));
	assert_false(connect_is_starved(&o, &here, -ECONNREFUSED));
	assert_false(connect_is_starved(&o, &here, -ENETUNREACH));
	connect_options_close(&o);
}

static void test_judges_errors(void **state)
{
	(void)state;
	assert_int_equal(connect_judge(0), DISCOVER_OPEN);
	assert_int_equal(connect_judge(-ECONNRESET), DISCOVER_OPEN);
	assert_int_equal(connect_judge(-ECONNREFUSED), DISCOVER_CLOSED);
	assert_int_equal(connect_judge(-ETIMEDOUT), DISCOVER_FILTERED);
	assert_int_equal(connect_judge(-EHOSTUNREACH), DISCOVER_UNREACHABLE);
	assert_int_equal(connect_judge(-ENETUNREACH), DISCOVER_UNREACHABLE);
	assert_int_equal(connect_judge(-EPERM), DISCOVER_UNREACHABLE);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_finds_everything_once),
	    cmocka_unit_test(test_leaves_by_reset),
	    cmocka_unit_test(test_asks_nothing_that_is_left_out),
	    cmocka_unit_test(test_ends_when_all_is_left_out),
	    cmocka_unit_test(test_keeps_the_rate),
	    cmocka_unit_test(test_keeps_the_rate_of_a_host),
	    cmocka_unit_test(test_waits_when_all_is_put_off),
	    cmocka_unit_test(test_starvation_is_no_verdict),
	    cmocka_unit_test(test_makes_do_with_the_hard_limit),
	    cmocka_unit_test(test_silence_takes_its_time),
	    cmocka_unit_test(test_the_kernel_tries_again),
	    cmocka_unit_test(test_no_retries_means_one_syn),
	    cmocka_unit_test(test_ends_with_its_parent),
	    cmocka_unit_test(test_sends_nothing_while_the_parent_is_behind),
	    cmocka_unit_test(test_uses_the_source),
	    cmocka_unit_test(test_refuses_a_source_that_cannot_be),
	    cmocka_unit_test(test_knows_itself),
	    cmocka_unit_test(test_tells_starvation_from_no_source),
	    cmocka_unit_test(test_judges_errors),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
