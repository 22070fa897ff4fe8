/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * One attempt to deliver: an HTTP POST with one deadline over resolving, connecting, TLS and the
 * answer. Whatever the receiver answers is counted against caps and thrown away. Loop's thread
 * only.
 */
#pragma once

#include "conf/conf.h"
#include "daemon/sender/dial.h"

enum {
	TRANSPORT_ANSWER_HEAD_MAX_BYTES = 16 * 1024,
	TRANSPORT_ANSWER_BODY_MAX_BYTES = 4 * 1024,
	TRANSPORT_TEXT_LEN = 128,
};

struct transfer;

struct transport_request {
	const struct conf_alert *conf; /* its headers and TLS; need not stay */
	const char *url;               /* copied */
	int64_t timeout_ms;
	const char *body; /* JSON; must stay until the transfer is over */
	size_t length;
	const char *signature; /* of X-Pprofwall-Signature; NULL: none; copied */
	const char *event_id;  /* see message_event_id(); "" for none; copied */
};

struct transport_result {
	int status; /* HTTP status whose head came in whole; 0: none */
	int64_t retry_after_ms;
	char text[TRANSPORT_TEXT_LEN]; /* why it failed; never names host or URL */
};

/* The transfer is gone when this returns. It may start another one. */
typedef void transport_done_cb(const struct transport_result *result, void *arg);

/*
 * The callback comes from the loop, never from within this call. Returns 0, or -ENOMEM, -EINVAL
 * (the URL), -EAGAIN (too many questions to the resolver).
 */
int transport_post(struct dialer *dialer, const struct transport_request *request,
                   transport_done_cb *done, void *arg, struct transfer **out);
/* No callback after this. NULL is allowed. */
void transport_cancel(struct transfer *x);
