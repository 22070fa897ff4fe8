/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/sender/driver_syslog.h"

#include "daemon/sender/attempt.h"
#include "daemon/sender/syslog_format.h"
#include "daemon/sender/syslog_links.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>

enum { UDP_PORT = 514 };

struct syslog_attempt {
	char bytes[SYSLOG_STREAM_MAX_BYTES + SYSLOG_PREFIX_MAX_BYTES];
	size_t length;
	/* One of these is under way, and perhaps a timer over it: */
	void *ended; /* attempt.h */
	struct syslog_link *link;
	struct resolve_question *question;
	struct event *timer;
	uint16_t port;
	attempt_done_cb *done;
	void *arg;
};

static void cancel(void *attempt)
{
	struct syslog_attempt *a = attempt;

	if (a->ended)
		attempt_end_cancel(a->ended);
	if (a->link)
		syslog_link_cancel(a->link);
	resolve_cancel(a->question);
	if (a->timer)
		event_free(a->timer);
	free(a);
}

static void finish(struct syslog_attempt *a, const struct attempt_result *result)
{
	attempt_done_cb *done = a->done;
	void *arg = a->arg;

	cancel(a);
	done(result, arg);
}

static void finish_failed(struct syslog_attempt *a, const char *text)
{
	struct attempt_result result = {.verdict = ATTEMPT_RETRY};

	snprintf(result.text, sizeof(result.text), "%s", text);
	finish(a, &result);
}

static void on_ended(const struct attempt_result *result, void *arg)
{
	struct syslog_attempt *a = arg;

	a->ended = NULL;
	finish(a, result);
}

static void on_sent(const char *failure, void *arg)
{
	static const struct attempt_result delivered = {.verdict = ATTEMPT_DELIVERED};
	struct syslog_attempt *a = arg;

	a->link = NULL; /* it stays, for the next one */
	if (failure)
		finish_failed(a, failure);
	else
		finish(a, &delivered);
}

/* The first address that the kernel takes it for. */
static struct attempt_result send_to_any(const struct syslog_attempt *a,
                                         const struct resolve_answer *answer)
{
	struct attempt_result result = attempt_judge_send(-1, EHOSTUNREACH);

	for (size_t i = 0; i < answer->count; i++) {
		struct endpoint to = answer->addresses[i];
		struct sockaddr_storage address;
		socklen_t size;
		auto_close int fd = socket(to.family, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
		ssize_t n = -1;

		to.port = a->port;
		size = endpoint_to_sockaddr(&to, &address);
		if (fd >= 0)
			n = sendto(fd, a->bytes, a->length, MSG_NOSIGNAL,
			           (const struct sockaddr *)&address, size);
		result = attempt_judge_send(n, errno);
		if (n >= 0)
			break;
	}
	return result;
}

static void on_resolved(const struct resolve_answer *answer, uint64_t token, void *arg)
{
	struct syslog_attempt *a = arg;
	struct attempt_result result;

	(void)token;
	a->question = NULL;
	if (answer->error) {
		finish_failed(a, resolve_strerror(answer->error));
		return;
	}
	result = send_to_any(a, answer);
	finish(a, &result);
}

static void on_timer(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	finish_failed(arg, "the receiver's name was not resolved in time");
}

/* "host", "host:port", "[v6]:port", of which the configuration has made sure. */
static int split_host(const char *authority, char host[static 256], uint16_t *port)
{
	const char *end = authority[0] == '[' ? strchr(authority, ']') : NULL;
	const char *colon = strchr(end ? end : authority, ':');
	const char *begin = end ? authority + 1 : authority;
	size_t length = end ? (size_t)(end - begin) : strcspn(begin, ":");

	if (length >= 256)
		return -EINVAL;
	memcpy(host, begin, length);
	host[length] = '\0';
	*port = UDP_PORT;
	return colon ? endpoint_parse_port(colon + 1, port) : 0;
}

static int start_udp(struct drivers *d, struct syslog_attempt *a, const char *authority,
                     int64_t timeout_ms)
{
	struct timeval tv = {timeout_ms / 1000, timeout_ms % 1000 * 1000};
	char host[256];

	if (split_host(authority, host, &a->port) < 0)
		return -EINVAL;
	a->timer = evtimer_new(d->base, on_timer, a);
	if (!a->timer || event_add(a->timer, &tv) < 0)
		return -ENOMEM;
	return resolver_ask(d->resolver, host, on_resolved, 0, a, &a->question);
}

static const char *after_scheme(const char *url, const char *scheme)
{
	size_t n = strlen(scheme);

	return strncasecmp(url, scheme, n) == 0 ? url + n : NULL;
}

static int start_over(struct drivers *d, struct syslog_attempt *a, const struct attempt_spec *spec)
{
	const char *url = spec->conf->url;
	const char *path = after_scheme(url, "unix://");
	const char *udp = after_scheme(url, "udp://");
	struct attempt_result result;

	if (udp)
		return start_udp(d, a, udp, spec->timeout_ms);
	if (!path)
		return syslog_links_send(d->syslog, spec->conf, a->bytes, a->length,
		                         spec->timeout_ms, on_sent, a, &a->link);
	result = attempt_send_unix(path, a->bytes, a->length);
	return attempt_end(d, &result, on_ended, a, &a->ended);
}

static int start(struct drivers *d, const struct attempt_spec *spec, attempt_done_cb *done,
                 void *arg, void **attempt)
{
	auto_free char *text = message_make_text(spec->conf, spec->message);
	struct syslog_attempt *a = calloc(1, sizeof(*a));
	bool stream =
	    after_scheme(spec->conf->url, "tcp://") || after_scheme(spec->conf->url, "tls://");
	int rc;

	if (!a || !text) {
		free(a);
		return -ENOMEM;
	}
	a->done = done;
	a->arg = arg;
	a->length = syslog_format(spec->message->events[0], text, spec->conf->facility,
	                          stream ? SYSLOG_STREAM_MAX_BYTES : SYSLOG_DATAGRAM_MAX_BYTES,
	                          stream, a->bytes);
	rc = start_over(d, a, spec);
	if (rc < 0) {
		cancel(a);
		return rc;
	}
	*attempt = a;
	return 0;
}

const struct driver driver_syslog = {.start = start, .cancel = cancel};
