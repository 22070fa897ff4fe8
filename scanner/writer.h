/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the small processes have in common that write the user's files for a scan: forked before
 * privileges are dropped, they outlive what ends the scan by a moment, and hold nothing but what
 * they need.
 */
#pragma once

#include "common/sandbox.h"

#include <stddef.h>

/*
 * Leaves the scan's session, signals and standard streams, and closes all descriptors but those
 * of the list, which get new numbers. Returns 0 or -errno.
 */
int writer_stand_apart(int *descriptors, size_t count);
/*
 * Gives up all privileges, and loads the filter. As root it becomes the owner of the directories,
 * who may write there without any privilege, if they have one and the same; else it stays uid 0,
 * without capabilities. Returns 0, or -errno and one line.
 */
int writer_drop_privileges(const int *directories, size_t count, enum sandbox_filter filter,
                           char why[static SANDBOX_ERROR_LEN]);
/* All of it; 0 or -errno. */
int writer_write_all(int fd, const char *bytes, size_t length);
