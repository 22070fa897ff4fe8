/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "tests/unit/guard_lab.h"

#include <errno.h>
#include <event2/event.h>
#include <net/if.h>
#include <sched.h>
#include <string.h>
#include <sys/ioctl.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

static bool has_namespace; /* set once, by the group's setup */

int guard_lab_enter_namespace(void **state)
{
	struct ifreq lo = {.ifr_name = "lo", .ifr_flags = IFF_UP};
	auto_close int fd = -1;

	(void)state;
	if (unshare(CLONE_NEWNET) < 0)
		return 0;
	fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	has_namespace = fd >= 0 && ioctl(fd, SIOCSIFFLAGS, &lo) == 0;
	return 0;
}
struct endpoint guard_lab_at(const char *text)
{
	struct endpoint e;

	assert_int_equal(endpoint_parse(text, &e), 0);
	return e;
}

static void on_byte(evutil_socket_t fd, short what, void *arg)
{
	struct guard_lab_listener *l = arg;
	char bytes[64];
	ssize_t n = recv(fd, bytes, sizeof(bytes), MSG_DONTWAIT);

	(void)what;
	if (n > 0)
		l->bytes += (unsigned)n;
	/* The connection was reset, never ended in order. */
	else
		assert_true(n < 0 && errno == ECONNRESET);
}

static void on_accept(evutil_socket_t fd, short what, void *arg)
{
	struct guard_lab_listener *l = arg;
	int client = accept(fd, NULL, NULL);

	(void)what;
	if (client < 0)
		return;
	l->accepted++;
	if (l->banner)
		send(client, l->banner, strlen(l->banner), MSG_NOSIGNAL);
	if (l->on_byte) {
		close(event_get_fd(l->on_byte));
		event_free(l->on_byte);
	}
	l->on_byte = event_new(l->base, client, EV_READ, on_byte, l);
	event_add(l->on_byte, NULL);
}

struct guard_lab_listener *guard_lab_serve(struct guard_lab *lab, const char *where,
                                           const char *banner)
{
	struct endpoint e = guard_lab_at(where);
	struct guard_lab_listener *l = &lab->listeners[lab->n++];
	struct sockaddr_storage address;
	socklen_t length = endpoint_to_sockaddr(&e, &address);
	int fd = socket(e.family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), one = 1;

	assert_true(lab->n <= GUARD_LAB_LISTENERS_MAX && fd >= 0);
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	assert_int_equal(bind(fd, (struct sockaddr *)&address, length), 0);
	assert_int_equal(listen(fd, 256), 0);
	l->banner = banner;
	l->base = lab->base;
	l->on_accept = event_new(lab->base, fd, EV_READ | EV_PERSIST, on_accept, l);
	event_add(l->on_accept, NULL);
	return l;
}

struct guard_lab *guard_lab_new(void)
{
	struct guard_lab *lab;

	if (!has_namespace)
		skip();
	lab = calloc(1, sizeof(*lab));
	assert_non_null(lab);
	lab->base = event_base_new();
	return lab;
}

static void drop(struct event *event)
{
	if (!event)
		return;
	close(event_get_fd(event));
	event_free(event);
}

void guard_lab_free(struct guard_lab *lab)
{
	for (size_t i = 0; i < lab->n; i++) {
		drop(lab->listeners[i].on_byte);
		drop(lab->listeners[i].on_accept);
	}
	event_base_free(lab->base);
	free(lab);
}

static void on_time(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	event_base_loopbreak(((struct guard_lab *)arg)->base);
}

/* Until `wanted` answers came; a hang is a failure. */
void guard_lab_await(struct guard_lab *lab, size_t wanted)
{
	const struct timeval most = {.tv_sec = 20};
	struct event *timer = evtimer_new(lab->base, on_time, lab);

	lab->wanted = wanted;
	event_add(timer, &most);
	if (lab->n_said < wanted)
		event_base_dispatch(lab->base);
	event_free(timer);
	assert_int_equal(lab->n_said, wanted);
	/* What reached the listeners meanwhile. */
	event_base_loop(lab->base, EVLOOP_NONBLOCK);
}

void guard_lab_on_knock(const struct endpoint *e, enum knock_result result, const uint8_t *banner,
                        size_t length, void *arg)
{
	struct guard_lab *lab = arg;

	(void)banner;
	lab->said[lab->n_said].endpoint = *e;
	lab->said[lab->n_said].length = length;
	lab->said[lab->n_said++].result = result;
	if (lab->n_said >= lab->wanted)
		event_base_loopbreak(lab->base);
}

void guard_lab_on_guard(const struct endpoint *e, bool allowed, const char *why, void *arg)
{
	struct guard_lab *lab = arg;

	assert_true(allowed == !why);
	lab->said[lab->n_said].endpoint = *e;
	lab->said[lab->n_said].allowed = allowed;
	lab->said[lab->n_said++].why = why;
	if (lab->n_said >= lab->wanted)
		event_base_loopbreak(lab->base);
}
