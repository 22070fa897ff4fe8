/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The rules of the chains that packets enter our table by: which of them are looked up where.
 * docs/firewall.md says why each is there. Everything here writes into a transaction.
 */
#pragma once

#include "conf/conf.h"
#include "daemon/firewall/nft.h"

#define HOOKS_NO_PROBER ((uid_t)-1)

struct hooks_spec {
	const struct conf *conf;
	uid_t prober_uid; /* HOOKS_NO_PROBER: nobody is let through by uid */
	uid_t filter_uid; /* of the filter process; HOOKS_NO_PROBER: none */
	bool seal_local;  /* of any rule */
	bool ledger;      /* new connections are counted */
};

/* Chain "ledger", which the others jump to: it must exist, and its sets. */
void hooks_add_ledger(struct nft_batch *batch);
/* Chains "prerouting" and "prerouting_nat". */
void hooks_add_prerouting(struct nft_batch *batch, const struct hooks_spec *spec);
/* Chain "forward" of the table of bridges. */
void hooks_add_forward(struct nft_batch *batch, const struct conf *conf);
/* Chain "output", and with seal_local "output_nat". */
void hooks_add_output(struct nft_batch *batch, const struct hooks_spec *spec);

/* How every chain that packets enter by begins: nothing but TCP; and our own probes pass. */
void hooks_begin_base_chain(struct nft_batch *batch, const char *chain);
void hooks_accept_marked(struct nft_batch *batch, const char *chain, const struct hooks_spec *spec);
