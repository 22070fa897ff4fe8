/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The drivers that POST JSON, and what they share. */
#pragma once

#include "daemon/sender/driver.h"

struct http_post {
	const char *url;      /* copied */
	char *body;           /* taken over, and freed, also on failure; NULL: out of memory */
	const char *event_id; /* "" for none; copied */
	bool is_signed;       /* with the sink's secret, if it has one */
};

/* driver.start() with what to post, and driver.cancel(): the status alone decides. */
int driver_http_start(struct drivers *d, const struct attempt_spec *spec,
                      const struct http_post *post, attempt_done_cb *done, void *arg,
                      void **attempt);
void driver_http_cancel(void *attempt);

extern const struct driver driver_webhook;
