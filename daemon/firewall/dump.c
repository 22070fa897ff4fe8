/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/firewall/dump.h"

#include "common/cleanup.h"
#include "daemon/firewall/wire.h"

#include <arpa/inet.h>
#include <errno.h>
#include <libnftnl/expr.h>
#include <libnftnl/set.h>
#include <string.h>

enum {
	DUMP_TRIES = 5,
	/* Answers, one message each, that lie in the socket at once: some 5 KB of its 4 MB each. */
	HITS_AT_ONCE = 256,
};

AUTO_CLEANUP(nftnl_set, struct nftnl_set *, nftnl_set_free)
AUTO_CLEANUP(nftnl_iter, struct nftnl_set_elems_iter *, nftnl_set_elems_iter_destroy)

static bool endpoint_from_key(const uint8_t *key, uint32_t length, struct dump_element *out)
{
	const size_t address_bytes = length - 8;
	uint16_t port;

	if (length != NFT_KEY4_BYTES && length != NFT_KEY6_BYTES)
		return false;
	out->endpoint.family = length == NFT_KEY4_BYTES ? AF_INET : AF_INET6;
	memcpy(out->endpoint.address, key, address_bytes);
	out->is_tcp = key[address_bytes] == IPPROTO_TCP;
	memcpy(&port, key + address_bytes + 4, sizeof(port));
	out->endpoint.port = ntohs(port);
	return true;
}

static uint64_t read_expiration(struct nftnl_set_elem *from)
{
	return nftnl_set_elem_is_set(from, NFTNL_SET_ELEM_EXPIRATION)
	           ? nftnl_set_elem_get_u64(from, NFTNL_SET_ELEM_EXPIRATION)
	           : 0;
}

static void read_counter(struct nftnl_set_elem *from, uint64_t *packets, uint64_t *bytes)
{
	uint32_t length;
	const struct nftnl_expr *counter = nftnl_set_elem_get(from, NFTNL_SET_ELEM_EXPR, &length);

	if (!counter || strcmp(nftnl_expr_get_str(counter, NFTNL_EXPR_NAME), "counter") != 0)
		return;
	*packets = nftnl_expr_get_u64(counter, NFTNL_EXPR_CTR_PACKETS);
	*bytes = nftnl_expr_get_u64(counter, NFTNL_EXPR_CTR_BYTES);
}

static bool read_element(struct nftnl_set_elem *from, struct dump_element *out)
{
	uint32_t length;
	const uint8_t *key = nftnl_set_elem_get(from, NFTNL_SET_ELEM_KEY, &length);
	const char *chain = nftnl_set_elem_get_str(from, NFTNL_SET_ELEM_CHAIN);

	*out = (struct dump_element){0};
	if (!key || !endpoint_from_key(key, length, out))
		return false;
	if (chain && strlen(chain) < sizeof(out->chain))
		memcpy(out->chain, chain, strlen(chain) + 1);
	out->expires_ms = read_expiration(from);
	read_counter(from, &out->packets, &out->bytes);
	return true;
}

struct reading {
	int (*see)(struct nftnl_set_elem *, void *);
	void *closure;
	int result; /* of `see`, or -errno */
	bool interrupted;
};

static int see_elements(const struct nlmsghdr *message, void *closure)
{
	struct reading *reading = closure;
	__attribute__((cleanup(cleanup_nftnl_set))) struct nftnl_set *set = nftnl_set_alloc();
	__attribute__((cleanup(cleanup_nftnl_iter))) struct nftnl_set_elems_iter *iter = NULL;
	struct nftnl_set_elem *element;

	if (message->nlmsg_flags & NLM_F_DUMP_INTR)
		reading->interrupted = true;
	if (set && nftnl_set_elems_nlmsg_parse(message, set) == 0)
		iter = nftnl_set_elems_iter_create(set);
	if (!iter) {
		reading->result = -ENOMEM;
		return MNL_CB_STOP;
	}
	while ((element = nftnl_set_elems_iter_next(iter))) {
		reading->result = reading->see(element, reading->closure);
		if (reading->result)
			return MNL_CB_STOP;
	}
	return MNL_CB_OK;
}

int dump_begin(struct nft *nft, const char *set, uint32_t *seq)
{
	struct nlmsghdr *message = nft_request(nft, NFT_MSG_GETSETELEM, NLM_F_DUMP);

	mnl_attr_put_strz(message, NFTA_SET_ELEM_LIST_TABLE, nft->table);
	mnl_attr_put_strz(message, NFTA_SET_ELEM_LIST_SET, set);
	*seq = message->nlmsg_seq;
	return nft_send(nft, message);
}

/*
 * -EINTR when another transaction came in between that may have changed the set. The kernel counts
 * those of all tables.
 */
