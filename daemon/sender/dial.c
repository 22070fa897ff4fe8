/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/sender/dial.h"

#include "common/cleanup.h"
#include "common/clock.h"
#include "scanner/curl_loop.h"

#include <errno.h>
#include <string.h>

struct dialer {
	struct event_base *base;
	struct resolver *resolver;
	struct curl_loop *loop;
};

struct dial {
	struct dialer *dialer;
	CURL *easy;
	bool running; /* `easy` is in the multi handle */
	struct curl_slist *addresses;
	struct resolve_question *question;
	int64_t deadline_ms;
	struct event *timer; /* bounds the resolving; libcurl has its own */
	char *resolve_key;   /* "host:port" */
	dial_done_cb *done;
	void *arg;
};

AUTO_CLEANUP(curlu, CURLU *, curl_url_cleanup)
#define auto_curlu __attribute__((cleanup(cleanup_curlu)))

static void cleanup_curl_string(char **slot)
{
	curl_free(*slot);
}
#define auto_curl_string __attribute__((cleanup(cleanup_curl_string)))

void dial_free(struct dial *d)
{
	if (!d)
		return;
	resolve_cancel(d->question);
	if (d->running)
		curl_multi_remove_handle(curl_loop_multi(d->dialer->loop), d->easy);
	if (d->timer)
		event_free(d->timer);
	curl_slist_free_all(d->addresses);
	free(d->resolve_key);
	free(d);
}

static void on_curl_done(CURL *easy, CURLcode code, void *arg)
{
	struct dial *d = NULL;

	(void)arg;
	curl_easy_getinfo(easy, CURLINFO_PRIVATE, (char **)&d);
	d->done(code, NULL, d->arg);
}

static void start_curl(struct dial *d)
{
	int64_t left_ms = d->deadline_ms - clock_monotonic_ms();

	if (left_ms <= 0) {
		d->done(CURLE_OPERATION_TIMEDOUT, NULL, d->arg);
		return;
	}
	/* The timer has done its work: from here on libcurl keeps the deadline. */
	event_del(d->timer);
	curl_easy_setopt(d->easy, CURLOPT_TIMEOUT_MS, (long)left_ms);
	curl_easy_setopt(d->easy, CURLOPT_CONNECTTIMEOUT_MS, (long)left_ms);
	if (curl_multi_add_handle(curl_loop_multi(d->dialer->loop), d->easy) != CURLM_OK) {
		d->done(CURLE_OK, "libcurl refused the transfer", d->arg);
		return;
	}
	d->running = true;
}

/*
 * "host:port:address,address" takes the place of what an earlier attempt put into libcurl's cache,
 * and does not expire there: so libcurl never resolves by itself (the filter would not let it).
 */
static int set_addresses(struct dial *d, const struct resolve_answer *answer)
{
	char entry[512 + RESOLVE_MAX_ADDRESSES * (ENDPOINT_TEXT_LEN + 3)];
	size_t at = (size_t)snprintf(entry, sizeof(entry), "%s:", d->resolve_key);

	for (size_t i = 0; i < answer->count && at < sizeof(entry); i++) {
		char text[ENDPOINT_TEXT_LEN];
		bool v6 = answer->addresses[i].family == AF_INET6;

		endpoint_format_address(&answer->addresses[i], text);
		at += (size_t)snprintf(entry + at, sizeof(entry) - at, "%s%s%s%s", i ? "," : "",
		                       v6 ? "[" : "", text, v6 ? "]" : "");
	}
	if (at >= sizeof(entry))
		return -EINVAL;
	d->addresses = curl_slist_append(NULL, entry);
	if (!d->addresses || curl_easy_setopt(d->easy, CURLOPT_RESOLVE, d->addresses))
		return -ENOMEM;
	return 0;
}

static void on_resolved(const struct resolve_answer *answer, uint64_t token, void *arg)
{
	struct dial *d = arg;

	(void)token;

	d->question = NULL;
	if (answer->error == -ENOENT)
		d->done(CURLE_OK, "the receiver's name does not exist", d->arg);
	else if (answer->error)
		d->done(CURLE_OK, "the receiver's name has no address, or DNS failed", d->arg);
	else if (set_addresses(d, answer) < 0)
		d->done(CURLE_OK, "out of memory", d->arg);
	else
		start_curl(d);
}

static void on_timer(evutil_socket_t fd, short what, void *arg)
{
	struct dial *d = arg;

	(void)fd;
	(void)what;
	if (d->question)
		d->done(CURLE_OK, "the receiver's name was not resolved in time", d->arg);
	else
		start_curl(d); /* a numeric host, from dial_start() */
}

/* Leaves resolve_key NULL and *name empty when the host is numeric. */
static int find_host(struct dial *d, const char *url, char name[static 256])
{
	auto_curlu CURLU *parts = curl_url();
	auto_curl_string char *host = NULL;
	auto_curl_string char *port = NULL;
	struct endpoint unused;
	int length;

	if (!parts)
		return -ENOMEM;
	if (curl_url_set(parts, CURLUPART_URL, url, 0) ||
	    curl_url_get(parts, CURLUPART_HOST, &host, 0) ||
	    curl_url_get(parts, CURLUPART_PORT, &port, CURLU_DEFAULT_PORT) || strlen(host) > 255)
		return -EINVAL;
	name[0] = '\0';
	if (host[0] == '[' || endpoint_parse_address(host, &unused) == 0)
		return 0;
	memcpy(name, host, strlen(host) + 1);
	length = asprintf(&d->resolve_key, "%s:%s", host, port);
	if (length < 0) {
		d->resolve_key = NULL;
		return -ENOMEM;
	}
	return 0;
}

int dial_start(struct dialer *dialer, CURL *easy, const char *url, int64_t timeout_ms,
               dial_done_cb *done, void *arg, struct dial **out)
{
	struct dial *d = calloc(1, sizeof(*d));
	struct timeval deadline = {timeout_ms / 1000, timeout_ms % 1000 * 1000};
	char name[256] = "";
	int rc = 0;

	if (!d)
		return -ENOMEM;
	*d = (struct dial){.dialer = dialer,
	                   .easy = easy,
	                   .deadline_ms = clock_monotonic_ms() + timeout_ms,
	                   .timer = evtimer_new(dialer->base, on_timer, d),
	                   .done = done,
	                   .arg = arg};
	if (!d->timer || event_add(d->timer, &deadline) < 0 ||
	    curl_easy_setopt(easy, CURLOPT_PRIVATE, d))
		rc = -ENOMEM;
	if (rc == 0)
		rc = find_host(d, url, name);
	if (rc == 0 && name[0])
		rc = resolver_ask(dialer->resolver, name, on_resolved, 0, d, &d->question);
	else if (rc == 0)
		event_active(d->timer, EV_TIMEOUT, 0);
	if (rc < 0) {
		dial_free(d);
		return rc;
	}
	*out = d;
	return 0;
}

int dialer_new(struct event_base *base, struct resolver *resolver, struct dialer **out)
{
	struct dialer *dialer = calloc(1, sizeof(*dialer));
	int rc;

	if (!dialer)
		return -ENOMEM;
	dialer->base = base;
	dialer->resolver = resolver;
	rc = curl_loop_new(base, on_curl_done, NULL, &dialer->loop);
	if (rc < 0) {
		free(dialer);
		return rc;
	}
	*out = dialer;
	return 0;
}

void dialer_free(struct dialer *dialer)
{
	if (!dialer)
		return;
	curl_loop_free(dialer->loop);
	free(dialer);
}
