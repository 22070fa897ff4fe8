/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Which bits of marks a rule of nftables may set: what stands in the rule itself, by `meta mark
 * set`, `ct mark set` (which others restore from), and by the targets MARK and CONNMARK of
 * iptables-nft. What comes from maps, from packets or from BPF is not to be known. Pure.
 */
#pragma once

#include <libnftnl/rule.h>
#include <stdint.h>

uint32_t marks_of_rule(struct nftnl_rule *rule);
