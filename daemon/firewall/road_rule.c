/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/firewall/road_rule.h"

#include "common/cleanup.h"

#include <linux/fib_rules.h>
#include <linux/rtnetlink.h>
#include <string.h>

#define LOOPBACK "lo"

/* Its rule is there wherever Cilium routes; the upper half of its marks holds identities. */
static const struct {
	const char *name;
	uint32_t mark, mask, uses;
} known[] = {
    {"Cilium", 0x200, 0xf00, 0xffff0fff},
};

struct road_spec road_spec_from_conf(const struct conf *conf)
{
	return (struct road_spec){
	    .in_mark = conf->firewall.route_mark,
	    .out_mark = conf->firewall.route_mark | conf->firewall.mark,
	    .mask = conf->firewall.mark_mask,
	    .table = conf->firewall.route_table,
	};
}

struct road_rule road_rule_get(const struct road_spec *spec, uint8_t family, unsigned number)
{
	const uint32_t last = ROAD_PREFERENCE + ROAD_RULES - 1;
	struct road_rule rule = {
	    .family = family,
	    .protocol = ROAD_PROTOCOL,
	    .action = FR_ACT_TO_TBL,
	    .preference = ROAD_PREFERENCE + number,
	    .mark = number == 0 ? spec->out_mark : spec->in_mark,
	    .mask = spec->mask,
	    .table = spec->table,
	};

	if (number == 1) {
		rule.from_loopback = true;
		rule.action = FR_ACT_GOTO;
		rule.has_goto = true;
		rule.target = last;
		rule.table = RT_TABLE_UNSPEC;
	}
	if (number == ROAD_RULES - 1)
		rule = (struct road_rule){.family = family,
		                          .protocol = ROAD_PROTOCOL,
		                          .action = FR_ACT_NOP,
		                          .preference = last};
	return rule;
}

bool road_rule_equals(const struct road_rule *a, const struct road_rule *b)
{
	return a->family == b->family && a->protocol == b->protocol && a->inverted == b->inverted &&
	       a->from_loopback == b->from_loopback && a->has_goto == b->has_goto &&
	       a->action == b->action && a->preference == b->preference && a->mark == b->mark &&
	       a->mask == b->mask && a->table == b->table && a->target == b->target;
}

static void take_number(const struct nlattr *a, uint32_t *out)
{
	if (mnl_attr_validate(a, MNL_TYPE_U32) == 0)
		*out = mnl_attr_get_u32(a);
}

static int take_attribute(const struct nlattr *a, void *closure)
{
	struct road_rule *rule = closure;

	switch (mnl_attr_get_type(a)) {
	case FRA_PRIORITY: take_number(a, &rule->preference); break;
	case FRA_FWMARK: take_number(a, &rule->mark); break;
	case FRA_FWMASK: take_number(a, &rule->mask); break;
	case FRA_TABLE: take_number(a, &rule->table); break;
	case FRA_GOTO:
		take_number(a, &rule->target);
		rule->has_goto = true;
		break;
	case FRA_PROTOCOL:
		if (mnl_attr_validate(a, MNL_TYPE_U8) == 0)
			rule->protocol = mnl_attr_get_u8(a);
		break;
	case FRA_IIFNAME:
		rule->from_loopback = mnl_attr_validate(a, MNL_TYPE_NUL_STRING) == 0 &&
		                      !strcmp(mnl_attr_get_str(a), LOOPBACK);
		break;
	default: break;
	}
	return MNL_CB_OK;
}

bool road_rule_read(const struct nlmsghdr *message, struct road_rule *out)
{
	const struct fib_rule_hdr *head = mnl_nlmsg_get_payload(message);
	struct road_rule rule = {0};

	if (message->nlmsg_type != RTM_NEWRULE ||
	    mnl_nlmsg_get_payload_len(message) < sizeof(*head) ||
	    (head->family != AF_INET && head->family != AF_INET6))
		return false;
	rule.family = head->family;
	rule.action = head->action;
	rule.inverted = head->flags & FIB_RULE_INVERT;
	rule.table = head->table;
	mnl_attr_parse(message, sizeof(*head), take_attribute, &rule);
	*out = rule;
	return true;
}

void road_rule_put(struct nlmsghdr *message, const struct road_rule *rule)
{
	struct fib_rule_hdr *head = mnl_nlmsg_put_extra_header(message, sizeof(*head));

	head->family = rule->family;
	head->action = rule->action;
	mnl_attr_put_u32(message, FRA_PRIORITY, rule->preference);
	mnl_attr_put_u8(message, FRA_PROTOCOL, rule->protocol);
	if (rule->from_loopback)
		mnl_attr_put_strz(message, FRA_IIFNAME, LOOPBACK);
	if (rule->mask) {
		mnl_attr_put_u32(message, FRA_FWMARK, rule->mark);
		mnl_attr_put_u32(message, FRA_FWMASK, rule->mask);
	}
	if (rule->has_goto)
		mnl_attr_put_u32(message, FRA_GOTO, rule->target);
	if (rule->table)
		mnl_attr_put_u32(message, FRA_TABLE, rule->table);
}

const char *road_rule_judge(const struct road_spec *spec, const struct road_rule *rule,
                            char reason[static ROAD_REASON_LEN])
{
	const char *version = rule->family == AF_INET ? "4" : "6";

	if (rule->protocol == ROAD_PROTOCOL)
		return NULL;
	if (rule->action == FR_ACT_TO_TBL && rule->table == spec->table) {
		snprintf(reason, ROAD_REASON_LEN,
		         "firewall.route_table %u is in use by the IPv%s rule of preference %u of "
		         "another program; choose another number",
		         spec->table, version, rule->preference);
		return reason;
	}
	if (rule->mark & rule->mask & spec->mask) {
		snprintf(reason, ROAD_REASON_LEN,
		         "the IPv%s rule of preference %u of another program asks for fwmark "
		         "0x%x/0x%x, and firewall.mark_mask 0x%x has bits of that; choose others",
		         version, rule->preference, rule->mark, rule->mask, spec->mask);
		return reason;
	}
	for (size_t i = 0; i < ARRAY_LEN(known); i++)
		if (rule->mark == known[i].mark && rule->mask == known[i].mask &&
		    known[i].uses & spec->mask) {
			snprintf(reason, ROAD_REASON_LEN,
			         "%s is here, which uses the bits 0x%x of marks, and "
			         "firewall.mark_mask 0x%x has some of them; choose others",
			         known[i].name, known[i].uses, spec->mask);
			return reason;
		}
	return NULL;
}
