/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Who is connected to an endpoint at this moment, as inventory sees it in the sockets' namespace.
 */
#include "common/clock.h"
#include "daemon/agent/agent.h"
#include "daemon/agent/impact_internal.h"

#include <string.h>
#include <sys/stat.h>

/* A question under way. The page may be closed before the answer comes. */
struct look {
	struct impact *impact;
	struct endpoint endpoint;
	bool began; /* the first peer, or the end, has come */
};

static struct ledger_page *find_page(struct look *look)
{
	struct ledger_page *page = ledger_find(impact_ledger(look->impact), &look->endpoint);

	if (page && !look->began)
		ledger_begin_look(page);
	look->began = true;
	return page;
}

enum { PROBE_LINGERS_MS = 1000 };

/*
 * The prober connects from an address of the host's own, as a local client may: while a probe is
 * under way, or was just now, who is who cannot be told. The counting set can, by the prober's uid.
 */
static bool may_be_ours(const struct look *look, const struct endpoint *peer)
{
	const struct watch *w =
	    watch_set_find(impact_agent(look->impact)->watches, &look->endpoint);

	if (!w || (!w->slot.in_flight && clock_wall_ms() - w->seen_wall_ms > PROBE_LINGERS_MS))
		return false;
	return endpoint_is_loopback(peer) ||
	       (peer->family == look->endpoint.family &&
	        memcmp(peer->address, look->endpoint.address, sizeof(peer->address)) == 0);
}

static void on_peer(const struct inventory_peer *from, void *arg)
{
	struct look *look = arg;
	struct ledger_page *page = find_page(look);
	struct endpoint peer = {.family = from->family};

	memcpy(peer.address, from->address, sizeof(peer.address));
	if (page && !inventory_is_vantage(&peer) &&
	    (peer.family == AF_INET || peer.family == AF_INET6) && !may_be_ours(look, &peer))
		ledger_note_connected(impact_ledger(look->impact), page, &peer, clock_wall_ms());
}

static void on_answered(const struct inventory_answer *answer, int fd, void *arg)
{
	struct look *look = arg;

	if (fd >= 0)
		close(fd);
	if (answer && (answer->result == INVENTORY_OK || answer->result == INVENTORY_CUT)) {
		struct ledger_page *page = find_page(look); /* nobody may be connected */

		if (page)
			page->truncated = answer->result == INVENTORY_CUT;
	}
	impact_end_look(look->impact);
	free(look);
}

/* Of the listener, else ours, which is the host's: nsfs's inode number. 0: not known. */
static uint64_t find_netns(const struct agent *a, const struct endpoint *e)
{
	const struct watch *w = watch_set_find(a->watches, e);
	struct stat st;

	if (w && w->listener)
		return listener_netns(w->listener);
	return stat("/proc/self/ns/net", &st) == 0 ? st.st_ino : 0;
}

void impact_look(struct impact *impact, struct ledger_page *page)
{
	struct agent *a = impact_agent(impact);
	struct inventory_request request = {
	    .verb = INVENTORY_PEERS,
	    .port = page->endpoint.port,
	    .family = (uint8_t)page->endpoint.family,
	    .netns = find_netns(a, &page->endpoint),
	};
	struct look *look = calloc(1, sizeof(*look));
	const struct inventory_asker asker = {
	    .peer = on_peer, .answered = on_answered, .arg = look};

	page->looked_ms = clock_monotonic_ms();
	memcpy(request.address, page->endpoint.address, sizeof(request.address));
	if (look) {
		look->impact = impact;
		look->endpoint = page->endpoint;
		impact_begin_look(impact);
		if (inventory_ask(a->inventory, &request, &asker) == 0)
			return;
		impact_cancel_look(impact);
	}
	free(look);
}
