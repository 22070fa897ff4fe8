/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/firewall/seal.h"

#include "common/cleanup.h"
#include "daemon/firewall/divert.h"
#include "daemon/firewall/refuse.h"
#include "daemon/firewall/road_rule.h"
#include "daemon/firewall/rule.h"
#include "daemon/firewall/set.h"

/* Its packets over loopback have the mark by now, those to others have it from no one. */
static void accept_prober(struct nft_batch *batch, uid_t uid)
{
	struct rule r;

	if (uid == HOOKS_NO_PROBER)
		return;
	rule_begin(&r, batch, SEAL_CHAIN);
	rule_match_meta(&r, NFT_META_SKUID, &uid, sizeof(uid));
	rule_verdict(&r, NF_ACCEPT, NULL);
	rule_end(&r);
}

/* What the filter itself asks for: its sockets are not its own uid's, but the one that made them.
 */
static void accept_marked(struct nft_batch *batch, const struct conf *conf)
{
	struct rule r;

	rule_begin(&r, batch, SEAL_CHAIN);
	rule_match_mark(&r, conf->firewall.mark, conf->firewall.mark_mask);
	rule_verdict(&r, NF_ACCEPT, NULL);
	rule_end(&r);
}

static void send_round(struct rule *r, const struct conf *conf)
{
	const struct road_spec road = road_spec_from_conf(conf);

	rule_set_mark(r, road.out_mark, road.mask);
	rule_verdict(r, NF_ACCEPT, NULL);
	rule_end(r);
}

/*
 * Nothing in a packet that goes out says whether the filter has its connection, but a label that
 * the first one gave it. Those without are from before, and go where they went; those with it go on
 * when their endpoint is not filtered any more.
 */
void seal_add_chain(struct nft_batch *batch, const struct hooks_spec *spec)
{
	struct rule r;

	hooks_begin_base_chain(batch, SEAL_CHAIN);
	accept_prober(batch, spec->prober_uid);
	accept_marked(batch, spec->conf);
	rule_begin(&r, batch, SEAL_CHAIN);
	rule_match_direction(&r, RULE_REPLY);
	rule_verdict(&r, NF_ACCEPT, NULL);
	rule_end(&r);
	rule_begin(&r, batch, SEAL_CHAIN);
	rule_match_label(&r);
	send_round(&r, spec->conf);
	divert_add_lookups(batch, SEAL_CHAIN, set_seal_name);
}

void seal_begin_rule_chain(struct nft_batch *batch, const char *chain)
{
	struct rule r;

	rule_begin(&r, batch, chain);
	rule_match_tcp_rst(&r);
	rule_verdict(&r, NFT_RETURN, NULL);
	rule_end(&r);
	/* That comes in over loopback by itself. */
	rule_begin(&r, batch, chain);
	rule_match_local_destination(&r);
	rule_verdict(&r, NFT_RETURN, NULL);
	rule_end(&r);
}

void seal_end_rule_chain(struct nft_batch *batch, const char *chain, const struct conf *conf,
                         const struct conf_breaker *breaker, bool is_open)
{
	struct rule r;

	if (is_open) {
		rule_begin(&r, batch, chain);
		rule_match_tcp_opening(&r);
		rule_set_label(&r);
		send_round(&r, conf);
	}
	if (breaker->filter.on_failure == CONF_ON_FAILURE_OPEN)
		return;
	divert_let_drain(batch, chain);
	rule_begin(&r, batch, chain);
	rule_verdict(&r, NFT_GOTO, refuse_chain_name(breaker->refuse));
	rule_end(&r);
}
