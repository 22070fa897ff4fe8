/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "scanner/discover/syn_link.h"

#include "common/cleanup.h"

#include <errno.h>
#include <ifaddrs.h>
#include <linux/rtnetlink.h>
#include <string.h>
#include <sys/socket.h>

enum { ANSWER_BYTES = 32768 };

/* Those that the kernel chooses when nobody has said anything. */
static bool is_default(const char *kind)
{
	static const char *const kinds[] = {"noqueue", "mq", "pfifo_fast", "fq_codel"};

	for (size_t i = 0; i < ARRAY_LEN(kinds); i++) {
		if (strcmp(kind, kinds[i]) == 0)
			return true;
	}
	return false;
}

/* Of a link's attributes. */
static bool has_default_qdisc(const uint8_t *at, size_t length)
{
	struct rtattr a;

	for (; length >= sizeof(a); at += RTA_ALIGN(a.rta_len), length -= RTA_ALIGN(a.rta_len)) {
		memcpy(&a, at, sizeof(a));
		if (a.rta_len < sizeof(a) || a.rta_len > length)
			return false;
		if (a.rta_type == IFLA_QDISC && a.rta_len > sizeof(a) && at[a.rta_len - 1] == 0)
			return is_default((const char *)at + sizeof(a));
		if (RTA_ALIGN(a.rta_len) > length)
			return false;
	}
	return false;
}

static void add_link(struct syn_links *l, const struct nlmsghdr *m)
{
	const size_t head = NLMSG_HDRLEN + NLMSG_ALIGN(sizeof(struct ifinfomsg));
	const struct ifinfomsg *link = (const void *)(m + 1);

	if (m->nlmsg_len >= head && l->count < SYN_LINKS_MAX &&
	    has_default_qdisc((const uint8_t *)m + head, m->nlmsg_len - head))
		l->bypass[l->count++] = link->ifi_index;
}

/* Returns 1 at the end, 0: there is more, or -errno. */
static int take_answer(struct syn_links *l, struct nlmsghdr *m, size_t length)
{
	for (; NLMSG_OK(m, length); m = NLMSG_NEXT(m, length)) {
		const struct nlmsgerr *error = NLMSG_DATA(m);

		switch (m->nlmsg_type) {
		case NLMSG_DONE: return 1;
		case NLMSG_ERROR: return error->error ? error->error : -EPROTO;
		case RTM_NEWLINK: add_link(l, m); break;
		default: break;
		}
	}
	return 0;
}

int syn_links_read(struct syn_links *out)
{
	struct {
		struct nlmsghdr head;
		struct ifinfomsg link;
	} request = {
	    .head = {.nlmsg_len = sizeof(request),
	             .nlmsg_type = RTM_GETLINK,
	             .nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP},
	};
	auto_close int sock = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);
	auto_free struct nlmsghdr *answer = malloc(ANSWER_BYTES);
	struct syn_links links = {0};
	int end = 0;

	if (sock < 0)
		return -errno;
	if (!answer)
		return -ENOMEM;
	if (send(sock, &request, sizeof(request), 0) < 0)
		return -errno;
	while (end == 0) {
		ssize_t n = recv(sock, answer, ANSWER_BYTES, 0);

		if (n < 0)
			return -errno;
		end = take_answer(&links, answer, (size_t)n);
	}
	if (end < 0)
		return end;
	*out = links;
	return 0;
}

bool syn_links_bypass(const struct syn_links *l, int ifindex)
{
	for (unsigned i = 0; i < l->count; i++) {
		if (l->bypass[i] == ifindex)
			return true;
	}
	return false;
}

int syn_own_addresses_read(struct syn_own_addresses *out)
{
	struct ifaddrs *list;

	if (getifaddrs(&list) < 0)
		return -errno;
	out->count = 0;
	for (const struct ifaddrs *a = list; a && out->count < SYN_OWN_MAX; a = a->ifa_next) {
		if (a->ifa_addr && endpoint_from_sockaddr(a->ifa_addr, &out->list[out->count]) == 0)
			out->count++;
	}
	freeifaddrs(list);
	return 0;
}

bool syn_own_addresses_contain(const struct syn_own_addresses *o, const struct endpoint *e)
{
	if (endpoint_is_loopback(e))
		return true;
	for (unsigned i = 0; i < o->count; i++) {
		if (o->list[i].family == e->family &&
		    memcmp(o->list[i].address, e->address, sizeof(e->address)) == 0)
			return true;
	}
	return false;
}
