/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "scanner/output.h"

#include "common/cleanup.h"

#include <errno.h>
#include <string.h>

enum { PROGRAM_WIDTH = 42 };

int output_parse_format(const char *name, enum output_format *out)
{
	if (strcmp(name, "table") == 0)
		*out = OUTPUT_TABLE;
	else if (strcmp(name, "ndjson") == 0)
		*out = OUTPUT_NDJSON;
	else
		return -EINVAL;
	return 0;
}

void output_init(struct output *o, FILE *stream, enum output_format format)
{
	const char *no_colour = getenv("NO_COLOR");

	*o = (struct output){
	    .stream = stream,
	    .format = format,
	    .colour = isatty(fileno(stream)) && !(no_colour && *no_colour),
	};
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

/* What identifies it best: the module, else the program's path. */
static const char *find_program(const struct finding *f)
{
	if (f->module)
		return f->module;
	return f->command.count > 0 ? f->command.items[0] : NULL;
}

/* Why we say so; for what did not answer, why not. */
static void write_evidence(FILE *stream, const struct finding *f)
{
	for (size_t i = 0; i < f->evidence.count; i++)
		fprintf(stream, "%s%s", i ? "," : "", f->evidence.items[i]);
	if (f->evidence.count == 0)
		fputs(or_dash(f->error), stream);
	if (f->host)
		fprintf(stream, " (%s)", f->host);
}

/*
 * A server may have chosen it: in a cell of fixed width, and in ASCII, since what is wide, joins
 * or runs from right to left would move the cells behind it. Of a long path the end tells most.
 */
static void format_program(const struct finding *f, char cell[static PROGRAM_WIDTH + 1])
{
	const char *text = or_dash(find_program(f));
	char ascii[FINDING_STRING_MAX_BYTES + 1];
	size_t length = 0;

	for (const char *p = text; *p && length < sizeof(ascii) - 1; p++) {
		unsigned char c = (unsigned char)*p;

		if ((c & 0xc0) != 0x80) /* the first byte of a character */
			ascii[length++] = c < 0x80 ? *p : '?';
	}
	ascii[length] = '\0';
	if (length <= PROGRAM_WIDTH)
		memcpy(cell, ascii, length + 1);
	else
		snprintf(cell, PROGRAM_WIDTH + 1, "...%s", ascii + length - (PROGRAM_WIDTH - 3));
}

/* Rows go out as they come, so that widths are set beforehand; an IPv6 endpoint moves its row. */
static void write_row(struct output *o, const struct finding *f)
{
	char endpoint[ENDPOINT_TEXT_LEN], program[PROGRAM_WIDTH + 1];
	const char *colour = severity_colour(o, f->severity);

	if (!o->header_written)
		fprintf(o->stream, "%-21s %-9s %-8s %-9s %-8s %-*s %s\n", "ENDPOINT", "VERDICT",
		        "SEVERITY", "RISK", "GO", PROGRAM_WIDTH, "PROGRAM", "EVIDENCE");
	o->header_written = true;
	format_program(f, program);
	fprintf(o->stream, "%-21s %-9s %s%-8s %-9s%s %-8s %-*s ",
	        endpoint_format(&f->endpoint, endpoint), finding_verdict_name(f->verdict), colour,
	        finding_severity_name(f->severity), f->high_risk ? "HIGH_RISK" : "-",
	        *colour ? "\033[0m" : "", or_dash(f->go_version), PROGRAM_WIDTH, program);
	write_evidence(o->stream, f);
	fputc('\n', o->stream);
}

static int write_line(struct output *o, const struct finding *f)
{
	auto_free char *line = finding_to_line(f);

	if (!line)
		return -ENOMEM;
	fputs(line, o->stream);
	fputc('\n', o->stream);
	return 0;
}

int output_write(struct output *o, const struct finding *f)
{
	int err = 0;

	errno = 0;
	if (o->format == OUTPUT_NDJSON)
		err = write_line(o, f);
	else
		write_row(o, f);
	if (err < 0)
		return err;
	if (fflush(o->stream) != 0 || ferror(o->stream))
		return errno ? -errno : -EIO;
	return 0;
}
