/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A target with the user's labels after it. */
#include "scanner/target.h"

#include <errno.h>
#include <jansson.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { KEY_MAX_LEN = 63, VALUE_MAX_LEN = 255 };

static const char key_bytes[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-";

__attribute__((format(printf, 2, 3))) static int refuse(char why[static TARGET_ERROR_LEN],
                                                        const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vsnprintf(why, TARGET_ERROR_LEN, format, args);
	va_end(args);
	/* It may quote what is not text; a label that is shown is cut, maybe within a character. */
	for (char *p = why; *p; p++) {
		if ((unsigned char)*p < 0x20 || (unsigned char)*p >= 0x7f)
			*p = '?';
	}
	return -EINVAL;
}

/* jansson takes UTF-8 alone, and strictly so. What a terminal obeys is refused beyond that. */
static bool is_value(const char *text, size_t length)
{
	json_t *string = json_stringn(text, length);
	bool good = string != NULL;

	json_decref(string);
	for (size_t i = 0; i < length && good; i++) {
		unsigned char c = (unsigned char)text[i];

		good = c >= 0x20 && c != 0x7f;
		/* U+0080 to U+009F are control characters as well. */
		if (c == 0xc2 && i + 1 < length && (unsigned char)text[i + 1] < 0xa0)
			good = false;
	}
	return good;
}

static bool has_key(const char *labels, const char *key, size_t length)
{
	for (const char *p = labels; *p; p += strcspn(p, " "), p += *p == ' ') {
		if (strncmp(p, key, length) == 0 && p[length] == '=')
			return true;
	}
	return false;
}

static int add_label(char labels[static TARGET_LABELS_MAX_LEN + 1], const char *label,
                     size_t length, char why[static TARGET_ERROR_LEN])
{
	const char *equals = memchr(label, '=', length);
	size_t used = strlen(labels), key, value;

	if (!equals)
		return refuse(why, "'%.*s' after the target is no label, KEY=VALUE",
		              length < 64 ? (int)length : 64, label);
	key = (size_t)(equals - label);
	value = length - key - 1;
	if (key == 0 || key > KEY_MAX_LEN || strspn(label, key_bytes) < key)
		return refuse(
		    why,
		    "the label '%.*s': its key is not 1 to %d letters, digits, '_', '.' or "
		    "'-'",
		    length < 64 ? (int)length : 64, label, KEY_MAX_LEN);
	if (value == 0 || value > VALUE_MAX_LEN || !is_value(equals + 1, value))
		return refuse(why, "the label '%.*s': its value is not 1 to %d bytes of UTF-8 text",
		              (int)key, label, VALUE_MAX_LEN);
	if (has_key(labels, label, key))
		return refuse(why, "the label '%.*s' stands there twice", (int)key, label);
	if (used + (used > 0) + length > TARGET_LABELS_MAX_LEN)
		return refuse(why, "the labels are longer than %d", TARGET_LABELS_MAX_LEN);
	if (used > 0)
		labels[used++] = ' ';
	memcpy(labels + used, label, length);
	labels[used + length] = '\0';
	return 0;
}

int target_parse_labelled(const char *text, struct target *out, char why[static TARGET_ERROR_LEN])
{
	size_t length = strcspn(text, " \t");
	const char *label = text + length;
	char *alone = strndup(text, length);
	struct target t;
	unsigned count = 0;
	int err;

	if (!alone)
		return refuse(why, "out of memory");
	err = target_parse(alone, &t, why);
	free(alone);
	while (!err && *(label += strspn(label, " \t"))) {
		size_t n = strcspn(label, " \t");

		if (count++ == TARGET_LABELS_MAX)
			return refuse(why, "more than %d labels", TARGET_LABELS_MAX);
		err = add_label(t.labels, label, n, why);
		label += n;
	}
	if (!err)
		*out = t;
	return err;
}
