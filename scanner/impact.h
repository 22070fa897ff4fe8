/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Whom a block cuts off, as the daemon's ledger has it: `pprofwall impact`, and after a block. */
#pragma once

#include "common/endpoint.h"

#include <stdio.h>

/* Returns an exit status of verbs.h. */
int impact_main(int argc, char **argv);
/*
 * One line on whom the block that was just made cuts off. Silent where nobody is known, or the
 * daemon does not say: the block stands all the same. `socket`: NULL for the default.
 */
void impact_print_cut(const char *socket, const struct endpoint *e, FILE *out);
