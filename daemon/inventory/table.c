/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/inventory/table.h"

#include "common/cleanup.h"

#include <errno.h>
#include <string.h>

static struct table_netns *as_netns(struct table_entry *e)
{
	return (struct table_netns *)(void *)e;
}

static struct table_listener *as_listener(struct table_entry *e)
{
	return (struct table_listener *)(void *)e;
}

_Static_assert(offsetof(struct table_netns, entry) == 0, "as_netns()");
_Static_assert(offsetof(struct table_listener, entry) == 0, "as_listener()");

static void free_entry(struct table_entry *e)
{
	if (e->kind == TABLE_NETNS) {
		struct table_netns *ns = as_netns(e);

		namespaces_free_ref(&ns->ref);
		addresses_free(&ns->addresses);
		free(ns->listeners);
		free(ns);
	} else {
		free(as_listener(e));
	}
}

static void queue(struct table *t, struct table_entry *e)
{
	if (e->pending)
		return;
	e->pending = true;
	TAILQ_INSERT_TAIL(&t->pending, e, link);
}

static void drop(struct table *t, struct table_entry *e)
{
	if (e->pending)
		TAILQ_REMOVE(&t->pending, e, link);
	free_entry(e);
}

/* It is to be told if its being there was. */
static void end(struct table *t, struct table_entry *e)
{
	e->gone = true;
	if (e->told)
		queue(t, e);
	else
		drop(t, e);
}

void table_init(struct table *t)
{
	*t = (struct table){0};
	TAILQ_INIT(&t->namespaces);
	TAILQ_INIT(&t->pending);
}

void table_clear(struct table *t)
{
	struct table_netns *ns;
	struct table_entry *e;

	while ((ns = TAILQ_FIRST(&t->namespaces)))
		table_remove(t, ns);
	while ((e = TAILQ_FIRST(&t->pending)))
		drop(t, e);
	free(t->sorted);
	t->sorted = NULL;
	t->room = 0;
}

