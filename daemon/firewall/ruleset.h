/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The table `inet pprofwall`, whole or element by element; docs/firewall.md shows it and says why
 * each rule is there. Everything here writes into a transaction and sends nothing.
 */
#pragma once

#include "conf/conf.h"
#include "daemon/firewall/allowed.h"
#include "daemon/firewall/blocks.h"
#include "daemon/firewall/ledger.h"
#include "daemon/firewall/listeners.h"
#include "daemon/firewall/nft.h"

#define RULESET_NO_PROBER ((uid_t)-1)

struct ruleset_spec {
	const struct conf *conf;
	uid_t prober_uid; /* RULESET_NO_PROBER: nobody is let through by uid */
	uid_t filter_uid; /* of the filter process; the same */
	bool persist;     /* owned and persistent, else a plain table */
	/* What the daemon's table has besides blocks; NULL and 0 elsewhere. */
	const struct allowed *allowed;
	const struct listeners *listeners; /* of the filter process; NULL: there is none */
	const struct ledger_peers
	    *peers;                  /* NULL: there is no ledger; else what it counted so far */
	struct block *const *ledger; /* endpoints that are counted; without rules */
	size_t n_ledger;
};

/* Makes a table, orphaned by an earlier owner, and its companion our own. */
void ruleset_own_table(struct nft_batch *batch);

/* The whole table with these blocks. It must not exist in the transaction so far. */
void ruleset_add_table(struct nft_batch *batch, const struct ruleset_spec *spec,
                       struct block *const *blocks, size_t count, int64_t now_ms);

/*
 * The chain of one more rule (numbered as in wire.h) and its sets, in a table that is there already
 * and has no protected sources; EEXIST when there is a chain of that name.
 */
void ruleset_add_rule(struct nft_batch *batch, const struct conf *conf, uint32_t rule);

/*
 * Writes the chains anew that lead to the filter process, in a table that is there already: it
 * listens elsewhere, or does not answer.
 */
void ruleset_replace_filters(struct nft_batch *batch, const struct ruleset_spec *spec);

/*
 * Inserts or refreshes one block. `present` is the one that may be there, or NULL: a verdict other
 * than that of the present one is EBUSY.
 */
void ruleset_put_block(struct nft_batch *batch, const struct conf *conf, const struct block *block,
                       const struct block *present, int64_t now_ms);
/*
 * The same for many, at the least cost. Where nothing is `present` there must be nothing: EEXIST.
 */
struct ruleset_change {
	const struct block *present; /* or NULL */
	struct block *next;
};
void ruleset_put_blocks(struct nft_batch *batch, const struct conf *conf,
                        const struct ruleset_change *changes, size_t count, int64_t now_ms);
/* Removes one block, whether or not the kernel has expired it just now. */
void ruleset_remove_block(struct nft_batch *batch, const struct conf *conf,
                          const struct block *block, int64_t now_ms);

/* The same for an endpoint of the ledger. */
void ruleset_put_ledger(struct nft_batch *batch, const struct block *endpoint, int64_t now_ms);
void ruleset_remove_ledger(struct nft_batch *batch, const struct block *endpoint, int64_t now_ms);
