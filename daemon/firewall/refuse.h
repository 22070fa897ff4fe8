/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What becomes of a packet to a blocked endpoint: the chain of its rule lets some through, and
 * sends the rest to a chain that counts and refuses. Everything here writes into a transaction.
 */
#pragma once

#include "conf/conf.h"
#include "daemon/firewall/nft.h"

/* "refuse" or "discard": count, and end the packet's way, with a reset or without a word. */
const char *refuse_chain_name(enum conf_refuse how);
/* The rules of that chain, which must exist, and the sets of counters. */
void refuse_add_chain(struct nft_batch *batch, enum conf_refuse how);

/*
 * In the table of bridges, where neither conntrack nor resets are to be had, nobody is spared but
 * who is in the lists, and all others are dropped; "refuse" and "discard" are not there.
 *
 * The chain of a rule: who passes whatever the lists say, ...
 */
void refuse_begin_rule_chain(struct nft_batch *batch, const char *chain, enum conf_refuse how,
                             bool seal_local);
/* ... clients in a set of prefixes of one length, in both directions, ... */
void refuse_let_through(struct nft_batch *batch, const struct conf *conf, const char *chain,
                        sa_family_t family, unsigned bits, const char *set);
/* ... and what becomes of all others. */
void refuse_end_rule_chain(struct nft_batch *batch, const char *chain, enum conf_refuse how);
