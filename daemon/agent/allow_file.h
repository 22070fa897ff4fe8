/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The files that allow_from names: one address or prefix on a line, '#' begins a comment; read
 * with the reader of --exclude-file, so that both have one syntax and one kind of error. And how
 * the agent notices that one has changed: inotify on its directory, since editors and package
 * managers rename a new file over the old one. Loop's thread.
 */
#pragma once

#include "common/prefix.h"

#include <event2/event.h>
#include <stdint.h>
#include <sys/stat.h>

enum {
	ALLOW_FILE_MAX_BYTES = 1024 * 1024, /* a list of scrapers; read in the loop's thread */
	ALLOW_FILE_MAX = 3000,              /* prefixes, after those inside others are dropped */
	ALLOW_FILE_ERROR_LEN = 512,
};

/* What a file was when it was read: it has changed when any of it has. */
struct allow_file_id {
	dev_t device;
	ino_t inode;
	off_t size;
	struct timespec modified, changed;
};

/*
 * Returns 0 and at *out a malloc()ed list of *count prefixes, sorted and disjoint, at least one;
 * or -errno and one line in `why`: "FILE:LINE:COLUMN: ..." for what is wrong in it, "FILE: ..."
 * for what cannot be read, with whom that has to be readable to, is empty or too large.
 */
int allow_file_read(const char *path, struct prefix **out, size_t *count, struct allow_file_id *id,
                    char why[static ALLOW_FILE_ERROR_LEN]);
/* What the file is now. Returns 0 or -errno. */
int allow_file_identify(const char *path, struct allow_file_id *id);
bool allow_file_is_same(const struct allow_file_id *a, const struct allow_file_id *b);

struct allow_watch;

/*
 * Something happened in a watched directory: to the entry `name`, or (NULL) to the directory, or
 * events were lost. `writing`: the entry is being written, and will be told of again when its
 * writer has closed it.
 */
typedef void allow_watch_cb(int directory, const char *name, bool writing, void *arg);

int allow_watch_new(struct event_base *base, allow_watch_cb *cb, void *arg,
                    struct allow_watch **out);
void allow_watch_free(struct allow_watch *w);
/* The directory of `path`: its number (the same for files that share it), or -errno. */
int allow_watch_add(struct allow_watch *w, const char *path);
void allow_watch_remove(struct allow_watch *w, int directory);