static int next_part(struct nft *nft, uint32_t seq, int (*see)(struct nftnl_set_elem *, void *),
                     void *closure)
{
	struct reading reading = {.see = see, .closure = closure};
	int more = nft_receive(nft, seq, see_elements, &reading);

	if (more < 0)
		return more;
	if (reading.result)
		return reading.result;
	return reading.interrupted && !nft->owned ? -EINTR : more;
}

/* Reads a whole set once. */
static int dump(struct nft *nft, const char *set, int (*see)(struct nftnl_set_elem *, void *),
                void *closure)
{
	uint32_t seq;
	int more = dump_begin(nft, set, &seq);

	if (more)
		return more;
	do
		more = next_part(nft, seq, see, closure);
	while (more > 0);
	if (more)
		nft_drain(nft);
	return more;
}

/* Endpoints */

struct seeing {
	int (*see)(const struct dump_element *, void *);
	void *closure;
};

static int see_endpoint(struct nftnl_set_elem *element, void *closure)
{
	const struct seeing *seeing = closure;
	struct dump_element e;

	return read_element(element, &e) ? seeing->see(&e, seeing->closure) : 0;
}

int dump_next(struct nft *nft, uint32_t seq, int (*see)(const struct dump_element *, void *),
              void *closure)
{
	struct seeing seeing = {see, closure};

	return next_part(nft, seq, see_endpoint, &seeing);
}

int dump_endpoints(struct nft *nft, const char *set,
                   int (*see)(const struct dump_element *, void *), void *closure)
{
	struct seeing seeing = {see, closure};
	int err = -EINTR;

	for (unsigned i = 0; i < DUMP_TRIES && err == -EINTR; i++)
		err = dump(nft, set, see_endpoint, &seeing);
	return err;
}

static int take_element(struct nftnl_set_elem *element, void *closure)
{
	(void)read_element(element, closure);
	return 0;
}

/* Begins a question for elements of hits4 or hits6; their list is to be ended. */
static struct nlmsghdr *begin_hits(struct nft *nft, sa_family_t family, struct nlattr **list)
{
	struct nlmsghdr *message = nft_request(nft, NFT_MSG_GETSETELEM, NLM_F_ACK);

	mnl_attr_put_strz(message, NFTA_SET_ELEM_LIST_TABLE, nft->table);
	mnl_attr_put_strz(message, NFTA_SET_ELEM_LIST_SET, set_hits_name(family));
	*list = mnl_attr_nest_start(message, NFTA_SET_ELEM_LIST_ELEMENTS);
	return message;
}

static void put_key(struct nlmsghdr *message, const struct endpoint *e)
{
	const struct nft_key key = nft_key_from_endpoint(e);
	struct nlattr *element = mnl_attr_nest_start(message, NFTA_LIST_ELEM);
	struct nlattr *value = mnl_attr_nest_start(message, NFTA_SET_ELEM_KEY);

	mnl_attr_put(message, NFTA_DATA_VALUE, key.length, key.bytes);
	mnl_attr_nest_end(message, value);
	mnl_attr_nest_end(message, element);
}

static int ask_elements(struct nft *nft, const struct nlmsghdr *message, struct reading *reading)
{
	int err = nft_ask(nft, message, see_elements, reading);

	if (!err)
		err = reading->result;
	if (err)
		nft_drain(nft);
	return err;
}

int dump_get_hits(struct nft *nft, const struct endpoint *e, uint64_t *packets, uint64_t *bytes)
{
	struct dump_element found = {0};
	struct reading reading = {.see = take_element, .closure = &found};
	struct nlattr *list;
	struct nlmsghdr *message = begin_hits(nft, e->family, &list);
	int err;

	put_key(message, e);
	mnl_attr_nest_end(message, list);
	err = ask_elements(nft, message, &reading);
	if (err)
		return err;
	*packets = found.packets;
	*bytes = found.bytes;
	return 0;
}

/* Blocks of one family, and how many of them were answered for: the kernel keeps the order. */
struct lot {
	struct block *items[HITS_AT_ONCE];
	size_t count, at;
};

static int take_next_hits(struct nftnl_set_elem *element, void *closure)
{
	struct lot *lot = closure;
	struct dump_element e;
	struct block *block;

	if (lot->at == lot->count || !read_element(element, &e))
		return -EPROTO;
	block = lot->items[lot->at++];
	if (!e.is_tcp || endpoint_compare(&block->endpoint, &e.endpoint) != 0)
		return -EPROTO;
	block->packets = e.packets;
	block->bytes = e.bytes;
	return 0;
}

/* The kernel stops at the first that it does not have. */
static int ask_lot(struct nft *nft, sa_family_t family, struct lot *lot)
{
	while (lot->at < lot->count) {
		struct reading reading = {.see = take_next_hits, .closure = lot};
		struct nlattr *list;
		struct nlmsghdr *message = begin_hits(nft, family, &list);
		int err;

		for (size_t i = lot->at; i < lot->count; i++)
			put_key(message, &lot->items[i]->endpoint);
		mnl_attr_nest_end(message, list);
		err = ask_elements(nft, message, &reading);
		if (err == -ENOENT)
			lot->at++;
		else if (err || lot->at < lot->count)
			return err ? err : -EPROTO;
	}
	return 0;
}

