/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What single answers show: the rules under the state machine of fingerprint.c, which alone
 * weighs them. Pure functions over the caller's bytes; any thread.
 */
#pragma once

#include "scanner/fingerprint.h"

/* fingerprint_index.c: the index page */

struct index_page {
	bool single_quotes;  /* hrefs in single quotes: Go >= 1.16 */
	bool counted;        /* `goroutines` is known */
	uint64_t goroutines; /* as the page counts them */
};

/* IDX: 200, HTML, the title in the first 512 bytes, and the link to the full stack dump. */
bool rule_is_index(const struct http_answer *a);
/* An answer that may yet become IDX: the deadline or a cap cut it before it could be told. */
bool rule_is_undecided_index(const struct http_answer *a);
/* The title alone; or, much weaker, <title>Profile</title>, which never occurred. */
bool rule_has_index_title(const struct http_answer *a);
bool rule_has_profile_title(const struct http_answer *a);
/* Reads a page that is IDX; the profiles' names are appended. Returns 0 or -ENOMEM. */
int rule_read_index(const struct http_answer *a, struct index_page *page,
                    struct finding_list *profiles);

/* fingerprint_evidence.c: the other answers */

enum symbol_evidence {
	SYMBOL_NONE = 0,
	SYMBOL_ANSWERED, /* "num_symbols: 1" */
	SYMBOL_UNKNOWN,  /* the index handler's own 404 */
};

enum symbol_evidence rule_read_symbol(const struct http_answer *a);
/* 401 or 403 */
bool rule_is_denied(const struct http_answer *a);
/* Not an index, but a reason to ask for the symbol handler all the same. */
bool rule_is_go_not_found(const struct http_answer *a);
/* Who answers `symbol` like pprof, but is no Go: a name for finding.kind, or NULL. */
const char *rule_name_lookalike(const struct http_answer *a);
/* What came instead of HTTP/1.1 is the beginning of HTTP/2. */
bool rule_is_http2_frame(const struct http_answer *a);
/* What no path of the signatures may ask for: it would make the server work. */
bool rule_is_costly_path(const char *path);
/* Plain HTTP was answered by a TLS server's complaint. */
bool rule_wants_tls(const struct http_answer *a);
/* goroutine?debug=2 itself, and the refusal that proves it reachable. */
bool rule_is_goroutine_dump(const struct http_answer *a);
bool rule_is_goroutine_refusal(const struct http_answer *a);
bool rule_is_plain_text(const struct http_answer *a);

enum redirect_target {
	REDIRECT_NONE = 0, /* no redirect, or one that is not followed */
	REDIRECT_SLASH,    /* the same path with or without its trailing slash */
	REDIRECT_HTTPS,    /* the same authority by https */
};

/*
 * Where a redirect leads that was the answer to `path` at `authority` (may be NULL), asked by
 * http or https.
 */
enum redirect_target rule_read_redirect(const struct http_answer *a, const char *path,
                                        const char *authority);

/* Appends the NUL-separated argv of cmdline. Returns 0 or -ENOMEM. */
int rule_read_cmdline(const struct http_answer *a, bool show_secrets, struct finding_list *command);
/* The same from expvar's JSON, where it has one. Returns 0 or -ENOMEM. */
int rule_read_expvar_cmdline(const struct http_answer *a, bool show_secrets,
                             struct finding_list *command);

/* fingerprint_identity.c: who it is, from a goroutine dump */

/*
 * Each sets its string where the dump says it, and leaves it alone otherwise. 0 or -ENOMEM.
 * `from_path`: the version is named in the path of the standard library, not told by line numbers.
 */
int rule_find_go_version(const struct http_answer *a, char **version, bool *from_path);
int rule_find_module(const struct http_answer *a, char **module);
