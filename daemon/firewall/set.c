/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/firewall/set.h"

#include "common/cleanup.h"
#include "daemon/firewall/chain.h"
#include "daemon/firewall/policy.h"
#include "daemon/firewall/wire.h"

#include <errno.h>
#include <libnftnl/expr.h>
#include <libnftnl/set.h>
#include <string.h>

enum {
	/* An element list is one attribute, whose length has 16 bits: 64 KB. With a chain's name of
	 * 255 bytes an element takes at most some 450. */
	ELEMENTS_A_MESSAGE = 128,
	/* What nft(8) needs to show our sets as they are meant: its numbers of data types
	 * (libnftables, datatype.h), six bits each in a concatenation. */
	TYPE_IPV4_ADDRESS = 7,
	TYPE_IPV6_ADDRESS = 8,
	TYPE_INET_PROTOCOL = 12,
	TYPE_INET_SERVICE = 13,
	TYPE_MARK = 19, /* any 32 bits */
	TYPE_BITS = 6,
};
#define TYPE_VERDICT 0xffffff00U

AUTO_CLEANUP(nftnl_set, struct nftnl_set *, nftnl_set_free)
#define auto_set __attribute__((cleanup(cleanup_nftnl_set)))

const char *set_map_name(sa_family_t family)
{
	return family == AF_INET ? "block4" : "block6";
}

const char *set_filter_name(sa_family_t family)
{
	return family == AF_INET ? "filter4" : "filter6";
}

const char *set_seal_name(sa_family_t family)
{
	return family == AF_INET ? "seal4" : "seal6";
}

const char *set_drain_name(sa_family_t family)
{
	return family == AF_INET ? "drain4" : "drain6";
}

const char *set_hits_name(sa_family_t family)
{
	return family == AF_INET ? "hits4" : "hits6";
}

const char *set_ledger_name(sa_family_t family)
{
	return family == AF_INET ? "ledger4" : "ledger6";
}

const char *set_peers_name(sa_family_t family)
{
	return family == AF_INET ? "peers4" : "peers6";
}

static uint32_t address_type(sa_family_t family)
{
	return family == AF_INET ? TYPE_IPV4_ADDRESS : TYPE_IPV6_ADDRESS;
}

static uint32_t endpoint_type(sa_family_t family)
{
	return address_type(family) << 2 * TYPE_BITS | TYPE_INET_PROTOCOL << TYPE_BITS |
	       TYPE_INET_SERVICE;
}

/* A set to put attributes or elements in; NULL, and the batch failed, when memory is out. */
static struct nftnl_set *new_set(struct nft_batch *batch, const char *name)
{
	auto_set struct nftnl_set *set = nftnl_set_alloc();

	if (!set || nftnl_set_set_str(set, NFTNL_SET_TABLE, batch->table) ||
	    nftnl_set_set_str(set, NFTNL_SET_NAME, name)) {
		batch->failed = true;
		return NULL;
	}
	return steal_ptr(&set);
}

static void describe_endpoints(struct nftnl_set *set, enum set_kind kind, sa_family_t family,
                               uint32_t size)
{
	nftnl_set_set_u32(set, NFTNL_SET_KEY_TYPE, endpoint_type(family));
	nftnl_set_set_u32(set, NFTNL_SET_KEY_LEN,
	                  family == AF_INET ? NFT_KEY4_BYTES : NFT_KEY6_BYTES);
	nftnl_set_set_u32(set, NFTNL_SET_FLAGS,
	                  NFT_SET_TIMEOUT | (kind == SET_BLOCKS ? NFT_SET_MAP : 0U));
	if (kind == SET_BLOCKS)
		nftnl_set_set_u32(set, NFTNL_SET_DATA_TYPE, TYPE_VERDICT);
	if (size)
		nftnl_set_set_u32(set, NFTNL_SET_DESC_SIZE, size);
}

static void describe_peers(struct nftnl_set *set, sa_family_t family)
{
	const uint32_t address = address_type(family);

	nftnl_set_set_u32(set, NFTNL_SET_KEY_TYPE,
	                  address << 2 * TYPE_BITS | address << TYPE_BITS | TYPE_INET_SERVICE);
	nftnl_set_set_u32(set, NFTNL_SET_KEY_LEN, nft_peer_key_length(family));
	nftnl_set_set_u32(set, NFTNL_SET_FLAGS, NFT_SET_TIMEOUT | NFT_SET_EVAL);
	nftnl_set_set_u64(set, NFTNL_SET_TIMEOUT, FIREWALL_LEDGER_MS);
	nftnl_set_set_u32(set, NFTNL_SET_DESC_SIZE, FIREWALL_LEDGER_PEERS_MAX);
}

