/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The scanner's way to its history: a small child process, started before privileges are dropped,
 * holds the file, which the scanner's sandbox does not allow. What comes over the socket pair was
 * made from hostile bytes by a process that may have been taken over by them: each message is of
 * fixed form or a finding's line, and is checked here again. One thread.
 */
#pragma once

#include "scanner/history.h"

struct history_writer;

/*
 * Opens the file, forks, and says that the sweep has begun. Returns 0; or -errno and one line in
 * `why`. No thread may exist yet.
 */
int history_writer_start(const char *path, const struct history_begin *begin,
                         struct history_writer **out, char why[static HISTORY_ERROR_LEN]);
/* These block while the writer is behind. 0 or -errno (-EPIPE: it died, and has said why). */
int history_writer_cover(struct history_writer *w, enum history_coverage kind, const char *network,
                         const char *ports);
int history_writer_observe(struct history_writer *w, const struct history_observation *o,
                           const char *finding);
/* Returns when everything is on disk. */
int history_writer_end(struct history_writer *w, const struct history_end *end);
/* Without history_writer_end() before, the sweep stays one that was interrupted. NULL is allowed.
 */
void history_writer_free(struct history_writer *w);
