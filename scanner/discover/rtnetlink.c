/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "scanner/discover/rtnetlink.h"

#include "common/cleanup.h"

#include <errno.h>
#include <libmnl/libmnl.h>
#include <linux/fib_rules.h>
#include <linux/if_addr.h>
#include <linux/if_link.h>
#include <linux/neighbour.h>
#include <linux/rtnetlink.h>
#include <net/if_arp.h>
#include <string.h>
#include <sys/time.h>

enum {
	BUFFER_BYTES = 32 * 1024, /* as libmnl advises for dumps */
	ANSWER_TIMEOUT_S = 2,     /* the kernel has answered when sendto(2) returns */
	DUMP_TRIES = 5,           /* a table that changes meanwhile is read again */
	ATTRIBUTES = 64,          /* more than any message here has kinds of */
};

struct rtnetlink {
	struct mnl_socket *socket;
	uint32_t sequence;
	_Alignas(struct nlmsghdr) char buffer[BUFFER_BYTES];
};

int rtnetlink_open(struct rtnetlink **out)
{
	auto_free struct rtnetlink *r = calloc(1, sizeof(*r));
	struct timeval timeout = {.tv_sec = ANSWER_TIMEOUT_S};
	int err;

	if (!r)
		return -ENOMEM;
	r->socket = mnl_socket_open2(NETLINK_ROUTE, SOCK_CLOEXEC);
	if (!r->socket)
		return -errno;
	if (mnl_socket_bind(r->socket, 0, MNL_SOCKET_AUTOPID) < 0 ||
	    setsockopt(mnl_socket_get_fd(r->socket), SOL_SOCKET, SO_RCVTIMEO, &timeout,
	               sizeof(timeout)) < 0) {
		err = -errno;
		mnl_socket_close(r->socket);
		return err;
	}
	*out = steal_ptr(&r);
	return 0;
}

void rtnetlink_close(struct rtnetlink *r)
{
	if (!r)
		return;
	mnl_socket_close(r->socket);
	free(r);
}

/* A message's attributes by kind; what is unknown or too short is left out. */
struct attributes {
	const struct nlattr *of[ATTRIBUTES];
};

static int put_attribute(const struct nlattr *a, void *context)
{
	struct attributes *list = context;

	if (mnl_attr_get_type(a) < ATTRIBUTES)
		list->of[mnl_attr_get_type(a)] = a;
	return MNL_CB_OK;
}

static struct attributes read_attributes(const struct nlmsghdr *m, unsigned header_bytes)
{
	struct attributes list = {0};

	mnl_attr_parse(m, header_bytes, put_attribute, &list);
	return list;
}

static uint32_t get_u32(const struct nlattr *a)
{
	return a && mnl_attr_get_payload_len(a) >= 4 ? mnl_attr_get_u32(a) : 0;
}

static size_t address_bytes(int family)
{
	return family == AF_INET ? 4 : family == AF_INET6 ? 16 : 0;
}

static bool set_address(struct endpoint *e, int family, const void *bytes, size_t length)
{
	static const uint8_t none[16];
	size_t want = address_bytes(family);

	if (want == 0 || length < want || memcmp(bytes, none, want) == 0)
		return false;
	*e = (struct endpoint){.family = (sa_family_t)family};
	memcpy(e->address, bytes, want);
	return true;
}

static bool get_address(const struct nlattr *a, int family, struct endpoint *out)
{
	return a && set_address(out, family, mnl_attr_get_payload(a), mnl_attr_get_payload_len(a));
}

/* A dump's callback keeps its own error: libmnl has only errno. */
struct walk {
	const struct rtnetlink_visitor *visitor;
	int err;
};

static int went(struct walk *w, int err)
{
	w->err = err;
	return err ? MNL_CB_ERROR : MNL_CB_OK;
}

static int visit_link(const struct nlmsghdr *m, void *context)
{
	const struct ifinfomsg *info = mnl_nlmsg_get_payload(m);
	struct attributes a = read_attributes(m, sizeof(*info));
	struct rtnetlink_link link = {.index = (unsigned)info->ifi_index,
	                              .type = info->ifi_type,
	                              .flags = info->ifi_flags,
	                              .mtu = get_u32(a.of[IFLA_MTU])};
	struct walk *w = context;

	if (a.of[IFLA_ADDRESS])
		link.mac_len = mnl_attr_get_payload_len(a.of[IFLA_ADDRESS]);
	if (link.mac_len == MAC_LEN)
		memcpy(link.mac, mnl_attr_get_payload(a.of[IFLA_ADDRESS]), MAC_LEN);
	if (a.of[IFLA_BROADCAST] && mnl_attr_get_payload_len(a.of[IFLA_BROADCAST]) == MAC_LEN)
		memcpy(link.broadcast, mnl_attr_get_payload(a.of[IFLA_BROADCAST]), MAC_LEN);
	return went(w, w->visitor->link(w->visitor->context, &link));
}

