/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * From answers to a verdict: pure code, no I/O, no clock. The caller asks what to request next,
 * makes the request, feeds the answer, until nothing is left to ask; then takes the verdict. The
 * rules and the evidence behind them: docs/detection.md.
 *
 *	fingerprint_reset(fp, conf);
 *	while (fingerprint_next(fp, &request))
 *		fingerprint_feed(fp, make_the_request(&request));
 *	fingerprint_finish(fp, &finding);
 *
 * One fingerprint is used by one thread at a time.
 */
#pragma once

#include "common/finding.h"

struct signatures; /* scanner/signatures.h */

enum {
	FINGERPRINT_PATH_MAX_LEN = 256,
	FINGERPRINT_BODY_MAX_BYTES = 64 * 1024, /* the most of one body that a rule looks at */
	FINGERPRINT_MAX_REQUESTS = 32,          /* for one endpoint; the loop above is bounded */
};

/* What came back for one request. Plain pointers into the caller's memory, not kept after feed. */
struct http_answer {
	const char *content_type; /* "" when absent; likewise below */
	const char *location;
	const char *head;    /* its header lines, each ended by \n, the first of them */
	const uint8_t *body; /* decoded */
	size_t body_length;
	/*
	 * 0, or a negative errno: ECONNREFUSED; ETIMEDOUT and EHOSTUNREACH when no connection came
	 * about; EPROTO when TLS did not; ECONNRESET when it was cut or closed before a whole
	 * head came; EMSGSIZE when that head was too long.
	 * Not an error: a peer that spoke, but not HTTP (status 0; `body` is how it began).
	 */
	int error;
	int status;           /* 0: no status line (HTTP/0.9, a banner, nothing) */
	bool timed_out;       /* connected, then the deadline cut it off; what came counts */
	bool truncated;       /* a cap or the deadline cut the body */
	bool tls;             /* the answer came over TLS */
	bool go_pprof_header; /* X-Go-Pprof: 1 */
	bool nosniff;         /* X-Content-Type-Options: nosniff */
	bool alpn_refused;    /* TLS failed since we did not offer its protocol: HTTP/2 only */
};

enum fingerprint_step {
	FINGERPRINT_INDEX,
	FINGERPRINT_INDEX_REDIRECTED, /* one redirect, same host, trailing slash either way */
	FINGERPRINT_SYMBOL,
	FINGERPRINT_CONTROL,
	FINGERPRINT_CMDLINE,
	FINGERPRINT_GOROUTINE,         /* debug=2, only where the count is known and small */
	FINGERPRINT_GOROUTINE_REFUSED, /* debug=2&seconds=x: refused before any work */
	FINGERPRINT_PREFIX,            /* the index under another of the known prefixes */
	FINGERPRINT_RELATIVE,          /* a debug page of another kind */
	FINGERPRINT_METRICS, /* what else the port serves: only where profiling answered... */
	FINGERPRINT_ROOT,    /* ...and the product's signature does not say */
};

struct fingerprint_request {
	enum fingerprint_step step;
	bool tls;   /* use https (the server asked for it, or the hint) */
	bool last;  /* most likely: a hint on what to do with the connection */
	bool http2; /* HTTP/2: over plain TCP by prior knowledge */
	char path[FINGERPRINT_PATH_MAX_LEN]; /* path and query, ready to send */
	size_t body_max_bytes;               /* stop reading after so many decoded bytes */
};

struct fingerprint_conf {
	const char *prefix; /* copied; NULL: "/debug/pprof/", and the others on occasion */
	/*
	 * "host:port" of the requests, the port always given; copied. An absolute redirect is
	 * followed only to here. NULL: relative redirects only.
	 */
	const char *authority;
	bool tls_first; /* https is tried first, then http */
	bool tls_only;  /* the scheme was given by the user */
	bool plain_only;
	bool show_secrets;                   /* keep the command line as it came */
	unsigned goroutine_read_max;         /* read debug=2 at or below this count; default 1000 */
	uint64_t nonce;                      /* random; makes the control path unguessable */
	const struct signatures *signatures; /* NULL: none; outlives the fingerprint */
	bool all_relatives; /* asked for everywhere, not only where it costs little */
	bool all_prefixes;  /* likewise, where `prefix` is NULL */
	bool asks_serves;   /* ask exposed endpoints for /metrics and / */
};

struct fingerprint; /* heap-allocated, some kilobytes; reused with fingerprint_reset() */

struct fingerprint *fingerprint_new(void);
void fingerprint_free(struct fingerprint *fp);
void fingerprint_reset(struct fingerprint *fp, const struct fingerprint_conf *conf);

/* Fills *out and returns true while another request is needed. */
bool fingerprint_next(struct fingerprint *fp, struct fingerprint_request *out);
/* The answer to the request that the last fingerprint_next() gave. */
void fingerprint_feed(struct fingerprint *fp, const struct http_answer *answer);
/*
 * Fills verdict, severity, high_risk, kind, evidence, profiles, path, scheme, status, go_version,
 * module, program, identified_by, relatives, serves, advice, signatures, command, error of an
 * initialised finding. Returns 0 or -ENOMEM.
 */
int fingerprint_finish(const struct fingerprint *fp, struct finding *out);
