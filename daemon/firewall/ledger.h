/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Who has opened connections to endpoints of the ledger, as read from the kernel. Single-threaded.
 */
#pragma once

#include "common/endpoint.h"

struct ledger_peer {
	struct endpoint endpoint;
	uint8_t peer[16]; /* the client's address, of the endpoint's family */
	uint64_t connections, bytes;
	uint64_t expires_ms; /* left of FIREWALL_LEDGER_MS since the last connection */
};

/* A list that grows; zero is the empty one. */
struct ledger_peers {
	struct ledger_peer *items;
	size_t count, size;
};

/* Returns 0 or -ENOMEM. */
int ledger_peers_add(struct ledger_peers *peers, const struct ledger_peer *peer);
void ledger_peers_fini(struct ledger_peers *peers);
#define auto_peers __attribute__((cleanup(ledger_peers_fini)))
