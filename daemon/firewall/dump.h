/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Reading our sets back from the kernel. Everything returns 0 or -errno, -ENOENT when there is no
 * such set or element. Single-threaded.
 */
#pragma once

#include "common/prefix.h"
#include "daemon/firewall/ledger.h"
#include "daemon/firewall/nft.h"
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
 * Reads a whole set, calling `see` for every element; a non-zero value from it ends the reading and
 * is returned. A dump that another transaction interrupts is read again: `see` meets elements
 * twice.
 */
int dump_endpoints(struct nft *nft, const char *set,
                   int (*see)(const struct dump_element *, void *), void *closure);
/* Reads one element of hits4 or hits6. */
int dump_get_hits(struct nft *nft, const struct endpoint *e, uint64_t *packets, uint64_t *bytes);

/* Adds the peers of one family to the list. */
int dump_peers(struct nft *nft, sa_family_t family, struct ledger_peers *peers);

/* Adds the prefixes of a set, all of one length, to the list. */
int dump_prefixes(struct nft *nft, const char *set, sa_family_t family, unsigned bits,
                  struct prefix items[static FIREWALL_ALLOW_MAX], size_t *count);
