/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The table for people. Rows go out as they come, so that widths are set beforehand; what is longer
 * moves the rest of its row, and for the endpoint that of the rows after it too. On a terminal a
 * row is cut to its width at its end, which never reaches the endpoint. Strings of findings hold
 * no control characters (common/finding.c).
 */
#include "scanner/output_format.h"

#include "common/cleanup.h"

#include <limits.h>
#include <string.h>
#include <sys/ioctl.h>
#include <wchar.h>

enum {
	ENDPOINT_WIDTH = 21, /* an IPv4 address and a port */
	PROGRAM_WIDTH = 38,
	PROGRAM_WIDTH_MIN = 12,
	COLUMNS_MIN = 20,
	COLUMNS_MAX = 10000,
};

/* One line under construction. */
struct line {
	FILE *to;
	int used;  /* columns */
	int limit; /* 0: none */
	bool full; /* an ellipsis ended it */
};

/* A character of valid UTF-8 and its width; the length, 0 at the end. */
static size_t next_character(const char *text, int *width)
{
	mbstate_t state = {0};
	wchar_t c;
	size_t n = mbrtowc(&c, text, MB_LEN_MAX, &state);

	if (n == 0)
		return 0;
	if (n == (size_t)-1 || n == (size_t)-2) {
		/* without a UTF-8 locale: whole characters all the same */
		n = 1;
		while (((uint8_t)text[n] & 0xc0) == 0x80)
			n++;
		*width = 1;
		return n;
	}
	*width = wcwidth(c);
	if (*width < 0)
		*width = 1;
	return n;
}

static int measure(const char *text)
{
	int columns = 0, width = 0;
	size_t n;

	for (; (n = next_character(text, &width)) > 0; text += n)
		columns += width;
	return columns;
}

/* Text in at most `most` columns (0: as many as it takes), the rest an ellipsis. */
static void put_cut(struct line *line, const char *text, int most)
{
	int room = line->limit ? line->limit - line->used : 0, width = 0;
	bool by_line = line->limit && (!most || room < most);
	int allowed = by_line ? room : most, used = 0;
	size_t n;

	if (line->full)
		return;
	if ((!by_line && !most) || measure(text) <= allowed) {
		fputs(text, line->to);
		line->used += measure(text);
		return;
	}
	for (; (n = next_character(text, &width)) > 0 && used + width < allowed; text += n) {
		fwrite(text, 1, n, line->to);
		used += width;
	}
	if (allowed > 0)
		fputs("…", line->to);
	line->used += used + 1;
	line->full = by_line;
}

static void put_padded(struct line *line, const char *text, int width, bool cut)
{
	int before = line->used;

	put_cut(line, text, cut ? width : 0);
	do {
		put_cut(line, " ", 0);
	} while (!line->full && line->used <= before + width);
}

static void put_colour(const struct line *line, const char *sequence)
{
	fputs(sequence, line->to);
}

static int find_columns(const struct output *o)
{
	const char *text = getenv("COLUMNS");
	struct winsize size = {0};
	long columns = text ? strtol(text, NULL, 10) : 0;

	if (!o->terminal)
		return 0;
	if (columns <= 0 && ioctl(o->fd, TIOCGWINSZ, &size) == 0)
		columns = size.ws_col;
	if (columns <= 0 || columns > COLUMNS_MAX)
		return 0;
	return columns < COLUMNS_MIN ? COLUMNS_MIN : (int)columns;
}

static const char *or_dash(const char *text)
{
	return text && *text ? text : "-";
}

static const char *severity_colour(const struct output *o, enum finding_severity severity)
{
	if (!o->colour)
		return "";
	switch (severity) {
	case SEVERITY_HIGH: return "\033[1;31m";
	case SEVERITY_MEDIUM: return "\033[33m";
	case SEVERITY_LOW: return "\033[36m";
	case SEVERITY_NONE:
	case SEVERITY_INFO:
	case SEVERITY_COUNT: break;
	}
	return "";
}

