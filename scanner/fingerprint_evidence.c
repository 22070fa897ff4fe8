/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "common/cleanup.h"
#include "scanner/fingerprint_rules.h"
#include "scanner/redact.h"

#include <errno.h>
#include <string.h>

static bool is_body(const struct http_answer *a, const char *text)
{
	return a->body_length == strlen(text) && memcmp(a->body, text, a->body_length) == 0;
}

static bool begins_with(const struct http_answer *a, const char *text)
{
	size_t n = strlen(text);

	return a->body_length >= n && memcmp(a->body, text, n) == 0;
}

static bool contains(const struct http_answer *a, const char *text)
{
	return memmem(a->body, a->body_length, text, strlen(text)) != NULL;
}

bool rule_is_plain_text(const struct http_answer *a)
{
	return strncasecmp(a->content_type, "text/plain", 10) == 0;
}

bool rule_is_denied(const struct http_answer *a)
{
	return a->status == 401 || a->status == 403;
}

enum symbol_evidence rule_read_symbol(const struct http_answer *a)
{
	/* Kudu has no newline, brpc another number and no charset. */
	if (a->status == 200 && strcasecmp(a->content_type, "text/plain; charset=utf-8") == 0 &&
	    is_body(a, "num_symbols: 1\n"))
		return SYMBOL_ANSWERED;
	/* the header came with Go 1.9, and proxies may strip it */
	if (a->status == 404 && rule_is_plain_text(a) &&
	    (is_body(a, "Unknown profile\n") || is_body(a, "Unknown profile: symbol\n")))
		return SYMBOL_UNKNOWN;
	return SYMBOL_NONE;
}

/*
 * The protocol is older than Go: gperftools defined it for C++. TiKV's pprof-rs sends Go's text
 * without a charset; Kudu (and Impala) no newline; brpc the true number.
 */
const char *rule_name_lookalike(const struct http_answer *a)
{
	if (a->status != 200 || rule_read_symbol(a) != SYMBOL_NONE ||
	    !begins_with(a, "num_symbols"))
		return NULL;
	if (is_body(a, "num_symbols: 1"))
		return "kudu";
	if (is_body(a, "num_symbols: 1\n") && strcasecmp(a->content_type, "text/plain") == 0)
		return "pprof-rs";
	if (begins_with(a, "num_symbols: ") && !strchr(a->content_type, ';'))
		return "brpc";
	return "gperftools";
}

/* RFC 9113, 4.1: length, type, flags, stream. A server's first frame is SETTINGS, or GOAWAY. */
bool rule_is_http2_frame(const struct http_answer *a)
{
	static const uint8_t no_stream[4];
	const uint8_t *p = a->body;
	size_t length;

	if (a->status != 0 || a->body_length < 9 || memcmp(p + 5, no_stream, 4) != 0)
		return false;
	length = (size_t)p[0] << 16 | (size_t)p[1] << 8 | p[2];
	return (p[3] == 4 && length % 6 == 0 && length <= 1024) ||
	       (p[3] == 7 && length >= 8 && length <= 1024);
}

bool rule_is_costly_path(const char *path)
{
	static const char *const names[] = {"/profile", "/trace", "/fgprof", "/goroutine"};

	for (size_t i = 0; i < ARRAY_LEN(names); i++) {
		size_t n = strlen(names[i]);

		for (const char *p = path; (p = strcasestr(p, names[i])); p += n)
			if (strchr("/?", p[n])) /* "/tracez" is another; the end counts, too */
				return true;
	}
	return path[0] != '/' || strchr(path, '%') || strcasestr(path, "seconds=");
}

/*
 * A router with the handlers one by one and no index answers the prefix with its own 404: that of
 * net/http and chi, of gin (without newline), and of echo. Or the index handler itself says that
 * it knows no such profile.
 */
bool rule_is_go_not_found(const struct http_answer *a)
{
	if (a->go_pprof_header)
		return true;
	if (a->status != 404)
		return false;
	if (rule_is_plain_text(a))
		return is_body(a, "404 page not found\n") || is_body(a, "404 page not found") ||
		       begins_with(a, "Unknown profile");
	return is_body(a, "{\"message\":\"Not Found\"}\n");
}

bool rule_wants_tls(const struct http_answer *a)
{
	if (a->tls)
		return false;
	/* a TLS alert: Go before 1.12, and others */
	if (a->status == 0)
		return a->body_length >= 2 && a->body[0] == 0x15 && a->body[1] == 0x03;
	return a->status == 400 &&
	       (begins_with(a, "Client sent an HTTP request to an HTTPS server.") || /* Go */
	        contains(a, "plain HTTP request was sent to HTTPS port") ||          /* nginx */
	        contains(a, "speaking plain HTTP to an SSL-enabled server port"));   /* Apache */
}

