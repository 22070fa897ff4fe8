/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Findings for people and programs: a table or one JSON object a line, each row flushed as it
 * comes. The stream stays the caller's. One thread.
 */
#pragma once

#include "common/finding.h"

#include <stdio.h>

enum output_format { OUTPUT_TABLE = 0, OUTPUT_NDJSON };

struct output {
	FILE *stream;
	enum output_format format;
	bool colour;
	bool header_written;
};

/* Returns 0 or -EINVAL. */
int output_parse_format(const char *name, enum output_format *out);
/* Colour only on a terminal, and not where NO_COLOR is set (no-color.org). */
void output_init(struct output *o, FILE *stream, enum output_format format);
/* Returns 0, -ENOMEM, or the -errno of a write that failed. */
int output_write(struct output *o, const struct finding *f);
