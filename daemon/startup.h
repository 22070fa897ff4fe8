/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the processes that pprofwalld starts do first, before any thread exists: --uid and --gid, by
 * which it says who to become, and the signals.
 */
#pragma once

#include "common/sandbox.h"

/*
 * Fills in uid, gid and keep_uid of *spec from --uid N --gid N, both of which are required. With
 * `config` --config FILE is required as well, and *config is then one of the arguments. Returns
 * false for anything else: such a program was not started by pprofwalld.
 */
bool startup_read_arguments(int argc, char **argv, struct sandbox_spec *spec, const char **config);

/* A socket that the parent left to us there: of the right kind, not blocking, and not inherited. */
bool startup_take_socket(int fd);

/*
 * SIGPIPE, and the signals that a terminal or systemd sends to all processes at once: when to end,
 * and in which order, is the parent's to say.
 */
void startup_ignore_signals(void);

/* As many descriptors as may be had. Returns how many that is. */
unsigned startup_raise_descriptor_limit(void);
