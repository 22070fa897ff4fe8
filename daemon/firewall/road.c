/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/firewall/road.h"

#include "common/cleanup.h"
#include "daemon/firewall/marks.h"

#include <errno.h>
#include <linux/fib_rules.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/rtnetlink.h>
#include <string.h>

enum {
	BUFFER_BYTES = 32 * 1024, /* as libmnl advises for dumps */
	DUMP_TRIES = 5,           /* what changes meanwhile is read again */
	LOOPBACK_INDEX = 1,       /* in every network namespace */
	OWN_RULES_MAX = 64, /* of one family; more, of whatever origin, go in the next round */
};

static const uint8_t families[] = {AF_INET, AF_INET6};

int road_open(struct road *road)
{
	struct road opened = {.buffer = malloc(BUFFER_BYTES)};
	const int on = 1;
	int err;

	if (!opened.buffer)
		return -ENOMEM;
	/* Non-blocking: the kernel has answered when send returns. */
	opened.socket = mnl_socket_open2(NETLINK_ROUTE, SOCK_CLOEXEC | SOCK_NONBLOCK);
	if (!opened.socket || mnl_socket_bind(opened.socket, 0, MNL_SOCKET_AUTOPID) < 0) {
		err = -errno;
		road_close(&opened);
		return err;
	}
	/* Else a question for one table is answered with all of them, which is only slower. */
	(void)setsockopt(mnl_socket_get_fd(opened.socket), SOL_NETLINK, NETLINK_GET_STRICT_CHK, &on,
	                 sizeof(on));
	*road = opened;
	return 0;
}

void road_close(struct road *road)
{
	if (road->socket)
		mnl_socket_close(road->socket);
	free(road->buffer);
	*road = (struct road){0};
}

/* Talking to the kernel */

static struct nlmsghdr *begin(struct road *road, uint16_t type, uint16_t flags)
{
	struct nlmsghdr *message = mnl_nlmsg_put_header(road->buffer);

	message->nlmsg_type = type;
	message->nlmsg_flags = NLM_F_REQUEST | flags;
	message->nlmsg_seq = ++road->seq;
	return message;
}

static void drain(struct road *road)
{
	while (mnl_socket_recvfrom(road->socket, road->buffer, BUFFER_BYTES) > 0)
		;
}

static int ask(struct road *road, const struct nlmsghdr *message, mnl_cb_t see, void *closure)
{
	const uint32_t seq = message->nlmsg_seq;
	int rc = MNL_CB_OK, err = 0;

	if (mnl_socket_sendto(road->socket, message, message->nlmsg_len) < 0)
		return -errno;
	while (!err && rc != MNL_CB_STOP) {
		ssize_t length = mnl_socket_recvfrom(road->socket, road->buffer, BUFFER_BYTES);

		rc = length < 0 ? MNL_CB_ERROR
		                : mnl_cb_run(road->buffer, (size_t)length, seq,
		                             mnl_socket_get_portid(road->socket), see, closure);
		if (rc < 0)
			err = errno == EAGAIN ? -EIO : -errno;
	}
	if (err)
		drain(road);
	return err;
}

/* A kernel without IPv6 has none of its rules either. */
static bool is_absent(uint8_t family, int err)
{
	return family == AF_INET6 && (err == -EAFNOSUPPORT || err == -EOPNOTSUPP);
}

static int visit_rules(struct road *road, uint8_t family, mnl_cb_t see, void *closure)
{
	struct nlmsghdr *message;
	struct fib_rule_hdr *head;
	int err = -EINTR;

	for (unsigned i = 0; i < DUMP_TRIES && err == -EINTR; i++) {
		message = begin(road, RTM_GETRULE, NLM_F_DUMP);
		head = mnl_nlmsg_put_extra_header(message, sizeof(*head));
		head->family = family;
		err = ask(road, message, see, closure);
	}
	return is_absent(family, err) ? 0 : err;
}

/* Of one table; of all where the kernel cannot choose. A table that nothing is in may be ENOENT. */
static int visit_routes(struct road *road, uint8_t family, uint32_t table, mnl_cb_t see,
                        void *closure)
{
	struct nlmsghdr *message;
	struct rtmsg *head;
	int err = -EINTR;

	for (unsigned i = 0; i < DUMP_TRIES && err == -EINTR; i++) {
		message = begin(road, RTM_GETROUTE, NLM_F_DUMP);
		head = mnl_nlmsg_put_extra_header(message, sizeof(*head));
		head->rtm_family = family;
		mnl_attr_put_u32(message, RTA_TABLE, table);
		err = ask(road, message, see, closure);
	}
	return err == -ENOENT || is_absent(family, err) ? 0 : err;
}

