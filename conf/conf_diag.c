/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "conf/conf_diag.h"

#include <ctype.h>
#include <errno.h>
#include <stdarg.h>
#include <string.h>

/* A path longer than this would leave no room for the message; its end says more. */
enum { FILE_SHOWN_MAX = 200, VALUE_SHOWN_MAX = 60 };

/* The text is one line of UTF-8 afterwards, wherever it was cut. */
static void make_printable(char *text)
{
	size_t length = strlen(text);

	for (size_t i = 0, n; i < length; i += n) {
		n = conf_utf8_next((unsigned char *)text + i, length - i);
		if (n == 0 || iscntrl((unsigned char)text[i])) {
			text[i] = '?';
			n = 1;
		}
	}
}

int conf_fail(const struct conf_diag *diag, struct conf_mark at, const char *format, ...)
{
	size_t len = strlen(diag->file);
	bool cut = len > FILE_SHOWN_MAX;
	va_list args;
	int n;

	n = snprintf(diag->error, CONF_ERROR_LEN, "%s%s:%u:%u: ", cut ? "..." : "",
	             diag->file + (cut ? len - FILE_SHOWN_MAX : 0), at.line, at.column);
	va_start(args, format);
	vsnprintf(diag->error + n, CONF_ERROR_LEN - (size_t)n, format, args);
	va_end(args);
	make_printable(diag->error);
	return -EINVAL;
}

int conf_fail_memory(const struct conf_diag *diag, struct conf_mark at)
{
	conf_fail(diag, at, "out of memory; expected enough for %d bytes of configuration",
	          CONF_MAX_BYTES);
	return -ENOMEM;
}

bool conf_may_be_secret(const char *text, size_t length)
{
	return memmem(text, length, "//", 2) || memchr(text, '@', length);
}

const char *conf_quote(const char *text, size_t length, char out[static CONF_QUOTE_LEN])
{
	size_t shown = length < VALUE_SHOWN_MAX ? length : VALUE_SHOWN_MAX;
	size_t n = 0;

	if (conf_may_be_secret(text, length)) {
		snprintf(out, CONF_QUOTE_LEN, "(hidden)");
		return out;
	}
	out[n++] = '"';
	for (size_t i = 0; i < shown; i++)
		out[n++] = isprint((unsigned char)text[i]) ? text[i] : '?';
	snprintf(out + n, CONF_QUOTE_LEN - n, "%s\"", shown < length ? "..." : "");
	return out;
}

static bool yaml_allows(uint32_t code)
{
	if (code < 0x20)
		return code == '\t' || code == '\n' || code == '\r';
	if (code >= 0x7f && code < 0xa0)
		return false;
	if (code == 0x2028 || code == 0x2029 || code == 0xfeff)
		return false;
	return code != 0xfffe && code != 0xffff;
}

size_t conf_utf8_next(const unsigned char *p, size_t left)
{
	static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000}; /* by length */
	uint32_t code;
	size_t n;

	if (p[0] < 0x80)
		return yaml_allows(p[0]) ? 1 : 0;
	if (p[0] >= 0xc2 && p[0] <= 0xdf)
		n = 2;
	else if ((p[0] & 0xf0) == 0xe0)
		n = 3;
	else if (p[0] >= 0xf0 && p[0] <= 0xf4)
		n = 4;
	else
		return 0;
	if (n > left)
		return 0;
	code = p[0] & (0xffU >> (n + 1));
	for (size_t i = 1; i < n; i++) {
		if ((p[i] & 0xc0) != 0x80)
			return 0;
		code = code << 6 | (p[i] & 0x3fU);
	}
	if (code < least[n] || code > 0x10ffff || (code >= 0xd800 && code <= 0xdfff))
		return 0;
	return yaml_allows(code) ? n : 0;
}

bool conf_text_is_clean(const char *text, size_t length)
{
	const unsigned char *p = (const unsigned char *)text;

	for (size_t i = 0, n; i < length; i += n) {
		n = conf_utf8_next(p + i, length - i);
		if (n == 0 || p[i] < 0x20)
			return false;
	}
	return true;
}
