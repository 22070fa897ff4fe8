/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What heads of requests and of responses have in common: pieces of text, and field lines (RFC
 * 9110, 5). Pure; everything points into the caller's bytes.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#define HTTP_DIGITS  "0123456789"
#define HTTP_LETTERS "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
/* RFC 9110, 5.6.2 */
#define HTTP_TOKEN HTTP_DIGITS HTTP_LETTERS "!#$%&'*+-.^_`|~"

struct http_text {
	const char *at;
	size_t length;
};

struct http_field {
	struct http_text name, value; /* without the spaces around it */
};

/* Are these the same, in any case? `name` in lower case. */
bool http_text_is(struct http_text text, const char *name);
bool http_char_is_of(char c, const char *set);
bool http_text_consists_of(struct http_text text, const char *set);
/* Up to the separator, which is taken too; false, and nothing taken, when there is none. */
bool http_text_take_until(struct http_text *rest, char separator, struct http_text *out);

/*
 * One line without its end: a token, a colon, a value. False for anything else: a space before the
 * colon, and a folded line, have no token there. Control characters are the caller's to refuse.
 */
bool http_field_read(struct http_text line, struct http_field *out);

/* The first field of that name (in lower case), or NULL; and how many there are. */
const struct http_field *http_fields_find(const struct http_field *fields, size_t n,
                                          const char *name);
size_t http_fields_count(const struct http_field *fields, size_t n, const char *name);
/* Is the token one of the list's, in any case, in any Connection field? */
bool http_fields_connection_names(const struct http_field *fields, size_t n,
                                  struct http_text token);
