/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Ends what a new block has cut: sockets of this host that would stay with the server until its own
 * timeouts end them (sock_diag's SOCK_DESTROY; this network namespace alone). Single-threaded.
 */
#pragma once

#include "conf/conf.h"
#include "daemon/firewall/allowed.h"
#include "daemon/firewall/blocks.h"
#include "daemon/firewall/nft.h"

#include <libmnl/libmnl.h>

/* Opens the socket for it: with CAP_NET_ADMIN, which requests need, too. Returns 0 or -errno. */
int sever_open(struct mnl_socket **out);

enum sever_kind {
	SEVER_ALL,
	SEVER_UNFILTERED, /* but those of the filter process */
	SEVER_IDLE,       /* of these, the ones in which nobody waits for anything */
};

/* Whom blocks let through, and whose connections stay therefore. */
struct sever_rule {
	const struct conf *conf;
	const struct allowed *allowed;
	uint32_t rule; /* as in wire.h; of the block at hand, set by sever_connections() */
	uid_t prober_uid, filter_uid;
	enum sever_kind kind;
};

/*
 * Ends the connections to local endpoints of one port, `count` blocks ordered by endpoint (the
 * kernel's whole table of connections is walked once or twice for all of them), whose clients the
 * rule does not let through; clients on this host are known by their own socket, the prober's by
 * its uid. Connections *from* that address and port are left alone: `nft` is to ask conntrack which
 * they are. Returns 0, or -errno of the first that could not be ended: -EOPNOTSUPP or -ENOENT where
 * the kernel cannot do it at all (CONFIG_INET_DIAG_DESTROY). *ended is set in any case.
 */
int sever_connections(struct mnl_socket *socket, struct nft *nft, const struct block *blocks,
                      size_t count, struct sever_rule *rule, size_t *ended);
