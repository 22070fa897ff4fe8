/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Which endpoints a listener is reached at, and who wins where there are several. */
#include "common/log.h"
#include "daemon/agent/listeners_internal.h"

#include <string.h>

int listeners_compare_addresses(const void *a, const void *b)
{
	const struct inventory_address *left = a, *right = b;

	if (left->family != right->family)
		return (int)left->family - (int)right->family;
	return memcmp(left->address, right->address, sizeof(left->address));
}

/*
 * Anybody can make a network namespace and give it any address; a container takes more. But below
 * its own slice a user names cgroups at will (systemd delegates them), one like a container's too.
 */
static bool is_contained(const struct listener *l)
{
	static const char users[] = "/user.slice/";

	return l->owner->container[0] && strncmp(l->owner->cgroup, users, strlen(users)) != 0;
}

static unsigned rank(const struct claim *c)
{
	const struct listener *l = c->listener;

	/* As the kernel looks it up: the host's own address, the exact one, the same family. */
	return (l->gone_ms ? 0U : 16U) + (l->netns->host ? 8U : 0U) + (is_contained(l) ? 4U : 0U) +
	       (l->wildcard ? 0U : 2U) + (l->bound.family == c->watch->endpoint.family ? 1U : 0U);
}

static bool is_ambiguous(const struct watch *w, const struct claim *best)
{
	const struct claim *c;

	if (!best || best->listener->netns->host)
		return false;
	LIST_FOREACH (c, &w->claims, of_watch) {
		if (c->listener->netns != best->listener->netns && !c->listener->netns->host &&
		    is_contained(c->listener) == is_contained(best->listener))
			return true;
	}
	return false;
}

/* Returns whether something about the watch has changed. */
static bool choose_winner(struct listeners *l, struct watch *w)
{
	struct claim *c, *best = NULL;
	bool ambiguous, changed;

	LIST_FOREACH (c, &w->claims, of_watch) {
		if (!best || rank(c) > rank(best))
			best = c;
	}
	ambiguous = is_ambiguous(w, best);
	changed = w->listener != (best ? best->listener : NULL) || w->ambiguous != ambiguous;
	if (w->ambiguous != ambiguous) {
		l->stale = true;
		LIST_FOREACH (c, &w->claims, of_watch)
			c->listener->stale = true;
	}
	w->listener = best ? best->listener : NULL;
	w->ambiguous = ambiguous;
	return changed;
}

void listeners_end_claim(struct listeners *l, struct claim *c)
{
	struct watch *w = c->watch;

	LIST_REMOVE(c, of_listener);
	LIST_REMOVE(c, of_watch);
	free(c);
	if (LIST_EMPTY(&w->claims)) {
		w->listener = NULL;
		w->ambiguous = false;
		l->handlers.gone(w, l->handlers.arg);
	} else if (choose_winner(l, w)) {
		l->handlers.changed(w, l->handlers.arg);
	}
}

static void tell_of_cap(struct listeners *l, struct listener *listener, int64_t now_ms)
{
	l->over_cap++;
	if (listener->skip == LISTENER_PROBED && LIST_EMPTY(&listener->claims))
		listener->skip = LISTENER_OVER_CAP;
	if (l->cap_told_ms && now_ms - l->cap_told_ms < 60 * 1000)
		return;
	l->cap_told_ms = now_ms;
	log_error("%d endpoints are watched: listeners beyond that are not probed",
	          CONF_MAX_TARGETS);
}

/* What anybody can make leaves room for the host's and the containers'. */
static size_t most_watches(const struct listener *l)
{
	return l->netns->host || is_contained(l) ? CONF_MAX_TARGETS : CONF_MAX_TARGETS / 2;
}

/* Returns NULL when there is no room. */
static struct claim *claim(struct listeners *l, struct listener *listener,
                           const struct watch_key *key, int64_t now_ms)
{
	struct watch *w = watch_set_find_key(l->watches, key);
	struct claim *c;
	bool fresh;

	if (!w && watch_set_count(l->watches) < most_watches(listener))
		w = watch_set_get_key(l->watches, key);
	if (!w) {
		tell_of_cap(l, listener, now_ms);
		return NULL;
	}
	LIST_FOREACH (c, &w->claims, of_watch) {
		if (c->listener == listener) {
			c->mark = listener->mark;
			return c;
		}
	}
	c = calloc(1, sizeof(*c));
	if (!c) /* a watch that was made for it goes with the next look */
		return NULL;
	c->listener = listener;
	c->watch = w;
	c->mark = listener->mark;
	fresh = LIST_EMPTY(&w->claims);
	LIST_INSERT_HEAD(&listener->claims, c, of_listener);
	LIST_INSERT_HEAD(&w->claims, c, of_watch);
	if (choose_winner(l, w) && !fresh)
		l->handlers.changed(w, l->handlers.arg);
	if (fresh || w->listener == listener)
		l->handlers.appeared(w, l->was_synced ? listener->seen_ns : 0, l->handlers.arg);
	return c;
}

static bool host_has(const struct listeners *l, uint8_t family, const uint8_t address[static 16])
{
	struct inventory_address wanted = {.family = family};

	if (!l->host)
		return false;
	memcpy(wanted.address, address, sizeof(wanted.address));
	return bsearch(&wanted, l->host->addresses, l->host->count, sizeof(wanted),
	               listeners_compare_addresses) != NULL;
}

static bool is_link_local(const struct endpoint *e)
{
	return e->family == AF_INET6 && e->address[0] == 0xfe && (e->address[1] & 0xc0) == 0x80;
}

