/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The ledger for people: who would be cut off, who would stay, and why. */
#include "common/bisect.h"
#include "common/clock.h"
#include "daemon/agent/agent.h"
#include "daemon/agent/impact_internal.h"

#include <ifaddrs.h>
#include <string.h>

enum { PLACE_LEN = 64 };

/*
 * Whom a block of an endpoint leaves alone, as it is now. `local` are the host's own addresses: its
 * processes are not cut off unless a rule seals it.
 */
struct spared {
	struct ifaddrs *local;
	const struct conf_breaker *rule; /* NULL: none, or a person has decided */
	bool filtered;                   /* what it does cuts nobody off */
	struct prefix *named;            /* by files and names in its allow_from */
	size_t n_named;
};

static void spared_fini(struct spared *s)
{
	if (s->local)
		freeifaddrs(s->local);
	free(s->named);
}
#define auto_spared __attribute__((cleanup(spared_fini)))

static void spared_init(struct spared *s)
{
	if (getifaddrs(&s->local) < 0)
		s->local = NULL;
}

static void spared_take_rule(struct spared *s, const struct agent *a, const struct watch *w)
{
	free(s->named);
	s->named = NULL;
	s->n_named = 0;
	s->rule = w && w->configured && !w->decision ? &a->conf->breakers[w->rule] : NULL;
	s->filtered = s->rule && enforce_means_filter(a, w);
	if (s->rule && s->rule->allow_dynamic)
		(void)admit_merge(a->admit, w->rule, &s->named, &s->n_named);
}

static bool is_local(const struct spared *s, const struct endpoint *e)
{
	if (endpoint_is_loopback(e))
		return true;
	for (const struct ifaddrs *i = s->local; i; i = i->ifa_next) {
		struct endpoint own;

		if (!i->ifa_addr || endpoint_from_sockaddr(i->ifa_addr, &own) < 0)
			continue;
		if (own.family == e->family &&
		    memcmp(own.address, e->address, sizeof(own.address)) == 0)
			return true;
	}
	return false;
}

static bool contains(const struct prefix *items, size_t count, const struct endpoint *e)
{
	for (size_t i = 0; i < count; i++)
		if (prefix_contains(&items[i], e))
			return true;
	return false;
}

/* Why a block would leave this one alone; NULL: it would not. */
static const char *why_it_stays(const struct agent *a, const struct spared *s,
                                const struct endpoint *peer)
{
	const struct conf_prefixes *sources = &a->conf->protect.sources;

	if (contains(sources->items, sources->count, peer))
		return "protect.sources";
	if (s->rule && (contains(s->rule->allow_from.items, s->rule->allow_from.count, peer) ||
	                contains(s->named, s->n_named, peer)))
		return "allow_from";
	if (is_local(s, peer) && !(s->rule && s->rule->seal_local))
		return "this host";
	return s->filtered ? "the filter" : NULL;
}

static int compare_watch(const void *watches, size_t i, const void *key)
{
	return endpoint_compare(&watch_set_at(watches, i)->endpoint, key);
}

/* A watch at this address, whatever its port; NULL: none. They are in order of endpoints. */
static const struct watch *find_at(const struct agent *a, const struct endpoint *address)
{
	const struct watch *w;
	bool found;
	size_t i =
	    bisect_find(a->watches, watch_set_count(a->watches), compare_watch, address, &found);

	if (i == watch_set_count(a->watches))
		return NULL;
	w = watch_set_at(a->watches, i);
	return w->endpoint.family == address->family &&
	               memcmp(w->endpoint.address, address->address, sizeof(address->address)) == 0
	           ? w
	           : NULL;
}

/* Which container on this host has the address, as far as it listens itself; "" otherwise. */
static const char *describe_place(const struct agent *a, const struct endpoint *peer,
                                  char out[static PLACE_LEN])
{
	const struct watch *w = find_at(a, peer);
	const struct owner *owner = w && w->listener ? w->listener->owner : NULL;

	out[0] = '\0';
	if (!owner || listener_is_in_host(w->listener))
		return out;
	if (owner->container && owner->container[0])
		snprintf(out, PLACE_LEN, "container %.12s", owner->container);
	else
		snprintf(out, PLACE_LEN, "a namespace of this host");
	if (owner->command && owner->command[0])
		snprintf(out + strlen(out), PLACE_LEN - strlen(out), " (%s)", owner->command);
	return out;
}

static json_t *wall_time(int64_t wall_ms)
{
	char text[CLOCK_TEXT_LEN];

	return json_string(clock_format_wall(wall_ms, text));
}

static json_t *peer_to_json(const struct agent *a, const struct ledger_peer *p, const char *stays)
{
	char address[ENDPOINT_TEXT_LEN], place[PLACE_LEN];

	describe_place(a, &p->address, place);
	return json_pack("{s:s, s:s?, s:s?, s:o, s:o, s:I, s:b, s:b, s:s?}", "address",
	                 endpoint_format_address(&p->address, address), "name", p->name, "where",
	                 place[0] ? place : NULL, "first_seen", wall_time(p->first_ms), "last_seen",
	                 wall_time(p->last_ms), "connections", (json_int_t)p->connections,
	                 "connected", p->connected, "cut", stays == NULL, "stays", stays);
}