/* "goroutine 22 [running]:"; with GOTRACEBACK=system there is more before the bracket */
bool rule_is_goroutine_dump(const struct http_answer *a)
{
	static const char word[] = "goroutine ";
	size_t first = sizeof(word) - 1, i = first;

	if (a->status != 200 || !rule_is_plain_text(a) || !begins_with(a, word))
		return false;
	while (i < a->body_length && i < 32 && a->body[i] >= '0' && a->body[i] <= '9')
		i++;
	if (i == first)
		return false;
	return (a->body_length - i >= 2 && memcmp(a->body + i, " [", 2) == 0) ||
	       (a->body_length - i >= 4 && memcmp(a->body + i, " gp=", 4) == 0);
}

bool rule_is_goroutine_refusal(const struct http_answer *a)
{
	return a->status == 400 && a->nosniff && a->go_pprof_header &&
	       begins_with(a, "invalid value for \"seconds\"");
}

/* The same path but for its trailing slash. */
static bool is_slash_variant(const char *a, size_t a_length, const char *b)
{
	size_t b_length = strlen(b);

	if (a_length == b_length || a_length == 0)
		return false;
	if (a[a_length - 1] == '/')
		a_length--;
	if (b_length > 0 && b[b_length - 1] == '/')
		b_length--;
	return a_length == b_length && memcmp(a, b, a_length) == 0;
}

/* "host" and "host:80" are one at http; `authority` always has the port. */
static bool is_authority(const char *text, size_t length, const char *authority, bool https)
{
	const char *port = https ? ":443" : ":80";
	size_t n = strlen(authority), extra = strlen(port);

	if (length == n)
		return strncasecmp(text, authority, n) == 0;
	return length + extra == n && strncasecmp(text, authority, length) == 0 &&
	       strcmp(authority + length, port) == 0;
}

enum redirect_target rule_read_redirect(const struct http_answer *a, const char *path,
                                        const char *authority)
{
	const char *p = a->location;
	bool https = a->tls, absolute = true;
	size_t length;

	if (a->status != 301 && a->status != 302 && a->status != 303 && a->status != 307 &&
	    a->status != 308)
		return REDIRECT_NONE;
	if (strncasecmp(p, "http://", 7) == 0) {
		https = false;
		p += 7;
	} else if (strncasecmp(p, "https://", 8) == 0) {
		https = true;
		p += 8;
	} else if (strncmp(p, "//", 2) == 0) {
		p += 2;
	} else {
		absolute = false;
	}
	if (absolute) {
		length = strcspn(p, "/?#");
		if (!authority || !is_authority(p, length, authority, https))
			return REDIRECT_NONE;
		p += length;
	}
	length = strlen(p);
	if (https && !a->tls)
		return (strcmp(p, path) == 0 || is_slash_variant(p, length, path)) ? REDIRECT_HTTPS
		                                                                   : REDIRECT_NONE;
	if (https != a->tls)
		return REDIRECT_NONE; /* https to http on one port: never seen to lead anywhere */
	return is_slash_variant(p, length, path) ? REDIRECT_SLASH : REDIRECT_NONE;
}

/* 0; -ENOSPC when there is no more room, or -ENOMEM. */
static int add_argument(struct redactor *redactor, const char *text, size_t length,
                        bool show_secrets, struct finding_list *command)
{
	auto_free char *clean = NULL;

	if (show_secrets)
		return finding_list_add(command, text, length);
	clean = redact_argument(redactor, text, length);
	return clean ? finding_list_add(command, clean, strlen(clean)) : -ENOMEM;
}

/* The array of strings behind "cmdline":, which comes early: the object itself may be cut. */
int rule_read_expvar_cmdline(const struct http_answer *a, bool show_secrets,
                             struct finding_list *command)
{
	static const char key[] = "\"cmdline\":";
	const char *end = (const char *)a->body + a->body_length;
	const char *p = memmem(a->body, a->body_length, key, sizeof(key) - 1);
	struct redactor redactor = {0};
	json_error_t unused;
	const json_t *item;
	json_t *array;
	size_t i;
	int err = 0;

	if (!p)
		return 0;
	for (p += sizeof(key) - 1; p < end && (*p == ' ' || *p == '\n'); p++)
		;
	array = p < end && *p == '[' ? json_loadb(p, (size_t)(end - p),
	                                          JSON_DISABLE_EOF_CHECK | JSON_ALLOW_NUL, &unused)
	                             : NULL;
	json_array_foreach (array, i, item) {
		if (!json_is_string(item))
			break;
		err = add_argument(&redactor, json_string_value(item), json_string_length(item),
		                   show_secrets, command);
		if (err)
			break;
	}
	json_decref(array);
	return err == -ENOSPC ? 0 : err;
}

int rule_read_cmdline(const struct http_answer *a, bool show_secrets, struct finding_list *command)
{
	const char *p = (const char *)a->body, *end = p + a->body_length;
	struct redactor redactor = {0};

	while (p < end) {
		const char *nul = memchr(p, '\0', (size_t)(end - p));
		size_t length = nul ? (size_t)(nul - p) : (size_t)(end - p);
		int err;

		/* half an argument may hold half a URL, which no rule would redact */
		if (!nul && (a->truncated || a->timed_out))
			break;
		err = add_argument(&redactor, p, length, show_secrets, command);
		if (err == -ENOSPC)
			break;
		if (err)
			return err;
		p += length + 1;
	}
	return 0;
}
