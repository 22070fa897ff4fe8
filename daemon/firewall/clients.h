/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Lists of clients, whom rules let through. A set of intervals would hold any prefixes, but of a
 * whole new table the kernel makes the elements of such sets visible a moment after everything
 * else, and in that moment those who are let through are refused. Sets of single keys, one for each
 * length of prefixes, take part in the transaction like the rest.
 */
#pragma once

#include "conf/conf.h"
#include "daemon/firewall/nft.h"

/* The chain that asks them, and whether its sets come with it. */
struct clients_place {
	struct nft_batch *batch;
	const struct conf *conf;
	const char *chain;
	bool add_sets;
	uint32_t *id; /* of the next set; NULL without add_sets */
};

/* `list` may be of both families, in any order; `kind` and `of` are as in clients_list_name(). */
void clients_add(const struct clients_place *to, const char *kind, const char *of,
                 const struct conf_prefixes *list);

/* What the agent says of a rule: the first part of the names of its sets. */
#define CLIENTS_DYNAMIC "dynamic"
/* "dynamic4_24_NAME": the prefixes of one length in a list. Returns text. */
const char *clients_list_name(const char *kind, const char *of, sa_family_t family, unsigned bits,
                              char text[static NFT_NAME_MAXLEN]);

/* Are there sets and rules for every length of prefixes in `to`, and for none besides? */
bool clients_have_sets_for(sa_family_t family, const struct conf_prefixes *from,
                           const struct conf_prefixes *to);
/*
 * Changes whom a rule lets through from one list to another, both of one family, for which there
 * are sets. What is in both is not touched.
 */
void clients_change(struct nft_batch *batch, const struct conf *conf, uint32_t rule,
                    sa_family_t family, const struct conf_prefixes *from,
                    const struct conf_prefixes *to);
