/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Where the daemon keeps what `panic` and `resume` need when it does not answer. Read from the
 * configuration; the defaults, with a word on standard error, when that cannot be read.
 */
#pragma once

#include "common/paths.h"

struct panic_paths {
	char state[PATHS_MAX_LEN];
	char socket[PATHS_MAX_LEN];
};

/* `config` NULL: the installed one. `socket` NULL: as configured. */
void panic_find_paths(const char *config, const char *socket, struct panic_paths *out);
