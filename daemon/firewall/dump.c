/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/firewall/dump.h"

#include "common/cleanup.h"
#include "daemon/firewall/set.h"
#include "daemon/firewall/wire.h"

#include <arpa/inet.h>
#include <errno.h>
#include <libnftnl/expr.h>
#include <libnftnl/set.h>
#include <string.h>

enum { DUMP_TRIES = 5 };

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

/* Reads a whole set once; -EINTR when another transaction came in between. */
static int dump(struct nft *nft, const char *set, int (*see)(struct nftnl_set_elem *, void *),
                void *closure)
{
	struct reading reading = {.see = see, .closure = closure};
	struct nlmsghdr *message = nft_request(nft, NFT_MSG_GETSETELEM, NLM_F_DUMP);
	int err;

	mnl_attr_put_strz(message, NFTA_SET_ELEM_LIST_TABLE, nft->table);
	mnl_attr_put_strz(message, NFTA_SET_ELEM_LIST_SET, set);
	err = nft_ask(nft, message, see_elements, &reading);
	if (!err)
		err = reading.result ? reading.result : reading.interrupted ? -EINTR : 0;
	if (err)
		nft_drain(nft);
	return err;
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

int dump_get_hits(struct nft *nft, const struct endpoint *e, uint64_t *packets, uint64_t *bytes)
{
	const struct nft_key key = nft_key_from_endpoint(e);
	struct dump_element found = {0};
	struct reading reading = {.see = take_element, .closure = &found};
	struct nlmsghdr *message = nft_request(nft, NFT_MSG_GETSETELEM, NLM_F_ACK);
	struct nlattr *list, *element, *value;
	int err;

	mnl_attr_put_strz(message, NFTA_SET_ELEM_LIST_TABLE, nft->table);
	mnl_attr_put_strz(message, NFTA_SET_ELEM_LIST_SET, set_hits_name(e->family));
	list = mnl_attr_nest_start(message, NFTA_SET_ELEM_LIST_ELEMENTS);
	element = mnl_attr_nest_start(message, NFTA_LIST_ELEM);
	value = mnl_attr_nest_start(message, NFTA_SET_ELEM_KEY);
	mnl_attr_put(message, NFTA_DATA_VALUE, key.length, key.bytes);
	mnl_attr_nest_end(message, value);
	mnl_attr_nest_end(message, element);
	mnl_attr_nest_end(message, list);
	err = nft_ask(nft, message, see_elements, &reading);
	if (err || reading.result) {
		nft_drain(nft);
		return err ? err : reading.result;
	}
	*packets = found.packets;
	*bytes = found.bytes;
	return 0;
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
