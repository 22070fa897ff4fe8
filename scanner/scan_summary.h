/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What a scan says at its end. One thread. */
#pragma once

#include "scanner/scan_run.h"

void scan_summary_print(FILE *out, const struct scan_result *r);
/*
 * The command that goes on where this one has stopped. `argv` begins with the verb; getopt_long()
 * may have sorted it.
 */
void scan_summary_print_continuation(FILE *out, char **argv, const struct scan_options *o,
                                     uint64_t seed, const struct scan_mark *mark);
