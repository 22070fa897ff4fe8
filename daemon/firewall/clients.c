/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/firewall/clients.h"

#include "common/cleanup.h"
#include "daemon/firewall/allowed.h"
#include "daemon/firewall/refuse.h"
#include "daemon/firewall/set.h"

static const sa_family_t families[] = {AF_INET, AF_INET6};

static bool has_length(const struct conf_prefixes *list, sa_family_t family, unsigned bits)
{
	for (size_t i = 0; i < list->count; i++)
		if (list->items[i].family == family && list->items[i].bits == bits)
			return true;
	return false;
}

const char *clients_list_name(const char *kind, const char *of, sa_family_t family, unsigned bits,
                              char text[static NFT_NAME_MAXLEN])
{
	snprintf(text, NFT_NAME_MAXLEN, "%s%c_%u%s%s", kind, family == AF_INET ? '4' : '6', bits,
	         *of ? "_" : "", of);
	return text;
}

static void add_of(const struct clients_place *to, const char *kind, const char *of,
                   sa_family_t family, const struct conf_prefixes *list)
{
	for (unsigned bits = family == AF_INET ? 32 : 128; bits <= 128; bits--) {
		char name[NFT_NAME_MAXLEN];

		if (!has_length(list, family, bits))
			continue;
		clients_list_name(kind, of, family, bits, name);
		if (to->add_sets) {
			set_add(to->batch, name, SET_ADDRESSES, family, 0, (*to->id)++);
			set_put_prefixes(to->batch, NFT_MSG_NEWSETELEM, name, bits, list->items,
			                 list->count);
		}
		refuse_let_through(to->batch, to->conf, to->chain, family, bits, name);
	}
}

void clients_add(const struct clients_place *to, const char *kind, const char *of,
                 const struct conf_prefixes *list)
{
	for (size_t i = 0; i < ARRAY_LEN(families); i++) {
		auto_free struct prefix *own = calloc(list->count + 1, sizeof(*own));
		struct conf_prefixes simple = {own, 0};

		if (!own) {
			to->batch->failed = true;
			return;
		}
		for (size_t k = 0; k < list->count; k++)
			if (list->items[k].family == families[i])
				own[simple.count++] = list->items[k];
		simple.count = prefix_simplify(own, simple.count);
		add_of(to, kind, of, families[i], &simple);
	}
}

bool clients_have_sets_for(sa_family_t family, const struct conf_prefixes *from,
                           const struct conf_prefixes *to)
{
	for (unsigned bits = 0; bits <= 128; bits++)
		if (has_length(from, family, bits) != has_length(to, family, bits))
			return false;
	return true;
}

void clients_change(struct nft_batch *batch, const struct conf *conf, uint32_t rule,
                    sa_family_t family, const struct conf_prefixes *from,
                    const struct conf_prefixes *to)
{
	auto_free struct prefix *gone = calloc(from->count + 1, sizeof(*gone));
	auto_free struct prefix *added = calloc(to->count + 1, sizeof(*added));
	size_t n_gone, n_added;

	if (!gone || !added) {
		batch->failed = true;
		return;
	}
	n_gone = allowed_subtract(from, to, gone);
	n_added = allowed_subtract(to, from, added);
	for (unsigned bits = 0; bits <= 128; bits++) {
		char name[NFT_NAME_MAXLEN];

		clients_list_name(CLIENTS_DYNAMIC, conf->breakers[rule - 1].name, family, bits,
		                  name);
		set_put_prefixes(batch, NFT_MSG_DELSETELEM, name, bits, gone, n_gone);
		set_put_prefixes(batch, NFT_MSG_NEWSETELEM, name, bits, added, n_added);
		if (!batch->bridge)
			continue;
		batch->family = NFPROTO_BRIDGE;
		set_put_prefixes(batch, NFT_MSG_DELSETELEM, name, bits, gone, n_gone);
		set_put_prefixes(batch, NFT_MSG_NEWSETELEM, name, bits, added, n_added);
		batch->family = NFPROTO_INET;
	}
}
