/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "scanner/redact.h"

#include "common/cleanup.h"

#include <string.h>

static bool is_one_of(char c, const char *set)
{
	return c != '\0' && strchr(set, c) != NULL;
}

static bool is_name_char(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
	       is_one_of(c, "-_.");
}

static bool is_space(char c)
{
	return is_one_of(c, " \t\r\n\v\f");
}

/* Anywhere in the name: -dbpass, --db.passwd-file, AWS_SECRET_ACCESS_KEY, Authorization. */
static bool names_a_secret(const char *name, size_t length)
{
	static const char *const parts[] = {
	    "pass",
	    "pwd",
	    "token",
	    "secret",
	    "key",
	    "cred",
	    "auth",
	    "dsn",
	    "jwt",
	    "salt",
	    "cookie",
	    "bearer",
	    "private",
	    "webhook",
	    "connstr",
	    "connectionstring",
	    "connection-string",
	    "connection_string",
	    "session",
	    "signature",
	    "license",
	    "pin",
	};

	for (size_t i = 0; i < ARRAY_LEN(parts); i++) {
		size_t n = strlen(parts[i]);

		for (size_t at = 0; at + n <= length; at++)
			if (strncasecmp(name + at, parts[i], n) == 0)
				return true;
	}
	return false;
}

/*
 * Where a secret's value begins: after NAME=, NAME:, "NAME":, or -NAME and a space, for a name
 * that says so. Whatever follows is part of it up to the end of the argument: a value may hold
 * any separator, and what is hidden too much does no harm. Returns NULL when there is none.
 */
static char *find_named_value(char *text)
{
	for (char *p = text; *p;) {
		char *name = p, *end;

		while (is_name_char(*p))
			p++;
		end = p;
		if (end == name) {
			p++;
			continue;
		}
		if (is_one_of(*p, "\"'"))
			p++;
		if (!is_one_of(*p, "=:") && !(*name == '-' && is_space(*p)))
			continue;
		if (names_a_secret(name, (size_t)(end - name)) && p[1])
			return p + 1;
	}
	return NULL;
}

/* What stands before a flag's or variable's value: "--db=" of "--db=root:x@tcp(h)". */
static size_t flag_length(const char *text)
{
	size_t n = 0;

	while (is_name_char(text[n]))
		n++;
	return text[n] == '=' ? n + 1 : 0;
}

/*
 * USER:PASSWORD@ or, behind a scheme, also TOKEN@. The last '@' of the whole argument ends it,
 * since passwords hold '@', '/' and blanks unescaped. Returns where it begins, and sets *at, or
 * NULL when there is none.
 */
static char *find_userinfo(char *text, char **at)
{
	char *scheme = strstr(text, "://");
	char *begin = text + flag_length(text);
	char *first = strchr(text, '@');

	*at = strrchr(text, '@');
	if (!first)
		return NULL;
	if (scheme && first >= scheme + 3)
		return scheme + 3;
	if (*at < begin || !memchr(begin, ':', (size_t)(*at - begin)))
		return NULL; /* an e-mail address */
	return begin;
}

static char *hide_userinfo(char *text)
{
	char *at, *begin = find_userinfo(text, &at);
	char *out = NULL;

	if (!begin)
		return strdup(text);
	if (asprintf(&out, "%.*s" REDACTED "%s", (int)(begin - text), text, at) < 0)
		return NULL;
	return out;
}

/* "-dbpass", "--token": a flag alone, whose value is the next argument. */
static bool announces_secret(const char *text)
{
	size_t length = strlen(text), n = 0;

	while (is_name_char(text[n]))
		n++;
	return text[0] == '-' && (text[n] == '\0' || (is_one_of(text[n], "=:") && !text[n + 1])) &&
	       names_a_secret(text, length);
}

char *redact_argument(struct redactor *r, const char *argument, size_t length)
{
	auto_free char *text = strndup(argument, length);
	bool first = !r->started, secret = r->next_is_secret;
	char *value, *hidden = NULL, *out = NULL;

	if (!text)
		return NULL;
	r->started = true;
	/* also of an argument that is hidden: "-dbpass -token x" must not show the x */
	r->next_is_secret = !first && announces_secret(text);
	if (secret)
		return strdup(REDACTED);
	hidden = hide_userinfo(text);
	value = hidden ? find_named_value(hidden) : NULL;
	if (!value)
		return hidden;
	*value = '\0';
	if (asprintf(&out, "%s" REDACTED, hidden) < 0)
		out = NULL;
	free(hidden);
	return out;
}
