/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/agent/impact.h"

#include "common/clock.h"
#include "common/log.h"
#include "daemon/agent/agent.h"
#include "daemon/agent/impact_internal.h"
#include "daemon/inventory/wire.h"

#include <errno.h>
#include <string.h>

enum {
	NAMES_AT_ONCE = 16,
	NAME_WAIT_MS = 30 * 1000, /* longer than the sender takes */
	NAME_AGAIN_MS = 24 * 3600 * 1000,
	LOOKS_AT_ONCE = 64,
};

/* A question for a name; several pages may know the address. */
struct naming {
	uint64_t token; /* 0: free */
	struct endpoint address;
	int64_t asked_ms;
};

struct impact {
	struct agent *agent;
	struct ledger *ledger;
	struct naming names[NAMES_AT_ONCE];
	uint64_t next_token;
	int64_t listed_ms;
	unsigned lists, looks; /* under way */
};

int impact_new(struct agent *a, struct impact **out)
{
	struct impact *impact = calloc(1, sizeof(*impact));

	if (!impact)
		return -ENOMEM;
	impact->agent = a;
	impact->ledger = ledger_new();
	if (!impact->ledger) {
		free(impact);
		return -ENOMEM;
	}
	*out = impact;
	return 0;
}

static void save(struct impact *impact, struct ledger_page *page, int64_t now)
{
	struct state_ledger row = {.endpoint = page->endpoint,
	                           .since_ms = page->since_ms,
	                           .peers = ledger_format_peers(page)};

	if (row.peers && state_save_ledger(impact->agent->state, &row) == 0)
		ledger_page_saved(page, now);
	free(row.peers);
}

void impact_restore(struct impact *impact, const struct state_snapshot *snapshot)
{
	for (size_t i = 0; i < snapshot->n_ledgers; i++) {
		const struct state_ledger *row = &snapshot->ledgers[i];
		struct ledger_page *page =
		    ledger_open(impact->ledger, &row->endpoint, row->since_ms);

		if (!page)
			return;
		ledger_parse_peers(impact->ledger, page, row->peers, row->shift_ms);
		ledger_page_saved(page, clock_monotonic_ms());
	}
}

void impact_free(struct impact *impact)
{
	if (!impact)
		return;
	for (size_t i = 0; i < ledger_count(impact->ledger); i++) {
		struct ledger_page *page = ledger_at(impact->ledger, i);

		if (page->changed || page->counted)
			save(impact, page, 0);
	}
	ledger_free(impact->ledger);
	free(impact);
}

static bool is_wanted(const struct watch *w)
{
	return w->breaker.state != BREAKER_CLOSED || w->breaker.history ||
	       (w->decision && w->decision->block);
}

static void tell_firewall(struct impact *impact, struct ledger_page *page)
{
	wall_ledger_add(impact->agent->wall, &page->endpoint);
	page->told_ms = clock_monotonic_ms();
}

static void list(struct impact *impact, const struct endpoint *e)
{
	struct wall_stats stats;

	wall_get_stats(impact->agent->wall, &stats);
	if (!stats.connected)
		return;
	impact->lists++;
	wall_ledger_list(impact->agent->wall, e);
}

void impact_consider(struct impact *impact, const struct watch *w)
{
	struct ledger_page *page = ledger_find(impact->ledger, &w->endpoint);

	if (w->netns || !is_wanted(w)) /* never blocked; or the tick sees to it */
		return;
	if (page) {
		page->wanted = true;
		/* What an alert will say is as fresh as the last probe that led to it. */
		if (w->breaker.state == BREAKER_CLOSED && !impact->lists)
			list(impact, &w->endpoint);
		return;
	}
	page = ledger_open(impact->ledger, &w->endpoint, clock_wall_ms());
	if (!page)
		return;
	page->wanted = true;
	tell_firewall(impact, page);
	impact_look(impact, page);
}

void impact_tell_again(struct impact *impact)
{
	for (size_t i = 0; i < ledger_count(impact->ledger); i++)
		tell_firewall(impact, ledger_at(impact->ledger, i));
}

/* Neither exposed nor blocked any more: it may be again tomorrow, by a restart of the server. */
static void keep_or_close(struct impact *impact, size_t i, int64_t now)
{
	struct ledger_page *page = ledger_at(impact->ledger, i);
	const struct watch *w = watch_set_find(impact->agent->watches, &page->endpoint);
	const struct endpoint e = page->endpoint;

	if (w && is_wanted(w)) {
		page->wanted = true;
		return;
	}
	if (page->wanted || !page->left_ms)
		page->left_ms = now;
	page->wanted = false;
	if (page->count > 0 && now - page->left_ms < IMPACT_KEEP_MS)
		return;
	wall_ledger_remove(impact->agent->wall, &e);
	state_delete_ledger(impact->agent->state, &e);
	ledger_close(impact->ledger, &e);
}