static void describe_stamp(struct nftnl_set *set)
{
	uint32_t type = 0;

	for (size_t i = 0; i < SET_STAMP_BYTES / sizeof(uint32_t); i++)
		type = type << TYPE_BITS | TYPE_MARK;
	nftnl_set_set_u32(set, NFTNL_SET_KEY_TYPE, type);
	nftnl_set_set_u32(set, NFTNL_SET_KEY_LEN, SET_STAMP_BYTES);
}

void set_add(struct nft_batch *batch, const char *name, enum set_kind kind, sa_family_t family,
             uint32_t size, uint32_t id)
{
	auto_set struct nftnl_set *set = new_set(batch, name);
	struct nlmsghdr *message;

	if (!set)
		return;
	nftnl_set_set_u32(set, NFTNL_SET_FAMILY, NFPROTO_INET);
	nftnl_set_set_u32(set, NFTNL_SET_ID, id);
	switch (kind) {
	case SET_ADDRESSES:
		nftnl_set_set_u32(set, NFTNL_SET_KEY_TYPE, address_type(family));
		nftnl_set_set_u32(set, NFTNL_SET_KEY_LEN, family == AF_INET ? 4 : 16);
		break;
	case SET_BLOCKS:
	case SET_HITS:
	case SET_DRAIN:
	case SET_LEDGER: describe_endpoints(set, kind, family, size); break;
	case SET_PEERS: describe_peers(set, family); break;
	case SET_STAMP: describe_stamp(set); break;
	}
	message = nft_batch_message(batch, NFT_MSG_NEWSET, NLM_F_CREATE | NLM_F_EXCL);
	if (!message)
		return;
	nftnl_set_nlmsg_build_payload(message, set);
	nft_batch_end_message(batch, message);
}

static void put_elements(struct nft_batch *batch, uint16_t type, struct nftnl_set *set)
{
	const uint16_t create = batch->exclusive ? NLM_F_CREATE | NLM_F_EXCL : NLM_F_CREATE;
	struct nlmsghdr *message =
	    nft_batch_message(batch, type, type == NFT_MSG_NEWSETELEM ? create : 0);

	if (!message)
		return;
	nftnl_set_elems_nlmsg_build_payload(message, set);
	nft_batch_end_message(batch, message);
}

/* Prefixes */

void set_put_prefixes(struct nft_batch *batch, uint16_t type, const char *name, unsigned bits,
                      const struct prefix *items, size_t count)
{
	for (size_t i = 0; i < count;) {
		auto_set struct nftnl_set *set = new_set(batch, name);
		size_t n = 0;

		if (!set)
			return;
		for (; i < count && n < ELEMENTS_A_MESSAGE; i++) {
			struct nftnl_set_elem *element;

			if (items[i].bits != bits)
				continue;
			element = nftnl_set_elem_alloc();
			if (!element) {
				batch->failed = true;
				return;
			}
			nftnl_set_elem_set(element, NFTNL_SET_ELEM_KEY, items[i].address,
			                   items[i].family == AF_INET ? 4 : 16);
			nftnl_set_elem_add(set, element);
			n++;
		}
		if (n)
			put_elements(batch, type, set);
	}
}

/* Blocks */

static struct nftnl_set_elem *new_element(const struct endpoint *e, int64_t deadline_ms,
                                          uint16_t type, int64_t now_ms)
{
	const struct nft_key key = nft_key_from_endpoint(e);
	struct nftnl_set_elem *element = nftnl_set_elem_alloc();

	if (!element)
		return NULL;
	nftnl_set_elem_set(element, NFTNL_SET_ELEM_KEY, key.bytes, key.length);
	if (type == NFT_MSG_NEWSETELEM) {
		/* 0 would be "never": what is about to expire gets another millisecond. */
		int64_t left_ms = deadline_ms - now_ms;

		nftnl_set_elem_set_u64(element, NFTNL_SET_ELEM_TIMEOUT,
		                       left_ms > 0 ? (uint64_t)left_ms : 1);
	}
	return element;
}

bool set_is_filtered(const struct conf *conf, const struct block *block)
{
	return !block->fallback && policy_is_filter(conf, block->rule);
}

/* The lists of one message each, which are filled together. */
struct lists {
	struct nft_batch *batch;
	const struct conf *conf;
	uint16_t type;
	int64_t now_ms;
	struct nftnl_set *map, *filter, *seal, *hits, *drain;
	size_t n_map, n_filter, n_seal, n_hits, n_drain;
};

