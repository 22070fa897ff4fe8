/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The table `inet pprofwall`, whole or element by element; docs/firewall.md shows it and says why
 * each rule is there. Everything here writes into a transaction and sends nothing.
 */
#pragma once

#include "conf/conf.h"
#include "daemon/firewall/blocks.h"
#include "daemon/firewall/nft.h"

#define RULESET_NO_PROBER ((uid_t)-1)

struct ruleset_spec {
	const struct conf *conf;
	uid_t prober_uid; /* RULESET_NO_PROBER: nobody is let through by uid */
	bool persist;     /* owned and persistent, else a plain table */
};

/* The whole table with these blocks. It must not exist in the transaction so far. */
void ruleset_add_table(struct nft_batch *batch, const struct ruleset_spec *spec,
                       struct block *const *blocks, size_t count, int64_t now_ms);

/*
 * The chain of one more rule (numbered as in wire.h) and its sets, in a table that is there already
 * and has no protected sources; EEXIST when there is a chain of that name.
 */
void ruleset_add_rule(struct nft_batch *batch, const struct conf *conf, uint32_t rule);

/*
 * Inserts or refreshes one block. `present_rule` is that of the element that may be there: a
 * verdict other than the present one is EBUSY.
 */
void ruleset_put_block(struct nft_batch *batch, const struct conf *conf, const struct block *block,
                       uint32_t present_rule, int64_t now_ms);
/* Removes one block, whether or not the kernel has expired it just now. */
void ruleset_remove_block(struct nft_batch *batch, const struct conf *conf,
                          const struct block *block, int64_t now_ms);
