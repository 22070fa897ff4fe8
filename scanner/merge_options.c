/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "scanner/merge_options.h"

#include <errno.h>
#include <getopt.h>
#include <stdarg.h>

enum option_id {
	OPTION_FORMAT = 1,
	OPTION_OUTPUT,
	OPTION_HISTORY,
	OPTION_FORCE,
	OPTION_QUIET,
	OPTION_HELP,
};

static const struct option long_options[] = {
    {"format", required_argument, NULL, OPTION_FORMAT},
    {"output", required_argument, NULL, OPTION_OUTPUT},
    {"history", required_argument, NULL, OPTION_HISTORY},
    {"force", no_argument, NULL, OPTION_FORCE},
    {"quiet", no_argument, NULL, OPTION_QUIET},
    {"help", no_argument, NULL, OPTION_HELP},
    {NULL, 0, NULL, 0},
};

void merge_options_print_help(FILE *out)
{
	fputs(
	    "usage: pprofwall merge [OPTION]... FILE...\n"
	    "\n"
	    "Joins what the shards of a sweep have written: NDJSON files (- is standard input),\n"
	    "or histories. Each endpoint is there once, as it was seen last. Says which shards\n"
	    "are missing, incomplete or there twice.\n"
	    "\n"
	    "  --format FORMAT     table, ndjson, csv, sarif or html (default: table)\n"
	    "  --output FILE       write findings there: with --format instead of standard\n"
	    "                      output, else besides the table, as .ndjson, .csv, .sarif or\n"
	    "                      .html says; up to 8 times\n"
	    "  --history FILE      the files are histories: join them into this one\n"
	    "  --force             join files that are not of one sweep, too\n"
	    "  --quiet             no summary on standard error\n"
	    "  --help              this text\n"
	    "\n"
	    "Exit status: 0 whole, and nothing is exposed; 1 something is (low or more, and not\n"
	    "accepted); 2 usage error, or files that do not belong together; 3 shards are missing\n"
	    "or incomplete, or it could not be written. What is there is written all the same.\n",
	    out);
}

__attribute__((format(printf, 2, 3))) static int refuse(char *why, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vsnprintf(why, MERGE_OPTIONS_ERROR_LEN, format, args);
	va_end(args);
	return -EINVAL;
}

static int set_option(struct merge_options *o, int id, const char *value, char *why)
{
	switch ((enum option_id)id) {
	case OPTION_FORMAT:
		if (output_parse_format(value, &o->format) < 0)
			return refuse(why,
			              "--format: '%.32s' is not table, ndjson, csv, sarif or html",
			              value);
		o->format_given = true;
		return 0;
	case OPTION_OUTPUT:
		if (o->n_outputs == MERGE_MAX_OUTPUTS)
			return refuse(why, "--output: more than %d files", MERGE_MAX_OUTPUTS);
		o->outputs[o->n_outputs++] = value;
		return 0;
	case OPTION_HISTORY: o->history = value; return 0;
	case OPTION_FORCE: o->force = true; return 0;
	case OPTION_QUIET: o->quiet = true; return 0;
	case OPTION_HELP: o->help = true; return 0;
	}
	return refuse(why, "option %d is not handled", id);
}

int merge_options_parse(int argc, char **argv, struct merge_options *out,
                        char why[static MERGE_OPTIONS_ERROR_LEN])
{
	struct merge_options o = {.format = OUTPUT_TABLE};
	int id;

	optind = 0; /* glibc: start anew */
	opterr = 0;
	while ((id = getopt_long(argc, argv, ":", long_options, NULL)) != -1) {
		const char *given = argv[optind > 1 ? optind - 1 : 1];

		if (id == ':')
			return refuse(why, "%.64s needs a value", given);
		if (id == '?')
			return refuse(why, "unknown option '%.64s'", given);
		if (set_option(&o, id, optarg, why) < 0)
			return -EINVAL;
	}
	o.files = argv + optind;
	o.n_files = (size_t)(argc - optind);
	if (!o.help && o.n_files == 0)
		return refuse(why, "expected FILE...; `pprofwall merge --help` says more");
	if (o.history && (o.n_outputs > 0 || o.format_given))
		return refuse(why, "--history joins histories; it goes with neither --output nor "
		                   "--format");
	*out = o;
	return 0;
}

bool merge_options_prints(const struct merge_options *o)
{
	return o->n_outputs == 0 || !o->format_given;
}
