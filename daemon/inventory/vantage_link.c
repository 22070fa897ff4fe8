/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/inventory/vantage_link.h"

#include "common/cleanup.h"
#include "common/log.h"
#include "daemon/inventory/addresses.h"
#include "daemon/inventory/netlink.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if_addr.h>
#include <linux/if_link.h>
#include <linux/rtnetlink.h>
#include <linux/veth.h>
#include <net/if.h>
#include <sched.h>
#include <stdarg.h>
#include <string.h>

#define VANTAGE_LINK "eth0"

enum { REQUEST_BYTES = 512, PAIRS = 64, PREFIX4 = 31, PREFIX6 = 127 };

/* Apart from what metadata services, node-local DNS and CNIs use of 169.254.0.0/16. */
static const uint8_t base4[4] = {169, 254, 213, 0};
/* RFC 4193, locally assigned; "pwal". */
static const uint8_t host6[16] = {0xfd, 0x70, 0x70, 0x77, 0x61, 0x6c, [15] = 2};
static const uint8_t vantage6[16] = {0xfd, 0x70, 0x70, 0x77, 0x61, 0x6c, [15] = 3};

struct message {
	_Alignas(8) uint8_t bytes[REQUEST_BYTES];
	struct nlmsghdr *nlh;
};

__attribute__((format(printf, 3, 4))) static int fail(char *why, int error, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vsnprintf(why, VANTAGE_WHY_LEN, format, args);
	va_end(args);
	return -error;
}

static void *begin(struct message *m, uint16_t type, unsigned flags, size_t header_bytes)
{
	memset(m, 0, sizeof(*m));
	m->nlh = mnl_nlmsg_put_header(m->bytes);
	m->nlh->nlmsg_type = type;
	m->nlh->nlmsg_flags = (uint16_t)(NLM_F_REQUEST | NLM_F_ACK | flags);
	return mnl_nlmsg_put_extra_header(m->nlh, header_bytes);
}

static int ask(struct message *m)
{
	int rc = netlink_ask(NETLINK_ROUTE, m->nlh, NULL, NULL);

	return rc < 0 ? rc : 0;
}

static int on_nested(const struct nlattr *attr, void *arg)
{
	bool *is_veth = arg;

	if (mnl_attr_get_type(attr) == IFLA_INFO_KIND &&
	    mnl_attr_validate(attr, MNL_TYPE_NUL_STRING) >= 0)
		*is_veth = strcmp(mnl_attr_get_str(attr), "veth") == 0;
	return MNL_CB_OK;
}

static int on_attribute(const struct nlattr *attr, void *arg)
{
	if (mnl_attr_get_type(attr) == IFLA_LINKINFO)
		mnl_attr_parse_nested(attr, on_nested, arg);
	return MNL_CB_OK;
}

static int on_link(const struct nlmsghdr *nlh, void *arg)
{
	if (nlh->nlmsg_type == RTM_NEWLINK &&
	    mnl_nlmsg_get_payload_len(nlh) >= sizeof(struct ifinfomsg))
		mnl_attr_parse(nlh, sizeof(struct ifinfomsg), on_attribute, arg);
	return MNL_CB_OK;
}

/*
 * A forerunner that was killed leaves it for the moment that the kernel takes to clear its
 * namespace away. It goes by its name and kind: one daemon, one table, one such device in a
 * namespace.
 */
static int remove_leftover(char *why)
{
	struct message m;
	bool is_veth = false;
	int rc;

	begin(&m, RTM_GETLINK, 0, sizeof(struct ifinfomsg));
	mnl_attr_put_strz(m.nlh, IFLA_IFNAME, VANTAGE_HOST_LINK);
	rc = netlink_ask(NETLINK_ROUTE, m.nlh, on_link, &is_veth);
	if (rc == -ENODEV)
		return 0;
	if (rc < 0)
		return fail(why, -rc, "%s: %s", VANTAGE_HOST_LINK, strerror(-rc));
	if (!is_veth)
		return fail(why, EEXIST, "there is a %s, and it is not ours", VANTAGE_HOST_LINK);
	begin(&m, RTM_DELLINK, 0, sizeof(struct ifinfomsg));
	mnl_attr_put_strz(m.nlh, IFLA_IFNAME, VANTAGE_HOST_LINK);
	rc = ask(&m);
	return rc < 0 && rc != -ENODEV
	           ? fail(why, -rc, "removing %s: %s", VANTAGE_HOST_LINK, strerror(-rc))
	           : 0;
}