/* What is there already */

struct found {
	const struct road_spec *spec;
	struct road_rule own[OWN_RULES_MAX];
	size_t count;
	bool wanted_route, foreign_route;
	const char *reason;
	char *text; /* ROAD_REASON_LEN, for `reason` */
};

static int see_rule(const struct nlmsghdr *message, void *closure)
{
	struct found *found = closure;
	struct road_rule rule;

	if (!road_rule_read(message, &rule))
		return MNL_CB_OK;
	if (rule.protocol == ROAD_PROTOCOL && found->count < OWN_RULES_MAX)
		found->own[found->count++] = rule;
	if (found->text && !found->reason)
		found->reason = road_rule_judge(found->spec, &rule, found->text);
	return MNL_CB_OK;
}

static int take_table(const struct nlattr *a, void *closure)
{
	if (mnl_attr_get_type(a) == RTA_TABLE && mnl_attr_validate(a, MNL_TYPE_U32) == 0)
		*(uint32_t *)closure = mnl_attr_get_u32(a);
	return MNL_CB_OK;
}

static int see_route(const struct nlmsghdr *message, void *closure)
{
	const struct rtmsg *head = mnl_nlmsg_get_payload(message);
	struct found *found = closure;
	uint32_t table;

	if (mnl_nlmsg_get_payload_len(message) < sizeof(*head) ||
	    message->nlmsg_type != RTM_NEWROUTE)
		return MNL_CB_OK;
	table = head->rtm_table;
	mnl_attr_parse(message, sizeof(*head), take_table, &table);
	if (table != found->spec->table)
		return MNL_CB_OK;
	if (head->rtm_protocol != ROAD_PROTOCOL)
		found->foreign_route = true;
	else if (head->rtm_type == RTN_LOCAL && head->rtm_dst_len == 0)
		found->wanted_route = true;
	return MNL_CB_OK;
}

/* Other people's rules of nftables */

struct marks {
	const char *own_table;
	uint32_t mask;
	char *text; /* ROAD_REASON_LEN */
	bool found;
};

static int see_nft_rule(const struct nlmsghdr *message, void *closure)
{
	struct nftnl_rule *rule = nftnl_rule_alloc();
	struct marks *marks = closure;
	uint32_t bits = 0;

	if (!rule)
		return MNL_CB_ERROR;
	if (nftnl_rule_nlmsg_parse(message, rule) == 0) {
		const char *table = nftnl_rule_get_str(rule, NFTNL_RULE_TABLE);
		const char *chain = nftnl_rule_get_str(rule, NFTNL_RULE_CHAIN);

		if (table && chain && strcmp(table, marks->own_table) != 0)
			bits = marks_of_rule(rule) & marks->mask;
		if (bits && !marks->found)
			snprintf(marks->text, ROAD_REASON_LEN,
			         "chain %s of the nftables table %s sets the bits 0x%x of marks, "
			         "and firewall.mark_mask 0x%x has some of them; choose others",
			         chain, table, bits, marks->mask);
		marks->found |= bits != 0;
	}
	nftnl_rule_free(rule);
	return MNL_CB_OK;
}

static int check_nft(struct nft *nft, const struct road_spec *spec, char *text)
{
	struct marks marks = {.own_table = nft->table, .mask = spec->mask, .text = text};
	int err = -EINTR;

	for (unsigned i = 0; i < DUMP_TRIES && err == -EINTR; i++) {
		struct nlmsghdr *message = nft_request(nft, NFT_MSG_GETRULE, NLM_F_DUMP);
		struct nfgenmsg *head = mnl_nlmsg_get_payload(message);

		head->nfgen_family = NFPROTO_UNSPEC;
		err = nft_ask(nft, message, see_nft_rule, &marks);
		if (err)
			nft_drain(nft);
	}
	if (err)
		return err;
	return marks.found ? -EADDRINUSE : 0;
}

int road_check(struct road *road, struct nft *nft, const struct road_spec *spec,
               char reason[static ROAD_REASON_LEN])
{
	for (size_t i = 0; i < ARRAY_LEN(families); i++) {
		struct found found = {.spec = spec, .text = reason};
		int err = visit_rules(road, families[i], see_rule, &found);

		if (!err)
			err = visit_routes(road, families[i], spec->table, see_route, &found);
		if (!err && found.foreign_route && !found.reason) {
			snprintf(reason, ROAD_REASON_LEN,
			         "firewall.route_table %u has IPv%s routes of another program; "
			         "choose another number",
			         spec->table, families[i] == AF_INET ? "4" : "6");
			found.reason = reason;
		}
		if (err || found.reason)
			return err ? err : -EADDRINUSE;
	}
	return check_nft(nft, spec, reason);
}

