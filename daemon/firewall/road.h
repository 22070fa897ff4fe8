/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The road to the filter in the kernel (road_rule.h), put there, kept there and taken away by
 * rtnetlink. Single-threaded; functions return 0 or -errno.
 */
#pragma once

#include "daemon/firewall/nft.h"
#include "daemon/firewall/road_rule.h"

struct road {
	struct mnl_socket *socket;
	uint32_t seq;
	uint8_t *buffer;
};

/* Both need CAP_NET_ADMIN: open after having dropped to the final user. On failure nothing is left
 * open. */
int road_open(struct road *road);
void road_close(struct road *road);

/*
 * Has somebody else's rule, route or rule of nftables a use for our marks or our table? Then
 * -EADDRINUSE, and `reason` says whose.
 */
int road_check(struct road *road, struct nft *nft, const struct road_spec *spec,
               char reason[static ROAD_REASON_LEN]);
/* Removes what is ours and not of this road, and makes what is missing; *changed: there was. */
int road_install(struct road *road, const struct road_spec *spec, bool *changed);
/* Removes all that is ours, of whatever road, and the route of this one, if it is not NULL. */
int road_remove(struct road *road, const struct road_spec *spec);
