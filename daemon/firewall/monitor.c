/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/firewall/monitor.h"

#include "common/cleanup.h"
#include "daemon/firewall/nft.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/filter.h>
#include <linux/netfilter/nfnetlink.h>
#include <stddef.h>
#include <string.h>

enum { RECEIVE_BUFFER_BYTES = 4 * 1024 * 1024, EVENT_BUFFER_BYTES = 64 * 1024 };

/*
 * The kernel need not queue what we did ourselves: a large transaction of ours would overrun the
 * socket. Messages that share a buffer come from one transaction, and so from one port.
 */
static int leave_out_own(int fd, uint32_t own_portid)
{
	/* A packet filter loads words in network order, and nlmsg_pid is in the host's. */
	struct sock_filter program[] = {
	    BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct nlmsghdr, nlmsg_pid)),
	    BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, htonl(own_portid), 0, 1),
	    BPF_STMT(BPF_RET | BPF_K, 0),
	    BPF_STMT(BPF_RET | BPF_K, UINT32_MAX),
	};
	const struct sock_fprog filter = {.len = ARRAY_LEN(program), .filter = program};

	return setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &filter, sizeof(filter)) ? -errno : 0;
}

int monitor_open(uint32_t own_portid, int *out)
{
	const int bytes = RECEIVE_BUFFER_BYTES, group = NFNLGRP_NFTABLES;
	const struct sockaddr_nl any = {.nl_family = AF_NETLINK};
	auto_close int fd =
	    socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, NETLINK_NETFILTER);
	int err;

	if (fd < 0 || bind(fd, (const void *)&any, sizeof(any)) ||
	    setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &bytes, sizeof(bytes)))
		return -errno;
	err = leave_out_own(fd, own_portid);
	if (err)
		return err;
	if (setsockopt(fd, SOL_NETLINK, NETLINK_ADD_MEMBERSHIP, &group, sizeof(group)))
		return -errno;
	*out = steal_fd(&fd);
	return 0;
}

/* Every message about an object in a table has the table's name as its attribute 1. */
_Static_assert((int)NFTA_TABLE_NAME == (int)NFTA_RULE_TABLE, "one number for all");
_Static_assert((int)NFTA_CHAIN_TABLE == (int)NFTA_SET_TABLE, "one number for all");

static int find_our_name(const struct nlattr *attribute, void *closure)
{
	if (mnl_attr_get_type(attribute) != NFTA_TABLE_NAME)
		return MNL_CB_OK;
	*(bool *)closure = mnl_attr_validate(attribute, MNL_TYPE_NUL_STRING) >= 0 &&
	                   !strcmp(mnl_attr_get_str(attribute), NFT_TABLE_NAME);
	return MNL_CB_STOP;
}

static bool is_about_us(const struct nlmsghdr *m)
{
	const struct nfgenmsg *family = mnl_nlmsg_get_payload(m);
	bool ours = false;

	if (m->nlmsg_type >> 8 != NFNL_SUBSYS_NFTABLES)
		return false;
	if (mnl_nlmsg_get_payload_len(m) < sizeof(*family) ||
	    (family->nfgen_family != NFPROTO_INET && family->nfgen_family != NFPROTO_BRIDGE))
		return false;
	mnl_attr_parse(m, sizeof(*family), find_our_name, &ours);
	return ours;
}

/* What every transaction's events end with; it says nothing of tables. */
static bool is_end(const struct nlmsghdr *m)
{
	return m->nlmsg_type == (NFNL_SUBSYS_NFTABLES << 8 | NFT_MSG_NEWGEN);
}

static void see_events(const struct nlmsghdr *m, int left, bool *pending, bool *touched)
{
	for (; mnl_nlmsg_ok(m, left); m = mnl_nlmsg_next(m, &left)) {
		if (is_end(m)) {
			*touched |= *pending;
			*pending = false;
		} else {
			*pending |= is_about_us(m);
		}
	}
}

int monitor_read(int fd, bool *pending, bool *touched)
{
	_Alignas(struct nlmsghdr) uint8_t buffer[EVENT_BUFFER_BYTES];
	bool seen = false;

	for (;;) {
		ssize_t length = recv(fd, buffer, sizeof(buffer), 0);

		/* The end that is waited for may be among what was lost. */
		if (length < 0 && errno == ENOBUFS) {
			seen = true;
			*pending = false;
			continue;
		}
		if (length < 0 && errno == EAGAIN)
			break;
		if (length <= 0)
			return length ? -errno : -EIO;
		see_events((const void *)buffer, (int)length, pending, &seen);
	}
	*touched = seen;
	return 0;
}
