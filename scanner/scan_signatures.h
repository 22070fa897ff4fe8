/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Signature files on the command line: --signatures, --prefixes and the lists that --ports names.
 */
#pragma once

#include "scanner/scan_options.h"

/*
 * Reads the shipped signatures (their absence is only logged) and the user's own, and with them
 * sets o->signatures, o->ports and o->all_prefixes. Before the sandbox, which has no files.
 * Returns 0, or -EINVAL or -ENOMEM and one line in `why`.
 */
int scan_signatures_load(struct scan_options *o, char why[static SCAN_ERROR_LEN]);

/* `pprofwall check-signatures [FILE]`: returns the exit status. */
int check_signatures_main(int argc, char **argv);
