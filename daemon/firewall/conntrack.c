/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/firewall/conntrack.h"

#include <arpa/inet.h>
#include <errno.h>
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

static int take_original(const struct nlattr *a, void *closure)
{
	if (mnl_attr_get_type(a) == CTA_TUPLE_ORIG)
		mnl_attr_parse_nested(a, take_part, closure);
	return MNL_CB_OK;
}

static int see_entry(const struct nlmsghdr *message, void *closure)
{
	mnl_attr_parse(message, sizeof(struct nfgenmsg), take_original, closure);
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
	struct endpoint opener = {0};

	message->nlmsg_type = NFNL_SUBSYS_CTNETLINK << 8 | IPCTNL_MSG_CT_GET;
	family->nfgen_family = (uint8_t)local->family;
	put_tuple(message, local, remote);
	if (nft_ask(nft, message, see_entry, &opener)) {
		nft_drain(nft);
		return CONNTRACK_UNKNOWN;
	}
	if (opener.family != local->family || !opener.port)
		return CONNTRACK_UNKNOWN;
	if (!endpoint_compare(&opener, local))
		return CONNTRACK_CLIENT;
	*client = opener;
	return CONNTRACK_SERVER;
}
