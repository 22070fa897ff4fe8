/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/agent/listeners_internal.h"

#include "common/clock.h"

#include <errno.h>
#include <search.h>
#include <string.h>

static int compare_namespaces(const void *a, const void *b)
{
	const struct netns *left = a, *right = b;

	return (left->inode > right->inode) - (left->inode < right->inode);
}

static int compare_listeners(const void *a, const void *b)
{
	const struct listener *left = a, *right = b;
	int order = endpoint_compare(&left->bound, &right->bound);

	return order ? order : compare_namespaces(left->netns, right->netns);
}

int listeners_new(struct watch_set *watches, const struct listeners_handlers *handlers,
                  struct listeners **out)
{
	struct listeners *l = calloc(1, sizeof(*l));

	if (!l)
		return -ENOMEM;
	l->watches = watches;
	l->handlers = *handlers;
	LIST_INIT(&l->namespaces);
	*out = l;
	return 0;
}

/* Listeners */

static void free_listener(struct listeners *l, struct listener *listener)
{
	struct claim *c;

	tdelete(listener, &l->by_key, compare_listeners);
	LIST_REMOVE(listener, link);
	l->n_listeners--;
	if (listener->gone_ms)
		l->n_gone--;
	while ((c = LIST_FIRST(&listener->claims)))
		listeners_end_claim(l, c);
	free(listener->owner);
	free(listener);
}

static void set_gone(struct listeners *l, struct listener *listener, int64_t now_ms)
{
	if (listener->gone_ms)
		return;
	listener->gone_ms = now_ms > 0 ? now_ms : 1;
	l->n_gone++;
	listeners_choose_winners(l, listener);
}

static const char *put_text(char **at, const char *text, size_t size)
{
	size_t n = strnlen(text, size - 1);
	char *begin = *at;

	memcpy(begin, text, n);
	begin[n] = '\0';
	*at += n + 1;
	return begin;
}

static struct owner *make_owner(const struct inventory_listener *f)
{
	size_t room = strnlen(f->command, sizeof(f->command)) +
	              strnlen(f->executable, sizeof(f->executable)) +
	              strnlen(f->cgroup, sizeof(f->cgroup)) + strnlen(f->unit, sizeof(f->unit)) +
	              strnlen(f->container, sizeof(f->container)) +
	              strnlen(f->runtime, sizeof(f->runtime)) + 6;
	struct owner *owner = malloc(sizeof(*owner) + room);
	char *at;

	if (!owner)
		return NULL;
	at = (char *)(owner + 1);
	owner->pid = f->pid;
	owner->uid = f->uid;
	owner->command = put_text(&at, f->command, sizeof(f->command));
	owner->executable = put_text(&at, f->executable, sizeof(f->executable));
	owner->cgroup = put_text(&at, f->cgroup, sizeof(f->cgroup));
	owner->unit = put_text(&at, f->unit, sizeof(f->unit));
	owner->container = put_text(&at, f->container, sizeof(f->container));
	owner->runtime = put_text(&at, f->runtime, sizeof(f->runtime));
	return owner;
}

/* Of several processes that share it, another one may be named each time. */
static bool is_same_owner(const struct owner *a, const struct owner *b)
{
	return a->uid == b->uid && strcmp(a->command, b->command) == 0 &&
	       strcmp(a->executable, b->executable) == 0 && strcmp(a->unit, b->unit) == 0 &&
	       strcmp(a->container, b->container) == 0 && strcmp(a->cgroup, b->cgroup) == 0;
}

/* IPv4-mapped ones are IPv4, so that one listener has one name. */
static void set_bound(struct endpoint *e, const struct inventory_listener *f)
{
	static const uint8_t mapped[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};

	*e = (struct endpoint){.family = f->family, .port = f->port};
	memcpy(e->address, f->address, f->family == AF_INET ? 4 : 16);
	if (f->family == AF_INET6 && memcmp(f->address, mapped, sizeof(mapped)) == 0) {
		*e = (struct endpoint){.family = AF_INET, .port = f->port};
		memcpy(e->address, f->address + sizeof(mapped), 4);
	}
}

