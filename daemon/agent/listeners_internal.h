/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the parts of the listeners' table share: listeners.c, listeners_claims.c and _query.c. */
#pragma once

#include "daemon/agent/listeners.h"

struct netns {
	LIST_ENTRY(netns) link;
	uint64_t inode;
	bool host, confirmed;
	uint32_t count;
	struct inventory_address *addresses; /* sorted */
	LIST_HEAD(, listener) listeners;
};

struct listeners {
	struct watch_set *watches;
	struct listeners_handlers handlers;
	struct listeners_conf conf;
	uint16_t *ports; /* conf.protected_ports */
	LIST_HEAD(, netns) namespaces;
	void *by_inode, *by_key; /* tsearch(3) of struct netns, struct listener */
	struct netns *host;
	size_t n_namespaces, n_listeners, n_gone;
	uint64_t next_mark, over_cap, ignored;
	int64_t cap_told_ms;
	bool synced;
	bool was_synced; /* by some helper, once */
	bool syncing;    /* the first SYNCED is being taken */
	bool stale;      /* some listener is */
	struct inventory_status status;
};

/* Orders addresses as struct netns holds them; for qsort(3) and bsearch(3). */
int listeners_compare_addresses(const void *a, const void *b);

/* listeners_claims.c */
/* Makes the claims that the listener has now, and ends those that it had. */
void listeners_derive(struct listeners *l, struct listener *listener, int64_t now_ms);
void listeners_derive_namespace(struct listeners *l, struct netns *ns, int64_t now_ms);
void listeners_derive_all(struct listeners *l, int64_t now_ms);
/* Those who share an address with somebody new, or with nobody any more. */
void listeners_derive_stale(struct listeners *l, int64_t now_ms);
void listeners_end_claim(struct listeners *l, struct claim *c);
/* `gone` was set or taken back: another listener may be the one that is reached. */
void listeners_choose_winners(struct listeners *l, struct listener *listener);
/* Does the wildcard take connections to this address? */
bool listeners_takes(const struct listener *listener, const struct inventory_address *a);
