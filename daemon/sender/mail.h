/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A mail's header lines and its two bodies, from a message. Pure: libcurl makes a mail of them
 * (driver_smtp.c).
 */
#pragma once

#include "daemon/sender/message.h"

enum { MAIL_SUBJECT_MAX_BYTES = 255, MAIL_MAX_HEADERS = 8 };

struct mail {
	char *headers[MAIL_MAX_HEADERS]; /* "Name: value", maybe folded, without the last CR LF */
	size_t n_headers;
	char *plain, *html; /* UTF-8; lines end in CR LF */
};

/*
 * `now_ms` is wall time. Returns 0; -EINVAL for an address with control characters, -ENOMEM. Then
 * *out is empty.
 */
int mail_make(const struct conf_alert *conf, const struct message *m, int64_t now_ms,
              struct mail *out);
void mail_fini(struct mail *mail);
