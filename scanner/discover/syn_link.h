/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * On which interfaces a sender may go past the queueing discipline (PACKET_QDISC_BYPASS): where
 * the root qdisc is one that the kernel put there by itself. Where somebody has put another one,
 * to shape or to police, our packets go through it like everybody's. Read once; a plain value.
 */
#pragma once

#include "common/endpoint.h"

enum { SYN_LINKS_MAX = 256, SYN_OWN_MAX = 512 };

struct syn_links {
	unsigned count;
	int bypass[SYN_LINKS_MAX];
};

/* Returns 0 or -errno; an interface that is not listed is not bypassed. */
int syn_links_read(struct syn_links *out);
bool syn_links_bypass(const struct syn_links *l, int ifindex);

/* The host's own addresses, to which no link leads. Read once; a plain value. */
struct syn_own_addresses {
	unsigned count;
	struct endpoint list[SYN_OWN_MAX];
};

/* Returns 0 or -errno. */
int syn_own_addresses_read(struct syn_own_addresses *out);
/* All of 127.0.0.0/8 is own. */
bool syn_own_addresses_contain(const struct syn_own_addresses *o, const struct endpoint *e);
