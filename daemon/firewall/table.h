/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Our table in the kernel, as a whole: put there, taken away, watched. What is to be in it is the
 * shadow. Single-threaded; functions return 0 or -errno.
 */
#pragma once

#include "daemon/firewall/allowed.h"
#include "daemon/firewall/blocks.h"
#include "daemon/firewall/dump.h"
#include "daemon/firewall/listeners.h"
#include "daemon/firewall/nft.h"
#include "daemon/firewall/stamp.h"

/* What the agent has asked for: from it the table is made whenever it has to be. */
struct shadow {
	struct blocks *blocks;
	struct blocks *ledger;       /* endpoints that are counted, with deadlines; rule is 0 */
	struct allowed *allowed;     /* NULL until there is a configuration */
	struct listeners *listeners; /* the same */
	bool deaf;                   /* nobody answers behind them */
};

struct reading; /* of the blocks that an earlier helper has left */

struct table {
	struct nft nft;
	uid_t prober_uid, filter_uid;
	int monitor_fd; /* -1 while the table is owned, or there is none */
	bool touched;   /* by somebody else, in a transaction whose end we have not seen */
	bool persist;   /* the kernel takes owned, persistent tables, and the configuration too */
	bool known;     /* what the kernel can, by what was installed before */
	bool installed; /* it is in the kernel, as far as we know */
	bool uncounted; /* but for the sets of counters, in which some blocks may be missing */
	uint32_t generation;      /* of all rules, when the last installation began; 0: unknown */
	uint32_t reconciliations; /* times that somebody else's change was undone */
	uint8_t fingerprint[STAMP_FINGERPRINT_BYTES]; /* of the table that is installed */
	uint32_t stamped;                             /* the generation of the last stamp */
	struct reading *reading; /* not all blocks are in the shadow yet; else NULL */
};

/* Opens the socket for requests; the monitor's when it is needed. */
int table_open(struct table *t, uid_t prober_uid, uid_t filter_uid);
/* Leaves the table as it is. */
void table_close(struct table *t);

/*
 * Puts the whole table in place of the present one, if any, in one transaction: no packet meets
 * half of it. A kernel before 6.9 refuses owned and persistent tables, with EOPNOTSUPP or EINVAL;
 * then a plain one is made and watched. It has a companion in the family bridge where there is one.
 * What was counted so far is carried over.
 */
int table_install(struct table *t, const struct conf *conf, const struct shadow *shadow,
                  int64_t now_ms);
int table_delete(struct table *t);
/* One of the two, without the rest; what is not there is no error. */
int table_delete_of(struct nft *nft, uint8_t family);
/* Reads what is waiting at the monitor; *touched: somebody changed the table, or may have. */
int table_read_monitor(struct table *t, bool *touched);

/*
 * Writes the chains that lead to the filter process anew, by what the shadow says of it. Cheap, and
 * no block is touched.
 */
int table_replace_filters(struct table *t, const struct conf *conf, const struct shadow *shadow);

/*
 * The same as table_install() in half the time: what refuses is there, and table_add_counters() has
 * something to do. The shadow has the last counters; nothing is read.
 */
int table_restore(struct table *t, const struct conf *conf, const struct shadow *shadow,
                  int64_t now_ms);
int table_add_counters(struct table *t, const struct conf *conf, const struct shadow *shadow,
                       int64_t now_ms);
/* Reads the counters of all blocks. */
int table_read_hits(struct table *t, struct blocks *blocks);
/* To be the last of every other transaction that changes our table: see stamp.h. None while
 * counters are missing. */
void table_stamp(struct table *t, struct nft_batch *batch);
/*
 * Others have changed rules of their own: says that ours are as they were. Only of an owned table
 * can that be said. Cheap while nobody has.
 */
int table_refresh_stamp(struct table *t);

/*
 * The first table of a process. Makes the shadow from what an earlier helper has left in the
 * kernel, as far as `conf` lets it. If nobody has changed any rule since, and there is nothing that
 * we would make otherwise, what is there becomes ours as it is; else it is installed anew.
 *
 * Of a table that became ours and that nobody else can change, the blocks are still to be read:
 * table_read_on() until it says that all are. Until then the shadow must not be asked or changed,
 * the table only be deleted. table_read_on() returns 1: there is more, 0: all are known (and if
 * there was one that we would not make, the table was installed anew), or -errno.
 */
int table_take_over(struct table *t, const struct conf *conf, struct shadow *shadow,
                    int64_t now_ms);
int table_read_on(struct table *t, const struct conf *conf, struct shadow *shadow, int64_t now_ms);
/* What was not read by now never is: the table is about to go. */
void table_stop_reading(struct table *t);
/* Puts a block that the kernel has into the shadow; *taken: such as we would make. */
int table_adopt_block(const struct conf *conf, struct blocks *blocks, const struct dump_element *e,
                      int64_t now_ms, bool *taken);
/*
 * For table_take_over(): has a plain table watched from now on, and made anew if anybody has
 * changed a rule since t->generation, apart from one transaction of ours.
 */
int table_watch(struct table *t, const struct conf *conf, const struct shadow *shadow,
                int64_t now_ms);
