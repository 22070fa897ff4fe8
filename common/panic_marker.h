/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The panic marker: an ordinary file in the state directory; while it exists nothing is enforced.
 * The agent makes it, and so does `pprofwall panic` as root, in a directory that belongs to
 * another uid: no link is followed, and nothing that exists is written to. Any thread.
 */
#pragma once

#include <stdbool.h>

enum { PANIC_MARKER_TEXT_LEN = 513 };

/* Whatever has that name counts, a dangling link too: in doubt nothing is enforced. */
bool panic_marker_exists(const char *directory);
/*
 * Writes who, when and why; control characters become '?'. One that exists is left as it is.
 * Waits for no disk: panic_marker_sync() does. Return 0 or -errno.
 */
int panic_marker_set(const char *directory, const char *who, const char *reason);
int panic_marker_sync(const char *directory);
/* Returns 0 also when there is none. */
int panic_marker_clear(const char *directory);
/* Returns 0 with the reason, "" for none; -ENOENT or another -errno. */
int panic_marker_read(const char *directory, char reason[static PANIC_MARKER_TEXT_LEN]);
