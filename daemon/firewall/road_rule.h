/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The road of packets that are not this host's own to the filter: four rules and a route for each
 * family of addresses, as messages of rtnetlink; and whether somebody else's rule or route is in
 * their way. Pure.
 *
 *	60: from all fwmark OUT/MASK lookup TABLE       the host's own packets, to a container
 *	61: from all fwmark IN/MASK iif lo goto 63      "may this source come in here?": not ours
 *	62: from all fwmark IN/MASK lookup TABLE        what came in for the filter
 *	63: from all nop
 *
 *	local default dev lo table TABLE
 *
 * Without the second rule the kernel would find every marked packet's source in our table, and so
 * take it for its own address and the packet for a forged one, wherever it asks with the mark:
 * net.ipv4.conf.*.src_valid_mark, as wg-quick sets it.
 */
#pragma once

#include "conf/conf.h"

#include <libmnl/libmnl.h>

enum {
	ROAD_PREFERENCE = 60, /* and the three that follow */
	ROAD_RULES = 4,
	ROAD_PROTOCOL = 112, /* what says of a rule or a route that it is ours */
};

struct road_spec {
	uint32_t in_mark, out_mark, mask, table;
};
struct road_spec road_spec_from_conf(const struct conf *conf);

/* What a message says of a rule; enough to know ours, and whom it would meet. */
struct road_rule {
	uint8_t family, protocol;
	bool inverted, from_loopback, has_goto;
	uint8_t action; /* FR_ACT_* */
	uint32_t preference, mark, mask, table, target;
};

/* The rule number 0 .. ROAD_RULES - 1. */
struct road_rule road_rule_get(const struct road_spec *spec, uint8_t family, unsigned number);
/* Returns false for what is no rule of IPv4 or IPv6. */
bool road_rule_read(const struct nlmsghdr *message, struct road_rule *out);
bool road_rule_equals(const struct road_rule *a, const struct road_rule *b);
/* Writes attributes and header behind what mnl_nlmsg_put_header() has begun. */
void road_rule_put(struct nlmsghdr *message, const struct road_rule *rule);

/*
 * Does another's rule need bits of our marks, or use our table? What matches by a whole mark of
 * which our bits are zero does not (wg-quick: "not fwmark 0xca6c"): whatever carries our mark is
 * routed by us before. Returns the reason, or NULL.
 */
enum { ROAD_REASON_LEN = 256 };
const char *road_rule_judge(const struct road_spec *spec, const struct road_rule *rule,
                            char reason[static ROAD_REASON_LEN]);
