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

enum { REFUSE_SETS = 3 }; /* protected sources; allow_from as written, and what it stands for */

struct refuse_rule {
	enum conf_refuse how;
	bool seal_local;
	/* Names of sets of addresses, for IPv4 and IPv6; NULL where there is none. */
	const char *let_through[REFUSE_SETS][2];
};
void refuse_add_rule_chain(struct nft_batch *batch, const char *chain,
                           const struct refuse_rule *rule);
