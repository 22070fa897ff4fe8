/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "common/cleanup.h"
#include "daemon/firewall/marks.h"
#include "daemon/firewall/road_rule.h"

#include <libnftnl/expr.h>
#include <linux/fib_rules.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/xt_connmark.h>
#include <linux/netfilter/xt_mark.h>
#include <linux/rtnetlink.h>
#include <string.h>

/* cmocka.h wants these before it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

static const struct road_spec spec = {
    .in_mark = 0x60000000, .out_mark = 0x70000000, .mask = 0xf0000000, .table = 28791};

static struct nlmsghdr *write_rule(char buffer[static 512], const struct road_rule *rule)
{
	struct nlmsghdr *message = mnl_nlmsg_put_header(buffer);

	message->nlmsg_type = RTM_NEWRULE;
	road_rule_put(message, rule);
	return message;
}

static void test_rules_read_back_as_they_were_written(void **state)
{
	static const uint8_t families[] = {AF_INET, AF_INET6};
	_Alignas(struct nlmsghdr) char buffer[512];

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(families); i++)
		for (unsigned n = 0; n < ROAD_RULES; n++) {
			const struct road_rule rule = road_rule_get(&spec, families[i], n);
			struct road_rule back;

			assert_true(road_rule_read(write_rule(buffer, &rule), &back));
			assert_true(road_rule_equals(&rule, &back));
			assert_int_equal(rule.preference, ROAD_PREFERENCE + n);
		}
}

static void test_the_reverse_path_is_spared(void **state)
{
	const struct road_rule spare = road_rule_get(&spec, AF_INET, 1);
	const struct road_rule last = road_rule_get(&spec, AF_INET, ROAD_RULES - 1);

	(void)state;
	assert_true(spare.from_loopback && spare.has_goto);
	assert_int_equal(spare.mark, spec.in_mark);
	assert_int_equal(spare.target, last.preference);
	assert_int_equal(last.action, FR_ACT_NOP);
	assert_int_equal(last.mask, 0);
}

static void test_what_is_no_rule_is_not_read(void **state)
{
	_Alignas(struct nlmsghdr) char buffer[512];
	const struct road_rule rule = road_rule_get(&spec, AF_INET, 0);
	struct nlmsghdr *message = write_rule(buffer, &rule);
	struct road_rule back;

	(void)state;
	message->nlmsg_type = RTM_NEWROUTE;
	assert_false(road_rule_read(message, &back));
	message = write_rule(buffer, &rule);
	((struct fib_rule_hdr *)mnl_nlmsg_get_payload(message))->family = RTNL_FAMILY_IPMR;
	assert_false(road_rule_read(message, &back));
	message = mnl_nlmsg_put_header(buffer);
	message->nlmsg_type = RTM_NEWRULE;
	assert_false(road_rule_read(message, &back));
}

static void test_whose_rules_are_in_the_way(void **state)
{
	static const struct {
		struct road_rule rule;
		const char *says; /* NULL: nothing */
	} cases[] = {
	    {{.preference = 32766, .action = FR_ACT_TO_TBL, .table = RT_TABLE_MAIN}, NULL},
	    /* wg-quick: everything but what carries its whole mark */
	    {{.mark = 0xca6c, .mask = UINT32_MAX, .inverted = true, .table = 0xca6c}, NULL},
	    /* Tailscale, Calico's WireGuard, kube-proxy's bits */
	    {{.mark = 0x80000, .mask = 0xff0000, .table = RT_TABLE_MAIN}, NULL},
	    {{.mark = 0x100000, .mask = 0x100000, .inverted = true, .table = 1}, NULL},
	    {{.mark = 0x4000, .mask = 0x4000, .table = 2}, NULL},
	    {{.mark = 0x60000000, .mask = 0xf0000000, .preference = 9}, "0x60000000/0xf0000000"},
	    {{.mark = 0x10000000, .mask = 0x10000000, .inverted = true}, "0x10000000/0x10000000"},
	    {{.mark = 0x80000001, .mask = UINT32_MAX}, "0x80000001/0xffffffff"},
	    {{.action = FR_ACT_TO_TBL, .table = 28791, .preference = 7}, "route_table 28791"},
	    {{.mark = 0x200, .mask = 0xf00, .table = 2004}, "Cilium"},
	};
	char reason[ROAD_REASON_LEN];

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct road_rule rule = cases[i].rule;
		const char *why;

		rule.family = AF_INET6;
		rule.protocol = RTPROT_STATIC;
		why = road_rule_judge(&spec, &rule, reason);
		if (!cases[i].says) {
			assert_null(why);
			continue;
		}
		assert_non_null(why);
		assert_non_null(strstr(why, cases[i].says));
		assert_null(strchr(why, '\n'));
		rule.protocol = ROAD_PROTOCOL;
		assert_null(road_rule_judge(&spec, &rule, reason));
	}
}