/* Why we say so; for what did not answer, why not; what relatives, and whose it is. */
static void put_evidence(struct line *line, const struct finding *f)
{
	if (f->accepted) {
		put_cut(line, "accepted: ", 0);
		put_cut(line, f->accepted, 0);
		put_cut(line, "; ", 0);
	}
	for (size_t i = 0; i < f->evidence.count; i++) {
		put_cut(line, i ? "," : "", 0);
		put_cut(line, f->evidence.items[i], 0);
	}
	if (f->evidence.count == 0)
		put_cut(line, or_dash(f->error), 0);
	if (f->host) {
		put_cut(line, " (", 0);
		put_cut(line, f->host, 0);
		put_cut(line, ")", 0);
	}
	for (size_t i = 0; i < f->labels.count; i++) {
		put_cut(line, " ", 0);
		put_cut(line, f->labels.items[i], 0);
	}
}

static int program_width(const struct line *line)
{
	int rest = line->limit ? (line->limit - line->used) / 2 : PROGRAM_WIDTH;

	if (rest > PROGRAM_WIDTH)
		return PROGRAM_WIDTH;
	return rest < PROGRAM_WIDTH_MIN ? PROGRAM_WIDTH_MIN : rest;
}

/*
 * A server may have chosen it: in ASCII, since what is wide, joins or runs from right to left would
 * move the cells behind it. Of what is too long the end tells most.
 */
static void put_program(struct line *line, const struct finding *f)
{
	const char *text = or_dash(output_find_program(f));
	char ascii[FINDING_STRING_MAX_BYTES + 1], cell[PROGRAM_WIDTH + 1];
	size_t width = (size_t)program_width(line), length = 0;

	for (const char *p = text; *p && length < sizeof(ascii) - 1; p++) {
		unsigned char c = (unsigned char)*p;

		if ((c & 0xc0) != 0x80) /* the first byte of a character */
			ascii[length++] = c < 0x80 ? *p : '?';
	}
	ascii[length] = '\0';
	if (length > width)
		snprintf(cell, sizeof(cell), "...%s", ascii + length - (width - 3));
	else
		memcpy(cell, ascii, length + 1);
	put_padded(line, cell, (int)width, true);
}

static void put_header(const struct output *o, struct line *line)
{
	put_padded(line, "ENDPOINT", o->endpoint_width, false);
	put_padded(line, "VERDICT", 9, false);
	put_padded(line, "SEVERITY", 8, false);
	put_padded(line, "RISK", 9, false);
	put_padded(line, "GO", 8, false);
	put_padded(line, "PROGRAM", program_width(line), false);
	put_cut(line, "EVIDENCE", 0);
	fputc('\n', line->to);
}

static void put_finding(const struct output *o, struct line *line, const struct finding *f,
                        const char *endpoint)
{
	const char *colour = severity_colour(o, f->severity);
	int limit = line->limit;

	line->limit = 0; /* the endpoint is what the row is for */
	put_cut(line, endpoint, 0);
	line->limit = limit;
	if (limit && line->used >= limit) {
		fputc('\n', line->to);
		return;
	}
	put_padded(line, "", o->endpoint_width - line->used, false);
	put_padded(line, finding_verdict_name(f->verdict), 9, false);
	put_colour(line, colour);
	put_padded(line, finding_severity_name(f->severity), 8, false);
	put_padded(line, f->high_risk ? "HIGH_RISK" : "-", 9, false);
	put_colour(line, *colour ? "\033[0m" : "");
	put_padded(line, or_dash(f->go_version), 8, false);
	put_program(line, f);
	put_evidence(line, f);
	fputc('\n', line->to);
}

static int put_row(struct output *o, FILE *to, const struct output_row *row)
{
	char endpoint[ENDPOINT_TEXT_LEN];
	struct line line = {.to = to, .limit = find_columns(o)};
	locale_t before = o->locale ? uselocale(o->locale) : (locale_t)0;
	int width;

	endpoint_format(&row->finding->endpoint, endpoint);
	width = (int)strlen(endpoint);
	if (o->endpoint_width < ENDPOINT_WIDTH)
		o->endpoint_width = ENDPOINT_WIDTH;
	if (o->endpoint_width < width)
		o->endpoint_width = width;
	if (!o->header_written)
		put_header(o, &line);
	o->header_written = true;
	line = (struct line){.to = to, .limit = line.limit};
	put_finding(o, &line, row->finding, endpoint);
	if (before)
		uselocale(before);
	return 0;
}

const struct output_format_ops output_table = {
    .name = "table",
    .endings = {".txt"},
    .row = put_row,
};
