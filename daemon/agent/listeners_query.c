/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/agent/listeners_internal.h"

#include <string.h>

void listeners_get_stats(const struct listeners *l, struct listeners_stats *out)
{
	const struct listener *listener;
	const struct netns *ns;

	*out = (struct listeners_stats){.listeners = l->n_listeners,
	                                .namespaces = l->n_namespaces,
	                                .gone = l->n_gone,
	                                .over_cap = l->over_cap,
	                                .ignored = l->ignored};
	LIST_FOREACH (ns, &l->namespaces, link) {
		LIST_FOREACH (listener, &ns->listeners, link) {
			out->in_host += ns->host;
			out->in_containers += listener->owner->container[0] != '\0';
			out->skipped[listener->skip]++;
		}
	}
}

void listeners_walk(const struct listeners *l,
                    void (*visit)(const struct listener *listener, void *arg), void *arg)
{
	const struct listener *listener;
	const struct netns *ns;

	LIST_FOREACH (ns, &l->namespaces, link) {
		LIST_FOREACH (listener, &ns->listeners, link)
			visit(listener, arg);
	}
}

static bool has_address(const struct netns *ns, const struct endpoint *e)
{
	for (uint32_t i = 0; i < ns->count; i++) {
		if (ns->addresses[i].family == e->family &&
		    memcmp(ns->addresses[i].address, e->address, sizeof(e->address)) == 0)
			return true;
	}
	return false;
}

bool listeners_has_address(const struct listeners *l, const struct endpoint *e)
{
	const struct netns *ns;

	LIST_FOREACH (ns, &l->namespaces, link) {
		if (has_address(ns, e))
			return true;
	}
	return false;
}

const struct listener *listeners_find_skipped(const struct listeners *l, const struct endpoint *e)
{
	const struct listener *listener;
	const struct netns *ns;

	LIST_FOREACH (ns, &l->namespaces, link) {
		if (!has_address(ns, e))
			continue;
		LIST_FOREACH (listener, &ns->listeners, link) {
			if (listener->bound.port != e->port || listener->skip == LISTENER_PROBED)
				continue;
			if (endpoint_compare(&listener->bound, e) == 0 ||
			    (listener->wildcard &&
			     (listener->bound.family == e->family || !listener->v6only)))
				return listener;
		}
	}
	return NULL;
}

uint64_t listener_netns(const struct listener *listener)
{
	return listener->netns->inode;
}

bool listener_is_in_host(const struct listener *listener)
{
	return listener->netns->host;
}

bool listener_is_loopback_only(const struct listener *listener)
{
	const struct netns *ns = listener->netns;

	if (!listener->wildcard)
		return endpoint_is_loopback(&listener->bound);
	for (uint32_t i = 0; i < ns->count; i++) {
		struct endpoint e = {.family = ns->addresses[i].family};

		memcpy(e.address, ns->addresses[i].address, sizeof(e.address));
		if (listeners_takes(listener, &ns->addresses[i]) && !endpoint_is_loopback(&e))
			return false;
	}
	return true;
}

static const struct {
	const char *name, *text;
} skips[LISTENER_SKIP_COUNT] = {
    [LISTENER_PROBED] = {"probed", NULL},
    [LISTENER_PROTECTED] = {"protected", "its port is protected"},
    [LISTENER_OWN] = {"own", "it is one of our own"},
    [LISTENER_SPEAKS] = {"speaks_first", "its service speaks first"},
    [LISTENER_LINK_LOCAL] = {"link_local", "its address needs a zone"},
    [LISTENER_UNREACHED] = {"unreached", "only its own namespace reaches it"},
    [LISTENER_OVER_CAP] = {"over_cap", "too many endpoints are watched"},
};

const char *listener_skip_text(enum listener_skip skip)
{
	return skips[skip].text;
}

const char *listener_skip_name(enum listener_skip skip)
{
	return skips[skip].name;
}
