/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/filter/http_path.h"

#include <string.h>

static int hex_value(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

static bool is_encoded(const char *at, size_t left)
{
	return left >= 3 && at[0] == '%' && hex_value(at[1]) >= 0 && hex_value(at[2]) >= 0;
}

/* ".", "..", or nothing, with or without parameters: what a server may leave out or go up by. */
static bool is_dubious(const char *segment, size_t length)
{
	const char *parameters = memchr(segment, ';', length);

	if (parameters)
		length = (size_t)(parameters - segment);
	return length == 0 || (length == 1 && segment[0] == '.') ||
	       (length == 2 && segment[0] == '.' && segment[1] == '.');
}

/* Every segment but the last, which is empty where the path ends with a slash. */
static bool segments_are_plain(const char *path, size_t length)
{
	const char *segment = path + 1, *end = path + length;

	for (;;) {
		const char *slash = memchr(segment, '/', (size_t)(end - segment));
		const char *stop = slash ? slash : end;

		if (is_dubious(segment, (size_t)(stop - segment)) && (slash || stop > segment))
			return false;
		if (!slash)
			return true;
		segment = slash + 1;
	}
}

enum http_fault http_path_decode(struct http_text path, char out[static HTTP_PATH_MAX_BYTES],
                                 size_t *length)
{
	size_t n = 0;

	if (path.length == 0 || path.at[0] != '/' || path.length > HTTP_PATH_MAX_BYTES)
		return HTTP_FAULT_PATH;
	for (size_t i = 0; i < path.length; i++) {
		unsigned char c = (unsigned char)path.at[i];

		if (c == '%') {
			if (!is_encoded(path.at + i, path.length - i))
				return HTTP_FAULT_PATH;
			c = (unsigned char)(hex_value(path.at[i + 1]) << 4 |
			                    hex_value(path.at[i + 2]));
			if (c < ' ' || c == 0x7f || c == '/' || c == '\\')
				return HTTP_FAULT_PATH;
			i += 2;
		}
		out[n++] = (char)c;
	}
	for (size_t i = 0; i < n; i++) {
		if (is_encoded(out + i, n - i))
			return HTTP_FAULT_PATH;
	}
	if (!segments_are_plain(out, n))
		return HTTP_FAULT_PATH;
	*length = n;
	return HTTP_FAULT_NONE;
}

static char lower(char c)
{
	return c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c;
}

/*
 * One character, in lower case as the routers that do not mind the case have it: for these, Go's
 * regexp and strings.EqualFold among them, the long s (U+017F) and the Kelvin sign (U+212A) are
 * letters of ASCII, too. Returns how many bytes it takes.
 */
static size_t fold(const char *at, const char *end, char *out)
{
	if (end - at >= 2 && memcmp(at, "\xc5\xbf", 2) == 0) {
		*out = 's';
		return 2;
	}
	if (end - at >= 3 && memcmp(at, "\xe2\x84\xaa", 3) == 0) {
		*out = 'k';
		return 3;
	}
	*out = lower(*at);
	return 1;
}

/* Does the prefix stand here, whatever comes behind it? Parameters are passed over. */
static bool begins_with(const char *path, const char *end, const char *prefix)
{
	while (*prefix) {
		char c;

		if (path == end)
			return false;
		if (*path == ';' && *prefix == '/') {
			while (path < end && *path != '/')
				path++;
			continue;
		}
		path += fold(path, end, &c);
		if (c != lower(*prefix))
			return false;
		prefix++;
	}
	return true;
}

bool http_path_has(const char *path, size_t length, const char *prefix)
{
	const char *end = path + length;

	for (const char *at = path; at < end; at++) {
		if (*at == '/' && begins_with(at, end, prefix))
			return true;
	}
	return false;
}
