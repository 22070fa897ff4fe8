/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/firewall/standalone.h"

#include "common/cleanup.h"
#include "common/clock.h"
#include "daemon/firewall/blocks.h"
#include "daemon/firewall/chain.h"
#include "daemon/firewall/dump.h"
#include "daemon/firewall/policy.h"
#include "daemon/firewall/ruleset.h"
#include "daemon/firewall/set.h"

#include <errno.h>
#include <string.h>

enum {
	TRIES = 20, /* somebody else's change, docker's say, makes one of them fail */
	MAX_CHAINS = CONF_MAX_BREAKERS,
	NAME_LEN = 32,
};

static const sa_family_t families[] = {AF_INET, AF_INET6};

/* What is in the kernel, in the terms of the daemon's table: a chain is a breaker's. */
struct state {
	bool exists;
	struct blocks *blocks;
	struct conf conf;
	struct conf_breaker breakers[MAX_CHAINS + 1];
	char names[MAX_CHAINS + 1][NAME_LEN];
	int64_t now_ms;
};

static void free_state(struct state *s)
{
	if (!s)
		return;
	blocks_free(s->blocks);
	free(s);
}

AUTO_CLEANUP(state, struct state *, free_state)
#define auto_state __attribute__((cleanup(cleanup_state)))

static struct state *new_state(void)
{
	struct state *s = calloc(1, sizeof(*s));

	if (!s)
		return NULL;
	s->blocks = blocks_new();
	if (!s->blocks) {
		free(s);
		return NULL;
	}
	s->now_ms = clock_monotonic_ms();
	s->conf.breakers = s->breakers;
	return s;
}

/* One more rule; returns its number, or BLOCKS_RULE_ORPHAN when there are too many. */
static uint32_t add_rule(struct state *s, const char *name)
{
	const size_t n = s->conf.n_breakers;

	if (n > MAX_CHAINS || strlen(name) >= NAME_LEN)
		return BLOCKS_RULE_ORPHAN;
	memcpy(s->names[n], name, strlen(name) + 1);
	s->breakers[n].name = s->names[n];
	s->conf.n_breakers++;
	return (uint32_t)s->conf.n_breakers;
}

static int see_block(const struct dump_element *e, void *closure)
{
	static const char prefix[] = "rule_";
	struct state *s = closure;
	struct block block = {.endpoint = e->endpoint,
	                      .rule = chain_rule_from_name(&s->conf, e->chain),
	                      .deadline_ms = s->now_ms + (int64_t)e->expires_ms};

	if (!e->is_tcp)
		return 0;
	if (block.rule == BLOCKS_RULE_ORPHAN && !strncmp(e->chain, prefix, strlen(prefix)))
		block.rule = add_rule(s, e->chain + strlen(prefix));
	/* Somebody else's hands were at work; only deleting the table helps. */
	if (block.rule == BLOCKS_RULE_ORPHAN)
		return -EXFULL;
	return blocks_put(s->blocks, &block);
}

static int see_hits(const struct dump_element *e, void *closure)
{
	struct state *s = closure;
	struct block *block = blocks_find(s->blocks, &e->endpoint);

	if (block) {
		block->packets = e->packets;
		block->bytes = e->bytes;
	}
	return 0;
}

/* What is changed afterwards is changed only if nobody else has changed anything since. */
static int read_state(struct nft *nft, struct state *s)
{
	int err = nft_get_generation(nft, &nft->expected_generation);
	int exists = err ? err : nft_table_exists(nft);

	if (exists <= 0)
		return exists;
	s->exists = true;
	for (size_t i = 0; !err && i < ARRAY_LEN(families); i++)
		err = dump_endpoints(nft, set_map_name(families[i]), see_block, s);
	for (size_t i = 0; !err && i < ARRAY_LEN(families); i++)
		err = dump_endpoints(nft, set_hits_name(families[i]), see_hits, s);
	return err;
}

static const char *explain(int err)
{
	switch (-err) {
	case EPERM: return "needs CAP_NET_ADMIN: run it as root";
	case ERESTART: return "somebody else keeps changing the rules; try again";
	case EXFULL: return "too many calls have blocks in force; unblock some, or all";
	case ENOMEM: return "out of memory";
	default: return strerror(-err);
	}
}

/* Block */

static const char *check(const struct state *s, const struct standalone_request *request)
{
	size_t n = blocks_count(s->blocks);

	for (size_t i = 0; i < request->n_endpoints; i++) {
		const struct endpoint *e = &request->endpoints[i];

		n += blocks_find(s->blocks, e) == NULL;
	}
	return n > STANDALONE_MAX_BLOCKS ? "more than 16384 blocks at once" : NULL;
}

static bool has_rule(const struct state *s, const char *name)
{
	for (size_t i = 0; i < s->conf.n_breakers; i++)
		if (!strcmp(s->names[i], name))
			return true;
	return false;
}

/* Not that of a chain which is there: another call may have come within this millisecond. */
static void name_rule(const struct state *s, char name[static NAME_LEN])
{
	int64_t now_ms = clock_wall_ms();

	do
		snprintf(name, NAME_LEN, "%lld", (long long)now_ms++);
	while (has_rule(s, name));
}

