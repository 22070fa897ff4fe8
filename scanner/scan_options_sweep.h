/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The options of a scan that is a sweep: how fast, in which order, which part. Internal. */
#pragma once

#include "scanner/scan_options.h"

enum scan_sweep_option {
	SCAN_SWEEP_METHOD = 1000,
	SCAN_SWEEP_RATE,
	SCAN_SWEEP_PER_HOST_RATE,
	SCAN_SWEEP_RETRIES,
	SCAN_SWEEP_THREADS,
	SCAN_SWEEP_SEED,
	SCAN_SWEEP_SHARD,
	SCAN_SWEEP_START_AT,
	SCAN_SWEEP_RESUME,
	SCAN_SWEEP_STOP_FILE,
	SCAN_SWEEP_METRICS_FILE,
	SCAN_SWEEP_EXCLUDE_FILE,
	SCAN_SWEEP_CONTACT,
	SCAN_SWEEP_INPUT_FORMAT,
	SCAN_SWEEP_ADDRESSES,
	SCAN_SWEEP_DRY_RUN,
	SCAN_SWEEP_TRAILER,
	SCAN_SWEEP_NO_PRINTER_GUARD,
	SCAN_SWEEP_NO_ACCEPT_ALL_GUARD,
};

/* For scan_options.c's table of long options. */
#define SCAN_SWEEP_LONG_OPTIONS                                                                    \
	{"method", required_argument, NULL, SCAN_SWEEP_METHOD},                                    \
	    {"rate", required_argument, NULL, SCAN_SWEEP_RATE},                                    \
	    {"per-host-rate", required_argument, NULL, SCAN_SWEEP_PER_HOST_RATE},                  \
	    {"retries", required_argument, NULL, SCAN_SWEEP_RETRIES},                              \
	    {"threads", required_argument, NULL, SCAN_SWEEP_THREADS},                              \
	    {"seed", required_argument, NULL, SCAN_SWEEP_SEED},                                    \
	    {"shard", required_argument, NULL, SCAN_SWEEP_SHARD},                                  \
	    {"start-at", required_argument, NULL, SCAN_SWEEP_START_AT},                            \
	    {"resume", required_argument, NULL, SCAN_SWEEP_RESUME},                                \
	    {"stop-file", required_argument, NULL, SCAN_SWEEP_STOP_FILE},                          \
	    {"metrics-file", required_argument, NULL, SCAN_SWEEP_METRICS_FILE},                    \
	    {"exclude-file", required_argument, NULL, SCAN_SWEEP_EXCLUDE_FILE},                    \
	    {"input-format", required_argument, NULL, SCAN_SWEEP_INPUT_FORMAT},                    \
	    {"contact", required_argument, NULL, SCAN_SWEEP_CONTACT},                              \
	    {"addresses", required_argument, NULL, SCAN_SWEEP_ADDRESSES},                          \
	    {"dry-run", no_argument, NULL, SCAN_SWEEP_DRY_RUN},                                    \
	    {"trailer", no_argument, NULL, SCAN_SWEEP_TRAILER},                                    \
	    {"no-printer-guard", no_argument, NULL, SCAN_SWEEP_NO_PRINTER_GUARD},                  \
	{                                                                                          \
		"no-accept-all-guard", no_argument, NULL, SCAN_SWEEP_NO_ACCEPT_ALL_GUARD           \
	}

/* Writes the line to `why` and returns -EINVAL. */
int scan_options_refuse(char why[static SCAN_ERROR_LEN], const char *format, ...)
    __attribute__((format(printf, 2, 3)));
/* Returns 0; 1: it is none of these; or -EINVAL and one line in `why`. */
int scan_options_set_sweep(struct scan_options *o, int id, const char *value,
                           char why[static SCAN_ERROR_LEN]);
/* What does not go together. Returns 0, or -EINVAL and one line in `why`. */
int scan_options_check_sweep(const struct scan_options *o, char why[static SCAN_ERROR_LEN]);
