/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Findings for people and programs. Each format is a small table of functions (output_format.h);
 * what they have in common is here: a row goes out in one write as it comes, and the file of a
 * format that needs an end (SARIF, HTML) has it at any time, since each write takes the next row
 * and the end, over the end that was there. One thread.
 */
#pragma once

#include "common/finding.h"
#include "scanner/evidence.h"
#include "scanner/sweep_trailer.h"

#include <stdio.h>

enum output_format {
	OUTPUT_TABLE = 0,
	OUTPUT_NDJSON,
	OUTPUT_CSV,
	OUTPUT_SARIF,
	OUTPUT_HTML,
	OUTPUT_FORMAT_COUNT
};

/* What a report says of the scan as a whole. Strings are copied. */
struct output_context {
	const char *scan_id;
	int64_t started_ms;         /* wall clock */
	const char *evidence_links; /* what stands before a file's name in a link, or NULL */
};

struct output;

/*
 * Writes to a descriptor whose reader may take its time, but holds up no signal: -EINTR a second
 * after the first one. That is final; no more is to be written. Returns 0 or -errno.
 */
int output_write_text(int fd, const char *text, size_t length);

/* Returns 0 or -EINVAL. */
int output_parse_format(const char *name, enum output_format *out);
/* By the ending of a file's name; a table where it says nothing. */
enum output_format output_format_of_file(const char *path);
/* What an earlier run wrote and what this one does make one file. */
bool output_format_appends(enum output_format format);

/*
 * Writes what comes before the first finding. `fd` stays the caller's and must outlive the output.
 * Opens nothing later. On a terminal the table has colours, but not where NO_COLOR is set
 * (no-color.org), and is cut to its width. Returns 0 or -errno.
 */
int output_new(int fd, enum output_format format, const struct output_context *context,
               struct output **out);
/* `files`: what was kept of the endpoint's answers, or NULL. Returns 0 or -errno. */
int output_write(struct output *o, const struct finding *f, const struct evidence_files *files);
/*
 * After the last finding: which sweep it was. Formats that have no place for it (all but NDJSON)
 * write nothing. Returns 0 or -errno.
 */
int output_write_trailer(struct output *o, const struct sweep_trailer *t);
/* The end. `complete`: everything was scanned. Returns 0 or -errno. */
int output_finish(struct output *o, bool complete);
void output_free(struct output *o);
