/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A page's peers as the database keeps them. */
#include "daemon/agent/ledger.h"

#include <jansson.h>

char *ledger_format_peers(const struct ledger_page *page)
{
	json_t *list = json_array();
	char *text;

	for (size_t i = 0; i < page->count; i++) {
		const struct ledger_peer *p = &page->peers[i];
		char address[ENDPOINT_TEXT_LEN];

		json_array_append_new(list,
		                      json_pack("[s, I, I, I, I, b]",
		                                endpoint_format_address(&p->address, address),
		                                (json_int_t)p->first_ms, (json_int_t)p->last_ms,
		                                (json_int_t)p->connections,
		                                (json_int_t)p->kernel_count, p->was_connected));
	}
	text = json_dumps(list, JSON_COMPACT);
	json_decref(list);
	return text;
}

static bool parse_peer(const json_t *row, int64_t shift_ms, struct ledger_peer *out)
{
	json_t *mutable = (json_t *)(uintptr_t)row; /* jansson reads only, but says so nowhere */
	json_int_t first, last, connections, counted;
	const char *address;
	int was_connected;

	if (json_unpack(mutable, "[s, I, I, I, I, b!]", &address, &first, &last, &connections,
	                &counted, &was_connected) < 0)
		return false;
	*out = (struct ledger_peer){.first_ms = first + shift_ms,
	                            .last_ms = last + shift_ms,
	                            .connections = (uint64_t)connections,
	                            .kernel_count = (uint64_t)counted,
	                            .was_connected = was_connected};
	return connections >= 0 && counted >= 0 &&
	       endpoint_parse_address(address, &out->address) == 0;
}

void ledger_parse_peers(struct ledger *l, struct ledger_page *page, const char *text,
                        int64_t shift_ms)
{
	json_t *list = json_loads(text, 0, NULL);
	const json_t *row;
	size_t i;

	json_array_foreach (list, i, row) {
		struct ledger_peer peer;

		if (parse_peer(row, shift_ms, &peer))
			ledger_restore(l, page, &peer);
	}
	json_decref(list);
}