/* Making and removing */

static int change_rule(struct road *road, const struct road_rule *rule, bool add)
{
	struct nlmsghdr *message = begin(road, add ? RTM_NEWRULE : RTM_DELRULE,
	                                 add ? NLM_F_ACK | NLM_F_CREATE | NLM_F_EXCL : NLM_F_ACK);
	int err;

	road_rule_put(message, rule);
	err = ask(road, message, NULL, NULL);
	if (is_absent(rule->family, err) || err == (add ? -EEXIST : -ENOENT))
		return 0;
	return err;
}

static int change_route(struct road *road, uint8_t family, uint32_t table, bool add)
{
	struct nlmsghdr *message = begin(road, add ? RTM_NEWROUTE : RTM_DELROUTE,
	                                 add ? NLM_F_ACK | NLM_F_CREATE | NLM_F_EXCL : NLM_F_ACK);
	struct rtmsg *head = mnl_nlmsg_put_extra_header(message, sizeof(*head));
	int err;

	head->rtm_family = family;
	head->rtm_protocol = ROAD_PROTOCOL;
	head->rtm_type = RTN_LOCAL;
	head->rtm_scope = RT_SCOPE_HOST;
	mnl_attr_put_u32(message, RTA_TABLE, table);
	mnl_attr_put_u32(message, RTA_OIF, LOOPBACK_INDEX);
	err = ask(road, message, NULL, NULL);
	if (is_absent(family, err) || err == (add ? -EEXIST : -ESRCH))
		return 0;
	return err;
}

static bool is_of(const struct road_rule *rule, const struct road_spec *spec)
{
	for (unsigned n = 0; spec && n < ROAD_RULES; n++) {
		const struct road_rule wanted = road_rule_get(spec, rule->family, n);

		if (road_rule_equals(rule, &wanted))
			return true;
	}
	return false;
}

static bool is_found(const struct found *found, const struct road_rule *wanted)
{
	for (size_t i = 0; i < found->count; i++)
		if (road_rule_equals(&found->own[i], wanted))
			return true;
	return false;
}

/* Removes what is ours, but for the rules of `keep`, or NULL; their tables' routes with them. */
static int remove_rest(struct road *road, const struct found *found, const struct road_spec *keep,
                       bool *changed)
{
	int err = 0;

	for (size_t i = 0; !err && i < found->count; i++) {
		const struct road_rule *rule = &found->own[i];

		if (is_of(rule, keep))
			continue;
		*changed = true;
		err = change_rule(road, rule, false);
		if (!err && rule->table && (!keep || rule->table != keep->table))
			err = change_route(road, rule->family, rule->table, false);
	}
	return err;
}

/* The route first, and from the last rule to the first: none points to what is not there yet. */
static int add_missing(struct road *road, uint8_t family, const struct found *found,
                       const struct road_spec *spec, bool *changed)
{
	int err = 0;

	if (!found->wanted_route) {
		*changed = true;
		err = change_route(road, family, spec->table, true);
	}
	for (unsigned n = ROAD_RULES; !err && n-- > 0;) {
		const struct road_rule wanted = road_rule_get(spec, family, n);

		if (is_found(found, &wanted))
			continue;
		*changed = true;
		err = change_rule(road, &wanted, true);
	}
	return err;
}

int road_install(struct road *road, const struct road_spec *spec, bool *changed)
{
	*changed = false;
	for (size_t i = 0; i < ARRAY_LEN(families); i++) {
		struct found found = {.spec = spec};
		int err = visit_rules(road, families[i], see_rule, &found);

		if (!err)
			err = visit_routes(road, families[i], spec->table, see_route, &found);
		if (!err)
			err = remove_rest(road, &found, spec, changed);
		if (!err)
			err = add_missing(road, families[i], &found, spec, changed);
		if (err)
			return err;
	}
	return 0;
}

int road_remove(struct road *road, const struct road_spec *spec)
{
	bool changed;

	for (size_t i = 0; i < ARRAY_LEN(families); i++) {
		struct found found = {.spec = spec};
		int err = visit_rules(road, families[i], see_rule, &found);

		if (!err)
			err = remove_rest(road, &found, NULL, &changed);
		if (!err && spec)
			err = change_route(road, families[i], spec->table, false);
		if (err)
			return err;
	}
	return 0;
}
