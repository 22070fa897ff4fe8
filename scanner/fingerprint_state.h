/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the answers so far have shown: filled by fingerprint.c, weighed by fingerprint_verdict.c. */
#pragma once

#include "scanner/fingerprint_serves.h"

struct signature_product; /* scanner/signatures.h */

enum {
	/* leaves room for "goroutine?debug=2&seconds=x" and its like behind the prefix */
	FINGERPRINT_PREFIX_MAX_LEN = FINGERPRINT_PATH_MAX_LEN - 32,
};

enum control_evidence {
	CONTROL_NOT_ASKED = 0,
	CONTROL_FAILED,
	CONTROL_OTHER,
	CONTROL_DENIED, /* 401 or 403: all is behind authentication */
	CONTROL_INDEX,  /* a decoy: a random path answers the index */
	CONTROL_SYMBOL, /* likewise, the symbol handler's answer */
};

enum goroutine_evidence {
	GOROUTINE_NONE = 0,
	GOROUTINE_READ,
	GOROUTINE_REFUSED, /* the handler was reached, and refused before any work */
};

struct fingerprint {
	/* the configuration, copied */
	char
	    prefix[FINGERPRINT_PREFIX_MAX_LEN]; /* with a slash at both ends; that which answered */
	char authority[320];                    /* "" when unknown; a name has at most 253 bytes */
	bool tls_only, plain_only, show_secrets, all_relatives, all_prefixes, any_prefix,
	    asks_serves;
	unsigned goroutine_read_max;
	uint64_t nonce;
	const struct signatures *signatures; /* may be NULL */

	/* where we are */
	enum fingerprint_step step;
	bool done;
	unsigned requests;
	bool tls;                          /* of the next request */
	bool switched;                     /* the other scheme was tried already */
	bool http2;                        /* of the next request */
	size_t next_prefix, next_relative; /* in the signatures */

	/* what was seen */
	const char *failure; /* our own fault */
	bool out_of_memory;
	int error; /* of the last index request, when nothing answered it */
	bool timed_out;
	bool wants_tls; /* a TLS server's complaint about plain HTTP */
	bool no_http;   /* it answers, and is no HTTP */
	bool hung_up;   /* plain HTTP/1.1 was met by nothing but an end: HTTP/2 only, perhaps */
	bool is_go;     /* it is clean so far, but its 404 is Go's */
	int status;     /* of the index */
	bool slashless; /* the index answered without its trailing slash */
	bool is_index, is_undecided, is_denied, has_profile_title, redirects_to_prefix;
	struct index_page page;
	enum symbol_evidence symbol;
	bool symbol_by_go; /* with Go's own header */
	enum control_evidence control;
	int control_status;
	uint64_t control_hash;
	enum goroutine_evidence goroutine;
	bool cmdline_read;
	bool go_version_from_path;                            /* of the standard library */
	const struct signature_product *by_header, *by_title; /* in the signatures, or NULL */
	const char *lookalike; /* what answered `symbol` in Go's place; NULL: nothing */
	unsigned serves;       /* SERVES_* bits: what other requests showed */
	bool metrics_asked;
	uint64_t relatives;   /* which were found: a bit for each of the signatures' first 64 */
	struct finding draft; /* profiles, command, go_version, module */
};

/* fingerprint_scheme.c: how the index is asked for */

/*
 * The first answer may say that the other scheme is wanted. A peer that says nothing to plain HTTP
 * may be waiting for TLS; one that sent a banner speaks something else. Returns whether the index
 * is to be asked for again.
 */
bool scheme_try_other(struct fingerprint *fp, const struct http_answer *a);
/* No status line came to the index request, and the other scheme is no way out: HTTP/2 may be. */
void scheme_feed_no_answer(struct fingerprint *fp, const struct http_answer *a);

/* fingerprint_program.c: who it is */

void program_note_answer(struct fingerprint *fp, const struct http_answer *a);
/*
 * Fills program and identified_by of a finding that has module, go_version and command. *product
 * is in the signatures, or NULL. Returns 0 or -ENOMEM.
 */
int program_fill(const struct fingerprint *fp, struct finding *out,
                 const struct signature_product **product);

/* The product as far as the answers tell until now; it may turn out to be another. Or NULL. */
const struct signature_product *program_find_product(const struct fingerprint *fp);

/* fingerprint_advice.c: fills advice, last of all. `product` may be NULL. Returns 0 or -ENOMEM. */
int advice_fill(const struct fingerprint *fp, const struct signature_product *product,
                struct finding *out);
