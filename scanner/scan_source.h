/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Where a scan's targets come from: the command line, @files, standard input; one at a time, so
 * that memory does not grow with the size of a sweep. One thread.
 */
#pragma once

#include "scanner/input_formats.h"
#include "scanner/target.h"

enum { SCAN_SOURCE_ERROR_LEN = INPUT_ERROR_LEN + 256 };

enum scan_source_result {
	SCAN_SOURCE_TARGET, /* *out is the next one */
	SCAN_SOURCE_BAD,    /* a line that is no target; `why` says where; go on with the next */
	SCAN_SOURCE_WAIT,   /* a pipe has nothing yet: ask again when its descriptor is readable */
	SCAN_SOURCE_LATER,  /* much was read and no target found: other events have their turn */
	SCAN_SOURCE_UNREADABLE, /* a read error; `why` says of what; what is left of it is lost */
	SCAN_SOURCE_END,
};

struct scan_source;

/*
 * Opens every file, so that none is needed later, and reads regular files and the command line
 * once to find mistakes before anything is sent. `arguments` must outlive the source. Returns 0,
 * or -EINVAL or -errno and one line in `why`. A file that ends too early is no mistake: its targets
 * are given, then SCAN_SOURCE_UNREADABLE.
 */
int scan_source_open(char **arguments, size_t count, const struct port_list *ports,
                     struct scan_source **out, char why[static SCAN_SOURCE_ERROR_LEN]);
/* The same with files of a format that is not told by their beginnings. */
int scan_source_open_as(char **arguments, size_t count, enum input_format format,
                        const struct port_list *ports, struct scan_source **out,
                        char why[static SCAN_SOURCE_ERROR_LEN]);
void scan_source_close(struct scan_source *source);

/*
 * How many endpoints the targets are, a name counted as one address. Returns false when a pipe may
 * bring more.
 */
bool scan_source_count(const struct scan_source *source, uint64_t *out);

enum scan_source_result scan_source_next(struct scan_source *source, struct target *out,
                                         char why[static SCAN_SOURCE_ERROR_LEN]);
/* After SCAN_SOURCE_WAIT: the descriptor to wait for. */
int scan_source_descriptor(const struct scan_source *source);
