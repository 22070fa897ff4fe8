/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/sender/driver_http.h"

#include "common/clock.h"
#include "daemon/sender/attempt.h"
#include "daemon/sender/backoff.h"
#include "daemon/sender/signature.h"

#include <errno.h>
#include <string.h>

struct http_attempt {
	struct transfer *transfer;
	void *skipped; /* in its place: an attempt of attempt.h */
	char *body;
	attempt_done_cb *done;
	void *arg;
};

void driver_http_forget(char *text)
{
	if (text)
		explicit_bzero(text, strlen(text));
	free(text);
}

static void free_attempt(struct http_attempt *a)
{
	driver_http_forget(a->body);
	free(a);
}

static enum attempt_verdict judge(int status)
{
	switch (backoff_judge_status(status)) {
	case BACKOFF_DELIVERED: return ATTEMPT_DELIVERED;
	case BACKOFF_REFUSED: return ATTEMPT_REFUSED;
	case BACKOFF_RETRY:
	default: return ATTEMPT_RETRY;
	}
}

static void finish(struct http_attempt *a, const struct attempt_result *result)
{
	attempt_done_cb *done = a->done;
	void *arg = a->arg;

	free_attempt(a);
	done(result, arg);
}

static void on_transfer_done(const struct transport_result *answer, void *arg)
{
	struct http_attempt *a = arg;
	struct attempt_result result = {
	    .verdict = judge(answer->status),
	    .status = answer->status,
	    .retry_after_ms = answer->retry_after_ms,
	};

	_Static_assert((int)TRANSPORT_TEXT_LEN == (int)ATTEMPT_TEXT_LEN, "one holds the other");
	memcpy(result.text, answer->text, sizeof(result.text));
	finish(a, &result);
}

static void on_skipped(const struct attempt_result *result, void *arg)
{
	finish(arg, result);
}

int driver_http_skip(struct drivers *d, attempt_done_cb *done, void *arg, void **attempt)
{
	const struct attempt_result delivered = {.verdict = ATTEMPT_DELIVERED};
	struct http_attempt *a = calloc(1, sizeof(*a));
	int rc;

	if (!a)
		return -ENOMEM;
	*a = (struct http_attempt){.done = done, .arg = arg};
	rc = attempt_end(d, &delivered, on_skipped, a, &a->skipped);
	if (rc < 0) {
		free(a);
		return rc;
	}
	*attempt = a;
	return 0;
}

static int sign(const struct conf_alert *conf, struct transport_request *request,
                char signature[static SIGNATURE_LEN])
{
	if (!conf->secret)
		return 0;
	request->signature = signature;
	return signature_make(conf->secret, clock_wall_ms() / 1000, request->body, request->length,
	                      signature);
}

int driver_http_start(struct drivers *d, const struct attempt_spec *spec,
                      const struct http_post *post, attempt_done_cb *done, void *arg,
                      void **attempt)
{
	struct http_attempt *a = calloc(1, sizeof(*a));
	char signature[SIGNATURE_LEN];
	struct transport_request request = {
	    .conf = spec->conf,
	    .url = post->url,
	    .timeout_ms = spec->timeout_ms,
	    .body = post->body,
	    .event_id = post->event_id,
	};
	int rc;

	if (!a || !post->body) {
		driver_http_forget(post->body);
		free(a);
		return -ENOMEM;
	}
	request.length = strlen(post->body);
	*a = (struct http_attempt){.body = post->body, .done = done, .arg = arg};
	rc = post->is_signed ? sign(spec->conf, &request, signature) : 0;
	if (rc == 0)
		rc = transport_post(d->dialer, &request, on_transfer_done, a, &a->transfer);
	if (rc < 0) {
		free_attempt(a);
		return rc;
	}
	*attempt = a;
	return 0;
}

void driver_http_cancel(void *attempt)
{
	struct http_attempt *a = attempt;

	transport_cancel(a->transfer);
	if (a->skipped)
		attempt_end_cancel(a->skipped);
	free_attempt(a);
}
