/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The command line of `pprofwall scan`. Reading it opens nothing and prints nothing.
 */
#pragma once

#include "scanner/output.h"
#include "scanner/scan_ledger.h"
#include "scanner/scan_route.h"
#include "scanner/target.h"

enum {
	SCAN_ERROR_LEN = 512,
	/* With more, one turn of the loop eats into the deadlines of what waits: exposures were
	   lost. */
	SCAN_MAX_CONCURRENCY = 2048,
	SCAN_MAX_OUTPUTS = 8,
	SCAN_MAX_VANTAGE = 64
};

struct signatures; /* scanner/signatures.h */

/* What makes the exit status 1. */
enum scan_fail_on {
	SCAN_FAIL_ON_SEVERITY = 0, /* confirmed or likely, and at least so severe */
	SCAN_FAIL_ON_LIKELY,       /* confirmed or likely */
	SCAN_FAIL_ON_CONFIRMED,
	SCAN_FAIL_ON_NEVER,
};

struct scan_options {
	const char *ports_text;
	const char *signatures_file; /* NULL: the shipped ones alone */
	const char *prefixes;        /* as given; NULL: default */
	struct port_list ports;      /* these three: scan_signatures_load() */
	struct signatures *signatures;
	bool all_prefixes;
	int64_t timeout_ms;
	unsigned concurrency;
	struct scan_ledger_conf ledger; /* history, accepted risks, exclusions */
	struct prefix *excludes;        /* those of `ledger` */
	struct scan_route route;        /* names and ways to ask by */
	bool relatives;                 /* asked for everywhere */
	enum output_format format;      /* of standard output, and of the files if it was given */
	bool format_given;
	enum scan_fail_on fail_on;
	enum finding_severity fail_severity;
	const char *outputs[SCAN_MAX_OUTPUTS]; /* files */
	size_t n_outputs;
	const char *evidence; /* directory; NULL: none is kept */
	bool explain;         /* instead of the findings on standard output */
	bool all;
	bool show_secrets;
	bool quiet;
	bool help;      /* nothing else counts then */
	char **targets; /* of argv */
	size_t n_targets;
};

/* Returns 0; or -EINVAL or -ENOMEM and one line in `why`. argv[0] is the verb. */
int scan_options_parse(int argc, char **argv, struct scan_options *out,
                       char why[static SCAN_ERROR_LEN]);
/* Standard output takes findings too: there is no file, or the files' names say their formats. */
bool scan_options_prints(const struct scan_options *o);
void scan_options_fini(struct scan_options *o);
void scan_options_print_help(FILE *out);
/* Whether this finding makes the exit status 1. */
bool scan_options_fails_on(const struct scan_options *o, const struct finding *f);