static void test_cilium_leaves_four_bits(void **state)
{
	const struct road_spec narrow = {0x2000, 0x3000, 0xf000, 28791};
	const struct road_rule rule = {
	    .family = AF_INET, .mark = 0x200, .mask = 0xf00, .table = 2004};
	char reason[ROAD_REASON_LEN];

	(void)state;
	assert_null(road_rule_judge(&narrow, &rule, reason));
}

/* Rules of nftables */

static struct nftnl_expr *add(struct nftnl_rule *rule, const char *name)
{
	struct nftnl_expr *e = nftnl_expr_alloc(name);

	assert_non_null(e);
	nftnl_rule_add_expr(rule, e);
	return e;
}

static void add_mark(struct nftnl_rule *rule, const char *name, uint32_t key, bool set,
                     uint32_t reg)
{
	const bool is_ct = !strcmp(name, "ct");
	struct nftnl_expr *e = add(rule, name);

	nftnl_expr_set_u32(e, is_ct ? NFTNL_EXPR_CT_KEY : NFTNL_EXPR_META_KEY, key);
	if (set)
		nftnl_expr_set_u32(e, is_ct ? NFTNL_EXPR_CT_SREG : NFTNL_EXPR_META_SREG, reg);
	else
		nftnl_expr_set_u32(e, is_ct ? NFTNL_EXPR_CT_DREG : NFTNL_EXPR_META_DREG, reg);
}

static void add_bitwise(struct nftnl_rule *rule, uint32_t reg, uint32_t mask, uint32_t flip)
{
	struct nftnl_expr *e = add(rule, "bitwise");

	nftnl_expr_set_u32(e, NFTNL_EXPR_BITWISE_SREG, reg);
	nftnl_expr_set_u32(e, NFTNL_EXPR_BITWISE_DREG, reg);
	nftnl_expr_set_u32(e, NFTNL_EXPR_BITWISE_LEN, 4);
	nftnl_expr_set(e, NFTNL_EXPR_BITWISE_MASK, &mask, sizeof(mask));
	nftnl_expr_set(e, NFTNL_EXPR_BITWISE_XOR, &flip, sizeof(flip));
}

static void add_immediate(struct nftnl_rule *rule, uint32_t reg, uint32_t value)
{
	struct nftnl_expr *e = add(rule, "immediate");

	nftnl_expr_set_u32(e, NFTNL_EXPR_IMM_DREG, reg);
	nftnl_expr_set(e, NFTNL_EXPR_IMM_DATA, &value, sizeof(value));
}

/* libnftnl frees what it is given. */
static void add_target(struct nftnl_rule *rule, const char *name, const void *info, uint32_t length)
{
	struct nftnl_expr *e = add(rule, "target");
	void *copy = malloc(length);

	assert_non_null(copy);
	memcpy(copy, info, length);
	nftnl_expr_set_str(e, NFTNL_EXPR_TG_NAME, name);
	nftnl_expr_set_u32(e, NFTNL_EXPR_TG_REV, 2);
	nftnl_expr_set(e, NFTNL_EXPR_TG_INFO, copy, length);
}

