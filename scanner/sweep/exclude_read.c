/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "scanner/sweep/exclude.h"

#include "common/cleanup.h"

#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

enum {
	LINE_MAX_LEN = 4095, /* a comment may be long, but a device is not a list */
	SHOWN_LEN = 64,      /* of a word, in a message */
};

struct reader {
	struct exclude_set *set;
	const char *name;
	unsigned long line;
	char *why;
};

/* One printable line. UTF-8 passes, what moves a terminal's cursor does not. */
static void make_printable(char *text)
{
	for (; *text; text++) {
		if ((unsigned char)*text < 0x20 || *text == 0x7f)
			*text = '?';
	}
}

static int fail_at(const struct reader *r, size_t column, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

static int fail_at(const struct reader *r, size_t column, const char *format, ...)
{
	char what[EXCLUDE_ERROR_LEN / 2];
	va_list args;

	va_start(args, format);
	vsnprintf(what, sizeof(what), format, args);
	va_end(args);
	snprintf(r->why, EXCLUDE_ERROR_LEN, "%.200s:%lu:%zu: %s", r->name, r->line, column, what);
	make_printable(r->why);
	return -EINVAL;
}

static int fail_reading(const struct reader *r, int err)
{
	snprintf(r->why, EXCLUDE_ERROR_LEN, "%.200s: %s", r->name, strerror(-err));
	make_printable(r->why);
	return err;
}

static int add_word(const struct reader *r, size_t column, const char *word)
{
	char text[PREFIX_TEXT_LEN];
	const char *slash = strchr(word, '/');
	struct prefix p;
	int err;

	switch (prefix_parse(word, &p)) {
	case PREFIX_OK: break;
	case PREFIX_HOST_BITS:
		/* Meant was one host, or the whole network: a wrong guess scans what must not be.
		 */
		return fail_at(r, column,
		               "'%.*s' is one host of a network; expected %s for the network, or "
		               "the address without its length",
		               SHOWN_LEN, word, prefix_format(&p, text));
	case PREFIX_BAD_LENGTH:
		return fail_at(r, column + (size_t)(slash - word) + 1,
		               "'%.*s' is no prefix length; expected 0 to %d", SHOWN_LEN, slash + 1,
		               strchr(word, ':') ? 128 : 32);
	case PREFIX_BAD_ADDRESS:
	default:
		return fail_at(r, column,
		               "'%.*s' is no address; expected an IPv4 or IPv6 address or CIDR, "
		               "without port or zone (names are not resolved here)",
		               SHOWN_LEN, word);
	}
	err = exclude_set_add(r->set, &p);
	if (err == -E2BIG)
		return fail_at(r, column, "more than %d prefixes", EXCLUDE_MAX);
	return err < 0 ? fail_reading(r, err) : 0;
}

/* `line` ends with a NUL, and may be cut into pieces. */
static int add_line(const struct reader *r, char *line)
{
	static const char blanks[] = " \t\r";
	char *word = line + strspn(line, blanks);
	char *end, *rest;

	line[strcspn(line, "#")] = '\0';
	if (*word == '\0')
		return 0;
	end = word + strcspn(word, blanks);
	rest = end + strspn(end, blanks);
	if (*rest)
		return fail_at(r, (size_t)(rest - line) + 1,
		               "'%.*s' after the prefix; expected the line's end or a '#'",
		               SHOWN_LEN, rest);
	*end = '\0';
	return add_word(r, (size_t)(word - line) + 1, word);
}

/* Reads up to a line's end. Returns its length; -ENODATA: there is no line; -EINVAL; -EIO. */
static int read_line(struct reader *r, FILE *in, char line[static LINE_MAX_LEN + 1])
{
	size_t length = 0;
	int c;

	while ((c = getc(in)) != EOF && c != '\n') {
		if (c == '\0')
			return fail_at(r, length + 1, "a NUL byte; expected a text file");
		if (length == LINE_MAX_LEN)
			return fail_at(r, length + 1, "more than %d bytes in a line", LINE_MAX_LEN);
		line[length++] = (char)c;
	}
	if (ferror(in))
		return fail_reading(r, errno ? -errno : -EIO);
	if (c == EOF && length == 0)
		return -ENODATA;
	line[length] = '\0';
	return (int)length;
}

int exclude_set_read_stream(struct exclude_set *set, FILE *in, const char *name,
                            char why[static EXCLUDE_ERROR_LEN])
{
	struct reader r = {.set = set, .name = name, .line = 1, .why = why};
	auto_free char *line = malloc(LINE_MAX_LEN + 1);
	int got, err = 0;

	if (!line)
		return fail_reading(&r, -ENOMEM);
	for (; err == 0 && (got = read_line(&r, in, line)) != -ENODATA; r.line++)
		err = got < 0 ? got : add_line(&r, line);
	return err;
}

int exclude_set_read(struct exclude_set *set, const char *file, char why[static EXCLUDE_ERROR_LEN])
{
	auto_fclose FILE *in = fopen(file, "re");

	if (!in) {
		const struct reader r = {.name = file, .why = why};

		return fail_reading(&r, -errno);
	}
	return exclude_set_read_stream(set, in, file, why);
}
