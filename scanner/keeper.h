/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The keeper: a child process, forked before privileges are dropped, that alone may touch three
 * files of the user's: it writes the state to resume from and the metrics for node_exporter's
 * textfile collector, and looks for the stop file. It has the folders and one end of a socket
 * pair, and no privileges; as root it becomes the owner of the folders, if they have one owner.
 *
 * A file is written beside the old one, to disk, and takes its place: whoever dies when, there is
 * always one whole file. One thread.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

enum { KEEPER_ERROR_LEN = 512, KEEPER_MAX_BYTES = 1 << 20 };

struct keeper_conf {
	const char *state, *stop, *metrics; /* NULL: none. The state 0600, the metrics 0644 */
};

struct keeper;

/*
 * Forks, and tries whether the folders can be written and searched. Returns 0; or -errno and one
 * line in `why`. No thread may exist yet. The process needs nobody to wait for it but the
 * caller's own reaping: it ends soon after keeper_free(), or the caller's death.
 */
int keeper_start(const struct keeper_conf *conf, struct keeper **out,
                 char why[static KEEPER_ERROR_LEN]);
/*
 * Readable: the stop file exists (keeper_was_stopped() says so from then on), or the keeper died:
 * then it is readable for ever.
 */
int keeper_descriptor(const struct keeper *k);
/*
 * The file is looked for twice a second; whatever has its name counts, also a symbolic link to
 * nothing. On NFS, what the client remembers of a folder may delay it.
 */
bool keeper_was_stopped(struct keeper *k);
/*
 * Never block: the bytes are copied, and written when the one before is on disk, unless newer
 * ones have come until then. Return 0; -EPIPE: the keeper died; -EMSGSIZE; -ENOENT: there is no
 * such file; or, once, the -errno with which an earlier write failed (-ENOSPC): the old file is
 * whole, these bytes are taken nevertheless, and nothing is said again until a write succeeded.
 */
int keeper_put_state(struct keeper *k, const char *bytes, size_t n);
int keeper_put_metrics(struct keeper *k, const char *bytes, size_t n);
/*
 * Waits until the last of both is on disk, some seconds at most. Returns 0; -ETIMEDOUT; or the
 * -errno of the first one that is not, whether it was told before or not.
 */
int keeper_end(struct keeper *k);
/* NULL is allowed. */
void keeper_free(struct keeper *k);
