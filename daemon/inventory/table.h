/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What is known of namespaces and listeners, and what of it has not been told yet. However slowly
 * the agent reads, this is all that is kept for it: an entry that changes twice is told once.
 * No kernel, no sockets.
 */
#pragma once

#include "daemon/inventory/addresses.h"
#include "daemon/inventory/diag.h"
#include "daemon/inventory/namespaces.h"
#include "daemon/inventory/owner.h"

#include <sys/queue.h>

enum table_kind { TABLE_NETNS, TABLE_LISTENER };

/* First in both of them: its place in the queue of what is to be told. */
struct table_entry {
	TAILQ_ENTRY(table_entry) link;
	enum table_kind kind;
	bool pending, told, gone;
};

struct table_listener {
	struct table_entry entry;
	uint64_t netns;
	struct diag_socket socket; /* the first of those that share the address */
	uint32_t n_sockets;
	int64_t seen_ns;
	struct owner owner;
	unsigned owner_tries;
	uint32_t held_inode; /* as /proc/PID/fd shows it: differs with MPTCP */
};

struct table_netns {
	struct table_entry entry;
	TAILQ_ENTRY(table_netns) link;
	struct namespaces_ref ref;
	bool host;
	struct addresses addresses;
	struct table_listener **listeners; /* sorted by diag_compare() of their sockets */
	size_t n_listeners;
	/* Of whoever dumps it; milliseconds of CLOCK_MONOTONIC. */
	int64_t dumped_ms, due_ms; /* due_ms 0: not before the next full poll */
	int64_t addresses_due_ms;  /* not read again before */
	int64_t event_ns;
	unsigned follow_ups;
	uint32_t expected; /* events that no change has explained yet */
	uint32_t changes;  /* sockets that came or went; counted by table_set_listeners() */
	bool grew;         /* some came; set there */
	pid_t hint;
	struct owner_walk walk;
};

/*
 * Who can make a namespace can fill it: those that are not the host's get at most half of the
 * listeners, so that there is room for the host's own.
 */
enum {
	TABLE_MAX_NAMESPACES = 16 * 1024,
	TABLE_MAX_LISTENERS = 128 * 1024,
	TABLE_MAX_ELSEWHERE = TABLE_MAX_LISTENERS / 2,
};

struct table {
	TAILQ_HEAD(, table_netns) namespaces;
	TAILQ_HEAD(, table_entry) pending;
	struct table_netns **sorted; /* the namespaces, by inode number */
	size_t room;                 /* there */
	uint32_t n_namespaces, n_listeners;
	uint32_t n_elsewhere; /* of the listeners: not in the host's */
	bool full;            /* something did not fit, once at least */
};

void table_init(struct table *t);
/* Forgets everything, told or not. */
void table_clear(struct table *t);

struct table_netns *table_find(const struct table *t, uint64_t netns);
/* Copies the ref; not told before table_set_addresses(). Returns NULL when there is no room.
 */
struct table_netns *table_add(struct table *t, const struct namespaces_ref *ref, bool host);
/* The namespace is gone, with all of its listeners; `ns` is not to be used any more. */
void table_remove(struct table *t, struct table_netns *ns);
/* Takes over what *a holds. */
void table_set_addresses(struct table *t, struct table_netns *ns, struct addresses *a);

/*
 * Makes the namespace's listeners those of `sockets`, sorted as diag_list_listeners() does; what is
 * new or changed is to be told once more. Returns 0, or -ENOMEM, *ns being as it was then. What
 * was there is kept, should there be no room for all, or the list be cut.
 */
int table_set_listeners(struct table *t, struct table_netns *ns, const struct diag_list *sockets,
                        int64_t seen_ns);
/* Says that a listener's owner has changed. */
void table_touch(struct table *t, struct table_listener *l);

/* What to tell next, oldest first, or NULL. */
struct table_entry *table_next(const struct table *t);
/* The frames for it; `ns` with only the first addresses set: returns the length to send. */
size_t table_fill_netns(const struct table_netns *ns, struct inventory_namespace *out);
void table_fill_listener(const struct table_listener *l, struct inventory_listener *out);
/* It was told. Frees it if it is gone. */
void table_told(struct table *t, struct table_entry *entry);
