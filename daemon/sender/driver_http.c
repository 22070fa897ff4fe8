/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/sender/driver_http.h"

#include "daemon/sender/backoff.h"

#include <errno.h>
#include <string.h>

struct http_attempt {
	struct transfer *transfer;
	char *body;
	attempt_done_cb *done;
	void *arg;
};

static void free_attempt(struct http_attempt *a)
{
	free(a->body);
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

int driver_http_start(struct drivers *d, const struct attempt_spec *spec,
                      const struct http_post *post, attempt_done_cb *done, void *arg,
                      void **attempt)
{
	struct http_attempt *a = calloc(1, sizeof(*a));
	struct transport_request request = {
	    .url = post->url,
	    .timeout_ms = spec->timeout_ms,
	    .body = post->body,
	    .event_id = post->event_id,
	};
	int rc;

	if (!a || !post->body) {
		free(post->body);
		free(a);
		return -ENOMEM;
	}
	request.length = strlen(post->body);
	*a = (struct http_attempt){.body = post->body, .done = done, .arg = arg};
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
