/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Where our own files are, from where the running program is: PREFIX/{bin,sbin,libexec/pprofwall}.
 * An installation can be moved as a whole, and the build tree has the same layout.
 */
#pragma once

enum { PATHS_MAX_LEN = 4096 };

/* "PREFIX/libexec/pprofwall/NAME". Returns 0 or -errno. */
int paths_libexec(const char *name, char out[static PATHS_MAX_LEN]);
/* "PREFIX/etc/pprofwall/NAME"; the prefix /usr means /etc (FHS 3.0, 3.7). Returns 0 or -errno. */
int paths_sysconf(const char *name, char out[static PATHS_MAX_LEN]);
/* "PREFIX/share/pprofwall/NAME". Returns 0 or -errno. */
int paths_data(const char *name, char out[static PATHS_MAX_LEN]);
