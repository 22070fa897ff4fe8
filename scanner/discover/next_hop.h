/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * By which interface, source address and link-layer address an endpoint is reached: for a sender
 * that writes to AF_PACKET (SOCK_DGRAM), below the kernel's routing, neighbours and conntrack.
 *
 * The kernel's word is taken for routes: every table's prefixes (and those of policy rules) are
 * read once, which tells where its answer can change; between two such points it is asked once,
 * when somebody wants to know. Link addresses are its own as long as it has one, and then asked
 * for here, by ARP and neighbour solicitation. All memory is bounded. One thread; times are
 * CLOCK_MONOTONIC nanoseconds.
 *
 * What it does not do: follow interfaces, addresses or routes that change after next_hops_open();
 * rules that choose by port; spread over the paths of a multipath route (one of them is taken);
 * IPsec policies.
 */
#pragma once

#include "common/endpoint.h"

enum { NEXT_HOP_ERROR_LEN = 256 };

struct next_hop {
	int ifindex;
	uint8_t mac[8];
	uint8_t mac_len; /* 0: the link has none (tun, wireguard, ipip) */
	uint16_t mtu;
	struct endpoint source; /* its port is 0 */
};

struct next_hops;

/*
 * Opens the sockets (CAP_NET_RAW) and reads the tables: before privileges are dropped; none are
 * needed afterwards. `source` (NULL, or family 0) and `interface` (0) are what the user asked for;
 * a source counts for its own family only. Returns 0; or -errno and one line in `why`.
 */
int next_hops_open(const struct endpoint *source, unsigned interface, struct next_hops **out,
                   char why[static NEXT_HOP_ERROR_LEN]);
/* NULL is allowed. */
void next_hops_free(struct next_hops *h);
/*
 * At most so many ARP requests and solicitations a second; 0: none but our own limit, which is
 * what it is before this is called.
 */
void next_hops_set_rate(struct next_hops *h, uint64_t per_sec);

/*
 * Called for every packet: tens of nanoseconds when it is known. *out is good until the next call
 * with `h`. Returns
 *   0             send
 *   -EINPROGRESS  the link address is being asked for, or too many are: try again later
 *   -EHOSTUNREACH it does not answer ARP or NDP (remembered for a while), or an unreachable route
 *   -ENETUNREACH  no route, or to a broadcast or multicast address
 *   -EACCES       a prohibit route
 *   -EINVAL       a blackhole route
 *   -EOPNOTSUPP   to this host itself, or a link that has other addresses than Ethernet's: such
 *                 an endpoint can be reached by connect(2) only
 * or another errno of the kernel's routing.
 */
int next_hop_find(struct next_hops *h, const struct endpoint *to, int64_t now_ns,
                  const struct next_hop **out);

/* An epoll descriptor: readable when answers have come. Call next_hop_turn() then. */
int next_hop_descriptor(const struct next_hops *h);
/* Takes answers, asks again. When the descriptor is readable, and every 100 ms. Never blocks. */
void next_hop_turn(struct next_hops *h, int64_t now_ns);

/* Those that were asked and did not answer. */
uint64_t next_hops_silent(const struct next_hops *h);
