/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "scanner/knock.h"

#include "common/cleanup.h"
#include "common/clock.h"
#include "scanner/discover/pacer.h"

#include <errno.h>
#include <event2/event_struct.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/queue.h>

enum { STARVED_RETRY_MS = 20 };

enum knock_state {
	KNOCK_FREE = 0,
	KNOCK_PACED,
	KNOCK_STARVED,
	KNOCK_CONNECTING,
	KNOCK_LISTENING,
	KNOCK_DONE
};

struct knock {
	struct knocker *knocker;
	struct endpoint endpoint;
	enum knock_state state;
	enum knock_result result; /* of KNOCK_DONE */
	int fd;
	int64_t connect_ms, banner_ms;
	int64_t starved_until_ms;
	knock_cb *done;
	void *arg;
	struct event event; /* in place: nothing is allocated for a knock */
	SLIST_ENTRY(knock) link;
};

struct knocker {
	struct event_base *base;
	const struct probe_route *route;
	struct pacer *pacer; /* or NULL */
	SLIST_HEAD(knock_list, knock) free;
	unsigned room;
	struct knock knocks[KNOCK_MAX];
};

int knocker_new(struct event_base *base, const struct probe_route *route, struct knocker **out)
{
	struct knocker *k = calloc(1, sizeof(*k));

	if (!k)
		return -ENOMEM;
	k->base = base;
	k->route = route;
	SLIST_INIT(&k->free);
	for (size_t i = KNOCK_MAX; i-- > 0;) {
		k->knocks[i].knocker = k;
		k->knocks[i].fd = -1;
		SLIST_INSERT_HEAD(&k->free, &k->knocks[i], link);
	}
	k->room = KNOCK_MAX;
	*out = k;
	return 0;
}

void knocker_set_pacer(struct knocker *k, struct pacer *pacer)
{
	k->pacer = pacer;
}

static void hang_up(struct knock *knock)
{
	if (knock->state != KNOCK_FREE)
		event_del(&knock->event);
	if (knock->fd >= 0)
		close(knock->fd);
	knock->fd = -1;
	knock->state = KNOCK_FREE;
}

void knocker_free(struct knocker *k)
{
	if (!k)
		return;
	for (size_t i = 0; i < KNOCK_MAX; i++)
		hang_up(&k->knocks[i]);
	free(k);
}

unsigned knock_room(const struct knocker *k)
{
	return k->room;
}

static void finish(struct knock *knock, enum knock_result result, const uint8_t *banner,
                   size_t length)
{
	const struct endpoint endpoint = knock->endpoint;
	knock_cb *done = knock->done;
	void *arg = knock->arg;

	hang_up(knock);
	SLIST_INSERT_HEAD(&knock->knocker->free, knock, link);
	knock->knocker->room++;
	done(&endpoint, result, banner, length, arg);
}

static enum knock_result result_of(int error)
{
	switch (error) {
	case ECONNREFUSED:
	case ECONNRESET: return KNOCK_CLOSED;
	case ETIMEDOUT: return KNOCK_SILENT;
	case EPERM: return KNOCK_UNTOLD; /* our own host's firewall: nothing was asked */
	default: return KNOCK_UNREACHABLE;
	}
}

/* What may pass when others let go of theirs. */
static bool is_starved(int error)
{
	return error == EMFILE || error == ENFILE || error == ENOBUFS || error == ENOMEM ||
	       error == EADDRNOTAVAIL || error == EAGAIN;
}

/* Returns 0 or -errno. */
static int open_socket(struct knock *knock)
{
	const struct linger by_rst = {.l_onoff = 1, .l_linger = 0};
	const struct probe_route *route = knock->knocker->route;
	auto_close int fd =
	    socket(knock->endpoint.family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	struct sockaddr_storage address;
	socklen_t length;
	int one = 1;

	if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_LINGER, &by_rst, sizeof(by_rst)) < 0)
		return -errno;
	if (route && route->interface[0] &&
	    setsockopt(fd, SOL_SOCKET, SO_BINDTODEVICE, route->interface,
	               (socklen_t)strlen(route->interface)) < 0)
		return -errno;
	if (route && route->source.family) {
		if (route->source.family != knock->endpoint.family)
			return -EAFNOSUPPORT;
		/* Else bind(2) takes a port that no other destination could use. */
		setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &one, sizeof(one));
		length = endpoint_to_sockaddr(&route->source, &address);
		if (bind(fd, (struct sockaddr *)&address, length) < 0)
			return -errno;
	}
	length = endpoint_to_sockaddr(&knock->endpoint, &address);
	if (connect(fd, (struct sockaddr *)&address, length) < 0 && errno != EINPROGRESS)
		return -errno;
	knock->fd = steal_fd(&fd);
	return 0;
}

/*
 * A port of our own range where nobody listens may become our own local port: then TCP's
 * simultaneous open connects the socket with itself.
 */