static bool add_jump(const struct lists *l, struct nftnl_set *set, const struct block *block,
                     const char *chain)
{
	struct nftnl_set_elem *element =
	    new_element(&block->endpoint, block->deadline_ms, l->type, l->now_ms);

	if (!element)
		return false;
	nftnl_set_elem_set_u32(element, NFTNL_SET_ELEM_VERDICT, (uint32_t)NFT_JUMP);
	nftnl_set_elem_set_str(element, NFTNL_SET_ELEM_CHAIN, chain);
	nftnl_set_elem_add(set, element);
	return true;
}

/* A counter has a part for each processor, so that it costs more than all the rest. */
static bool add_hits_to(struct nftnl_set *hits, const struct block *block, uint16_t type,
                        int64_t now_ms)
{
	struct nftnl_set_elem *element =
	    new_element(&block->endpoint, block->deadline_ms, type, now_ms);
	struct nftnl_expr *counter;

	if (!element)
		return false;
	nftnl_set_elem_add(hits, element);
	if (type != NFT_MSG_NEWSETELEM)
		return true;
	counter = nftnl_expr_alloc("counter");
	if (!counter)
		return false;
	nftnl_expr_set_u64(counter, NFTNL_EXPR_CTR_PACKETS, block->packets);
	nftnl_expr_set_u64(counter, NFTNL_EXPR_CTR_BYTES, block->bytes);
	nftnl_set_elem_add_expr(element, counter);
	return true;
}

/* On bridges nothing is counted. */
static bool add_hits(struct lists *l, const struct block *block)
{
	if (l->batch->uncounted || l->batch->family == NFPROTO_BRIDGE)
		return true;
	l->n_hits++;
	return add_hits_to(l->hits, block, l->type, l->now_ms);
}

static bool add_refused(struct lists *l, const struct block *block)
{
	char chain[NFT_NAME_MAXLEN];

	if (!add_jump(l, l->map, block, chain_name_of_rule(l->conf, block->rule, chain)))
		return false;
	l->n_map++;
	return add_hits(l, block);
}

static bool add_filtered(struct lists *l, const struct block *block)
{
	const struct conf_breaker *breaker = &l->conf->breakers[block->rule - 1];
	char chain[NFT_NAME_MAXLEN];

	if (l->batch->family == NFPROTO_BRIDGE)
		return breaker->filter.on_failure == CONF_ON_FAILURE_OPEN || add_refused(l, block);
	if (!add_jump(l, l->filter, block, chain_name_of_filter(l->conf, block->rule, chain)))
		return false;
	l->n_filter++;
	if (breaker->seal_local) {
		if (!add_jump(l, l->seal, block, chain_name_of_seal(l->conf, block->rule, chain)))
			return false;
		l->n_seal++;
	}
	if (block->drain_until_ms > l->now_ms) {
		struct nftnl_set_elem *element =
		    new_element(&block->endpoint, block->drain_until_ms, l->type, l->now_ms);

		if (!element)
			return false;
		nftnl_set_elem_add(l->drain, element);
		l->n_drain++;
	}
	return add_hits(l, block);
}

static void put_some(struct nft_batch *batch, uint16_t type, struct nftnl_set *set, size_t count)
{
	if (count)
		put_elements(batch, type, set);
}

void set_put_blocks(struct nft_batch *batch, const struct conf *conf, uint16_t type,
                    sa_family_t family, struct block *const *blocks, size_t count, int64_t now_ms)
{
	for (size_t i = 0; i < count;) {
		auto_set struct nftnl_set *map = new_set(batch, set_map_name(family));
		auto_set struct nftnl_set *filter = new_set(batch, set_filter_name(family));
		auto_set struct nftnl_set *seal = new_set(batch, set_seal_name(family));
		auto_set struct nftnl_set *hits = new_set(batch, set_hits_name(family));
		auto_set struct nftnl_set *drain = new_set(batch, set_drain_name(family));
		struct lists l = {.batch = batch,
		                  .conf = conf,
		                  .type = type,
		                  .now_ms = now_ms,
		                  .map = map,
		                  .filter = filter,
		                  .seal = seal,
		                  .hits = hits,
		                  .drain = drain};

		if (!map || !filter || !seal || !hits || !drain)
			return;
		for (; i < count && l.n_map + l.n_filter < ELEMENTS_A_MESSAGE; i++) {
			bool added = true;

			if (blocks[i]->endpoint.family == family)
				added = set_is_filtered(conf, blocks[i])
				            ? add_filtered(&l, blocks[i])
				            : add_refused(&l, blocks[i]);
			if (!added) {
				batch->failed = true;
				return;
			}
		}
		put_some(batch, type, map, l.n_map);
		put_some(batch, type, filter, l.n_filter);
		put_some(batch, type, seal, l.n_seal);
		put_some(batch, type, hits, l.n_hits);
		put_some(batch, type, drain, l.n_drain);
	}
}

