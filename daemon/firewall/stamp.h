/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What our table says of itself, in a set of one element: which state of all of the namespace's
 * rules was in force after our last change, and a fingerprint of the rules that we made. A
 * successor that finds both as it expects knows that nobody has changed anything since, and need
 * not make the table anew. Every transaction of ours writes it, but while counters are missing;
 * whoever else commits one makes it wrong by that alone. Single-threaded.
 */
#pragma once

#include "daemon/firewall/nft.h"
#include "daemon/firewall/ruleset.h"

enum { STAMP_FINGERPRINT_BYTES = 12 };

struct stamp {
	uint32_t generation; /* 0: not known, and never equal to any */
	uint8_t fingerprint[STAMP_FINGERPRINT_BYTES];
};

/*
 * Of the table that this would make, without what changes in it: blocks, counters, and whom the
 * agent says that files and names stand for; and of the ports that are never blocked. `bridge` as
 * in struct nft. Returns 0 or -ENOMEM.
 */
int stamp_take_fingerprint(const struct ruleset_spec *spec, bool bridge,
                           uint8_t out[static STAMP_FINGERPRINT_BYTES]);

/* Replaces the stamp in a table that is there. */
void stamp_put(struct nft_batch *batch, const struct stamp *stamp);
/* Reads it. Returns 0, or -ENOENT when there is no such set, or nothing or more than one in it. */
int stamp_read(struct nft *nft, struct stamp *out);
