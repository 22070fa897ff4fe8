/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/inventory/dump.h"

#include "common/cleanup.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

/* Searches that came to an end; and sockets of one search. */
enum { OWNER_TRIES = 3, SLICE = 1024 };

struct reading {
	bool with_addresses;
	struct diag_list listeners, mptcp;
	struct addresses addresses;
};

int dump_places_open(struct dump_places *p)
{
	struct stat st;

	*p = DUMP_PLACES_CLOSED;
	p->proc_fd = open("/proc", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	p->home_fd = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
	if (p->proc_fd < 0 || p->home_fd < 0 || fstat(p->home_fd, &st) < 0)
		return -errno;
	p->home_netns = st.st_ino;
	return visitor_new(p->home_fd, &p->visitor);
}

void dump_places_close(struct dump_places *p)
{
	visitor_free(p->visitor);
	if (p->proc_fd >= 0)
		close(p->proc_fd);
	if (p->home_fd >= 0)
		close(p->home_fd);
	*p = DUMP_PLACES_CLOSED;
}

int dump_act_inside(const struct dump_places *p, const struct namespaces_ref *ref,
                    int (*act)(void *arg), void *arg)
{
	auto_close int fd = -1;

	if (ref->netns == p->home_netns)
		return act(arg);
	fd = namespaces_open(p->proc_fd, ref);
	if (fd < 0)
		return fd == -ESTALE || fd == -ESRCH ? -ENOENT : fd;
	return visitor_act(p->visitor, fd, act, arg);
}

static int read_netns(void *arg)
{
	struct reading *r = arg;
	int err = diag_list_listeners(&r->listeners);

	return err == 0 && r->with_addresses ? addresses_list(&r->addresses) : err;
}

static int read_mptcp(void *arg)
{
	struct reading *r = arg;

	return diag_list_mptcp(&r->mptcp);
}

static int read_again(void *arg)
{
	struct reading *r = arg;

	return diag_list_listeners(&r->listeners);
}

static int compare_sockets(const void *a, const void *b)
{
	return diag_compare(a, b);
}

static bool lacks_known(const struct table_netns *ns, const struct diag_list *list)
{
	for (size_t i = 0; i < ns->n_listeners; i++) {
		if (!list->count || !bsearch(&ns->listeners[i]->socket, list->items, list->count,
		                             sizeof(list->items[0]), compare_sockets))
			return true;
	}
	return false;
}

/* The sockets that programs hold, where these are not the ones that listen. */
static void note_mptcp(const struct table_netns *ns, const struct diag_list *mptcp)
{
	for (size_t i = 0; i < ns->n_listeners && mptcp->count; i++) {
		struct table_listener *l = ns->listeners[i];
		const struct diag_socket *above = bsearch(&l->socket, mptcp->items, mptcp->count,
		                                          sizeof(mptcp->items[0]), compare_sockets);

		if (above)
			l->held_inode = above->inode;
	}
}

static bool lacks_owner(const struct table_listener *l)
{
	return !l->owner.pid && l->owner_tries < OWNER_TRIES;
}

/* How many lack one, but no more than `most`. */
static size_t count_lacking(const struct table_netns *ns, size_t most)
{
	size_t n = 0;

	for (size_t i = 0; i < ns->n_listeners && n < most; i++)
		n += lacks_owner(ns->listeners[i]);
	return n;
}

bool dump_lacks_owners(const struct table_netns *ns)
{
	return count_lacking(ns, 1) > 0;
}

/* The next `most` of them from *at on; returns how many. */
static size_t collect(const struct table_netns *ns, size_t *at, struct owner_search *searches,
                      size_t most)
{
	size_t n = 0;

	for (; *at < ns->n_listeners && n < most; ++*at) {
		const struct table_listener *l = ns->listeners[*at];

		if (lacks_owner(l) && l->held_inode)
			searches[n++] = (struct owner_search){.inode = l->held_inode};
	}
	return n;
}

static int compare_searches(const void *a, const void *b)
{
	const struct owner_search *x = a, *y = b;

	return (x->inode > y->inode) - (x->inode < y->inode);
}

/* What was found goes to listeners [from..to). */
static void assign(struct table *t, const struct table_netns *ns, size_t from, size_t to,
                   const struct owner_search *searches, size_t n, bool complete)
{
	for (size_t i = from; i < to; i++) {
		struct table_listener *l = ns->listeners[i];
		struct owner_search wanted = {.inode = l->held_inode};
		const struct owner_search *hit;

		if (!lacks_owner(l))
			continue;
		hit = bsearch(&wanted, searches, n, sizeof(*searches), compare_searches);
		if (hit && hit->owner.pid) {
			l->owner = hit->owner;
			table_touch(t, l);
		} else if (complete && (hit || !l->held_inode)) {
			l->owner_tries++;
		}
	}
}

bool dump_find_owners(const struct dump_places *p, struct table *t, struct table_netns *ns,
                      const struct namespaces *seen)
{
	size_t most = count_lacking(ns, SLICE), at = 0;
	auto_free struct owner_search *searches = NULL;
	bool complete = true;

	if (most == 0)
		return true;
	searches = calloc(most, sizeof(*searches));
	if (!searches)
		return true;
	owner_walk_refill(&ns->walk);
	/* Who is known from an event is looked for also when the rest has to wait. */
	while (at < ns->n_listeners && (complete || (ns->hint && ns->walk.hint_budget))) {
		size_t from = at, n = collect(ns, &at, searches, most);
		bool all = false;

		if (n)
			qsort(searches, n, sizeof(*searches), compare_searches);
		if (seen)
			all = owner_find(p->proc_fd, seen, ns->ref.netns, ns->hint, &ns->walk,
			                 searches, n);
		else
			owner_find_at(p->proc_fd, ns->hint, &ns->walk, searches, n);
		assign(t, ns, from, at, searches, n, all);
		complete = complete && all;
	}
	return complete;
}

/*
 * To ask for listeners of MPTCP costs more than all the rest, and every new one could be of it:
 * unless who called listen() holds the socket itself. Kernels that do not know MPTCP have none.
 */
static void look_beneath(const struct dump_places *p, struct table *t, struct table_netns *ns,
                         struct reading *r)
{
	if (ns->hint)
		(void)dump_find_owners(p, t, ns, NULL);
	if (dump_lacks_owners(ns) && dump_act_inside(p, &ns->ref, read_mptcp, r) == 0)
		note_mptcp(ns, &r->mptcp);
}

int dump_netns(const struct dump_places *p, struct table *t, struct table_netns *ns,
               const struct namespaces *seen, int64_t seen_ns, bool with_addresses)
{
	struct reading r = {.with_addresses = with_addresses};
	int err = dump_act_inside(p, &ns->ref, read_netns, &r);

	/* Told in pieces, a list that changes meanwhile may skip some: who is missing is asked for
	 * once more. */
	if (err == 0 && r.listeners.in_pieces && !r.listeners.cut &&
	    lacks_known(ns, &r.listeners)) {
		diag_list_free(&r.listeners);
		err = dump_act_inside(p, &ns->ref, read_again, &r);
	}
	ns->changes = 0;
	if (err == 0) {
		if (with_addresses)
			table_set_addresses(t, ns, &r.addresses);
		err = table_set_listeners(t, ns, &r.listeners, seen_ns);
	}
	if (err == 0) {
		if (ns->changes)
			look_beneath(p, t, ns, &r);
		(void)dump_find_owners(p, t, ns, seen);
	}
	diag_list_free(&r.listeners);
	diag_list_free(&r.mptcp);
	addresses_free(&r.addresses);
	return err;
}

void dump_check_owners(const struct dump_places *p, struct table *t, struct table_netns *ns,
                       int64_t since_ns)
{
	struct owner now = {0};
	pid_t read = 0;

	for (size_t i = 0; i < ns->n_listeners; i++) {
		struct table_listener *l = ns->listeners[i];

		if (!l->owner.pid || l->seen_ns < since_ns)
			continue;
		if (read != l->owner.pid || now.start != l->owner.start) {
			now = l->owner;
			/* A parent may have left its socket to a child. */
			if (!owner_refresh(p->proc_fd, &now))
				now = (struct owner){.start = l->owner.start};
			read = l->owner.pid;
		}
		if (!now.pid)
			l->owner_tries = 0;
		if (memcmp(&now, &l->owner, sizeof(now)) == 0)
			continue;
		l->owner = now;
		table_touch(t, l);
	}
}
