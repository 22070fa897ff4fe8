/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/sender/transport.h"

#include "build_info.h"
#include "common/cleanup.h"
#include "daemon/sender/curl_tls.h"
#include "scanner/curl_loop.h"

#include <errno.h>
#include <string.h>

struct transfer {
	CURL *easy;
	struct dial *dial;
	struct curl_slist *headers;
	size_t head_bytes, body_bytes;
	bool head_done;
	transport_done_cb *done;
	void *arg;
};

static void free_transfer(struct transfer *x)
{
	dial_free(x->dial);
	if (x->easy)
		curl_easy_cleanup(x->easy);
	for (struct curl_slist *h = x->headers; h; h = h->next)
		explicit_bzero(h->data, strlen(h->data));
	curl_slist_free_all(x->headers);
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

static void on_dialed(CURLcode code, const char *failure, void *arg)
{
	struct transport_result result = {0};
	struct transfer *x = arg;
	curl_off_t retry_after_s = 0;
	CURL *easy = x->easy;
	long status = 0;

	if (failure) {
		finish_failed(x, failure);
		return;
	}
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

int transport_post(struct dialer *dialer, const struct transport_request *request,
                   transport_done_cb *done, void *arg, struct transfer **out)
{
	struct transfer *x = calloc(1, sizeof(*x));
	int rc = -ENOMEM;

	if (!x)
		return -ENOMEM;
	x->done = done;
	x->arg = arg;
	x->easy = curl_easy_init();
	if (x->easy)
		rc = set_headers(x, request);
	if (rc == 0)
		rc = set_options(x, request);
	if (rc == 0)
		rc = dial_start(dialer, x->easy, request->url, request->timeout_ms, on_dialed, x,
		                &x->dial);
	if (rc < 0) {
		free_transfer(x);
		return rc;
	}
	*out = x;
	return 0;
}
