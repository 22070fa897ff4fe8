/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/firewall/ledger.h"

#include <errno.h>
#include <stdlib.h>

int ledger_peers_add(struct ledger_peers *peers, const struct ledger_peer *peer)
{
	if (peers->count == peers->size) {
		size_t size = peers->size ? 2 * peers->size : 64;
		struct ledger_peer *items = reallocarray(peers->items, size, sizeof(*items));

		if (!items)
			return -ENOMEM;
		peers->items = items;
		peers->size = size;
	}
	peers->items[peers->count++] = *peer;
	return 0;
}

void ledger_peers_fini(struct ledger_peers *peers)
{
	free(peers->items);
	*peers = (struct ledger_peers){0};
}
