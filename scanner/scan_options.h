/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The command line of `pprofwall scan`. Reading it opens nothing and prints nothing.
 */
#pragma once

#include "scanner/input_formats.h"
#include "scanner/output.h"
#include "scanner/scan_ledger.h"
#include "scanner/scan_mark.h"
#include "scanner/scan_route.h"
#include "scanner/sweep/order.h"
#include "scanner/target.h"

enum {
	SCAN_ERROR_LEN = 512,
	/* With more, one turn of the loop eats into the deadlines of what waits: exposures were
	   lost. */
	SCAN_MAX_CONCURRENCY = 2048,
	SCAN_MAX_OUTPUTS = 8,
	SCAN_MAX_VANTAGE = 64,
	SCAN_MAX_EXCLUDE_FILES = 16,
	SCAN_DEFAULT_RATE = 2000,
	SCAN_MAX_RATE = 100000000,
	SCAN_MAX_RETRIES = 10,
	SCAN_MAX_SHARDS = 1 << 20,
	SCAN_MAX_CONTACT = 128,
};

struct signatures; /* scanner/signatures.h */

/* What makes the exit status 1. */
enum scan_fail_on {
	SCAN_FAIL_ON_SEVERITY = 0, /* confirmed or likely, and at least so severe */
	SCAN_FAIL_ON_LIKELY,       /* confirmed or likely */
	SCAN_FAIL_ON_CONFIRMED,
	SCAN_FAIL_ON_NEVER,
};

/* How it is found out which endpoints are open. */
enum scan_method {
	SCAN_METHOD_AUTO = 0, /* as the number of endpoints and the privileges suggest */
	SCAN_METHOD_DIRECT,   /* not at all: each endpoint is asked for profiles at once */
	SCAN_METHOD_CONNECT,
	SCAN_METHOD_SYN,
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
	struct scan_ledger_conf ledger; /* history, accepted risks */
	struct exclude_set *excludes;   /* not sealed; NULL: none */
	struct scan_route route;        /* names and ways to ask by */
	bool relatives;                 /* asked for everywhere */
	bool serves;                    /* what is exposed: what else does it serve? */
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
	/* The sweep: scan_options_sweep.c */
	enum scan_method method;
	uint64_t rate_per_sec;     /* 0: none */
	uint64_t per_host_per_sec; /* 0: none */
	int retries;               /* -1: as the measured loss demands */
	unsigned threads;          /* 0: one for each processor */
	uint64_t seed;
	bool seed_given;
	struct sweep_shard shard;
	struct scan_mark start_at;
	const char *exclude_files[SCAN_MAX_EXCLUDE_FILES];
	size_t n_exclude_files;
	enum input_format input_format; /* of files */
	const char *contact;            /* NULL: none */
	const char *stop_file, *resume, *metrics_file;
	bool dry_run;
	bool no_printer_guard, no_accept_all_guard;
	bool first_address; /* of a name's */
	bool trailer;       /* at the end of NDJSON */
	bool goes_on;       /* set by the scan itself: an interrupted run has written before */

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
