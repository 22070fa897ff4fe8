/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * One look at one namespace: its addresses, its listeners, and who owns those that are new. Loop's
 * thread, which waits while visitor.h's is in the namespace.
 */
#pragma once

#include "daemon/inventory/table.h"
#include "daemon/inventory/visitor.h"

/* What is opened once. */
struct dump_places {
	int proc_fd;
	int home_fd; /* our own network namespace, which is the host's */
	uint64_t home_netns;
	struct visitor *visitor;
};

#define DUMP_PLACES_CLOSED ((struct dump_places){.proc_fd = -1, .home_fd = -1})

/* Returns 0 or -errno; dump_places_close() either way. */
int dump_places_open(struct dump_places *p);
void dump_places_close(struct dump_places *p);

/*
 * `seen` says where to look for owners first; the first time must be with addresses. Returns 0, or
 * -errno: the table keeps what it had.
 */
int dump_netns(const struct dump_places *p, struct table *t, struct table_netns *ns,
               const struct namespaces *seen, int64_t seen_ns, bool with_addresses);
/* Some of its listeners have no owner yet, and it is worth while to look again. */
bool dump_lacks_owners(const struct table_netns *ns);
/*
 * `seen` may be NULL: then only with who called listen(). Returns false when it had to stop: the
 * next call goes on where this one did.
 */
bool dump_find_owners(const struct dump_places *p, struct table *t, struct table_netns *ns,
                      const struct namespaces *seen);
/*
 * Reads the owners again of listeners that were seen since then, in ns of CLOCK_MONOTONIC; for
 * those that are gone, another is to be looked for.
 */
void dump_check_owners(const struct dump_places *p, struct table *t, struct table_netns *ns,
                       int64_t since_ns);

/* See inventory_act_inside(). */
int dump_act_inside(const struct dump_places *p, const struct namespaces_ref *ref,
                    int (*act)(void *arg), void *arg);