static int add_pair(int netns, char *why)
{
	struct message m;
	struct ifinfomsg *ifi =
	    begin(&m, RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, sizeof(struct ifinfomsg));
	struct nlattr *info, *data, *peer;
	int rc;

	ifi->ifi_flags = ifi->ifi_change = IFF_UP;
	mnl_attr_put_strz(m.nlh, IFLA_IFNAME, VANTAGE_HOST_LINK);
	info = mnl_attr_nest_start(m.nlh, IFLA_LINKINFO);
	mnl_attr_put_strz(m.nlh, IFLA_INFO_KIND, "veth");
	data = mnl_attr_nest_start(m.nlh, IFLA_INFO_DATA);
	peer = mnl_attr_nest_start(m.nlh, VETH_INFO_PEER);
	mnl_nlmsg_put_extra_header(m.nlh, sizeof(struct ifinfomsg));
	mnl_attr_put_strz(m.nlh, IFLA_IFNAME, VANTAGE_LINK);
	mnl_attr_put_u32(m.nlh, IFLA_NET_NS_FD, (uint32_t)netns);
	mnl_attr_nest_end(m.nlh, peer);
	mnl_attr_nest_end(m.nlh, data);
	mnl_attr_nest_end(m.nlh, info);
	rc = ask(&m);
	return rc < 0 ? fail(why, -rc, "making %s (veth): %s", VANTAGE_HOST_LINK, strerror(-rc))
	              : 0;
}

static int set_up(unsigned link)
{
	struct message m;
	struct ifinfomsg *ifi = begin(&m, RTM_NEWLINK, 0, sizeof(struct ifinfomsg));

	ifi->ifi_index = (int)link;
	ifi->ifi_flags = ifi->ifi_change = IFF_UP;
	return ask(&m);
}

/*
 * `aside`: never to be chosen as a source by anybody who does not ask for it: an IPv4 address of
 * the link's scope, an IPv6 address past its time of preference.
 */
static int add_address(unsigned link, uint8_t family, const uint8_t *address, bool aside)
{
	const struct ifa_cacheinfo past = {.ifa_prefered = 0, .ifa_valid = UINT32_MAX};
	struct message m;
	struct ifaddrmsg *ifa =
	    begin(&m, RTM_NEWADDR, NLM_F_CREATE | NLM_F_EXCL, sizeof(struct ifaddrmsg));
	size_t length = family == AF_INET ? 4 : 16;

	ifa->ifa_family = family;
	ifa->ifa_prefixlen = family == AF_INET ? PREFIX4 : PREFIX6;
	ifa->ifa_index = link;
	ifa->ifa_scope = aside && family == AF_INET ? RT_SCOPE_LINK : RT_SCOPE_UNIVERSE;
	mnl_attr_put(m.nlh, IFA_LOCAL, length, address);
	mnl_attr_put(m.nlh, IFA_ADDRESS, length, address);
	if (family == AF_INET6)
		mnl_attr_put_u32(m.nlh, IFA_FLAGS, IFA_F_NODAD);
	if (aside && family == AF_INET6)
		mnl_attr_put(m.nlh, IFA_CACHEINFO, sizeof(past), &past);
	return ask(&m);
}

static int add_default_route(unsigned link, uint8_t family, const uint8_t *gateway)
{
	struct message m;
	struct rtmsg *rtm =
	    begin(&m, RTM_NEWROUTE, NLM_F_CREATE | NLM_F_EXCL, sizeof(struct rtmsg));

	rtm->rtm_family = family;
	rtm->rtm_table = RT_TABLE_MAIN;
	rtm->rtm_protocol = RTPROT_STATIC;
	rtm->rtm_scope = RT_SCOPE_UNIVERSE;
	rtm->rtm_type = RTN_UNICAST;
	mnl_attr_put(m.nlh, RTA_GATEWAY, family == AF_INET ? 4 : 16, gateway);
	mnl_attr_put_u32(m.nlh, RTA_OIF, link);
	return ask(&m);
}

