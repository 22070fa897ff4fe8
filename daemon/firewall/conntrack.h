/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Asking conntrack who opened a connection of this host. Single-threaded. */
#pragma once

#include "daemon/firewall/nft.h"

enum conntrack_role {
	CONNTRACK_UNKNOWN, /* it does not know the connection, or not how it began, or there is no
	                      one to ask */
	CONNTRACK_CLIENT,  /* we opened it */
	CONNTRACK_SERVER,  /* the other side did */
};

/*
 * Our role in the connection between two addresses as our socket has them. For CONNTRACK_SERVER,
 * *client is who opened it, before any translation.
 */
enum conntrack_role conntrack_find_role(struct nft *nft, const struct endpoint *local,
                                        const struct endpoint *remote, struct endpoint *client);
