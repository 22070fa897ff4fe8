/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/sender/transport.h"

#include "build_info.h"
#include "common/cleanup.h"
#include "common/clock.h"
#include "daemon/sender/curl_tls.h"
#include "scanner/curl_loop.h"

#include <errno.h>
#include <string.h>

struct transport {
	struct event_base *base;
	struct resolver *resolver;
	struct curl_loop *loop;
};

struct transfer {
	struct transport *transport;
	CURL *easy;
	bool running; /* `easy` is in the multi handle */
	struct curl_slist *headers, *addresses;
	struct resolve_question *question;
	int64_t deadline_ms;
	struct event *timer; /* bounds the resolving; libcurl has its own */
	char *resolve_key;   /* "host:port" */
	size_t head_bytes, body_bytes;
	bool head_done;
	transport_done_cb *done;
	void *arg;
};

AUTO_CLEANUP(curlu, CURLU *, curl_url_cleanup)
#define auto_curlu __attribute__((cleanup(cleanup_curlu)))

static void cleanup_curl_string(char **slot)
{
	curl_free(*slot);
}
#define auto_curl_string __attribute__((cleanup(cleanup_curl_string)))

static void free_transfer(struct transfer *x)
{
	resolve_cancel(x->question);
	if (x->running)
		curl_multi_remove_handle(curl_loop_multi(x->transport->loop), x->easy);
	if (x->easy)
		curl_easy_cleanup(x->easy);
	if (x->timer)
		event_free(x->timer);
	for (struct curl_slist *h = x->headers; h; h = h->next)
		explicit_bzero(h->data, strlen(h->data));
	curl_slist_free_all(x->headers);
	curl_slist_free_all(x->addresses);
	free(x->resolve_key);
	free(x);
}

void transport_cancel(struct transfer *x)
{
	if (x)
		free_transfer(x);
}

static void finish(struct transfer *x, const struct transport_result *result)
{
	transport_done_cb *done = x->done;
	void *arg = x->arg;

	free_transfer(x);
	done(result, arg);
}

static void finish_failed(struct transfer *x, const char *text)
{
	struct transport_result result = {0};

	snprintf(result.text, sizeof(result.text), "%s", text);
	finish(x, &result);
}

static size_t take_header(char *bytes, size_t size, size_t count, void *arg)
{
	struct transfer *x = arg;
	size_t length = size * count;
	long status = 0;

	x->head_bytes += length;
	if (x->head_bytes > TRANSPORT_ANSWER_HEAD_MAX_BYTES)
		return 0;
	/* The empty line; after an interim answer (1xx) another head follows. */
	if ((length == 2 && !memcmp(bytes, "\r\n", 2)) || (length == 1 && bytes[0] == '\n')) {
		curl_easy_getinfo(x->easy, CURLINFO_RESPONSE_CODE, &status);
		x->head_done = status >= 200;
	}
	return length;
}

static size_t take_body(char *bytes, size_t size, size_t count, void *arg)
{
	struct transfer *x = arg;

	(void)bytes;
	x->body_bytes += size * count;
	/* Anything but the length ends the transfer; the status has been read by then. */
	return x->body_bytes > TRANSPORT_ANSWER_BODY_MAX_BYTES ? 0 : size * count;
}

static void on_curl_done(CURL *easy, CURLcode code, void *arg)
{
	struct transport_result result = {0};
	struct transfer *x = NULL;
	curl_off_t retry_after_s = 0;
	long status = 0;

	(void)arg;
	curl_easy_getinfo(easy, CURLINFO_PRIVATE, (char **)&x);
	if (!x->head_done) {
		char text[CURL_TLS_TEXT_LEN];
		const char *why = curl_tls_explain(easy, code, text);

		if (x->head_bytes > TRANSPORT_ANSWER_HEAD_MAX_BYTES)
			why = "the answer's head is too long";
		finish_failed(x, code == CURLE_OK ? "no complete answer" : why);
		return;
	}
	/* What happens to the body does not matter: the receiver has decided. */
	curl_easy_getinfo(easy, CURLINFO_RESPONSE_CODE, &status);
	result.status = (int)status;
	if (curl_easy_getinfo(easy, CURLINFO_RETRY_AFTER, &retry_after_s) == CURLE_OK &&
	    retry_after_s > 0 && retry_after_s < 1000 * 1000)
		result.retry_after_ms = (int64_t)retry_after_s * 1000;
	else if (retry_after_s > 0)
		result.retry_after_ms = INT64_C(1000) * 1000 * 1000;
	snprintf(result.text, sizeof(result.text), "HTTP %d%s", result.status,
	         status >= 300 && status < 400 ? ": redirects are refused" : "");
	finish(x, &result);
}