static int visit_address(const struct nlmsghdr *m, void *context)
{
	const struct ifaddrmsg *info = mnl_nlmsg_get_payload(m);
	struct attributes a = read_attributes(m, sizeof(*info));
	/* to a peer, IFA_ADDRESS is the peer's */
	const struct nlattr *own = a.of[IFA_LOCAL] ? a.of[IFA_LOCAL] : a.of[IFA_ADDRESS];
	uint32_t flags = a.of[IFA_FLAGS] ? get_u32(a.of[IFA_FLAGS]) : info->ifa_flags;
	struct walk *w = context;
	struct endpoint address;

	if ((flags & (IFA_F_TENTATIVE | IFA_F_DADFAILED)) != 0 ||
	    !get_address(own, info->ifa_family, &address))
		return MNL_CB_OK;
	return went(w, w->visitor->address(w->visitor->context, info->ifa_index, &address));
}

static int visit_neighbour(const struct nlmsghdr *m, void *context)
{
	const struct ndmsg *info = mnl_nlmsg_get_payload(m);
	struct attributes a = read_attributes(m, sizeof(*info));
	struct rtnetlink_neighbour n = {.index = (unsigned)info->ndm_ifindex,
	                                .is_permanent = (info->ndm_state & NUD_PERMANENT) != 0,
	                                .is_fresh = (info->ndm_state & NUD_REACHABLE) != 0};
	const int usable = NUD_PERMANENT | NUD_REACHABLE | NUD_STALE | NUD_DELAY | NUD_PROBE;
	struct walk *w = context;

	if ((info->ndm_state & usable) == 0 || (info->ndm_flags & NTF_PROXY) != 0 ||
	    !get_address(a.of[NDA_DST], info->ndm_family, &n.address) || !a.of[NDA_LLADDR] ||
	    mnl_attr_get_payload_len(a.of[NDA_LLADDR]) != MAC_LEN)
		return MNL_CB_OK;
	memcpy(n.mac, mnl_attr_get_payload(a.of[NDA_LLADDR]), MAC_LEN);
	return went(w, w->visitor->neighbour(w->visitor->context, &n));
}

static int visit_destination(struct walk *w, int family, unsigned bits, const struct nlattr *to)
{
	struct prefix prefix = {.family = (sa_family_t)family, .bits = (uint8_t)bits};
	struct endpoint address;

	/* where there is no family's table, the kernel dumps other families' */
	if (address_bytes(family) == 0 || bits > address_bytes(family) * 8 ||
	    !get_address(to, family, &address))
		return MNL_CB_OK;
	memcpy(prefix.address, address.address, sizeof(prefix.address));
	return went(w, w->visitor->destination(w->visitor->context, &prefix));
}

static int visit_route(const struct nlmsghdr *m, void *context)
{
	const struct rtmsg *info = mnl_nlmsg_get_payload(m);
	struct attributes a = read_attributes(m, sizeof(*info));

	return visit_destination(context, info->rtm_family, info->rtm_dst_len, a.of[RTA_DST]);
}

static int visit_rule(const struct nlmsghdr *m, void *context)
{
	const struct fib_rule_hdr *info = mnl_nlmsg_get_payload(m);
	struct attributes a = read_attributes(m, sizeof(*info));

	return visit_destination(context, info->family, info->dst_len, a.of[FRA_DST]);
}

static struct nlmsghdr *begin(struct rtnetlink *r, unsigned type, unsigned flags)
{
	struct nlmsghdr *m = mnl_nlmsg_put_header(r->buffer);

	m->nlmsg_type = (uint16_t)type;
	m->nlmsg_flags = (uint16_t)(NLM_F_REQUEST | flags);
	m->nlmsg_seq = ++r->sequence;
	return m;
}

/* 0, or a negative errno of the kernel's, the socket's or the callback's making. */
static int exchange(struct rtnetlink *r, const struct nlmsghdr *m, mnl_cb_t visit, void *context)
{
	unsigned port = mnl_socket_get_portid(r->socket);
	bool is_dump = (m->nlmsg_flags & NLM_F_DUMP) == NLM_F_DUMP;
	int more = MNL_CB_OK;

	if (mnl_socket_sendto(r->socket, m, m->nlmsg_len) < 0)
		return -errno;
	do {
		ssize_t got = mnl_socket_recvfrom(r->socket, r->buffer, sizeof(r->buffer));

		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			return -errno;
		more = mnl_cb_run(r->buffer, (size_t)got, r->sequence, port, visit, context);
		/* An answer to a question that was given up. */
		if (more == MNL_CB_ERROR && errno == EPROTO)
			more = MNL_CB_OK;
		else if (!is_dump && more == MNL_CB_OK)
			return 0;
	} while (more == MNL_CB_OK);
	return more == MNL_CB_ERROR ? -errno : 0;
}

/* Reads the rest of a dump that was broken off, lest it be taken for another's answer. */
static void drain(struct rtnetlink *r)
{
	while (recv(mnl_socket_get_fd(r->socket), r->buffer, sizeof(r->buffer), MSG_DONTWAIT) > 0)
		;
}

