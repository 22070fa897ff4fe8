/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Sets and maps of our table, and their elements, written into a transaction. */
#pragma once

#include "conf/conf.h"
#include "daemon/firewall/blocks.h"
#include "daemon/firewall/ledger.h"
#include "daemon/firewall/nft.h"

enum set_kind {
	SET_ADDRESSES, /* first addresses of prefixes of one length */
	SET_BLOCKS,    /* endpoint : verdict, with timeouts */
	SET_HITS,      /* endpoint, with timeouts and counters */
	SET_LEDGER,    /* endpoint, with timeouts */
	SET_DRAIN,     /* the same */
	SET_PEERS,     /* client, endpoint, which rules add and count */
	SET_STAMP,     /* what the table says of itself */
};

#define SET_STAMP_NAME "stamp"
enum { SET_STAMP_BYTES = 16 };

/*
 * `id` is the set's own within the transaction; SET_STAMP is of no family. `size` is for SET_BLOCKS
 * and SET_HITS: as many elements at most, for which the kernel makes room at once; 0: any number,
 * for which it makes room as they come.
 */
void set_add(struct nft_batch *batch, const char *name, enum set_kind kind, sa_family_t family,
             uint32_t size, uint32_t id);

/*
 * Elements of a set of addresses: the prefixes of one family and length; others are passed over.
 * `type` is NFT_MSG_NEWSETELEM or NFT_MSG_DELSETELEM.
 */
void set_put_prefixes(struct nft_batch *batch, uint16_t type, const char *name, unsigned bits,
                      const struct prefix *items, size_t count);

/* Is this block one that gives its endpoint to the filter process? */
bool set_is_filtered(const struct conf *conf, const struct block *block);

/*
 * The elements of one family's blocks, in the map that they belong to, in the set of counters,
 * which bridges do not have, and `uncounted` batches leave out, and in that of connections from
 * before, while those may go on. On bridges nothing can be filtered: it is refused there, or let
 * through, as the rule says of a filter that fails. `type` is NFT_MSG_NEWSETELEM or
 * NFT_MSG_DELSETELEM. Blocks of the other family are passed over.
 */
void set_put_blocks(struct nft_batch *batch, const struct conf *conf, uint16_t type,
                    sa_family_t family, struct block *const *blocks, size_t count, int64_t now_ms);

/* The counters alone, of blocks that were put without. */
void set_put_hits(struct nft_batch *batch, sa_family_t family, struct block *const *blocks,
                  size_t count, int64_t now_ms);

/* The same for endpoints of the ledger; only endpoint and deadline_ms count. */
void set_put_ledger(struct nft_batch *batch, uint16_t type, sa_family_t family,
                    struct block *const *endpoints, size_t count, int64_t now_ms);
/* What was counted before, put back with its counters and what is left of its time. */
void set_put_peers(struct nft_batch *batch, sa_family_t family, const struct ledger_peer *peers,
                   size_t count);

/* The only element of the stamp, in place of the one that is there. */
void set_put_stamp(struct nft_batch *batch, const uint8_t key[static SET_STAMP_BYTES]);

/* "block4", "filter6", "seal4", "drain6", "hits6", "ledger4", "peers6" */
const char *set_map_name(sa_family_t family);
const char *set_filter_name(sa_family_t family);
const char *set_seal_name(sa_family_t family);
const char *set_drain_name(sa_family_t family);
const char *set_hits_name(sa_family_t family);
const char *set_ledger_name(sa_family_t family);
const char *set_peers_name(sa_family_t family);
