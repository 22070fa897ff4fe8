/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What becomes of a packet to a filtered endpoint: the chain of its rule lets some through, and
 * gives the rest to the filter process, or refuses it as the rule says of a filter that fails. From
 * prerouting alone, where tproxy is to be had; so the endpoints stand in maps of their own, which
 * nothing else looks up. docs/firewall.md says why each rule is there. Everything here writes into
 * a transaction.
 */
#pragma once

#include "conf/conf.h"
#include "daemon/firewall/hooks.h"
#include "daemon/firewall/listeners.h"
#include "daemon/firewall/nft.h"

/* Where filtered endpoints are looked up, after the translation of destinations. */
#define DIVERT_CHAIN "divert"
/* Packets of connections that the filter has already, whoever their endpoint belongs to by now. */
#define DIVERT_OWNER_CHAIN "divert_owner"
/* They end here, with those that it is given. */
#define DIVERT_END_CHAIN "diverted"
/* In input: what has lost the listener that it was given. */
#define DIVERT_LOST_CHAIN "divert_lost"

/* The rules of these four, which must exist, and the sets. */
void divert_add_chains(struct nft_batch *batch, const struct hooks_spec *spec);

/*
 * The chain of a rule: who passes whatever the lists say; then come those of the lists
 * (refuse_let_through()); ...
 */
void divert_begin_rule_chain(struct nft_batch *batch, const char *chain, bool seal_local);
/* ... and what becomes of all others. `ports` are those of the rule's listeners, 0 for none. */
void divert_end_rule_chain(struct nft_batch *batch, const char *chain, const struct conf *conf,
                           const struct conf_breaker *breaker, struct listener_ports ports);
/* For the like in output: looks endpoints up in maps; lets connections from before go on. */
void divert_add_lookups(struct nft_batch *batch, const char *chain,
                        const char *(*map_name)(sa_family_t));
void divert_let_drain(struct nft_batch *batch, const char *chain);
/* Takes all rules out of it, so that it can be written anew. */
void divert_clear_rule_chain(struct nft_batch *batch, const char *chain);