/* The first whose number is not less. */
static size_t find_place(const struct table *t, uint64_t netns)
{
	size_t low = 0, high = t->n_namespaces;

	while (low < high) {
		size_t middle = (low + high) / 2;

		if (t->sorted[middle]->ref.netns < netns)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

struct table_netns *table_find(const struct table *t, uint64_t netns)
{
	size_t i = find_place(t, netns);

	return i < t->n_namespaces && t->sorted[i]->ref.netns == netns ? t->sorted[i] : NULL;
}

static bool make_room(struct table *t)
{
	size_t room = t->room ? t->room * 2 : 64;
	struct table_netns **sorted;

	if (t->n_namespaces < t->room)
		return true;
	sorted = reallocarray(t->sorted, room, sizeof(struct table_netns *));
	if (!sorted)
		return false;
	t->sorted = sorted;
	t->room = room;
	return true;
}

struct table_netns *table_add(struct table *t, const struct namespaces_ref *ref, bool host)
{
	size_t place = find_place(t, ref->netns);
	struct table_netns *ns;

	if (!host && t->n_namespaces >= TABLE_MAX_NAMESPACES) {
		t->full = true;
		return NULL;
	}
	ns = make_room(t) ? calloc(1, sizeof(*ns)) : NULL;
	if (!ns || namespaces_copy_ref(ref, &ns->ref) < 0) {
		free(ns);
		return NULL;
	}
	ns->entry.kind = TABLE_NETNS;
	ns->host = host;
	TAILQ_INSERT_TAIL(&t->namespaces, ns, link);
	memmove(&t->sorted[place + 1], &t->sorted[place],
	        (t->n_namespaces - place) * sizeof(t->sorted[0]));
	t->sorted[place] = ns;
	t->n_namespaces++;
	return ns;
}

static void count_listeners(struct table *t, const struct table_netns *ns, size_t before,
                            size_t after)
{
	uint32_t more = (uint32_t)after - (uint32_t)before;

	t->n_listeners += more;
	if (!ns->host)
		t->n_elsewhere += more;
}

void table_remove(struct table *t, struct table_netns *ns)
{
	size_t place = find_place(t, ns->ref.netns);

	for (size_t i = 0; i < ns->n_listeners; i++)
		end(t, &ns->listeners[i]->entry);
	count_listeners(t, ns, ns->n_listeners, 0);
	ns->n_listeners = 0;
	TAILQ_REMOVE(&t->namespaces, ns, link);
	t->n_namespaces--;
	memmove(&t->sorted[place], &t->sorted[place + 1],
	        (t->n_namespaces - place) * sizeof(t->sorted[0]));
	end(t, &ns->entry);
}

void table_set_addresses(struct table *t, struct table_netns *ns, struct addresses *a)
{
	bool same = addresses_are_equal(&ns->addresses, a);

	addresses_free(&ns->addresses);
	ns->addresses = *a;
	*a = (struct addresses){0};
	if (!same || !ns->entry.told)
		queue(t, &ns->entry);
}

/* Sockets [i..end) share an address. Takes the group's data into the listener. */
static void update(struct table *t, struct table_netns *ns, struct table_listener *l,
                   const struct diag_socket *group, size_t n, int64_t seen_ns)
{
	uint32_t more =
	    (uint32_t)n > l->n_sockets ? (uint32_t)n - l->n_sockets : l->n_sockets - (uint32_t)n;

	/* Somebody else has taken the address, or the first of many has ended. */
	bool other = l->n_sockets == 0 || l->socket.inode != group[0].inode;
	bool v6only = true;

	for (size_t i = 0; i < n; i++)
		v6only = v6only && group[i].v6only;
	if (!other && l->n_sockets == n && l->socket.v6only == v6only &&
	    l->socket.uid == group[0].uid)
		return;
	/* One may have gone, and another come. */
	ns->changes += more || !other ? more : 2;
	ns->grew = ns->grew || other || n > l->n_sockets;
	if (other) {
		l->seen_ns = seen_ns;
		l->owner = (struct owner){0};
		l->owner_tries = 0;
		l->held_inode = group[0].inode;
	}
	l->socket = group[0];
	l->socket.v6only = v6only;
	l->n_sockets = (uint32_t)n;
	queue(t, &l->entry);
}

static struct table_listener *new_listener(const struct table_netns *ns)
{
	struct table_listener *l = calloc(1, sizeof(*l));

	if (!l)
		return NULL;
	l->entry.kind = TABLE_LISTENER;
	l->netns = ns->ref.netns;
	return l;
}

static void end_listener(struct table *t, struct table_netns *ns, size_t i)
{
	ns->changes += ns->listeners[i]->n_sockets;
	end(t, &ns->listeners[i]->entry);
}

/* How many listeners this namespace may have. */
static size_t room_of(const struct table *t, const struct table_netns *ns)
{
	size_t total = TABLE_MAX_LISTENERS - (t->n_listeners - ns->n_listeners);
	size_t elsewhere = TABLE_MAX_ELSEWHERE;

	if (ns->host)
		return total;
	elsewhere -= t->n_elsewhere - ns->n_listeners;
	return elsewhere < total ? elsewhere : total;
}

/* It is not in the list; of a list that is cut that says nothing. */
static void pass_over(struct table *t, struct table_netns *ns, size_t i, bool cut,
                      struct table_listener **now, size_t *n)
{
	if (cut)
		now[(*n)++] = ns->listeners[i];
	else
		end_listener(t, ns, i);
}

/* Merges two sorted lists: what was there, and what is there now. */
int table_set_listeners(struct table *t, struct table_netns *ns, const struct diag_list *sockets,
                        int64_t seen_ns)
{
	size_t n = 0, old = 0, room = room_of(t, ns);
	size_t most = sockets->count + (sockets->cut ? ns->n_listeners : 0);
	struct table_listener **now =
	    calloc((most < room ? most : room) + 1, sizeof(struct table_listener *));

	if (!now)
		return -ENOMEM;
	t->full = t->full || sockets->cut;
	for (size_t i = 0; i < sockets->count;) {
		const struct diag_socket *group = &sockets->items[i];
		struct table_listener *l = NULL;
		size_t size = 1;

		while (i + size < sockets->count && diag_compare(group, &group[size]) == 0)
			size++;
		while (old < ns->n_listeners &&
		       diag_compare(&ns->listeners[old]->socket, group) < 0)
			pass_over(t, ns, old++, sockets->cut, now, &n);
		if (old < ns->n_listeners && diag_compare(&ns->listeners[old]->socket, group) == 0)
			l = ns->listeners[old++];
		else if (n + ns->n_listeners - old < room)
			l = new_listener(ns);
		else
			t->full = true;
		/* Without room it is new the next time. */
		if (l) {
			update(t, ns, l, group, size, seen_ns);
			now[n++] = l;
		}
		i += size;
	}
	while (old < ns->n_listeners)
		pass_over(t, ns, old++, sockets->cut, now, &n);
	count_listeners(t, ns, ns->n_listeners, n);
	free(ns->listeners);
	ns->listeners = now;
	ns->n_listeners = n;
	return 0;
}

void table_touch(struct table *t, struct table_listener *l)
{
	queue(t, &l->entry);
}

struct table_entry *table_next(const struct table *t)
{
	return TAILQ_FIRST(&t->pending);
}

static uint8_t change_of(const struct table_entry *e)
{
	return e->gone ? INVENTORY_GONE : e->told ? INVENTORY_CHANGED : INVENTORY_ADDED;
}

size_t table_fill_netns(const struct table_netns *ns, struct inventory_namespace *out)
{
	uint32_t count = ns->entry.gone ? 0 : ns->addresses.count;

	memset(out, 0, sizeof(*out));
	out->version = INVENTORY_WIRE_VERSION;
	out->change = change_of(&ns->entry);
	out->host = ns->host;
	out->count = count;
	out->netns = ns->ref.netns;
	out->truncated = !ns->entry.gone && ns->addresses.truncated;
	if (count)
		memcpy(out->addresses, ns->addresses.items, count * sizeof(out->addresses[0]));
	return offsetof(struct inventory_namespace, addresses) + count * sizeof(out->addresses[0]);
}

void table_fill_listener(const struct table_listener *l, struct inventory_listener *out)
{
	const struct owner *o = &l->owner;

	memset(out, 0, sizeof(*out));
	out->version = INVENTORY_WIRE_VERSION;
	out->change = change_of(&l->entry);
	out->v6only = l->socket.v6only;
	out->port = l->socket.port;
	out->family = l->socket.family;
	memcpy(out->address, l->socket.address, sizeof(out->address));
	out->netns = l->netns;
	out->seen_ns = l->seen_ns;
	out->sockets = l->n_sockets;
	out->uid = l->socket.uid;
	out->pid = o->pid;
	memcpy(out->command, o->command, sizeof(out->command));
	memcpy(out->executable, o->executable, sizeof(out->executable));
	memcpy(out->cgroup, o->cgroup, sizeof(out->cgroup));
	memcpy(out->unit, o->unit, sizeof(out->unit));
	memcpy(out->container, o->container, sizeof(out->container));
	memcpy(out->runtime, o->runtime, sizeof(out->runtime));
}

void table_told(struct table *t, struct table_entry *e)
{
	e->pending = false;
	e->told = true;
	TAILQ_REMOVE(&t->pending, e, link);
	if (e->gone)
		free_entry(e);
}
