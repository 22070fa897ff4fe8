/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Sockets are watched by an epoll of our own, which the caller's loop watches in turn: edges, and
 * both directions from the start, so that most connections cost one epoll_ctl(2) in their life and
 * none to forget them (closing does). libcurl reckons with levels: it may leave data unread. What
 * it was told of and still wants is therefore asked for anew.
 */
#include "scanner/curl_loop.h"

#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

enum { EVENTS_AT_ONCE = 256 };

/* One for each descriptor; bits are CURL_POLL_IN and CURL_POLL_OUT. */
struct watch {
	uint8_t wanted;
	uint8_t ready;   /* an edge came when it was not wanted */
	bool registered; /* unless it was closed meanwhile, and is another one now */
};

struct curl_loop {
	CURLM *multi;
	struct event *timer;
	int epoll;
	struct event *ready;
	struct watch *watches;
	size_t n_watches;
	bool knows_new_ones; /* curl_loop_note_socket() is used */
	curl_loop_done_cb *done;
	void *arg;
};

static void report_finished(struct curl_loop *loop)
{
	CURLMsg *message;
	int left;

	while ((message = curl_multi_info_read(loop->multi, &left))) {
		if (message->msg != CURLMSG_DONE)
			continue;
		/* Taking the handle out frees the message: copied before the call. */
		CURL *easy = message->easy_handle;
		CURLcode result = message->data.result;

		loop->done(easy, result, loop->arg);
	}
}

/* Also says anew what is ready already. Returns 0 or -errno. */
static int arm(struct curl_loop *loop, int fd)
{
	struct watch *w = &loop->watches[fd];
	struct epoll_event event = {.events = EPOLLIN | EPOLLOUT | EPOLLET, .data.fd = fd};
	int operation = w->registered ? EPOLL_CTL_MOD : EPOLL_CTL_ADD;
	int err = epoll_ctl(loop->epoll, operation, fd, &event);

	if (err < 0 && errno == (w->registered ? ENOENT : EEXIST)) {
		operation = w->registered ? EPOLL_CTL_ADD : EPOLL_CTL_MOD;
		err = epoll_ctl(loop->epoll, operation, fd, &event);
	}
	w->registered = err == 0;
	w->ready = 0;
	return err < 0 ? -errno : 0;
}

static void act_on(struct curl_loop *loop, int fd, uint32_t events)
{
	struct watch *w = &loop->watches[fd];
	uint8_t ready = 0;
	int told, running;

	if (events & (EPOLLIN | EPOLLERR | EPOLLHUP))
		ready |= CURL_POLL_IN;
	if (events & (EPOLLOUT | EPOLLERR | EPOLLHUP))
		ready |= CURL_POLL_OUT;
	told = ready & w->wanted;
	w->ready |= (uint8_t)(ready & ~told);
	if (!told)
		return;
	w->ready &= (uint8_t)~told;
	_Static_assert(CURL_POLL_IN == CURL_CSELECT_IN && CURL_POLL_OUT == CURL_CSELECT_OUT,
	               "libcurl names them twice");
	curl_multi_socket_action(loop->multi, fd, told, &running);
	/* The table may have moved. A new socket of that number loses nothing either. */
	w = &loop->watches[fd];
	if (w->wanted & told)
		arm(loop, fd);
	report_finished(loop);
}

static void on_ready(evutil_socket_t fd, short what, void *arg)
{
	struct curl_loop *loop = arg;
	struct epoll_event events[EVENTS_AT_ONCE];
	int n = epoll_wait(loop->epoll, events, EVENTS_AT_ONCE, 0);

	(void)fd;
	(void)what;
	/* If there are more, the caller's loop comes back, after others have had their turn. */
	for (int i = 0; i < n; i++)
		act_on(loop, events[i].data.fd, events[i].events);
}

static void on_timer(evutil_socket_t fd, short what, void *arg)
{
	struct curl_loop *loop = arg;
	int running;

	(void)fd;
	(void)what;
	curl_multi_socket_action(loop->multi, CURL_SOCKET_TIMEOUT, 0, &running);
	report_finished(loop);
}

static bool has_watch(struct curl_loop *loop, curl_socket_t fd)
{
	size_t n = loop->n_watches ? loop->n_watches : 64;
	struct watch *grown;

	if (fd < 0)
		return false;
	while (n <= (size_t)fd)
		n *= 2;
	if (n == loop->n_watches)
		return true;
	grown = realloc(loop->watches, n * sizeof(*grown));
	if (!grown)
		return false;
	memset(grown + loop->n_watches, 0, (n - loop->n_watches) * sizeof(*grown));
	loop->watches = grown;
	loop->n_watches = n;
	return true;
}

