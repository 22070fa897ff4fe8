/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The host's own clients of filtered endpoints in other network namespaces, where a rule has
 * seal_local. What they send leaves by a device and never comes in, so that tproxy does not see it:
 * a mark sends it over loopback (road_rule.h), from where it comes in. Everything here writes into
 * a transaction.
 */
#pragma once

#include "conf/conf.h"
#include "daemon/firewall/hooks.h"
#include "daemon/firewall/nft.h"

/* Where endpoints are looked up; a chain of type route. */
#define SEAL_CHAIN "seal"

/* Its rules; it and the maps must exist. */
void seal_add_chain(struct nft_batch *batch, const struct hooks_spec *spec);

/* The chain of a rule: whom it does not touch; then come those of its lists; ... */
void seal_begin_rule_chain(struct nft_batch *batch, const char *chain);
/* ... and the way of all others. `is_open`: there is a filter to go to. */
void seal_end_rule_chain(struct nft_batch *batch, const char *chain, const struct conf *conf,
                         const struct conf_breaker *breaker, bool is_open);
