/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/agent/ledger.h"

#include "common/bisect.h"

#include <stdlib.h>
#include <string.h>

/* What a time may be off that is told as how long ago it was. */
enum { SAME_MOMENT_MS = 1000 };

/* Sorted by endpoint; lookups by bisection. */
struct ledger {
	struct ledger_page **pages;
	size_t count, room, n_peers;
};

struct ledger *ledger_new(void)
{
	return calloc(1, sizeof(struct ledger));
}

static void free_page(struct ledger_page *page)
{
	for (size_t i = 0; i < page->count; i++)
		free(page->peers[i].name);
	free(page->peers);
	free(page);
}

void ledger_free(struct ledger *l)
{
	if (!l)
		return;
	for (size_t i = 0; i < l->count; i++)
		free_page(l->pages[i]);
	free(l->pages);
	free(l);
}

static int compare_page(const void *pages, size_t i, const void *key)
{
	return endpoint_compare(&((struct ledger_page *const *)pages)[i]->endpoint, key);
}

static size_t find_page(const struct ledger *l, const struct endpoint *e, bool *found)
{
	return bisect_find(l->pages, l->count, compare_page, e, found);
}

struct ledger_page *ledger_find(const struct ledger *l, const struct endpoint *e)
{
	bool found;
	size_t i = find_page(l, e, &found);

	return found ? l->pages[i] : NULL;
}

struct ledger_page *ledger_open(struct ledger *l, const struct endpoint *e, int64_t now_ms)
{
	bool found;
	size_t i = find_page(l, e, &found);
	struct ledger_page *page;

	if (found)
		return l->pages[i];
	if (l->count == LEDGER_MAX_PAGES)
		return NULL;
	if (l->count == l->room) {
		size_t room = l->room ? l->room * 2 : 16;
		struct ledger_page **pages = realloc(l->pages, room * sizeof(struct ledger_page *));

		if (!pages)
			return NULL;
		l->pages = pages;
		l->room = room;
	}
	page = calloc(1, sizeof(*page));
	if (!page)
		return NULL;
	page->endpoint = *e;
	page->since_ms = now_ms;
	page->changed = true;
	memmove(l->pages + i + 1, l->pages + i, (l->count - i) * sizeof(struct ledger_page *));
	l->pages[i] = page;
	l->count++;
	return page;
}

void ledger_close(struct ledger *l, const struct endpoint *e)
{
	bool found;
	size_t i = find_page(l, e, &found);

	if (!found)
		return;
	l->n_peers -= l->pages[i]->count;
	free_page(l->pages[i]);
	l->count--;
	memmove(l->pages + i, l->pages + i + 1, (l->count - i) * sizeof(struct ledger_page *));
}

size_t ledger_count(const struct ledger *l)
{
	return l->count;
}

struct ledger_page *ledger_at(const struct ledger *l, size_t i)
{
	return l->pages[i];
}

size_t ledger_peers(const struct ledger *l)
{
	return l->n_peers;
}

static int compare_peer(const void *peers, size_t i, const void *key)
{
	return endpoint_compare(&((const struct ledger_peer *)peers)[i].address, key);
}

static size_t find_peer(const struct ledger_page *page, const struct endpoint *peer, bool *found)
{
	return bisect_find(page->peers, page->count, compare_peer, peer, found);
}

struct ledger_peer *ledger_find_peer(const struct ledger_page *page, const struct endpoint *peer)
{
	bool found;
	size_t i = find_peer(page, peer, &found);

	return found ? &page->peers[i] : NULL;
}

static void remove_peer(struct ledger *l, struct ledger_page *page, size_t i)
{
	free(page->peers[i].name);
	page->count--;
	l->n_peers--;
	memmove(page->peers + i, page->peers + i + 1, (page->count - i) * sizeof(*page->peers));
}

