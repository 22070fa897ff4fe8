/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "common/frame.h"

#include "common/cleanup.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

struct pair {
	int ends[2];
	struct frame frame;
};

static int set_up(void **state)
{
	struct pair *p = calloc(1, sizeof(*p));

	assert_non_null(p);
	assert_int_equal(frame_socketpair(p->ends), 0);
	*state = p;
	return 0;
}

static int tear_down(void **state)
{
	struct pair *p = *state;

	close(p->ends[0]);
	close(p->ends[1]);
	free(p);
	return 0;
}

static void test_round_trip(void **state)
{
	struct pair *p = *state;

	assert_int_equal(frame_recv(p->ends[1], &p->frame), -EAGAIN);
	assert_int_equal(frame_send(p->ends[0], 7, 42, "hello", 5, -1), 0);
	assert_int_equal(frame_send(p->ends[0], 8, 43, NULL, 0, -1), 0);
	assert_int_equal(frame_recv(p->ends[1], &p->frame), 1);
	assert_int_equal(p->frame.type, 7);
	assert_int_equal(p->frame.seq, 42);
	assert_int_equal(p->frame.length, 5);
	assert_string_equal((char *)p->frame.body, "hello");
	assert_int_equal(p->frame.fd, -1);
	assert_int_equal(frame_recv(p->ends[1], &p->frame), 1);
	assert_int_equal(p->frame.length, 0);
}

static void test_largest_and_larger(void **state)
{
	struct pair *p = *state;
	auto_free char *body = calloc(1, FRAME_BODY_MAX_BYTES + 1);

	assert_non_null(body);
	body[FRAME_BODY_MAX_BYTES - 1] = 'x';
	assert_int_equal(frame_send(p->ends[0], 1, 1, body, FRAME_BODY_MAX_BYTES + 1, -1),
	                 -EMSGSIZE);
	assert_int_equal(frame_send(p->ends[0], 1, 1, body, FRAME_BODY_MAX_BYTES, -1), 0);
	assert_int_equal(frame_recv(p->ends[1], &p->frame), 1);
	assert_int_equal(p->frame.length, FRAME_BODY_MAX_BYTES);
	assert_int_equal(p->frame.body[FRAME_BODY_MAX_BYTES - 1], 'x');
}

static void test_descriptor_travels(void **state)
{
	struct pair *p = *state;
	int fds[2];
	char c = 0;

	assert_int_equal(pipe(fds), 0);
	assert_int_equal(frame_send(p->ends[0], 1, 1, "x", 1, fds[0]), 0);
	close(fds[0]);
	assert_int_equal(frame_recv(p->ends[1], &p->frame), 1);
	assert_true(p->frame.fd >= 0);
	assert_true(fcntl(p->frame.fd, F_GETFD) & FD_CLOEXEC);
	assert_int_equal(write(fds[1], "y", 1), 1);
	assert_int_equal(read(p->frame.fd, &c, 1), 1);
	assert_int_equal(c, 'y');
	close(p->frame.fd);
	close(fds[1]);
}

static void expect_protocol_error(struct pair *p, struct frame_header h, size_t body)
{
	char bytes[sizeof(h) + 64] = {0};

	memcpy(bytes, &h, sizeof(h));
	assert_int_equal(send(p->ends[0], bytes, sizeof(h) + body, 0), sizeof(h) + body);
	assert_int_equal(frame_recv(p->ends[1], &p->frame), -EPROTO);
	assert_int_equal(p->frame.fd, -1);
}

static void test_malformed(void **state)
{
	struct pair *p = *state;
	const struct frame_header good = {
	    .magic = FRAME_MAGIC, .version = FRAME_VERSION, .type = 1, .length = 4};
	struct frame_header h;
	auto_free char *huge = calloc(1, 128 * 1024);

	assert_non_null(huge);
	h = good;
	h.magic++;
	expect_protocol_error(p, h, 4);
	h = good;
	h.version++;
	expect_protocol_error(p, h, 4);
	h = good;
	h.zero = 1;
	expect_protocol_error(p, h, 4);
	expect_protocol_error(p, good, 3);
	expect_protocol_error(p, good, 5);
	h = good;
	h.length = UINT32_MAX;
	expect_protocol_error(p, h, 4);
	assert_int_equal(send(p->ends[0], &good, 5, 0), 5);
	assert_int_equal(frame_recv(p->ends[1], &p->frame), -EPROTO);
	h = good;
	h.length = 128 * 1024 - sizeof(h);
	memcpy(huge, &h, sizeof(h));
	assert_int_equal(send(p->ends[0], huge, 128 * 1024, 0), 128 * 1024);
	assert_int_equal(frame_recv(p->ends[1], &p->frame), -EPROTO);
	/* The socket itself still works: the caller decides to close it. */
	assert_int_equal(frame_send(p->ends[0], 1, 1, "abcd", 4, -1), 0);
	assert_int_equal(frame_recv(p->ends[1], &p->frame), 1);
}

static void test_end_and_full(void **state)
{
	struct pair *p = *state;
	int err = 0;

	for (int i = 0; i < 100000 && err == 0; i++)
		err = frame_send(p->ends[0], 1, 1, "abcd", 4, -1);
	assert_int_equal(err, -EAGAIN);
	close(p->ends[0]);
	while ((err = frame_recv(p->ends[1], &p->frame)) == 1)
		;
	assert_int_equal(err, 0);
	assert_int_equal(frame_send(p->ends[1], 1, 1, "abcd", 4, -1), -EPIPE);
	p->ends[0] = dup(0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(test_round_trip, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(test_largest_and_larger, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(test_descriptor_travels, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(test_malformed, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(test_end_and_full, set_up, tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