/* Two addresses that the host does not have: its own, and the vantage point's, one above. */
static int choose_pair(uint8_t host4[static 4], char *why)
{
	struct addresses taken;
	int err = addresses_list(&taken);
	bool free_pair = false;

	if (err < 0)
		return fail(why, -err, "addresses: %s", strerror(-err));
	memcpy(host4, base4, sizeof(base4));
	for (int i = 0; i < PAIRS && !free_pair; i++) {
		free_pair = true;
		host4[3] = (uint8_t)(i * 2);
		for (uint32_t a = 0; a < taken.count; a++) {
			const struct inventory_address *other = &taken.items[a];

			if (other->family == AF_INET && memcmp(other->address, host4, 3) == 0 &&
			    (other->address[3] & ~1) == host4[3])
				free_pair = false;
		}
	}
	addresses_free(&taken);
	return free_pair ? 0 : fail(why, EADDRNOTAVAIL, "169.254.213.0/25 is in use");
}

/* IPv6 may be switched off: then there is none. */
static int configure_host(const uint8_t *host4, bool *has6, char *why)
{
	unsigned link = if_nametoindex(VANTAGE_HOST_LINK);
	int err = link ? add_address(link, AF_INET, host4, true) : -errno;

	if (err < 0)
		return fail(why, -err, "%s: %s", VANTAGE_HOST_LINK, strerror(-err));
	*has6 = add_address(link, AF_INET6, host6, true) == 0;
	return 0;
}

static int configure_vantage(const uint8_t *host4, bool has6, char *why)
{
	uint8_t own4[4] = {host4[0], host4[1], host4[2], host4[3] | 1};
	unsigned link = if_nametoindex(VANTAGE_LINK);
	int err = link ? set_up(link) : -errno;

	if (err == 0)
		err = add_address(link, AF_INET, own4, false);
	if (err == 0)
		err = add_default_route(link, AF_INET, host4);
	if (err < 0)
		return fail(why, -err, "the namespace of our own: %s", strerror(-err));
	if (has6 && add_address(link, AF_INET6, vantage6, false) == 0)
		(void)add_default_route(link, AF_INET6, host6);
	return 0;
}

/* What we would see from here on would be somebody else's. */
static void go_home(int home)
{
	if (setns(home, CLONE_NEWNET) == 0)
		return;
	log_error("no way back to our network namespace: %s", strerror(errno));
	_exit(EXIT_FAILURE);
}

/* The new namespace's descriptor; the process is in it no more. */
static int make_netns(int home, char *why)
{
	auto_close int netns = -1;
	int err = 0;

	if (unshare(CLONE_NEWNET) < 0)
		return fail(why, errno, "unshare: %s", strerror(errno));
	netns = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
	if (netns < 0)
		err = fail(why, errno, "/proc/self/ns/net: %s", strerror(errno));
	go_home(home);
	if (err < 0)
		return err;
	return steal_fd(&netns);
}

int vantage_link_make(int home, char why[static VANTAGE_WHY_LEN])
{
	auto_close int netns = -1;
	uint8_t host4[4] = {0};
	bool has6 = false;
	int err = remove_leftover(why);

	if (err == 0)
		err = choose_pair(host4, why);
	if (err < 0)
		return err;
	netns = make_netns(home, why);
	if (netns < 0)
		return netns;
	err = add_pair(netns, why);
	if (err == 0)
		err = configure_host(host4, &has6, why);
	if (err == 0 && setns(netns, CLONE_NEWNET) < 0)
		err = fail(why, errno, "setns: %s", strerror(errno));
	if (err == 0) {
		err = configure_vantage(host4, has6, why);
		go_home(home);
	}
	/* On failure the namespace ends with its descriptor, and the devices with it. */
	return err < 0 ? err : steal_fd(&netns);
}
