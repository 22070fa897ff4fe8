/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Running the firewall helper's program as a tool, and waiting for its end. */
#pragma once

#include "common/paths.h"

#define HELPER_PROGRAM "pprofwall-firewall"

/*
 * Runs `program` with these arguments (argv[0] is its name, NULL ends them), for at most
 * timeout_ms; then it is killed. Standard output goes to `output`, or is ours where that is -1.
 * Returns the exit status or -errno (-ETIMEDOUT, -EINTR for one that a signal ended).
 */
int helper_run(const char *program, char *const argv[], int output, int timeout_ms);
