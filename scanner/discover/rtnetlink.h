/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the kernel knows of links, addresses, neighbours and routes, by rtnetlink (libmnl; the only
 * file of the scanner that uses it). Nothing here needs a privilege. One thread; the calls wait
 * for the kernel, which answers within the system call.
 */
#pragma once

#include "common/endpoint.h"
#include "common/prefix.h"
#include "scanner/discover/neighbour_packet.h"

struct rtnetlink;

/* Returns 0 or -errno. */
int rtnetlink_open(struct rtnetlink **out);
void rtnetlink_close(struct rtnetlink *r);

struct rtnetlink_link {
	unsigned index;
	unsigned type;  /* ARPHRD_* */
	unsigned flags; /* IFF_* */
	unsigned mtu;
	unsigned mac_len; /* as the link has it; only Ethernet's are in `mac` */
	uint8_t mac[MAC_LEN];
	uint8_t broadcast[MAC_LEN];
};

struct rtnetlink_neighbour {
	unsigned index;
	struct endpoint address;
	uint8_t mac[MAC_LEN];
	bool is_permanent, is_fresh;
};

/*
 * What each dump calls for every item; may be called for one twice, when it changes meanwhile.
 * It returns 0, or a negative error that ends the dump.
 */
struct rtnetlink_visitor {
	void *context;
	int (*link)(void *context, const struct rtnetlink_link *link);
	/* of an interface, usable, not tentative */
	int (*address)(void *context, unsigned index, const struct endpoint *address);
	int (*neighbour)(void *context, const struct rtnetlink_neighbour *neighbour);
	/* the destination of a route, of any table and kind, or of a policy rule */
	int (*destination)(void *context, const struct prefix *prefix);
};

/* Everything, in the order above. Returns 0 or -errno. */
int rtnetlink_visit(struct rtnetlink *r, const struct rtnetlink_visitor *visitor);

struct rtnetlink_question {
	struct endpoint to;
	struct endpoint source; /* family 0: the kernel's choice */
	unsigned interface;     /* 0: the kernel's choice */
};

struct rtnetlink_route {
	unsigned type; /* RTN_* */
	unsigned index;
	unsigned mtu;            /* 0: the link's */
	struct endpoint source;  /* family 0: none */
	struct endpoint gateway; /* family 0: on-link. May be IPv6 for IPv4 (RFC 5549) */
	bool is_encapsulated;    /* MPLS, SRv6 and such */
};

/* How TCP to an address goes, after all rules. Returns 0 or -errno (-ENETUNREACH...). */
int rtnetlink_route(struct rtnetlink *r, const struct rtnetlink_question *q,
                    struct rtnetlink_route *out);
