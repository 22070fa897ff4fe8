/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Files that are read whole. Any thread. */
#pragma once

#include <sys/types.h>

/*
 * From the file's start, without moving in it, at most `room` bytes. Returns how many, or -errno.
 */
ssize_t read_all(int fd, char *bytes, size_t room);