/* Page by page, so that one with many peers does not keep the others waiting. */
static void ask_names(struct impact *impact, int64_t now)
{
	int64_t wall_ms = clock_wall_ms();
	struct naming *slot = impact->names, *end = slot + NAMES_AT_ONCE;

	for (size_t i = 0; i < ledger_count(impact->ledger); i++) {
		struct ledger_page *page = ledger_at(impact->ledger, i);

		for (size_t k = 0; k < page->count; k++) {
			struct ledger_peer *p = &page->peers[k];

			if (p->named_ms && wall_ms - p->named_ms < NAME_AGAIN_MS)
				continue;
			while (slot < end && slot->token && now - slot->asked_ms < NAME_WAIT_MS)
				slot++;
			if (slot == end)
				return;
			*slot = (struct naming){++impact->next_token, p->address, now};
			if (outbox_ask_name(impact->agent->outbox, &p->address, slot->token) < 0) {
				slot->token = 0;
				return;
			}
			p->named_ms = wall_ms;
		}
	}
}

void impact_take_name(struct impact *impact, const char *name, uint64_t token)
{
	for (size_t n = 0; n < NAMES_AT_ONCE; n++) {
		struct naming *slot = &impact->names[n];

		if (!slot->token || slot->token != token)
			continue;
		slot->token = 0;
		for (size_t i = 0; i < ledger_count(impact->ledger); i++) {
			struct ledger_peer *p =
			    ledger_find_peer(ledger_at(impact->ledger, i), &slot->address);

			if (p)
				ledger_set_name(p, name, clock_wall_ms());
		}
		return;
	}
}

/* Somebody new soon, counts and times seldom; a full queue is tried again. */
static void save_changed(struct impact *impact, int64_t now)
{
	for (size_t i = 0; i < ledger_count(impact->ledger); i++) {
		struct ledger_page *page = ledger_at(impact->ledger, i);
		int64_t since_ms = now - page->saved_ms;

		if ((page->changed && since_ms >= IMPACT_SAVE_NEW_MS) ||
		    (page->counted && since_ms >= IMPACT_SAVE_EVERY_MS))
			save(impact, page, now);
	}
}

static int64_t look_every(const struct impact *impact, const struct ledger_page *page)
{
	const struct watch *w = watch_set_find(impact->agent->watches, &page->endpoint);

	return w && w->wall.in_kernel ? IMPACT_LOOK_BLOCKED_MS : IMPACT_LOOK_EVERY_MS;
}

void impact_tick(struct impact *impact)
{
	int64_t now = clock_monotonic_ms();
	unsigned looks = 0;

	if (ledger_count(impact->ledger) == 0)
		return;
	ask_names(impact, now);
	save_changed(impact, now);
	if (now - impact->listed_ms < IMPACT_LIST_EVERY_MS)
		return;
	impact->listed_ms = now;
	for (size_t i = ledger_count(impact->ledger); i-- > 0;)
		keep_or_close(impact, i, now);
	for (size_t i = 0; i < ledger_count(impact->ledger); i++) {
		struct ledger_page *page = ledger_at(impact->ledger, i);

		if (now - page->told_ms >= IMPACT_TELL_EVERY_MS)
			tell_firewall(impact, page);
		if (now - page->looked_ms >= look_every(impact, page) && looks < LOOKS_AT_ONCE) {
			impact_look(impact, page);
			looks++;
		}
	}
	list(impact, NULL);
}

void impact_take_peers(struct impact *impact, const struct firewall_peer *peers, size_t count)
{
	int64_t now = clock_wall_ms();

	for (size_t i = 0; i < count; i++) {
		struct endpoint e = {.family = peers[i].family, .port = peers[i].port};
		struct endpoint peer = {.family = peers[i].family};
		struct ledger_page *page;

		memcpy(e.address, peers[i].address, sizeof(e.address));
		memcpy(peer.address, peers[i].peer, sizeof(peer.address));
		page = ledger_find(impact->ledger, &e);
		if (page && !inventory_is_vantage(&peer))
			ledger_note_opened(impact->ledger, page, &peer, peers[i].connections,
			                   now - (int64_t)peers[i].idle_ms);
	}
}

static void settle(struct impact *impact)
{
	if (impact_is_fresh(impact))
		verbs_answer_impact(impact->agent);
}

void impact_take_peers_end(struct impact *impact)
{
	if (impact->lists)
		impact->lists--;
	settle(impact);
}

bool impact_is_fresh(const struct impact *impact)
{
	return impact->lists == 0 && impact->looks == 0;
}

void impact_refresh(struct impact *impact, const struct endpoint *e)
{
	unsigned looks = 0;

	list(impact, e);
	for (size_t i = 0; i < ledger_count(impact->ledger) && looks < LOOKS_AT_ONCE; i++) {
		struct ledger_page *page = ledger_at(impact->ledger, i);

		if (e && endpoint_compare(&page->endpoint, e) != 0)
			continue;
		impact_look(impact, page);
		looks++;
	}
}

struct ledger *impact_ledger(const struct impact *impact)
{
	return impact->ledger;
}

struct agent *impact_agent(const struct impact *impact)
{
	return impact->agent;
}

void impact_begin_look(struct impact *impact)
{
	impact->looks++;
}

void impact_cancel_look(struct impact *impact)
{
	impact->looks--;
}

void impact_end_look(struct impact *impact)
{
	impact->looks--;
	settle(impact);
}
