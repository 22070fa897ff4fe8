/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Transfers of libcurl, of whatever protocol: the name of the receiver is resolved by our own
 * resolver, and one deadline is over that, connecting, TLS and what follows. Loop's thread only.
 */
#pragma once

#include "common/resolve.h"

#include <curl/curl.h>

struct dialer;
struct dial;

/*
 * It is over, or connected where that is all that was asked for (CURLOPT_CONNECT_ONLY). `failure`
 * is said of what did not get as far as libcurl; else it is NULL, and `code` counts. Comes from the
 * loop, never from within a call. The dial is there until dial_free(), which may be called here.
 */
typedef void dial_done_cb(CURLcode code, const char *failure, void *arg);

/* Both must outlive the dialer. Returns 0, -ENOMEM or -EIO (libcurl). */
int dialer_new(struct event_base *base, struct resolver *resolver, struct dialer **out);
/* Every dial must have been freed. NULL is allowed. */
void dialer_free(struct dialer *dialer);

/*
 * Starts `easy`, to which CURLOPT_URL was given; it stays the caller's, who leaves CURLOPT_PRIVATE,
 * _RESOLVE, _TIMEOUT_MS and _CONNECTTIMEOUT_MS alone, and keeps it until after dial_free(). Returns
 * 0, or -ENOMEM, -EINVAL (the URL), -EAGAIN (too many questions to the resolver).
 */
int dial_start(struct dialer *dialer, CURL *easy, const char *url, int64_t timeout_ms,
               dial_done_cb *done, void *arg, struct dial **out);
/* No callback after this. A transfer under way ends, a connection is closed. NULL is allowed. */
void dial_free(struct dial *d);
