/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The command line of `pprofwall merge`. Reading it opens nothing and prints nothing. */
#pragma once

#include "scanner/output.h"

enum { MERGE_OPTIONS_ERROR_LEN = 256, MERGE_MAX_OUTPUTS = 8 };

struct merge_options {
	const char *outputs[MERGE_MAX_OUTPUTS];
	size_t n_outputs;
	enum output_format format; /* of standard output, and of the files if it was given */
	bool format_given;
	const char *history; /* to join histories into; NULL: the files are NDJSON */
	bool force;
	bool quiet;
	bool help;    /* nothing else counts then */
	char **files; /* of argv */
	size_t n_files;
};

/* Returns 0; or -EINVAL and one line in `why`. argv[0] is the verb. */
int merge_options_parse(int argc, char **argv, struct merge_options *out,
                        char why[static MERGE_OPTIONS_ERROR_LEN]);
/* As of a scan: there is no file, or the files' names say their formats. */
bool merge_options_prints(const struct merge_options *o);
void merge_options_print_help(FILE *out);
