/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Small files whose content is a secret, or as good as one. */
#pragma once

#include <stddef.h>

/*
 * Reads a regular file whole: `path` below the open directory, or an absolute one with AT_FDCWD. A
 * NUL follows the content, which *length does not count. Returns 0; or -errno (-EINVAL for a file
 * that is empty, longer than `max`, or no regular one), with *why in words.
 */
int secret_read_at(int directory, const char *path, size_t max, char **bytes, size_t *length,
                   const char **why);
/* Wipes first. NULL is allowed. */
void secret_free(char *bytes, size_t length);
