/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "scanner/curl_loop.h"

#include <errno.h>
#include <stdlib.h>

struct curl_loop {
	struct event_base *base;
	CURLM *multi;
	struct event *timer;
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

static void on_socket_ready(evutil_socket_t fd, short what, void *arg)
{
	struct curl_loop *loop = arg;
	int ready =
	    ((what & EV_READ) ? CURL_CSELECT_IN : 0) | ((what & EV_WRITE) ? CURL_CSELECT_OUT : 0);
	int running;

	curl_multi_socket_action(loop->multi, fd, ready, &running);
	report_finished(loop);
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

/* libcurl says which readiness of a socket it wants to hear of; `slot` is what we assigned. */
static int watch_socket(CURL *easy, curl_socket_t fd, int action, void *arg, void *slot)
{
	struct curl_loop *loop = arg;
	struct event *event = slot;
	short what = EV_PERSIST;

	(void)easy;
	if (event)
		event_free(event);
	curl_multi_assign(loop->multi, fd, NULL);
	if (action == CURL_POLL_REMOVE)
		return 0;
	if (action & CURL_POLL_IN)
		what |= EV_READ;
	if (action & CURL_POLL_OUT)
		what |= EV_WRITE;
	event = event_new(loop->base, fd, what, on_socket_ready, loop);
	if (!event || event_add(event, NULL) < 0) {
		if (event)
			event_free(event);
		return -1; /* libcurl then fails the transfers */
	}
	curl_multi_assign(loop->multi, fd, event);
	return 0;
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

int curl_loop_new(struct event_base *base, curl_loop_done_cb *done, void *arg,
                  struct curl_loop **out)
{
	struct curl_loop *loop;

	/* Counted by libcurl: one curl_global_cleanup() for each. */
	if (curl_global_init(CURL_GLOBAL_DEFAULT))
		return -EIO;
	loop = calloc(1, sizeof(*loop));
	if (!loop) {
		curl_global_cleanup();
		return -ENOMEM;
	}
	loop->base = base;
	loop->done = done;
	loop->arg = arg;
	loop->multi = curl_multi_init();
	loop->timer = evtimer_new(base, on_timer, loop);
	if (!loop->multi || !loop->timer) {
		curl_loop_free(loop);
		return -ENOMEM;
	}
	curl_multi_setopt(loop->multi, CURLMOPT_SOCKETFUNCTION, watch_socket);
	curl_multi_setopt(loop->multi, CURLMOPT_SOCKETDATA, loop);
	curl_multi_setopt(loop->multi, CURLMOPT_TIMERFUNCTION, set_timer);
	curl_multi_setopt(loop->multi, CURLMOPT_TIMERDATA, loop);
	*out = loop;
	return 0;
}

CURLM *curl_loop_multi(struct curl_loop *loop)
{
	return loop->multi;
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
	free(loop);
	curl_global_cleanup();
}
