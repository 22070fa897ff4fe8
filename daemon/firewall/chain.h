/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The names of the chains that blocks jump to: "manual", "orphan", and "rule_NAME" for a breaker,
 * or "filter_NAME" where what it blocks goes to the filter process. By the name of its rule a block
 * survives a restart and a reload, whatever the rule's number is then. Pure.
 */
#pragma once

#include "conf/conf.h"
#include "daemon/firewall/nft.h"

/* Returns text. */
const char *chain_name_of_rule(const struct conf *conf, uint32_t rule,
                               char text[static NFT_NAME_MAXLEN]);
/* Of a rule that filters, for which chain_name_of_rule() is that of its fallback. Returns text. */
const char *chain_name_of_filter(const struct conf *conf, uint32_t rule,
                                 char text[static NFT_NAME_MAXLEN]);
/* For the host's own clients, if it has seal_local. */
const char *chain_name_of_seal(const struct conf *conf, uint32_t rule,
                               char text[static NFT_NAME_MAXLEN]);
bool chain_is_filter(const char *name);
/*
 * Either name gives the rule: a block keeps it, whatever its action is then. A breaker that is no
 * longer there gives BLOCKS_RULE_ORPHAN.
 */
uint32_t chain_rule_from_name(const struct conf *conf, const char *name);
