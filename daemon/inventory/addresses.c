/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/inventory/addresses.h"

#include "common/cleanup.h"
#include "daemon/inventory/netlink.h"
#include "daemon/inventory/vantage.h"

#include <errno.h>
#include <linux/if_addr.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <string.h>

enum { TRIES = 5, REQUEST_BYTES = 64, MAX_SERVICE_LINKS = 16 };
enum { MAX_SERVICES = INVENTORY_MAX_ADDRESSES / 4 };
/* keepalived's IFA_PROTO (its KA_PROTO_KEEPALIVED); in no header of the kernel's. */
enum { PROTO_KEEPALIVED = 18 };

/*
 * Devices whose addresses are not the host's own to answer for: kube-proxy in IPVS mode puts every
 * service's address on the first, node-local-dns its own on the second; the third is ours.
 */
static const char *const service_links[] = {"kube-ipvs0", "nodelocaldns", VANTAGE_HOST_LINK};

struct reading {
	struct inventory_address items[INVENTORY_MAX_ADDRESSES];
	uint32_t count;
	bool truncated;
	int links[MAX_SERVICE_LINKS]; /* index of such a device */
	uint32_t n_links;
};

static int on_link_attribute(const struct nlattr *attr, void *arg)
{
	const char **name = arg;

	if (mnl_attr_get_type(attr) == IFLA_IFNAME &&
	    mnl_attr_validate(attr, MNL_TYPE_NUL_STRING) >= 0)
		*name = mnl_attr_get_str(attr);
	return MNL_CB_OK;
}

static int on_link(const struct nlmsghdr *nlh, void *arg)
{
	struct reading *r = arg;
	const struct ifinfomsg *ifi = mnl_nlmsg_get_payload(nlh);
	const char *name = "";

	if (nlh->nlmsg_type != RTM_NEWLINK || mnl_nlmsg_get_payload_len(nlh) < sizeof(*ifi))
		return MNL_CB_OK;
	mnl_attr_parse(nlh, sizeof(*ifi), on_link_attribute, &name);
	for (size_t i = 0; i < ARRAY_LEN(service_links); i++) {
		if (strcmp(name, service_links[i]) == 0 && r->n_links < MAX_SERVICE_LINKS)
			r->links[r->n_links++] = ifi->ifi_index;
	}
	return MNL_CB_OK;
}

/* Its attributes, as far as they matter. */
struct address_message {
	const void *address, *local;
	uint16_t address_len, local_len;
	uint8_t proto;
};

static int on_address_attribute(const struct nlattr *attr, void *arg)
{
	struct address_message *m = arg;

	switch (mnl_attr_get_type(attr)) {
	case IFA_ADDRESS:
		m->address = mnl_attr_get_payload(attr);
		m->address_len = mnl_attr_get_payload_len(attr);
		break;
	case IFA_LOCAL: /* of a point-to-point link; there IFA_ADDRESS is the other end */
		m->local = mnl_attr_get_payload(attr);
		m->local_len = mnl_attr_get_payload_len(attr);
		break;
	case IFA_PROTO:
		if (mnl_attr_validate(attr, MNL_TYPE_U8) >= 0)
			m->proto = mnl_attr_get_u8(attr);
		break;
	default: break;
	}
	return MNL_CB_OK;
}

static uint8_t find_flags(const struct reading *r, const struct inventory_address *a, unsigned link,
                          uint8_t proto)
{
	static const uint8_t loopback6[16] = {[15] = 1};
	uint8_t flags = proto == PROTO_KEEPALIVED ? INVENTORY_ADDRESS_SERVICE : 0;

	for (uint32_t i = 0; i < r->n_links; i++) {
		if ((unsigned)r->links[i] == link)
			flags |= INVENTORY_ADDRESS_SERVICE;
	}
	if (a->family == AF_INET)
		return flags | (a->address[0] == 127 ? INVENTORY_ADDRESS_LOOPBACK : 0);
	if (memcmp(a->address, loopback6, sizeof(loopback6)) == 0)
		flags |= INVENTORY_ADDRESS_LOOPBACK;
	if (a->address[0] == 0xfe && (a->address[1] & 0xc0) == 0x80)
		flags |= INVENTORY_ADDRESS_LINK_LOCAL;
	return flags;
}

