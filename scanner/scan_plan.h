/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * `scan --dry-run`: what would be sent, and how long it would take. Reads the targets to their
 * end; sends nothing, resolves nothing. One thread.
 */
#pragma once

#include "scanner/discover/discover.h"
#include "scanner/scan_source.h"
#include "scanner/scan_state.h"

enum { SCAN_PLAN_SAMPLES = 5 };

/*
 * Prints the plan. `method` is DISCOVER_SYN, DISCOVER_CONNECT, or 0 for direct. Returns 0, or
 * -errno and one line in `why`.
 */
int scan_plan_print(FILE *out, const struct scan_options *o, const struct scan_state *state,
                    int method, struct scan_source *source, const struct exclude_set *excludes,
                    char why[static SCAN_SOURCE_ERROR_LEN]);