void set_put_hits(struct nft_batch *batch, sa_family_t family, struct block *const *blocks,
                  size_t count, int64_t now_ms)
{
	for (size_t i = 0; i < count;) {
		auto_set struct nftnl_set *hits = new_set(batch, set_hits_name(family));
		size_t n = 0;

		if (!hits)
			return;
		for (; i < count && n < ELEMENTS_A_MESSAGE; i++) {
			if (blocks[i]->endpoint.family != family)
				continue;
			if (!add_hits_to(hits, blocks[i], NFT_MSG_NEWSETELEM, now_ms)) {
				batch->failed = true;
				return;
			}
			n++;
		}
		put_some(batch, NFT_MSG_NEWSETELEM, hits, n);
	}
}

/* The ledger */

void set_put_ledger(struct nft_batch *batch, uint16_t type, sa_family_t family,
                    struct block *const *endpoints, size_t count, int64_t now_ms)
{
	for (size_t i = 0; i < count;) {
		auto_set struct nftnl_set *set = new_set(batch, set_ledger_name(family));
		size_t n = 0;

		if (!set)
			return;
		for (; i < count && n < ELEMENTS_A_MESSAGE; i++) {
			struct nftnl_set_elem *element;

			if (endpoints[i]->endpoint.family != family)
				continue;
			element = new_element(&endpoints[i]->endpoint, endpoints[i]->deadline_ms,
			                      type, now_ms);
			if (!element) {
				batch->failed = true;
				return;
			}
			nftnl_set_elem_add(set, element);
			n++;
		}
		if (n)
			put_elements(batch, type, set);
	}
}

static bool add_peer(struct nftnl_set *set, const struct ledger_peer *peer)
{
	const struct nft_peer_key key = nft_peer_key_from(&peer->endpoint, peer->peer);
	struct nftnl_set_elem *element = nftnl_set_elem_alloc();
	struct nftnl_expr *counter;

	if (!element)
		return false;
	nftnl_set_elem_set(element, NFTNL_SET_ELEM_KEY, key.bytes, key.length);
	nftnl_set_elem_set_u64(element, NFTNL_SET_ELEM_TIMEOUT, FIREWALL_LEDGER_MS);
	nftnl_set_elem_set_u64(element, NFTNL_SET_ELEM_EXPIRATION,
	                       peer->expires_ms ? peer->expires_ms : 1);
	nftnl_set_elem_add(set, element);
	counter = nftnl_expr_alloc("counter");
	if (!counter)
		return false;
	nftnl_expr_set_u64(counter, NFTNL_EXPR_CTR_PACKETS, peer->connections);
	nftnl_expr_set_u64(counter, NFTNL_EXPR_CTR_BYTES, peer->bytes);
	nftnl_set_elem_add_expr(element, counter);
	return true;
}

void set_put_peers(struct nft_batch *batch, sa_family_t family, const struct ledger_peer *peers,
                   size_t count)
{
	for (size_t i = 0; i < count;) {
		auto_set struct nftnl_set *set = new_set(batch, set_peers_name(family));
		size_t n = 0;

		if (!set)
			return;
		for (; i < count && n < ELEMENTS_A_MESSAGE; i++) {
			if (peers[i].endpoint.family != family)
				continue;
			if (!add_peer(set, &peers[i])) {
				batch->failed = true;
				return;
			}
			n++;
		}
		if (n)
			put_elements(batch, NFT_MSG_NEWSETELEM, set);
	}
}

/* The stamp */

void set_put_stamp(struct nft_batch *batch, const uint8_t key[static SET_STAMP_BYTES])
{
	auto_set struct nftnl_set *set = new_set(batch, SET_STAMP_NAME);
	struct nftnl_set_elem *element;

	if (!set)
		return;
	put_elements(batch, NFT_MSG_DELSETELEM, set); /* none named: all of them */
	element = nftnl_set_elem_alloc();
	if (!element) {
		batch->failed = true;
		return;
	}
	nftnl_set_elem_set(element, NFTNL_SET_ELEM_KEY, key, SET_STAMP_BYTES);
	nftnl_set_elem_add(set, element);
	put_elements(batch, NFT_MSG_NEWSETELEM, set);
}