static struct block make_block(const struct state *s, const struct standalone_request *request,
                               size_t i, uint32_t rule)
{
	const struct block *present = blocks_find(s->blocks, &request->endpoints[i]);
	struct block block = {.endpoint = request->endpoints[i],
	                      .rule = rule,
	                      .deadline_ms = s->now_ms + (int64_t)request->timeout_ms};

	if (present) {
		block.packets = present->packets;
		block.bytes = present->bytes;
	}
	return block;
}

/* The table anew: what has expired in it leaves its chains behind, which go here. */
static void write_table(struct nft_batch *batch, struct state *s)
{
	const struct ruleset_spec spec = {.conf = &s->conf, .prober_uid = RULESET_NO_PROBER};

	if (s->exists)
		nft_batch_delete_table(batch);
	ruleset_add_table(batch, &spec, NULL, 0, s->now_ms);
}

static int try_block(struct nft *nft, struct state *s, const struct standalone_request *request,
                     uint32_t rule)
{
	auto_batch struct nft_batch batch = {0};

	nft_batch_init(nft, &batch);
	if (blocks_count(s->blocks) == 0)
		write_table(&batch, s);
	else
		ruleset_add_rule(&batch, &s->conf, rule);
	for (size_t i = 0; i < request->n_endpoints; i++) {
		struct block block = make_block(s, request, i, rule);
		const struct block *present = blocks_find(s->blocks, &block.endpoint);

		ruleset_put_block(&batch, &s->conf, &block, present, s->now_ms);
	}
	return nft_batch_commit(nft, &batch);
}

const char *standalone_block(struct nft *nft, const struct standalone_request *request)
{
	int err = -ERESTART;

	for (unsigned i = 0; i < TRIES && (err == -ERESTART || err == -EEXIST); i++) {
		auto_state struct state *s = new_state();
		char name[NAME_LEN];
		const char *why;
		uint32_t rule;

		if (!s)
			return explain(-ENOMEM);
		err = read_state(nft, s);
		if (err)
			break;
		why = check(s, request);
		if (why)
			return why;
		name_rule(s, name);
		rule = add_rule(s, name);
		if (rule == BLOCKS_RULE_ORPHAN)
			return explain(-EXFULL);
		s->breakers[rule - 1].allow_from =
		    (struct conf_prefixes){.items = request->allow, .count = request->n_allow};
		err = try_block(nft, s, request, rule);
	}
	return err ? explain(err) : NULL;
}

/* Unblock */

static int try_unblock(struct nft *nft, const struct state *s,
                       const struct standalone_request *request)
{
	auto_batch struct nft_batch batch = {0};

	nft_batch_init(nft, &batch);
	if (blocks_count(s->blocks) == request->n_endpoints) {
		nft_batch_delete_table(&batch);
		return nft_batch_commit(nft, &batch);
	}
	for (size_t i = 0; i < request->n_endpoints; i++)
		ruleset_remove_block(&batch, &s->conf,
		                     blocks_find(s->blocks, &request->endpoints[i]), s->now_ms);
	return nft_batch_commit(nft, &batch);
}

const char *standalone_unblock(struct nft *nft, const struct standalone_request *request)
{
	int err = -ERESTART;

	for (unsigned i = 0; i < TRIES && (err == -ERESTART || err == -EEXIST); i++) {
		auto_state struct state *s = new_state();

		if (!s)
			return explain(-ENOMEM);
		err = read_state(nft, s);
		if (err)
			break;
		if (!s->exists)
			return "nothing is blocked";
		for (size_t k = 0; k < request->n_endpoints; k++)
			if (!blocks_find(s->blocks, &request->endpoints[k]))
				return "not all of these are blocked; nothing is changed";
		err = try_unblock(nft, s, request);
	}
	return err ? explain(err) : NULL;
}

const char *standalone_delete(struct nft *nft)
{
	auto_batch struct nft_batch batch = {0};
	int err;

	nft_batch_init(nft, &batch);
	nft_batch_delete_table(&batch);
	err = nft_batch_commit(nft, &batch);
	return err && err != -ENOENT ? explain(err) : NULL;
}

const char *standalone_list(struct nft *nft, int fd)
{
	auto_state struct state *s = new_state();
	auto_free struct block **list = NULL;
	size_t n = 0;
	int err = s ? read_state(nft, s) : -ENOMEM;

	if (!err)
		err = blocks_list(s->blocks, &list, &n);
	for (size_t i = 0; !err && i < n; i++) {
		char text[ENDPOINT_TEXT_LEN];

		if (dprintf(fd, "%s %lld %llu %llu\n", endpoint_format(&list[i]->endpoint, text),
		            (long long)(list[i]->deadline_ms - s->now_ms),
		            (unsigned long long)list[i]->packets,
		            (unsigned long long)list[i]->bytes) < 0)
			err = -errno;
	}
	return err ? explain(err) : NULL;
}
