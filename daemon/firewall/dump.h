/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Reading our sets back from the kernel. Everything returns 0 or -errno, -ENOENT when there is no
 * such set or element. Single-threaded.
 */
#pragma once

#include "common/prefix.h"
#include "daemon/firewall/blocks.h"
#include "daemon/firewall/ledger.h"
#include "daemon/firewall/nft.h"
#include "daemon/firewall/set.h"
#include "daemon/firewall/wire.h"

/* One element of a set or map of endpoints. */
struct dump_element {
	struct endpoint endpoint;
	bool is_tcp;
	char chain[NFT_NAME_MAXLEN]; /* "" without a jump */
	uint64_t expires_ms;         /* 0: never */
	uint64_t packets, bytes;     /* of the element's counter */
};

/*
 * Reads a whole set, calling `see` for every element; -errno from it ends the reading and is
 * returned. A dump that another transaction interrupts is read again: `see` meets elements
 * twice.
 */
int dump_endpoints(struct nft *nft, const char *set,
                   int (*see)(const struct dump_element *, void *), void *closure);
/*
 * The same in steps, over a socket of which nothing else is asked meanwhile. Each step takes what
 * the kernel tells at once, 32 KB. dump_next() returns 1 while there is more, 0 at the end.
 */
int dump_begin(struct nft *nft, const char *set, uint32_t *seq);
int dump_next(struct nft *nft, uint32_t seq, int (*see)(const struct dump_element *, void *),
              void *closure);
/* Reads one element of hits4 or hits6. */
int dump_get_hits(struct nft *nft, const struct endpoint *e, uint64_t *packets, uint64_t *bytes);

/*
 * Reads the counters of these blocks, those of one family, key by key: whatever the number, each
 * costs the same. A dump is cheaper for few, but the kernel begins it at the first element again
 * for every 32 KB, so that its time grows with the square. Blocks without an element stay as they
 * are.
 */
int dump_hits_of(struct nft *nft, sa_family_t family, struct block *const *blocks, size_t count);

/* Adds the peers of one family to the list. */
int dump_peers(struct nft *nft, sa_family_t family, struct ledger_peers *peers);

/* Reads the only element of the stamp; -ENOENT also when there is none, or more than one. */
int dump_stamp(struct nft *nft, uint8_t key[static SET_STAMP_BYTES]);

/* Adds the prefixes of a set, all of one length, to the list. */
int dump_prefixes(struct nft *nft, const char *set, sa_family_t family, unsigned bits,
                  struct prefix items[static FIREWALL_ALLOW_MAX], size_t *count);
