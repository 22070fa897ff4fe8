/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What a format is. Internal to output*.c. Memory that runs out shows in the stream's error. */
#pragma once

#include "scanner/output.h"

#include <locale.h>

enum { OUTPUT_ENDINGS_MAX = 3 };

struct output_row {
	const struct finding *finding;
	const struct evidence_files *files; /* count 0: none */
};

struct output_format_ops {
	const char *name;
	const char *endings[OUTPUT_ENDINGS_MAX]; /* of file names */
	/* Each writes to a stream in memory. Only `row` must be there. 0 or -errno. */
	int (*begin)(struct output *o, FILE *to);
	int (*row)(struct output *o, FILE *to, const struct output_row *row);
	int (*trailer)(struct output *o, FILE *to, const struct sweep_trailer *t);
	/* What makes valid what is there so far. */
	int (*end)(struct output *o, FILE *to, bool complete);
};

struct output {
	const struct output_format_ops *ops;
	int fd;
	bool stuck;      /* its reader did not read, and a signal came: no more is written */
	bool in_place;   /* the end is written each time, and written over */
	int64_t at;      /* where the next row goes then */
	size_t end_size; /* of the end that stands there */

	char *scan_id;
	int64_t started_ms;
	char *evidence_links;
	uint64_t rows;
	uint64_t severities[SEVERITY_COUNT];
	uint64_t high_risk;
	char *vantage; /* of the first finding that has one */

	/* the table */
	bool colour, terminal;
	bool header_written;
	int endpoint_width;
	locale_t locale; /* knows how wide characters are; 0 when there is none */
};

extern const struct output_format_ops output_table;
extern const struct output_format_ops output_ndjson;
extern const struct output_format_ops output_csv;
extern const struct output_format_ops output_sarif;
extern const struct output_format_ops output_html;

enum { OUTPUT_TIME_LEN = 32 };
/* RFC 3339, UTC, whole seconds. */
const char *output_format_time(int64_t ms, char text[static OUTPUT_TIME_LEN]);
/* What identifies it best, or NULL. */
const char *output_find_program(const struct finding *f);
/* All but what may stand in the path of a URI becomes %XX. */
void output_put_uri(FILE *to, const char *text);
/* scheme://endpoint/path, malloc()ed; NULL when memory is out. */
char *output_make_uri(const struct finding *f);