/* Every bound on what a receiver can do to us. */
static int set_options(struct transfer *x, const struct transport_request *request)
{
	CURL *e = x->easy;
	unsigned bad = 0;

	bad |= curl_easy_setopt(e, CURLOPT_PRIVATE, x);
	bad |= curl_easy_setopt(e, CURLOPT_URL, request->url);
	bad |= curl_loop_restrict(e);
	bad |= curl_tls_set(e, request->conf);
	bad |= curl_easy_setopt(e, CURLOPT_USERAGENT, "pprofwall-sender/" PPROFWALL_VERSION);
	bad |= curl_easy_setopt(e, CURLOPT_HTTPHEADER, x->headers);
	bad |= curl_easy_setopt(e, CURLOPT_POSTFIELDS, request->body);
	bad |= curl_easy_setopt(e, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)request->length);
	bad |= curl_easy_setopt(e, CURLOPT_HEADERFUNCTION, take_header);
	bad |= curl_easy_setopt(e, CURLOPT_HEADERDATA, x);
	bad |= curl_easy_setopt(e, CURLOPT_WRITEFUNCTION, take_body);
	bad |= curl_easy_setopt(e, CURLOPT_WRITEDATA, x);
	return bad ? -EINVAL : 0;
}

static int add_header(struct transfer *x, const char *line)
{
	struct curl_slist *longer = curl_slist_append(x->headers, line);

	if (!longer)
		return -ENOMEM;
	x->headers = longer;
	return 0;
}

static int add_field(struct transfer *x, const char *name, const char *value)
{
	auto_free char *line = NULL;

	if (asprintf(&line, "%s: %s", name, value) < 0)
		return -ENOMEM;
	return add_header(x, line);
}

static int set_headers(struct transfer *x, const struct transport_request *request)
{
	const struct conf_strings *more = &request->conf->headers;
	/* No 100-continue: a round trip for a small body. */
	int rc = add_header(x, "Content-Type: application/json");

	if (rc == 0)
		rc = add_header(x, "Expect:");
	if (rc == 0 && request->event_id[0])
		rc = add_field(x, "X-Pprofwall-Event-Id", request->event_id);
	if (rc == 0 && request->signature)
		rc = add_field(x, "X-Pprofwall-Signature", request->signature);
	for (size_t i = 0; rc == 0 && i < more->count; i++)
		rc = add_header(x, more->items[i]);
	return rc;
}

static void start_curl(struct transfer *x)
{
	int64_t left_ms = x->deadline_ms - clock_monotonic_ms();

	if (left_ms <= 0) {
		finish_failed(x, curl_easy_strerror(CURLE_OPERATION_TIMEDOUT));
		return;
	}
	/* The timer has done its work: from here on libcurl keeps the deadline. */
	event_del(x->timer);
	curl_easy_setopt(x->easy, CURLOPT_TIMEOUT_MS, (long)left_ms);
	curl_easy_setopt(x->easy, CURLOPT_CONNECTTIMEOUT_MS, (long)left_ms);
	if (curl_multi_add_handle(curl_loop_multi(x->transport->loop), x->easy) != CURLM_OK) {
		finish_failed(x, "libcurl refused the transfer");
		return;
	}
	x->running = true;
}

/*
 * "host:port:address,address" takes the place of what an earlier attempt put into libcurl's cache,
 * and does not expire there: so libcurl never resolves by itself (the filter would not let it).
 */