static int find_set(struct nft *nft, const char *set)
{
	struct nlmsghdr *message = nft_request(nft, NFT_MSG_GETSET, NLM_F_ACK);

	mnl_attr_put_strz(message, NFTA_SET_TABLE, nft->table);
	mnl_attr_put_strz(message, NFTA_SET_NAME, set);
	return nft_ask(nft, message, NULL, NULL);
}

int dump_hits_of(struct nft *nft, sa_family_t family, struct block *const *blocks, size_t count)
{
	/* Without the set every key would be "not there", one by one. */
	int err = find_set(nft, set_hits_name(family));

	for (size_t i = 0; !err && i < count;) {
		struct lot lot = {.count = 0};

		for (; i < count && lot.count < HITS_AT_ONCE; i++)
			if (blocks[i]->endpoint.family == family)
				lot.items[lot.count++] = blocks[i];
		err = ask_lot(nft, family, &lot);
	}
	return err;
}

/* Peers of the ledger */

static int see_peer(struct nftnl_set_elem *element, void *closure)
{
	struct ledger_peers *peers = closure;
	struct ledger_peer peer = {.expires_ms = read_expiration(element)};
	uint32_t length;
	const uint8_t *key = nftnl_set_elem_get(element, NFTNL_SET_ELEM_KEY, &length);
	sa_family_t family = key && length == nft_peer_key_length(AF_INET) ? AF_INET : AF_INET6;
	size_t address_bytes = family == AF_INET ? 4 : 16;
	uint16_t port;

	if (!key || length != nft_peer_key_length(family))
		return 0;
	memcpy(peer.peer, key, address_bytes);
	memcpy(peer.endpoint.address, key + address_bytes, address_bytes);
	memcpy(&port, key + 2 * address_bytes, sizeof(port));
	peer.endpoint.family = family;
	peer.endpoint.port = ntohs(port);
	read_counter(element, &peer.connections, &peer.bytes);
	return ledger_peers_add(peers, &peer);
}

int dump_peers(struct nft *nft, sa_family_t family, struct ledger_peers *peers)
{
	const size_t before = peers->count;
	int err = -EINTR;

	for (unsigned i = 0; i < DUMP_TRIES && err == -EINTR; i++) {
		peers->count = before;
		err = dump(nft, set_peers_name(family), see_peer, peers);
	}
	return err;
}

/* Prefixes */

struct prefixes {
	struct prefix *items;
	size_t count;
	sa_family_t family;
	unsigned bits;
};

static int see_prefix(struct nftnl_set_elem *element, void *closure)
{
	struct prefixes *list = closure;
	struct prefix p = {.family = list->family, .bits = (uint8_t)list->bits};
	uint32_t length;
	const void *key = nftnl_set_elem_get(element, NFTNL_SET_ELEM_KEY, &length);

	if (!key || length != (p.family == AF_INET ? 4 : 16))
		return -EPROTO;
	if (list->count == FIREWALL_ALLOW_MAX)
		return -E2BIG;
	memcpy(p.address, key, length);
	list->items[list->count++] = p;
	return 0;
}

int dump_prefixes(struct nft *nft, const char *set, sa_family_t family, unsigned bits,
                  struct prefix items[static FIREWALL_ALLOW_MAX], size_t *count)
{
	struct prefixes list = {.items = items, .family = family, .bits = bits};
	int err = -EINTR;

	for (unsigned i = 0; i < DUMP_TRIES && err == -EINTR; i++) {
		list.count = *count;
		err = dump(nft, set, see_prefix, &list);
	}
	if (!err)
		*count = list.count;
	return err;
}

/* The stamp */

struct stamps {
	uint8_t key[SET_STAMP_BYTES];
	size_t count;
};

static int see_stamp(struct nftnl_set_elem *element, void *closure)
{
	struct stamps *seen = closure;
	uint32_t length;
	const void *key = nftnl_set_elem_get(element, NFTNL_SET_ELEM_KEY, &length);

	if (!key || length != sizeof(seen->key))
		return -EPROTO;
	memcpy(seen->key, key, sizeof(seen->key));
	seen->count++;
	return 0;
}

int dump_stamp(struct nft *nft, uint8_t key[static SET_STAMP_BYTES])
{
	struct stamps seen = {0};
	int err = -EINTR;

	for (unsigned i = 0; i < DUMP_TRIES && err == -EINTR; i++) {
		seen.count = 0;
		err = dump(nft, SET_STAMP_NAME, see_stamp, &seen);
	}
	if (err || seen.count != 1)
		return err ? err : -ENOENT;
	memcpy(key, seen.key, sizeof(seen.key));
	return 0;
}
