/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/firewall/marks.h"

#include "common/cleanup.h"

#include <libnftnl/expr.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/xt_connmark.h>
#include <linux/netfilter/xt_mark.h>
#include <string.h>

/* The registers of 32 bits, and for each which bits of it constants may have set. */
enum { REGISTERS = NFT_REG32_15 - NFT_REG32_00 + 1 };

struct machine {
	uint32_t may_be_set[REGISTERS];
	uint32_t marks;
};

/* The registers of 128 bits overlap with four of those each. */
static uint32_t *find_register(struct machine *m, uint32_t number)
{
	if (number >= NFT_REG_1 && number <= NFT_REG_4)
		return &m->may_be_set[(number - NFT_REG_1) * 4];
	if (number >= NFT_REG32_00 && number <= NFT_REG32_15)
		return &m->may_be_set[number - NFT_REG32_00];
	return NULL;
}

static uint32_t read_register(struct machine *m, uint32_t number)
{
	const uint32_t *found = find_register(m, number);

	return found ? *found : 0;
}

static void write_register(struct machine *m, uint32_t number, uint32_t bits)
{
	uint32_t *found = find_register(m, number);

	if (found)
		*found = bits;
}

static uint32_t read_word(const struct nftnl_expr *e, uint16_t attribute)
{
	uint32_t length = 0, word = 0;
	const void *bytes =
	    nftnl_expr_is_set(e, attribute) ? nftnl_expr_get(e, attribute, &length) : NULL;

	if (bytes && length >= sizeof(word))
		memcpy(&word, bytes, sizeof(word));
	return word;
}

static void run_bitwise(struct machine *m, const struct nftnl_expr *e)
{
	uint32_t bits = read_register(m, nftnl_expr_get_u32(e, NFTNL_EXPR_BITWISE_SREG));

	bits &= read_word(e, NFTNL_EXPR_BITWISE_MASK);
	bits |= read_word(e, NFTNL_EXPR_BITWISE_XOR);
	write_register(m, nftnl_expr_get_u32(e, NFTNL_EXPR_BITWISE_DREG), bits);
}

/* `meta` and `ct`, which read into a register or are set from one. */
static void run_mark(struct machine *m, const struct nftnl_expr *e, uint16_t sreg, uint16_t dreg,
                     bool is_mark)
{
	if (nftnl_expr_is_set(e, dreg))
		write_register(m, nftnl_expr_get_u32(e, dreg), 0);
	else if (is_mark)
		m->marks |= read_register(m, nftnl_expr_get_u32(e, sreg));
}

static void run_target(struct machine *m, const struct nftnl_expr *e)
{
	const char *name = nftnl_expr_get_str(e, NFTNL_EXPR_TG_NAME);
	uint32_t length = 0;
	const void *info = nftnl_expr_get(e, NFTNL_EXPR_TG_INFO, &length);
	struct xt_connmark_tginfo1 connection;
	struct xt_mark_tginfo2 packet;

	if (!name || !info)
		return;
	if (!strcmp(name, "MARK") && length >= sizeof(packet)) {
		memcpy(&packet, info, sizeof(packet));
		m->marks |= packet.mark;
	}
	if (!strcmp(name, "CONNMARK") && length >= sizeof(connection)) {
		memcpy(&connection, info, sizeof(connection));
		if (connection.mode == XT_CONNMARK_SET)
			m->marks |= connection.ctmark;
	}
}

static int run(struct nftnl_expr *e, void *closure)
{
	const char *name = nftnl_expr_get_str(e, NFTNL_EXPR_NAME);
	struct machine *m = closure;

	if (!name)
		return 0;
	if (!strcmp(name, "immediate") && nftnl_expr_is_set(e, NFTNL_EXPR_IMM_DATA))
		write_register(m, nftnl_expr_get_u32(e, NFTNL_EXPR_IMM_DREG),
		               read_word(e, NFTNL_EXPR_IMM_DATA));
	else if (!strcmp(name, "bitwise"))
		run_bitwise(m, e);
	else if (!strcmp(name, "meta"))
		run_mark(m, e, NFTNL_EXPR_META_SREG, NFTNL_EXPR_META_DREG,
		         nftnl_expr_get_u32(e, NFTNL_EXPR_META_KEY) == NFT_META_MARK);
	else if (!strcmp(name, "ct"))
		run_mark(m, e, NFTNL_EXPR_CT_SREG, NFTNL_EXPR_CT_DREG,
		         nftnl_expr_get_u32(e, NFTNL_EXPR_CT_KEY) == NFT_CT_MARK);
	else if (!strcmp(name, "target"))
		run_target(m, e);
	return 0;
}

uint32_t marks_of_rule(struct nftnl_rule *rule)
{
	struct machine m = {0};

	nftnl_expr_foreach(rule, run, &m);
	return m.marks;
}