static int on_address(const struct nlmsghdr *nlh, void *arg)
{
	struct reading *r = arg;
	const struct ifaddrmsg *ifa = mnl_nlmsg_get_payload(nlh);
	struct address_message m = {0};
	struct inventory_address a = {0};
	const void *bytes;
	uint16_t length, wanted;

	if (nlh->nlmsg_type != RTM_NEWADDR || mnl_nlmsg_get_payload_len(nlh) < sizeof(*ifa) ||
	    (ifa->ifa_family != AF_INET && ifa->ifa_family != AF_INET6))
		return MNL_CB_OK;
	mnl_attr_parse(nlh, sizeof(*ifa), on_address_attribute, &m);
	bytes = m.local ? m.local : m.address;
	length = m.local ? m.local_len : m.address_len;
	wanted = ifa->ifa_family == AF_INET ? 4 : 16;
	if (!bytes || length != wanted)
		return MNL_CB_OK;
	a.family = ifa->ifa_family;
	memcpy(a.address, bytes, length);
	a.flags = find_flags(r, &a, ifa->ifa_index, m.proto);
	/* Services may be many; they must not take the place of what is the host's own. */
	if (r->count >=
	    (a.flags & INVENTORY_ADDRESS_SERVICE ? MAX_SERVICES : INVENTORY_MAX_ADDRESSES)) {
		r->truncated = true;
		return MNL_CB_OK;
	}
	r->items[r->count++] = a;
	return MNL_CB_OK;
}

static int ask(uint16_t type, size_t header_bytes, mnl_cb_t cb, struct reading *r)
{
	_Alignas(8) uint8_t bytes[REQUEST_BYTES] = {0};
	struct nlmsghdr *nlh = mnl_nlmsg_put_header(bytes);
	int rc;

	nlh->nlmsg_type = type;
	nlh->nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP;
	mnl_nlmsg_put_extra_header(nlh, header_bytes);
	if (type == RTM_GETLINK) /* names are all we want */
		mnl_attr_put_u32(nlh, IFLA_EXT_MASK, RTEXT_FILTER_SKIP_STATS);
	rc = netlink_ask(NETLINK_ROUTE, nlh, cb, r);
	return rc < 0 ? rc : 0;
}

static int read_all(struct reading *r)
{
	int err = -EINTR;

	for (int try = 0; try < TRIES && err == -EINTR; try++) {
		r->n_links = r->count = 0;
		r->truncated = false;
		err = ask(RTM_GETLINK, sizeof(struct ifinfomsg), on_link, r);
		if (err == 0)
			err = ask(RTM_GETADDR, sizeof(struct ifaddrmsg), on_address, r);
	}
	return err;
}

static int compare(const void *a, const void *b)
{
	const struct inventory_address *x = a, *y = b;
	int order = (int)x->family - (int)y->family;

	return order ? order : memcmp(x->address, y->address, sizeof(x->address));
}

int addresses_list(struct addresses *out)
{
	auto_free struct reading *r = calloc(1, sizeof(*r));
	uint32_t kept = 0;
	int err;

	*out = (struct addresses){0};
	if (!r)
		return -ENOMEM;
	err = read_all(r);
	if (err < 0 || r->count == 0)
		return err;
	qsort(r->items, r->count, sizeof(r->items[0]), compare);
	/* The same address on two devices: SERVICE only if it is that on both. */
	for (uint32_t i = 1; i < r->count; i++) {
		if (compare(&r->items[kept], &r->items[i]) == 0)
			r->items[kept].flags &= r->items[i].flags;
		else
			r->items[++kept] = r->items[i];
	}
	out->count = kept + 1;
	out->truncated = r->truncated;
	out->items = malloc(out->count * sizeof(*out->items));
	if (!out->items) {
		*out = (struct addresses){0};
		return -ENOMEM;
	}
	memcpy(out->items, r->items, out->count * sizeof(*out->items));
	return 0;
}

int addresses_open_monitor(void)
{
	const struct sockaddr_nl groups = {.nl_family = AF_NETLINK,
	                                   .nl_groups = RTMGRP_IPV4_IFADDR | RTMGRP_IPV6_IFADDR};
	auto_close int sock =
	    socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, NETLINK_ROUTE);

	if (sock < 0 || bind(sock, (const struct sockaddr *)&groups, sizeof(groups)) < 0)
		return -errno;
	return steal_fd(&sock);
}

/* That something came is all that matters, also when it did not fit. */
void addresses_drain_monitor(int sock)
{
	uint8_t bytes[4096];
	ssize_t n;

	do
		n = recv(sock, bytes, sizeof(bytes), MSG_DONTWAIT);
	while (n > 0 || (n < 0 && errno == ENOBUFS));
}

bool addresses_are_equal(const struct addresses *a, const struct addresses *b)
{
	return a->count == b->count && a->truncated == b->truncated &&
	       (a->count == 0 || memcmp(a->items, b->items, a->count * sizeof(*a->items)) == 0);
}

void addresses_free(struct addresses *a)
{
	free(a->items);
	*a = (struct addresses){0};
}