static struct netns *find_namespace(const struct listeners *l, uint64_t inode)
{
	const struct netns key = {.inode = inode};
	struct netns *const *found = tfind(&key, &l->by_inode, compare_namespaces);

	return found ? *found : NULL;
}

static struct listener *find_listener(const struct listeners *l, struct netns *ns,
                                      const struct endpoint *bound)
{
	const struct listener key = {.netns = ns, .bound = *bound};
	struct listener *const *found = tfind(&key, &l->by_key, compare_listeners);

	return found ? *found : NULL;
}

static bool is_wildcard(const struct endpoint *e)
{
	static const uint8_t any[16];

	return memcmp(e->address, any, sizeof(any)) == 0;
}

static struct listener *add_listener(struct listeners *l, struct netns *ns,
                                     const struct endpoint *bound)
{
	struct listener *listener;

	if (l->n_listeners >= (ns->host ? LISTENERS_MAX : LISTENERS_MAX / 2)) {
		l->ignored++;
		return NULL;
	}
	listener = calloc(1, sizeof(*listener));
	if (!listener)
		return NULL;
	listener->netns = ns;
	listener->bound = *bound;
	listener->wildcard = is_wildcard(bound);
	LIST_INIT(&listener->claims);
	if (!tsearch(listener, &l->by_key, compare_listeners)) {
		free(listener);
		return NULL;
	}
	LIST_INSERT_HEAD(&ns->listeners, listener, link);
	l->n_listeners++;
	return listener;
}

/* The same key again, from a helper that lives: changed, or back within the grace. */
static void renew(struct listeners *l, struct listener *listener, bool was_gone, bool same_owner)
{
	struct claim *c;

	if (was_gone || !same_owner)
		listeners_choose_winners(l, listener);
	LIST_FOREACH (c, &listener->claims, of_listener) {
		if (c->watch->listener != listener)
			continue;
		if (!same_owner)
			l->handlers.changed(c->watch, l->handlers.arg);
		if (was_gone || !same_owner)
			l->handlers.appeared(c->watch, was_gone ? listener->seen_ns : 0,
			                     l->handlers.arg);
	}
}

static void update_listener(struct listeners *l, struct listener *listener,
                            const struct inventory_listener *f, struct owner *owner, int64_t now_ms)
{
	bool fresh = !listener->owner, was_gone = listener->gone_ms != 0;
	bool same_owner = fresh || is_same_owner(listener->owner, owner);

	free(listener->owner);
	listener->owner = owner;
	if (was_gone)
		l->n_gone--;
	listener->gone_ms = 0;
	listener->confirmed = true;
	listener->v6only = f->v6only;
	listener->sockets = f->sockets;
	if (fresh || was_gone || f->change == INVENTORY_ADDED)
		listener->seen_ns = f->seen_ns;
	if (fresh || was_gone)
		listener->seen_wall_ms = clock_wall_ms();
	if (!fresh)
		renew(l, listener, was_gone, same_owner);
	listeners_derive(l, listener, now_ms);
	listeners_derive_stale(l, now_ms);
}

static bool is_family(uint8_t family)
{
	return family == AF_INET || family == AF_INET6;
}

int listeners_take_listener(struct listeners *l, const void *body, size_t length, int64_t now_ms)
{
	struct inventory_listener f;
	struct listener *listener;
	struct endpoint bound;
	struct owner *owner;
	struct netns *ns;

	if (length != sizeof(f))
		return -EPROTO;
	memcpy(&f, body, sizeof(f));
	ns = find_namespace(l, f.netns);
	if (f.version != INVENTORY_WIRE_VERSION || !is_family(f.family) || f.port == 0 ||
	    f.change < INVENTORY_ADDED || f.change > INVENTORY_GONE)
		return -EPROTO;
	if (!ns) { /* beyond our own cap, or gone already */
		l->ignored++;
		return 0;
	}
	set_bound(&bound, &f);
	listener = find_listener(l, ns, &bound);
	if (f.change == INVENTORY_GONE) {
		if (listener)
			set_gone(l, listener, now_ms);
		return 0;
	}
	owner = make_owner(&f);
	if (owner && !listener)
		listener = add_listener(l, ns, &bound);
	if (!owner || !listener)
		free(owner);
	else
		update_listener(l, listener, &f, owner, now_ms);
	return 0;
}