static json_t *page_to_json(struct impact *impact, const struct ledger_page *page,
                            struct spared *spared)
{
	const struct agent *a = impact_agent(impact);
	const struct watch *w = watch_set_find(a->watches, &page->endpoint);
	char endpoint[ENDPOINT_TEXT_LEN], program[128];
	json_t *peers = json_array();
	json_int_t cut = 0;

	spared_take_rule(spared, a, w);
	for (size_t i = 0; i < page->count; i++) {
		const struct ledger_peer *p = &page->peers[i];
		const char *stays = why_it_stays(a, spared, &p->address);

		cut += stays == NULL;
		json_array_append_new(peers, peer_to_json(a, p, stays));
	}
	return json_pack("{s:s, s:s, s:s?, s:s, s:b, s:o, s:I, s:I, s:I, s:I, s:b, s:o}",
	                 "endpoint", endpoint_format(&page->endpoint, endpoint), "program",
	                 w ? watch_program(w, program) : "", "rule",
	                 w && w->configured ? a->conf->breakers[w->rule].name : NULL, "action",
	                 w ? enforce_action(a, w) : "none", "blocked", w && w->wall.in_kernel,
	                 "since", wall_time(page->since_ms), "observed_ms",
	                 (json_int_t)(clock_wall_ms() - page->since_ms), "cut", cut, "stay",
	                 (json_int_t)page->count - cut, "unlisted", (json_int_t)page->unlisted,
	                 "truncated", page->truncated, "peers", peers);
}

json_t *impact_report(struct impact *impact, const struct endpoint *e)
{
	const struct ledger *ledger = impact_ledger(impact);
	auto_spared struct spared spared = {0};
	json_t *list;

	if (e && !ledger_find(ledger, e))
		return NULL;
	spared_init(&spared);
	list = json_array();
	for (size_t i = 0; i < ledger_count(ledger); i++) {
		const struct ledger_page *page = ledger_at(ledger, i);

		if (!e || endpoint_compare(&page->endpoint, e) == 0)
			json_array_append_new(list, page_to_json(impact, page, &spared));
	}
	return json_pack("{s:b, s:o}", "ok", 1, "endpoints", list);
}

/* Those that would be cut off, most recent first, of which the first few are named. */
struct summary {
	const struct ledger_page *page; /* NULL: not observed */
	size_t cut;
	const struct ledger_peer *first[IMPACT_FIRST_PEERS];
};

static void insert(struct summary *s, const struct ledger_peer *p)
{
	for (size_t i = 0; i < IMPACT_FIRST_PEERS; i++) {
		const struct ledger_peer *there = s->first[i];

		if (there && there->last_ms >= p->last_ms)
			continue;
		s->first[i] = p;
		if (!there)
			return;
		p = there;
	}
}

static struct summary summarize(struct impact *impact, const struct watch *w)
{
	const struct agent *a = impact_agent(impact);
	struct summary s = {0};
	auto_spared struct spared spared = {0};

	if (!w->netns)
		s.page = ledger_find(impact_ledger(impact), &w->endpoint);
	if (!s.page)
		return s;
	spared_init(&spared);
	spared_take_rule(&spared, a, w);
	for (size_t i = 0; i < s.page->count; i++) {
		const struct ledger_peer *p = &s.page->peers[i];

		if (why_it_stays(a, &spared, &p->address))
			continue;
		s.cut++;
		insert(&s, p);
	}
	return s;
}

json_t *impact_summarize(struct impact *impact, const struct watch *w)
{
	struct summary s = summarize(impact, w);
	json_t *first;

	if (!s.page)
		return json_null();
	first = json_array();
	for (size_t i = 0; i < IMPACT_FIRST_PEERS && s.first[i]; i++) {
		char address[ENDPOINT_TEXT_LEN];

		json_array_append_new(
		    first, json_pack("{s:s, s:s?}", "address",
		                     endpoint_format_address(&s.first[i]->address, address), "name",
		                     s.first[i]->name));
	}
	return json_pack("{s:o, s:I, s:I, s:I, s:o}", "since", wall_time(s.page->since_ms), "cut",
	                 (json_int_t)s.cut, "stay", (json_int_t)(s.page->count - s.cut), "unlisted",
	                 (json_int_t)s.page->unlisted, "first", first);
}

const char *impact_describe(struct impact *impact, const struct watch *w, char *out, size_t size)
{
	struct summary s = summarize(impact, w);
	size_t used;

	out[0] = '\0';
	if (!s.page || s.cut == 0)
		return out;
	used = (size_t)snprintf(
	    out, size, "; that %s %zu client%s: ", w->wall.in_kernel ? "cuts off" : "would cut off",
	    s.cut, s.cut == 1 ? "" : "s");
	for (size_t i = 0; i < IMPACT_FIRST_PEERS && s.first[i] && used < size; i++) {
		char address[ENDPOINT_TEXT_LEN];

		used += (size_t)snprintf(
		    out + used, size - used, "%s%s", i ? ", " : "",
		    s.first[i]->name ? s.first[i]->name
		                     : endpoint_format_address(&s.first[i]->address, address));
	}
	if (s.cut > IMPACT_FIRST_PEERS && used < size)
		snprintf(out + used, size - used, ", ...");
	return out;
}