static uint32_t marks_and_free(struct nftnl_rule *rule)
{
	uint32_t marks = marks_of_rule(rule);

	nftnl_rule_free(rule);
	return marks;
}

static void test_marks_that_rules_set(void **state)
{
	struct nftnl_rule *rule = nftnl_rule_alloc();

	(void)state;
	assert_int_equal(marks_and_free(rule), 0);

	rule = nftnl_rule_alloc(); /* meta mark set 0x20000001 */
	add_immediate(rule, NFT_REG32_00, 0x20000001);
	add_mark(rule, "meta", NFT_META_MARK, true, NFT_REG_1);
	assert_int_equal(marks_and_free(rule), 0x20000001);

	rule = nftnl_rule_alloc(); /* meta mark set meta mark & 0xffffff0f | 0x4000 */
	add_mark(rule, "meta", NFT_META_MARK, false, NFT_REG_2);
	add_bitwise(rule, NFT_REG_2, 0xffffff0f, 0x4000);
	add_mark(rule, "meta", NFT_META_MARK, true, NFT_REG32_04);
	assert_int_equal(marks_and_free(rule), 0x4000);

	rule = nftnl_rule_alloc(); /* ct mark set 0x40000000, to be restored elsewhere */
	add_immediate(rule, NFT_REG_1, 0x40000000);
	add_mark(rule, "ct", NFT_CT_MARK, true, NFT_REG_1);
	assert_int_equal(marks_and_free(rule), 0x40000000);

	rule = nftnl_rule_alloc(); /* meta mark == 0x60000000, and priority set: no mark is set */
	add_mark(rule, "meta", NFT_META_MARK, false, NFT_REG_1);
	add_bitwise(rule, NFT_REG_1, 0xf0000000, 0);
	add_immediate(rule, NFT_REG_1, 0x60000000);
	add_mark(rule, "meta", NFT_META_PRIORITY, true, NFT_REG_1);
	assert_int_equal(marks_and_free(rule), 0);

	rule = nftnl_rule_alloc(); /* ct mark set meta mark: what is there, not more */
	add_immediate(rule, NFT_REG_1, 0x60000000);
	add_mark(rule, "meta", NFT_META_MARK, false, NFT_REG_1);
	add_mark(rule, "ct", NFT_CT_MARK, true, NFT_REG_1);
	assert_int_equal(marks_and_free(rule), 0);
}

static void test_marks_that_iptables_sets(void **state)
{
	const struct xt_mark_tginfo2 mark = {.mark = 0x10000000, .mask = 0x10000000};
	struct xt_connmark_tginfo1 connection = {.ctmark = 0x80, .mode = XT_CONNMARK_SET};
	struct nftnl_rule *rule = nftnl_rule_alloc();

	(void)state;
	add_target(rule, "MARK", &mark, sizeof(mark));
	assert_int_equal(marks_and_free(rule), 0x10000000);

	rule = nftnl_rule_alloc();
	add_target(rule, "MARK", &mark, sizeof(mark) - 1);
	assert_int_equal(marks_and_free(rule), 0);

	rule = nftnl_rule_alloc();
	add_target(rule, "CONNMARK", &connection, sizeof(connection));
	assert_int_equal(marks_and_free(rule), 0x80);

	connection.mode = XT_CONNMARK_RESTORE;
	rule = nftnl_rule_alloc();
	add_target(rule, "CONNMARK", &connection, sizeof(connection));
	assert_int_equal(marks_and_free(rule), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_rules_read_back_as_they_were_written),
	    cmocka_unit_test(test_the_reverse_path_is_spared),
	    cmocka_unit_test(test_what_is_no_rule_is_not_read),
	    cmocka_unit_test(test_whose_rules_are_in_the_way),
	    cmocka_unit_test(test_cilium_leaves_four_bits),
	    cmocka_unit_test(test_marks_that_rules_set),
	    cmocka_unit_test(test_marks_that_iptables_sets),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
