/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/sender/driver_http.h"

#include "common/clock.h"
#include "daemon/sender/backoff.h"
#include "daemon/sender/signature.h"

#include <errno.h>
#include <string.h>

struct http_attempt {
	struct transfer *transfer;
	char *body;
	attempt_done_cb *done;
	void *arg;
};

/* A body may hold a key. */
static void forget_body(char *body)
{
	if (body)
		explicit_bzero(body, strlen(body));
	free(body);
}

static void free_attempt(struct http_attempt *a)
{
	forget_body(a->body);
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

static void on_transfer_done(const struct transport_result *answer, void *arg)
{
	struct http_attempt *a = arg;
	struct attempt_result result = {
	    .verdict = judge(answer->status),
	    .status = answer->status,
	    .retry_after_ms = answer->retry_after_ms,
	};
	attempt_done_cb *done = a->done;
	void *done_arg = a->arg;

	_Static_assert((int)TRANSPORT_TEXT_LEN == (int)ATTEMPT_TEXT_LEN, "one holds the other");
	memcpy(result.text, answer->text, sizeof(result.text));
	free_attempt(a);
	done(&result, done_arg);
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
		forget_body(post->body);
		free(a);
		return -ENOMEM;
	}
	request.length = strlen(post->body);
	*a = (struct http_attempt){.body = post->body, .done = done, .arg = arg};
	rc = post->is_signed ? sign(spec->conf, &request, signature) : 0;
	if (rc == 0)
		rc = transport_post(d->transport, &request, on_transfer_done, a, &a->transfer);
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
	free_attempt(a);
}