static int set_addresses(struct transfer *x, const struct resolve_answer *answer)
{
	char entry[512 + RESOLVE_MAX_ADDRESSES * (ENDPOINT_TEXT_LEN + 3)];
	size_t at = (size_t)snprintf(entry, sizeof(entry), "%s:", x->resolve_key);

	for (size_t i = 0; i < answer->count && at < sizeof(entry); i++) {
		char text[ENDPOINT_TEXT_LEN];
		bool v6 = answer->addresses[i].family == AF_INET6;

		endpoint_format_address(&answer->addresses[i], text);
		at += (size_t)snprintf(entry + at, sizeof(entry) - at, "%s%s%s%s", i ? "," : "",
		                       v6 ? "[" : "", text, v6 ? "]" : "");
	}
	if (at >= sizeof(entry))
		return -EINVAL;
	x->addresses = curl_slist_append(NULL, entry);
	if (!x->addresses || curl_easy_setopt(x->easy, CURLOPT_RESOLVE, x->addresses))
		return -ENOMEM;
	return 0;
}

static void on_resolved(const struct resolve_answer *answer, uint64_t token, void *arg)
{
	struct transfer *x = arg;

	(void)token;

	x->question = NULL;
	if (answer->error == -ENOENT)
		finish_failed(x, "the receiver's name does not exist");
	else if (answer->error)
		finish_failed(x, "the receiver's name has no address, or DNS failed");
	else if (set_addresses(x, answer) < 0)
		finish_failed(x, "out of memory");
	else
		start_curl(x);
}

static void on_timer(evutil_socket_t fd, short what, void *arg)
{
	struct transfer *x = arg;

	(void)fd;
	(void)what;
	if (x->question)
		finish_failed(x, "the receiver's name was not resolved in time");
	else
		start_curl(x); /* a numeric host, from transport_post() */
}

/* Leaves resolve_key NULL and *name empty when the host is numeric. */
static int find_host(struct transfer *x, const char *url, char name[static 256])
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
	length = asprintf(&x->resolve_key, "%s:%s", host, port);
	if (length < 0) {
		x->resolve_key = NULL;
		return -ENOMEM;
	}
	return 0;
}

static int prepare(struct transfer *x, const struct transport_request *request)
{
	struct timeval deadline = {request->timeout_ms / 1000, request->timeout_ms % 1000 * 1000};
	char name[256] = "";
	int rc;

	x->easy = curl_easy_init();
	x->timer = evtimer_new(x->transport->base, on_timer, x);
	if (!x->easy || !x->timer || event_add(x->timer, &deadline) < 0)
		return -ENOMEM;
	rc = set_headers(x, request);
	if (rc == 0)
		rc = set_options(x, request);
	if (rc == 0)
		rc = find_host(x, request->url, name);
	if (rc < 0)
		return rc;
	if (name[0])
		return resolver_ask(x->transport->resolver, name, on_resolved, 0, x, &x->question);
	event_active(x->timer, EV_TIMEOUT, 0);
	return 0;
}

int transport_post(struct transport *t, const struct transport_request *request,
                   transport_done_cb *done, void *arg, struct transfer **out)
{
	struct transfer *x = calloc(1, sizeof(*x));
	int rc;

	if (!x)
		return -ENOMEM;
	x->transport = t;
	x->done = done;
	x->arg = arg;
	x->deadline_ms = clock_monotonic_ms() + request->timeout_ms;
	rc = prepare(x, request);
	if (rc < 0) {
		free_transfer(x);
		return rc;
	}
	*out = x;
	return 0;
}

int transport_new(struct event_base *base, struct resolver *resolver, struct transport **out)
{
	struct transport *t = calloc(1, sizeof(*t));
	int rc;

	if (!t)
		return -ENOMEM;
	t->base = base;
	t->resolver = resolver;
	rc = curl_loop_new(base, on_curl_done, t, &t->loop);
	if (rc < 0) {
		free(t);
		return rc;
	}
	*out = t;
	return 0;
}

void transport_free(struct transport *t)
{
	if (!t)
		return;
	curl_loop_free(t->loop);
	free(t);
}
