/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/firewall/conntrack.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/netfilter/nf_conntrack_tcp.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netfilter/nfnetlink_conntrack.h>
#include <string.h>

static void put_address(struct nlmsghdr *message, const struct endpoint *e, uint16_t type4,
                        uint16_t type6)
{
	if (e->family == AF_INET)
		mnl_attr_put(message, type4, 4, e->address);
	else
		mnl_attr_put(message, type6, 16, e->address);
}

static void put_tuple(struct nlmsghdr *message, const struct endpoint *from,
                      const struct endpoint *to)
{
	struct nlattr *tuple = mnl_attr_nest_start(message, CTA_TUPLE_ORIG);
	struct nlattr *part = mnl_attr_nest_start(message, CTA_TUPLE_IP);

	put_address(message, from, CTA_IP_V4_SRC, CTA_IP_V6_SRC);
	put_address(message, to, CTA_IP_V4_DST, CTA_IP_V6_DST);
	mnl_attr_nest_end(message, part);
	part = mnl_attr_nest_start(message, CTA_TUPLE_PROTO);
	mnl_attr_put_u8(message, CTA_PROTO_NUM, IPPROTO_TCP);
	mnl_attr_put_u16(message, CTA_PROTO_SRC_PORT, htons(from->port));
	mnl_attr_put_u16(message, CTA_PROTO_DST_PORT, htons(to->port));
	mnl_attr_nest_end(message, part);
	mnl_attr_nest_end(message, tuple);
}

/* The client of the original tuple: where the connection began. */
static int take_ip(const struct nlattr *a, void *closure)
{
	struct endpoint *client = closure;
	const uint16_t type = mnl_attr_get_type(a), length = mnl_attr_get_payload_len(a);

	if (type == CTA_IP_V4_SRC && length == 4)
		client->family = AF_INET;
	else if (type == CTA_IP_V6_SRC && length == 16)
		client->family = AF_INET6;
	else
		return MNL_CB_OK;
	memcpy(client->address, mnl_attr_get_payload(a), length);
	return MNL_CB_OK;
}

static int take_port(const struct nlattr *a, void *closure)
{
	struct endpoint *client = closure;

	if (mnl_attr_get_type(a) == CTA_PROTO_SRC_PORT && mnl_attr_get_payload_len(a) == 2)
		client->port = ntohs(mnl_attr_get_u16(a));
	return MNL_CB_OK;
}

static int take_part(const struct nlattr *a, void *closure)
{
	if (mnl_attr_get_type(a) == CTA_TUPLE_IP)
		mnl_attr_parse_nested(a, take_ip, closure);
	else if (mnl_attr_get_type(a) == CTA_TUPLE_PROTO)
		mnl_attr_parse_nested(a, take_port, closure);
	return MNL_CB_OK;
}

struct entry {
	struct endpoint opener;
	bool joined; /* by its flags, which an entry gets that begins in the middle of a connection
	              */
};

static int take_flags(const struct nlattr *a, void *closure)
{
	const struct nf_ct_tcp_flags *flags = mnl_attr_get_payload(a);
	struct entry *entry = closure;

	if (mnl_attr_get_type(a) == CTA_PROTOINFO_TCP_FLAGS_ORIGINAL &&
	    mnl_attr_get_payload_len(a) >= sizeof(*flags))
		entry->joined = (flags->flags & IP_CT_TCP_FLAG_BE_LIBERAL) != 0;
	return MNL_CB_OK;
}

static int take_protocol(const struct nlattr *a, void *closure)
{
	if (mnl_attr_get_type(a) == CTA_PROTOINFO_TCP)
		mnl_attr_parse_nested(a, take_flags, closure);
	return MNL_CB_OK;
}

static int take_entry(const struct nlattr *a, void *closure)
{
	struct entry *entry = closure;

	if (mnl_attr_get_type(a) == CTA_TUPLE_ORIG)
		mnl_attr_parse_nested(a, take_part, &entry->opener);
	else if (mnl_attr_get_type(a) == CTA_PROTOINFO)
		mnl_attr_parse_nested(a, take_protocol, entry);
	return MNL_CB_OK;
}

static int see_entry(const struct nlmsghdr *message, void *closure)
{
	mnl_attr_parse(message, sizeof(struct nfgenmsg), take_entry, closure);
	return MNL_CB_OK;
}

/*
 * The tuple of our own packets is that of one direction of the connection, and either direction
 * finds it: of the original one, when we opened it.
 */
enum conntrack_role conntrack_find_role(struct nft *nft, const struct endpoint *local,
                                        const struct endpoint *remote, struct endpoint *client)
{
	struct nlmsghdr *message = nft_request(nft, 0, NLM_F_ACK);
	struct nfgenmsg *family = mnl_nlmsg_get_payload(message);
	struct entry entry = {0};

	message->nlmsg_type = NFNL_SUBSYS_CTNETLINK << 8 | IPCTNL_MSG_CT_GET;
	family->nfgen_family = (uint8_t)local->family;
	put_tuple(message, local, remote);
	if (nft_ask(nft, message, see_entry, &entry)) {
		nft_drain(nft);
		return CONNTRACK_UNKNOWN;
	}
	if (entry.opener.family != local->family || !entry.opener.port)
		return CONNTRACK_UNKNOWN;
	/* Who spoke first since conntrack looks did not open it: a server may have been answering.
	 */
	if (!endpoint_compare(&entry.opener, local))
		return entry.joined ? CONNTRACK_UNKNOWN : CONNTRACK_CLIENT;
	*client = entry.opener;
	return CONNTRACK_SERVER;
}