/* Namespaces */

static void free_namespace(struct listeners *l, struct netns *ns)
{
	struct listener *listener;

	while ((listener = LIST_FIRST(&ns->listeners)))
		free_listener(l, listener);
	tdelete(ns, &l->by_inode, compare_namespaces);
	LIST_REMOVE(ns, link);
	l->n_namespaces--;
	if (l->host == ns)
		l->host = NULL;
	free(ns->addresses);
	free(ns);
}

static void empty_namespace(struct listeners *l, struct netns *ns, int64_t now_ms)
{
	struct listener *listener;

	ns->confirmed = false;
	LIST_FOREACH (listener, &ns->listeners, link)
		set_gone(l, listener, now_ms);
}

static struct netns *add_namespace(struct listeners *l, uint64_t inode, bool host)
{
	struct netns *ns;

	if (l->n_namespaces >= LISTENERS_MAX_NAMESPACES)
		return NULL;
	ns = calloc(1, sizeof(*ns));
	if (!ns)
		return NULL;
	ns->inode = inode;
	ns->host = host;
	LIST_INIT(&ns->listeners);
	if (!tsearch(ns, &l->by_inode, compare_namespaces)) {
		free(ns);
		return NULL;
	}
	LIST_INSERT_HEAD(&l->namespaces, ns, link);
	l->n_namespaces++;
	if (host)
		l->host = ns;
	return ns;
}

int listeners_take_namespace(struct listeners *l, const void *body, size_t length, int64_t now_ms)
{
	const size_t fixed = offsetof(struct inventory_namespace, addresses);
	struct inventory_address *addresses = NULL;
	struct inventory_namespace f;
	struct netns *ns;
	bool same;

	if (length < fixed || length > sizeof(f))
		return -EPROTO;
	memcpy(&f, body, length);
	if (f.version != INVENTORY_WIRE_VERSION || f.count > INVENTORY_MAX_ADDRESSES ||
	    length != fixed + f.count * sizeof(f.addresses[0]) || f.change < INVENTORY_ADDED ||
	    f.change > INVENTORY_GONE)
		return -EPROTO;
	for (uint32_t i = 0; i < f.count; i++) {
		if (!is_family(f.addresses[i].family))
			return -EPROTO;
	}
	ns = find_namespace(l, f.netns);
	if (f.change == INVENTORY_GONE) {
		if (ns)
			empty_namespace(l, ns, now_ms);
		return 0;
	}
	if (!ns)
		ns = add_namespace(l, f.netns, f.host);
	if (f.count)
		addresses = reallocarray(NULL, f.count, sizeof(*addresses));
	if (!ns || (f.count && !addresses)) { /* its listeners will be passed over */
		free(addresses);
		return -ENOMEM;
	}
	ns->confirmed = true;
	qsort(f.addresses, f.count, sizeof(f.addresses[0]), listeners_compare_addresses);
	same = ns->count == f.count &&
	       (!ns->addresses ||
	        memcmp(ns->addresses, f.addresses, f.count * sizeof(*addresses)) == 0);
	if (addresses)
		memcpy(addresses, f.addresses, f.count * sizeof(*addresses));
	free(ns->addresses);
	ns->addresses = addresses;
	ns->count = f.count;
	/* Whose an address is depends on the host's. */
	if (!same && ns->host)
		listeners_derive_all(l, now_ms);
	else if (!same)
		listeners_derive_namespace(l, ns, now_ms);
	listeners_derive_stale(l, now_ms);
	return 0;
}