/* libcurl says which readiness of a socket it wants to hear of. */
static int watch_socket(CURL *easy, curl_socket_t fd, int action, void *arg, void *slot)
{
	struct curl_loop *loop = arg;
	struct watch *w;

	(void)easy;
	(void)slot;
	if (!has_watch(loop, fd))
		return -1; /* libcurl then fails the transfers */
	w = &loop->watches[fd];
	w->wanted = action == CURL_POLL_REMOVE ? 0 : action & CURL_POLL_INOUT;
	/* To be closed, or kept for the next transfer; that may meet another one of this number. */
	if (w->wanted == 0 && !loop->knows_new_ones)
		w->ready = CURL_POLL_INOUT;
	if (w->wanted == 0 || (w->registered && !(w->wanted & w->ready)))
		return 0;
	return arm(loop, fd) < 0 ? -1 : 0;
}

static int set_timer(CURLM *multi, long timeout_ms, void *arg)
{
	struct curl_loop *loop = arg;
	struct timeval tv = {timeout_ms / 1000, timeout_ms % 1000 * 1000};

	(void)multi;
	/* Also a timeout of 0 goes through the loop: libcurl must not be entered from here. */
	if (timeout_ms < 0)
		return event_del(loop->timer);
	return event_add(loop->timer, &tv);
}

static int set_up(struct curl_loop *loop, struct event_base *base)
{
	loop->multi = curl_multi_init();
	loop->timer = evtimer_new(base, on_timer, loop);
	loop->epoll = epoll_create1(EPOLL_CLOEXEC);
	if (loop->epoll < 0)
		return -errno;
	loop->ready = event_new(base, loop->epoll, EV_READ | EV_PERSIST, on_ready, loop);
	if (!loop->multi || !loop->timer || !loop->ready || event_add(loop->ready, NULL) < 0)
		return -ENOMEM;
	curl_multi_setopt(loop->multi, CURLMOPT_SOCKETFUNCTION, watch_socket);
	curl_multi_setopt(loop->multi, CURLMOPT_SOCKETDATA, loop);
	curl_multi_setopt(loop->multi, CURLMOPT_TIMERFUNCTION, set_timer);
	curl_multi_setopt(loop->multi, CURLMOPT_TIMERDATA, loop);
	return 0;
}

int curl_loop_new(struct event_base *base, curl_loop_done_cb *done, void *arg,
                  struct curl_loop **out)
{
	struct curl_loop *loop;
	int err;

	/* Counted by libcurl: one curl_global_cleanup() for each. */
	if (curl_global_init(CURL_GLOBAL_DEFAULT))
		return -EIO;
	loop = calloc(1, sizeof(*loop));
	if (!loop) {
		curl_global_cleanup();
		return -ENOMEM;
	}
	loop->done = done;
	loop->arg = arg;
	loop->epoll = -1;
	err = set_up(loop, base);
	if (err < 0) {
		curl_loop_free(loop);
		return err;
	}
	*out = loop;
	return 0;
}
CURLM *curl_loop_multi(struct curl_loop *loop)
{
	return loop->multi;
}

void curl_loop_note_socket(struct curl_loop *loop, curl_socket_t fd)
{
	loop->knows_new_ones = true;
	if (has_watch(loop, fd))
		loop->watches[fd] = (struct watch){0};
}

CURLcode curl_loop_restrict(CURL *easy)
{
	CURLcode bad = CURLE_OK;

	bad |= curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, "http,https");
	bad |= curl_easy_setopt(easy, CURLOPT_PROXY, ""); /* none from the environment either */
	bad |= curl_easy_setopt(easy, CURLOPT_FOLLOWLOCATION, 0L);
	bad |= curl_easy_setopt(easy, CURLOPT_NETRC, (long)CURL_NETRC_IGNORED);
	bad |= curl_easy_setopt(easy, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
	bad |= curl_easy_setopt(easy, CURLOPT_HTTP09_ALLOWED, 0L);
	bad |= curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
	return bad;
}

void curl_loop_free(struct curl_loop *loop)
{
	if (!loop)
		return;
	/* First the multi handle: closing kept connections still calls watch_socket(). */
	if (loop->multi)
		curl_multi_cleanup(loop->multi);
	if (loop->timer)
		event_free(loop->timer);
	if (loop->ready)
		event_free(loop->ready);
	if (loop->epoll >= 0)
		close(loop->epoll);
	free(loop->watches);
	free(loop);
	curl_global_cleanup();
}
