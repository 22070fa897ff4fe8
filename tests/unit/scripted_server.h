/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A server by script: one answer for each step of a fingerprint, a 404 of net/http for the rest.
 * For cmocka tests; the macros make the answers that most scripts want.
 */
#pragma once

#include "common/cleanup.h"
#include "scanner/fingerprint.h"

#define HTML     "text/html; charset=utf-8"
#define PLAIN    "text/plain; charset=utf-8"
#define TITLE    "<html>\n<head>\n<title>/debug/pprof/</title>\n"
#define LINK     "<a href=\"goroutine?debug=2\">full goroutine stack dump</a>\n"
#define OLD_LINK "<a href=\"/debug/pprof/goroutine?debug=2\">full goroutine stack dump</a><br>\n"

/* One path's answer; the first of a server's list that fits is given. */
struct scripted_reply {
	enum fingerprint_step step;
	int tls; /* 0, 1, or -1 for both */
	struct http_answer answer;
};

#define BODY(text) .body = (const uint8_t *)(text), .body_length = sizeof(text) - 1
#define PAGE(code, type, text)                                                                     \
	{                                                                                          \
		.status = (code), .content_type = (type), BODY(text)                               \
	}

#define INDEX_OF(count)                                                                            \
	TITLE "<tr><td>" count "</td><td><a href='goroutine?debug=1'>goroutine</a></td></tr>\n"    \
	      "<tr><td>2</td><td><a href='heap?debug=1'>heap</a></td></tr>\n" LINK
/* as Go 1.12 wrote it: no quotes */
#define INDEX_UNQUOTED(count)                                                                      \
	TITLE "<tr><td>" count "</td><td><a href=goroutine?debug=1>goroutine</a></td></tr>\n" LINK
#define INDEX_GO14                                                                                 \
	TITLE "</head>\n/debug/pprof/<br>\n<tr><td align=right>7<td>"                              \
	      "<a href=\"/debug/pprof/goroutine?debug=1\">goroutine</a>\n" OLD_LINK

#define R_INDEX(count)                                                                             \
	{                                                                                          \
		FINGERPRINT_INDEX, -1, PAGE(200, HTML, INDEX_OF(count))                            \
	}
#define R_SYMBOL                                                                                   \
	{                                                                                          \
		FINGERPRINT_SYMBOL, -1, PAGE(200, PLAIN, "num_symbols: 1\n")                       \
	}
#define R_CONTROL_404                                                                              \
	{                                                                                          \
		FINGERPRINT_CONTROL, -1, PAGE(404, PLAIN, "404 page not found\n")                  \
	}
#define R_GO_404                                                                                   \
	{                                                                                          \
		FINGERPRINT_INDEX, -1, PAGE(404, PLAIN, "404 page not found\n")                    \
	}
#define DUMP "goroutine 22 [running]:\nruntime/pprof.writeGoroutineStacks()\n"
#define R_DUMP                                                                                     \
	{                                                                                          \
		FINGERPRINT_GOROUTINE, -1, PAGE(200, PLAIN, DUMP)                                  \
	}
#define R_ERROR(s, e)                                                                              \
	{                                                                                          \
		(s), -1,                                                                           \
		{                                                                                  \
			.error = -(e)                                                              \
		}                                                                                  \
	}
#define REFUSAL "invalid value for \"seconds\" - must be a positive integer\n"

struct scripted {
	struct fingerprint_conf conf;
	const struct scripted_reply *replies;
	size_t n_replies;
	/* filled by the run */
	struct finding f;
	enum fingerprint_step asked[FINGERPRINT_MAX_REQUESTS + 1];
	unsigned n_asked;
	char first_path[FINGERPRINT_PATH_MAX_LEN];
	char last_path[FINGERPRINT_PATH_MAX_LEN];
};

#define SERVER(...)                                                                                \
	const struct scripted_reply replies[] = {__VA_ARGS__};                                     \
	struct scripted s = {.conf = {.prefix = "/debug/pprof/", .authority = "h:80"},             \
	                     .replies = replies,                                                   \
	                     .n_replies = ARRAY_LEN(replies)};

/* Runs the state machine against the server; the finding is the server's until scripted_fini(). */
void scripted_run(struct scripted *s);
/* Runs it, and asserts what was found and after how many requests. */
void scripted_check(struct scripted *s, enum finding_verdict verdict,
                    enum finding_severity severity, bool high_risk, unsigned requests);
bool scripted_was_asked(const struct scripted *s, enum fingerprint_step step);
void scripted_fini(struct scripted *s);