static bool has_met_itself(int fd)
{
	struct sockaddr_storage here, there;
	struct endpoint a, b;
	socklen_t here_length = sizeof(here), there_length = sizeof(there);

	return getsockname(fd, (struct sockaddr *)&here, &here_length) == 0 &&
	       getpeername(fd, (struct sockaddr *)&there, &there_length) == 0 &&
	       endpoint_from_sockaddr((struct sockaddr *)&here, &a) == 0 &&
	       endpoint_from_sockaddr((struct sockaddr *)&there, &b) == 0 &&
	       endpoint_compare(&a, &b) == 0;
}

static void on_event(evutil_socket_t fd, short what, void *arg);

/* Fails only when memory is out; then the answer is that there is none. */
static void wait_for(struct knock *knock, enum knock_state state, short what, int64_t timeout_ms)
{
	struct timeval tv = {.tv_sec = timeout_ms / 1000, .tv_usec = timeout_ms % 1000 * 1000};

	if (knock->state != KNOCK_FREE)
		event_del(&knock->event);
	knock->state = state;
	event_assign(&knock->event, knock->knocker->base, what ? knock->fd : -1, what, on_event,
	             knock);
	if (event_add(&knock->event, &tv) == 0)
		return;
	knock->state = KNOCK_DONE;
	knock->result = KNOCK_UNTOLD;
	event_assign(&knock->event, knock->knocker->base, -1, 0, on_event, knock);
	event_active(&knock->event, EV_TIMEOUT, 0);
}

/* Its end is told in the loop, also one that is known already. */
static void conclude(struct knock *knock, enum knock_result result)
{
	knock->result = result;
	wait_for(knock, KNOCK_DONE, 0, 0);
}

/* Whether it must wait for its turn; it is called again then. */
static bool is_paced(struct knock *knock)
{
	struct pacer *pacer = knock->knocker->pacer;

	if (!pacer || pacer_take(pacer, clock_monotonic_ns(), 1) == 1)
		return false;
	wait_for(knock, KNOCK_PACED, 0, pacer_wait_ns(pacer) / 1000000 + 1);
	return true;
}

static void begin(struct knock *knock)
{
	int64_t now_ms = clock_monotonic_ms();
	int err = open_socket(knock);

	if (!err)
		wait_for(knock, KNOCK_CONNECTING, EV_WRITE, knock->connect_ms);
	else if (!is_starved(-err))
		conclude(knock, result_of(-err));
	else if (now_ms < knock->starved_until_ms)
		wait_for(knock, KNOCK_STARVED, 0, STARVED_RETRY_MS);
	else
		conclude(knock, KNOCK_UNTOLD);
}

static void start(struct knock *knock)
{
	if (is_paced(knock))
		return;
	knock->starved_until_ms = clock_monotonic_ms() + knock->connect_ms;
	begin(knock);
}

static void on_connected(struct knock *knock)
{
	int error = 0;
	socklen_t length = sizeof(error);

	if (getsockopt(knock->fd, SOL_SOCKET, SO_ERROR, &error, &length) < 0)
		error = errno;
	if (error)
		finish(knock, result_of(error), NULL, 0);
	else if (has_met_itself(knock->fd))
		finish(knock, KNOCK_CLOSED, NULL, 0);
	else if (knock->banner_ms <= 0)
		finish(knock, KNOCK_OPEN, NULL, 0);
	else
		wait_for(knock, KNOCK_LISTENING, EV_READ, knock->banner_ms);
}

static void on_readable(struct knock *knock)
{
	uint8_t banner[KNOCK_BANNER_MAX_BYTES];
	ssize_t n = recv(knock->fd, banner, sizeof(banner), 0);

	if (n > 0)
		finish(knock, KNOCK_BANNER, banner, (size_t)n);
	else
		finish(knock, KNOCK_OPEN, NULL, 0); /* it hung up without a word */
}

static void on_event(evutil_socket_t fd, short what, void *arg)
{
	struct knock *knock = arg;

	(void)fd;
	switch (knock->state) {
	case KNOCK_FREE: break;
	case KNOCK_PACED: start(knock); break;
	case KNOCK_STARVED: begin(knock); break;
	case KNOCK_CONNECTING:
		if (what & EV_WRITE)
			on_connected(knock);
		else
			finish(knock, KNOCK_SILENT, NULL, 0);
		break;
	case KNOCK_LISTENING:
		if (what & EV_READ)
			on_readable(knock);
		else
			finish(knock, KNOCK_OPEN, NULL, 0);
		break;
	case KNOCK_DONE: finish(knock, knock->result, NULL, 0); break;
	}
}

int knock_start(struct knocker *k, const struct endpoint *e, int64_t connect_ms, int64_t banner_ms,
                knock_cb *done, void *arg)
{
	struct knock *knock = SLIST_FIRST(&k->free);

	if (!knock)
		return -EAGAIN;
	SLIST_REMOVE_HEAD(&k->free, link);
	k->room--;
	knock->endpoint = *e;
	knock->connect_ms = connect_ms;
	knock->banner_ms = banner_ms;
	knock->done = done;
	knock->arg = arg;
	if (k->route && k->route->proxy.family)
		conclude(knock, KNOCK_UNTOLD);
	else
		start(knock);
	return 0;
}