bool listeners_takes(const struct listener *listener, const struct inventory_address *a)
{
	if (a->flags & (INVENTORY_ADDRESS_SERVICE | INVENTORY_ADDRESS_LINK_LOCAL))
		return false;
	if (listener->bound.family == a->family)
		return true;
	return listener->bound.family == AF_INET6 && !listener->v6only;
}

static bool may_ask_inside(const struct listeners *l, const struct listener *listener)
{
	if (listener->netns->host)
		return false;
	return l->conf.inside == CONF_INSIDE_ALL ||
	       (l->conf.inside == CONF_INSIDE_CONTAINERS && is_contained(listener));
}

/*
 * From the host, which is what strangers see, unless it cannot be meant by that address there; and
 * from inside where that is not enough. Returns whether it is asked at all.
 */
static bool claim_address(struct listeners *l, struct listener *listener, const struct endpoint *e,
                          int64_t now_ms)
{
	bool inside = may_ask_inside(l, listener);
	struct watch_key key = {.endpoint = *e};
	const struct claim *c;

	if (listener->netns->host ||
	    !(endpoint_is_loopback(e) || host_has(l, (uint8_t)e->family, e->address))) {
		c = claim(l, listener, &key, now_ms);
		if (!inside || !c || !(c->unreached || c->watch->ambiguous))
			return true;
	}
	key.netns = listener->netns->inode;
	if (inside)
		claim(l, listener, &key, now_ms);
	return inside;
}

/* Loopback, when `loopback`; or everything but that. */
static bool claim_addresses(struct listeners *l, struct listener *listener, bool loopback,
                            int64_t now_ms)
{
	const struct netns *ns = listener->netns;
	bool any = false;

	for (uint32_t i = 0; i < ns->count; i++) {
		const struct inventory_address *a = &ns->addresses[i];
		struct endpoint e = {.family = a->family, .port = listener->bound.port};

		memcpy(e.address, a->address, sizeof(e.address));
		if (listeners_takes(listener, a) && endpoint_is_loopback(&e) == loopback)
			any |= claim_address(l, listener, &e, now_ms);
	}
	return any;
}

static enum listener_skip judge(const struct listeners *l, const struct listener *listener)
{
	uint16_t port = listener->bound.port;

	if ((listener->owner->pid && l->handlers.is_own(listener->owner->pid, l->handlers.arg)) ||
	    (listener->netns->host && !listener->owner->pid && port == l->conf.metrics.port))
		return LISTENER_OWN;
	for (size_t i = 0; i < l->conf.n_protected; i++) {
		if (l->ports[i] == port)
			return LISTENER_PROTECTED;
	}
	if (speaks_first(port, listener->owner->command))
		return LISTENER_SPEAKS;
	if (is_link_local(&listener->bound))
		return LISTENER_LINK_LOCAL;
	return LISTENER_PROBED;
}

void listeners_derive(struct listeners *l, struct listener *listener, int64_t now_ms)
{
	struct claim *c, *next;
	bool asked = true;

	listener->stale = false;
	/* Whose an address is, the host's or a container's, shows when everything is told. */
	if (!l->was_synced && !l->syncing)
		return;
	listener->mark = ++l->next_mark;
	listener->skip = judge(l, listener);
	if (listener->skip == LISTENER_PROBED && !listener->wildcard) {
		asked = claim_address(l, listener, &listener->bound, now_ms);
	} else if (listener->skip == LISTENER_PROBED) {
		asked = claim_addresses(l, listener, false, now_ms);
		if (!asked || (listener->netns->host && l->conf.seals_loopback))
			asked |= claim_addresses(l, listener, true, now_ms);
	}
	if (!asked)
		listener->skip = LISTENER_UNREACHED;
	for (c = LIST_FIRST(&listener->claims); c; c = next) {
		next = LIST_NEXT(c, of_listener);
		if (c->mark != listener->mark)
			listeners_end_claim(l, c);
	}
}

void listeners_derive_namespace(struct listeners *l, struct netns *ns, int64_t now_ms)
{
	struct listener *listener;

	LIST_FOREACH (listener, &ns->listeners, link)
		listeners_derive(l, listener, now_ms);
}

void listeners_derive_all(struct listeners *l, int64_t now_ms)
{
	struct netns *ns;

	LIST_FOREACH (ns, &l->namespaces, link)
		listeners_derive_namespace(l, ns, now_ms);
}

/* What it makes is watched in one namespace alone, and so makes nobody else stale. */
void listeners_derive_stale(struct listeners *l, int64_t now_ms)
{
	struct listener *listener;
	struct netns *ns;

	if (!l->stale)
		return;
	l->stale = false;
	LIST_FOREACH (ns, &l->namespaces, link) {
		LIST_FOREACH (listener, &ns->listeners, link) {
			if (listener->stale)
				listeners_derive(l, listener, now_ms);
		}
	}
}

void listeners_note_reach(struct listeners *l, struct watch *w, bool reached, int64_t now_ms)
{
	struct claim *c;

	LIST_FOREACH (c, &w->claims, of_watch) {
		if (c->unreached == reached && !c->listener->gone_ms) {
			c->unreached = !reached;
			c->listener->stale = l->stale = true;
		}
	}
	listeners_derive_stale(l, now_ms);
}

void listeners_choose_winners(struct listeners *l, struct listener *listener)
{
	struct claim *c;

	LIST_FOREACH (c, &listener->claims, of_listener) {
		if (choose_winner(l, c->watch) ||
		    (listener->gone_ms && c->watch->listener == listener))
			l->handlers.changed(c->watch, l->handlers.arg);
	}
}