struct dump {
	unsigned type;
	int family;
	size_t header_bytes;
	mnl_cb_t visit;
};

static int run_dump(struct rtnetlink *r, const struct dump *d, struct walk *w)
{
	int err = -EINTR;

	for (int i = 0; err == -EINTR && i < DUMP_TRIES; i++) {
		struct nlmsghdr *m = begin(r, d->type, NLM_F_DUMP);
		/* the family is the first byte of each of these headers */
		uint8_t *header = mnl_nlmsg_put_extra_header(m, d->header_bytes);

		*header = (uint8_t)d->family;
		w->err = 0;
		err = exchange(r, m, d->visit, w);
		if (err)
			drain(r);
		if (w->err)
			return w->err;
	}
	/* A kernel without IPv6, or without policy rules. */
	return err == -EAFNOSUPPORT || err == -EOPNOTSUPP ? 0 : err;
}

int rtnetlink_visit(struct rtnetlink *r, const struct rtnetlink_visitor *visitor)
{
	static const struct dump dumps[] = {
	    {RTM_GETLINK, AF_UNSPEC, sizeof(struct ifinfomsg), visit_link},
	    {RTM_GETADDR, AF_INET, sizeof(struct ifaddrmsg), visit_address},
	    {RTM_GETADDR, AF_INET6, sizeof(struct ifaddrmsg), visit_address},
	    {RTM_GETNEIGH, AF_INET, sizeof(struct ndmsg), visit_neighbour},
	    {RTM_GETNEIGH, AF_INET6, sizeof(struct ndmsg), visit_neighbour},
	    {RTM_GETROUTE, AF_INET, sizeof(struct rtmsg), visit_route},
	    {RTM_GETROUTE, AF_INET6, sizeof(struct rtmsg), visit_route},
	    {RTM_GETRULE, AF_INET, sizeof(struct fib_rule_hdr), visit_rule},
	    {RTM_GETRULE, AF_INET6, sizeof(struct fib_rule_hdr), visit_rule},
	};
	struct walk w = {.visitor = visitor};
	int err = 0;

	for (size_t i = 0; !err && i < ARRAY_LEN(dumps); i++)
		err = run_dump(r, &dumps[i], &w);
	return err;
}

static int read_metric(const struct nlattr *a, void *context)
{
	unsigned *mtu = context;

	if (mnl_attr_get_type(a) == RTAX_MTU)
		*mtu = get_u32(a);
	return MNL_CB_OK;
}

static int read_route(const struct nlmsghdr *m, void *context)
{
	const struct rtmsg *info = mnl_nlmsg_get_payload(m);
	struct rtnetlink_route *out = context;
	struct attributes a;

	if (m->nlmsg_type != RTM_NEWROUTE)
		return MNL_CB_OK;
	a = read_attributes(m, sizeof(*info));
	out->type = info->rtm_type;
	out->index = get_u32(a.of[RTA_OIF]);
	out->is_encapsulated = a.of[RTA_ENCAP] != NULL;
	if (a.of[RTA_METRICS])
		mnl_attr_parse_nested(a.of[RTA_METRICS], read_metric, &out->mtu);
	get_address(a.of[RTA_PREFSRC], info->rtm_family, &out->source);
	get_address(a.of[RTA_GATEWAY], info->rtm_family, &out->gateway);
	if (a.of[RTA_VIA] && mnl_attr_get_payload_len(a.of[RTA_VIA]) > sizeof(uint16_t)) {
		const uint8_t *via = mnl_attr_get_payload(a.of[RTA_VIA]);
		uint16_t family;

		memcpy(&family, via, sizeof(family));
		set_address(&out->gateway, family, via + sizeof(family),
		            mnl_attr_get_payload_len(a.of[RTA_VIA]) - sizeof(family));
	}
	return MNL_CB_OK;
}

int rtnetlink_route(struct rtnetlink *r, const struct rtnetlink_question *q,
                    struct rtnetlink_route *out)
{
	struct nlmsghdr *m = begin(r, RTM_GETROUTE, 0);
	struct rtmsg *info = mnl_nlmsg_put_extra_header(m, sizeof(*info));
	size_t bytes = address_bytes(q->to.family);
	struct rtnetlink_route route = {0};
	int err;

	info->rtm_family = (unsigned char)q->to.family;
	info->rtm_dst_len = (unsigned char)(bytes * 8);
	mnl_attr_put(m, RTA_DST, bytes, q->to.address);
	if (q->source.family == q->to.family) {
		info->rtm_src_len = info->rtm_dst_len;
		mnl_attr_put(m, RTA_SRC, bytes, q->source.address);
	}
	if (q->interface)
		mnl_attr_put_u32(m, RTA_OIF, q->interface);
	mnl_attr_put_u8(m, RTA_IP_PROTO, IPPROTO_TCP);
	err = exchange(r, m, read_route, &route);
	if (err)
		return err;
	/* for IPv6 the kernel tells which one it would choose, also when it was told */
	if (q->source.family == q->to.family)
		route.source = q->source;
	*out = route;
	return 0;
}
