/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/filter/http_field.h"

#include <string.h>
#include <strings.h>

static char lower(char c)
{
	return c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c;
}

bool http_text_is(struct http_text text, const char *name)
{
	if (strlen(name) != text.length)
		return false;
	for (size_t i = 0; i < text.length; i++) {
		if (lower(text.at[i]) != name[i])
			return false;
	}
	return true;
}

bool http_char_is_of(char c, const char *set)
{
	return c != '\0' && strchr(set, c) != NULL;
}

bool http_text_consists_of(struct http_text text, const char *set)
{
	for (size_t i = 0; i < text.length; i++) {
		if (!http_char_is_of(text.at[i], set))
			return false;
	}
	return true;
}

bool http_text_take_until(struct http_text *rest, char separator, struct http_text *out)
{
	const char *end = memchr(rest->at, separator, rest->length);

	if (!end)
		return false;
	*out = (struct http_text){rest->at, (size_t)(end - rest->at)};
	rest->length -= out->length + 1;
	rest->at = end + 1;
	return true;
}

static bool is_space(char c)
{
	return c == ' ' || c == '\t';
}

/* Without the spaces and tabs at its ends. */
static struct http_text trim(struct http_text text)
{
	while (text.length > 0 && is_space(text.at[0])) {
		text.at++;
		text.length--;
	}
	while (text.length > 0 && is_space(text.at[text.length - 1]))
		text.length--;
	return text;
}

bool http_field_read(struct http_text line, struct http_field *out)
{
	if (!http_text_take_until(&line, ':', &out->name) || out->name.length == 0 ||
	    !http_text_consists_of(out->name, HTTP_TOKEN))
		return false;
	out->value = trim(line);
	return true;
}

const struct http_field *http_fields_find(const struct http_field *fields, size_t n,
                                          const char *name)
{
	for (size_t i = 0; i < n; i++) {
		if (http_text_is(fields[i].name, name))
			return &fields[i];
	}
	return NULL;
}

size_t http_fields_count(const struct http_field *fields, size_t n, const char *name)
{
	size_t count = 0;

	for (size_t i = 0; i < n; i++)
		count += http_text_is(fields[i].name, name);
	return count;
}

bool http_fields_connection_names(const struct http_field *fields, size_t n, struct http_text token)
{
	for (size_t i = 0; i < n; i++) {
		struct http_text rest = fields[i].value, item;

		if (!http_text_is(fields[i].name, "connection"))
			continue;
		for (bool more = true; more;) {
			more = http_text_take_until(&rest, ',', &item);
			item = trim(more ? item : rest);
			if (item.length == token.length &&
			    strncasecmp(item.at, token.at, token.length) == 0)
				return true;
		}
	}
	return false;
}
