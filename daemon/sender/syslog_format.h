/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * An event as a message of RFC 5424, with its fields as structured data. Pure.
 */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

enum {
	SYSLOG_DATAGRAM_MAX_BYTES = 2048, /* what every receiver should take (RFC 5424, 6.1) */
	SYSLOG_STREAM_MAX_BYTES = 8192,   /* what rsyslog and syslog-ng take as they are shipped */
	SYSLOG_PREFIX_MAX_BYTES = 8,      /* "8192 ", of octet counting */
};

/*
 * Writes the message, without a NUL, into `out`, in at most max_bytes (>=
 * SYSLOG_DATAGRAM_MAX_BYTES) octets: what is too much of the text is cut, at a character. `counted`
 * puts their number before them, as streams need it (RFC 6587, 3.4.1; RFC 5425, 4.3), which is not
 * among max_bytes. `out` has room for SYSLOG_PREFIX_MAX_BYTES more. `text` is UTF-8. Returns the
 * length.
 */
size_t syslog_format(const json_t *event, const char *text, unsigned facility, size_t max_bytes,
                     bool counted, char *out);
