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
/* Nothing of this message is for the sink: delivered, without a request. */
int driver_http_skip(struct drivers *d, attempt_done_cb *done, void *arg, void **attempt);
/* Of either. */
void driver_http_cancel(void *attempt);
/* Wipes and frees a text that may hold a secret. NULL is allowed. */
void driver_http_forget(char *text);

extern const struct driver driver_webhook, driver_alertmanager, driver_slack, driver_pagerduty;