/* The whole */

int listeners_take_synced(struct listeners *l, const void *body, size_t length, int64_t now_ms)
{
	struct inventory_status status;
	struct listener *listener;
	struct netns *ns;

	if (length != sizeof(status))
		return -EPROTO;
	memcpy(&status, body, sizeof(status));
	if (status.version != INVENTORY_WIRE_VERSION || status.mode > INVENTORY_BY_EVENTS)
		return -EPROTO;
	status.why_no_events[sizeof(status.why_no_events) - 1] = '\0';
	l->status = status;
	if (l->synced)
		return 0;
	if (!l->was_synced) {
		l->syncing = true;
		listeners_derive_all(l, now_ms);
		l->syncing = false;
	}
	l->synced = l->was_synced = true;
	LIST_FOREACH (ns, &l->namespaces, link) {
		LIST_FOREACH (listener, &ns->listeners, link) {
			if (!listener->confirmed)
				set_gone(l, listener, now_ms);
		}
	}
	listeners_derive_stale(l, now_ms);
	return 0;
}

void listeners_lose_helper(struct listeners *l)
{
	struct listener *listener;
	struct netns *ns;

	l->synced = false;
	LIST_FOREACH (ns, &l->namespaces, link) {
		ns->confirmed = false;
		LIST_FOREACH (listener, &ns->listeners, link)
			listener->confirmed = false;
	}
}

void listeners_expire(struct listeners *l, int64_t now_ms)
{
	struct listener *listener, *next;
	struct netns *ns, *next_ns;

	if (!l->synced) /* who could not come back yet is not gone */
		return;
	for (ns = LIST_FIRST(&l->namespaces); ns; ns = next_ns) {
		next_ns = LIST_NEXT(ns, link);
		for (listener = l->n_gone ? LIST_FIRST(&ns->listeners) : NULL; listener;
		     listener = next) {
			next = LIST_NEXT(listener, link);
			if (listener->gone_ms && now_ms - listener->gone_ms >= LISTENERS_GRACE_MS)
				free_listener(l, listener);
		}
		if (!ns->confirmed && LIST_EMPTY(&ns->listeners))
			free_namespace(l, ns);
	}
	listeners_derive_stale(l, now_ms);
}

void listeners_clear(struct listeners *l)
{
	struct netns *ns;

	while ((ns = LIST_FIRST(&l->namespaces)))
		free_namespace(l, ns);
	l->synced = l->was_synced = false;
	memset(&l->status, 0, sizeof(l->status));
}

void listeners_free(struct listeners *l)
{
	struct netns *ns;

	if (!l)
		return;
	while ((ns = LIST_FIRST(&l->namespaces))) {
		struct listener *listener;
		struct claim *c;

		while ((listener = LIST_FIRST(&ns->listeners))) {
			while ((c = LIST_FIRST(&listener->claims))) {
				LIST_REMOVE(c, of_listener);
				free(c);
			}
			free_listener(l, listener);
		}
		free_namespace(l, ns);
	}
	free(l->ports);
	free(l);
}

int listeners_configure(struct listeners *l, const struct listeners_conf *conf)
{
	uint16_t *ports = calloc(conf->n_protected + 1, sizeof(*ports));

	if (!ports)
		return -ENOMEM;
	if (conf->n_protected)
		memcpy(ports, conf->protected_ports, conf->n_protected * sizeof(*ports));
	free(l->ports);
	l->ports = ports;
	l->conf = *conf;
	l->conf.protected_ports = ports;
	listeners_derive_all(l, clock_monotonic_ms());
	listeners_derive_stale(l, clock_monotonic_ms());
	return 0;
}

bool listeners_is_synced(const struct listeners *l)
{
	return l->synced;
}

const struct inventory_status *listeners_status(const struct listeners *l)
{
	return &l->status;
}