/* The one that was seen the longest ago, of those that never were connected. */
static bool make_room(struct ledger *l, struct ledger_page *page)
{
	size_t oldest = page->count;

	for (size_t i = 0; i < page->count; i++) {
		const struct ledger_peer *p = &page->peers[i];

		if (!p->was_connected &&
		    (oldest == page->count || p->last_ms < page->peers[oldest].last_ms))
			oldest = i;
	}
	if (oldest == page->count)
		return false;
	remove_peer(l, page, oldest);
	page->unlisted++;
	return true;
}

static bool grow(struct ledger_page *page)
{
	size_t room = page->room ? page->room * 2 : 8;
	struct ledger_peer *peers;

	if (page->count < page->room)
		return true;
	peers = realloc(page->peers, room * sizeof(*peers));
	if (!peers)
		return false;
	page->peers = peers;
	page->room = room;
	return true;
}

/* Finds, or makes where there is room; NULL where there is none. */
static struct ledger_peer *get_peer(struct ledger *l, struct ledger_page *page,
                                    const struct endpoint *peer, bool connected, bool *is_new)
{
	bool found;
	size_t i = find_peer(page, peer, &found);
	bool full = page->count == LEDGER_MAX_PEERS || l->n_peers == LEDGER_MAX_PEERS_ALL;

	*is_new = !found;
	if (found)
		return &page->peers[i];
	if ((full && !(connected && make_room(l, page))) || !grow(page)) {
		page->unlisted++;
		return NULL;
	}
	i = find_peer(page, peer, &found); /* making room may have moved it */
	memmove(page->peers + i + 1, page->peers + i, (page->count - i) * sizeof(*page->peers));
	page->peers[i] = (struct ledger_peer){.address = *peer};
	page->peers[i].address.port = 0;
	page->count++;
	l->n_peers++;
	page->changed = true;
	return &page->peers[i];
}

void ledger_note_opened(struct ledger *l, struct ledger_page *page, const struct endpoint *peer,
                        uint64_t connections, int64_t last_ms)
{
	bool is_new;
	struct ledger_peer *p = get_peer(l, page, peer, false, &is_new);
	uint64_t more;
	bool anew;

	if (!p)
		return;
	if (is_new)
		p->first_ms = p->last_ms = last_ms;
	/* A set that was made anew counts from zero: less than before, or as much, but later. */
	anew = connections < p->kernel_count ||
	       (connections == p->kernel_count && last_ms > p->last_ms + SAME_MOMENT_MS);
	more = anew ? connections : connections - p->kernel_count;
	if (more == 0)
		return;
	p->connections += more;
	p->kernel_count = connections;
	if (last_ms > p->last_ms)
		p->last_ms = last_ms;
	page->counted = true;
}

void ledger_begin_look(struct ledger_page *page)
{
	for (size_t i = 0; i < page->count; i++)
		page->peers[i].connected = false;
}

void ledger_note_connected(struct ledger *l, struct ledger_page *page, const struct endpoint *peer,
                           int64_t now_ms)
{
	bool is_new;
	struct ledger_peer *p = get_peer(l, page, peer, true, &is_new);

	if (!p)
		return;
	if (is_new)
		p->first_ms = now_ms;
	/* Opened before anybody counted. */
	if (p->connections == 0)
		p->connections = 1;
	p->last_ms = now_ms;
	p->connected = p->was_connected = true;
	page->counted = true;
}

void ledger_restore(struct ledger *l, struct ledger_page *page, const struct ledger_peer *peer)
{
	bool is_new;
	struct ledger_peer *p = get_peer(l, page, &peer->address, false, &is_new);

	if (!p || !is_new)
		return;
	p->first_ms = peer->first_ms;
	p->last_ms = peer->last_ms;
	p->connections = peer->connections;
	p->kernel_count = peer->kernel_count;
	p->was_connected = peer->was_connected;
}

void ledger_set_name(struct ledger_peer *peer, const char *name, int64_t now_ms)
{
	char *copy = name ? strdup(name) : NULL;

	free(peer->name);
	peer->name = copy;
	peer->named_ms = now_ms;
}

void ledger_page_saved(struct ledger_page *page, int64_t now_ms)
{
	page->changed = page->counted = false;
	page->saved_ms = now_ms;
}
