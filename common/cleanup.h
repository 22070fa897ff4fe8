/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Ownership in the declaration: a variable marked with one of these is released when it goes out
 * of scope, unless steal_ptr() or steal_fd() has moved its value elsewhere.
 */
#pragma once

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static inline void cleanup_free(void *slot)
{
	free(*(void **)slot);
}

static inline void cleanup_close(const int *fd)
{
	if (*fd >= 0)
		close(*fd);
}

static inline void cleanup_fclose(FILE **file)
{
	if (*file)
		fclose(*file);
}

static inline void cleanup_closedir(DIR **dir)
{
	if (*dir)
		closedir(*dir);
}

#define auto_free     __attribute__((cleanup(cleanup_free)))
#define auto_close    __attribute__((cleanup(cleanup_close)))
#define auto_fclose   __attribute__((cleanup(cleanup_fclose)))
#define auto_closedir __attribute__((cleanup(cleanup_closedir)))

/* For types with their own destructor: AUTO_CLEANUP(conf, struct conf *, conf_free) gives
 * auto_conf. */
#define AUTO_CLEANUP(name, type, destroy)                                                          \
	static inline void cleanup_##name(type *slot)                                              \
	{                                                                                          \
		if (*slot)                                                                         \
			destroy(*slot);                                                            \
	}

static inline int steal_fd(int *fd)
{
	int taken = *fd;

	*fd = -1;
	return taken;
}

static inline void *steal_pointer(void *slot)
{
	void *taken = *(void **)slot;

	*(void **)slot = NULL;
	return taken;
}

#define steal_ptr(slot) ((__typeof__(*(slot)))steal_pointer(slot))

#define ARRAY_LEN(a) (sizeof(a) / sizeof((a)[0]))
