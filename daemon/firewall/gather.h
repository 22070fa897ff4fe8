/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * BLOCKs that came one after the other, in one frame or in several, for one transaction, and their
 * replies. Single-threaded.
 */
#pragma once

#include "common/frame.h"
#include "daemon/firewall/peer.h"
#include "daemon/firewall/wire.h"

#include <stdbool.h>

struct gather {
	size_t count, size;
	struct firewall_request *requests;
	struct firewall_reply *replies; /* the caller's to fill */
	uint64_t *seqs;
};

void gather_fini(struct gather *g);
#define auto_gather __attribute__((cleanup(gather_fini)))
/* Takes the BLOCKs in a frame; false: there is something else in it, or memory is out. */
bool gather_take(struct gather *g, const struct frame *f);
/* As many as one transaction is for: no more is to be taken. */
bool gather_is_full(const struct gather *g);
/* Sends the replies, those to one frame together. Returns 0 or -errno. */
int gather_reply(const struct gather *g, struct peer *agent);

/* Sends any number of replies to one frame. Returns 0 or -errno. */
int gather_send(struct peer *agent, uint64_t seq, const struct firewall_reply *replies,
                size_t count);
