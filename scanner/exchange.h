/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What was said between an endpoint and us during one probe, kept from the engine's trace until the
 * finding comes: for evidence and for --explain. Bounded by the probe's own limits. One thread.
 */
#pragma once

#include "scanner/probe.h"

#include <stdio.h>

struct exchange {
	struct fingerprint_request request;
	struct http_answer answer; /* its pointers are into the memory below */
	int64_t time_ms;           /* wall clock, at the answer's end */
	int64_t took_us;
	char *sent; /* the request's head; "" when none was sent */
	char *head; /* of the answer, as it came */
	size_t head_length;
	char *content_type, *location;
	uint8_t *body;
};

struct exchange_log {
	struct exchange items[FINGERPRINT_MAX_REQUESTS];
	size_t count;
};

struct exchange_book; /* the logs of all probes that are under way */

struct exchange_book *exchange_book_new(void); /* NULL when memory is out */
void exchange_book_free(struct exchange_book *book);
/* From the trace callback. Returns 0 or -ENOMEM. */
int exchange_book_add(struct exchange_book *book, const struct probe_request *request,
                      const struct probe_exchange *exchange);
/* Takes a probe's log out; NULL when nothing was said. */
struct exchange_log *exchange_book_take(struct exchange_book *book,
                                        const struct probe_request *request);
void exchange_log_free(struct exchange_log *log);

/*
 * What came, for people to keep: without its secrets unless `show_secrets` (scanner/redact.h; a
 * command line by its arguments, the rest by its lines). Errors show in the stream.
 */
void exchange_write_head(FILE *to, const struct exchange *e, bool show_secrets);
void exchange_write_body(FILE *to, const struct exchange *e, bool show_secrets);

/* "index", "symbol", ...: for names of files and for people. */
const char *exchange_step_name(enum fingerprint_step step);
