/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "scanner/discover/neighbour.h"

#include "common/cleanup.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define MS_TO_NS INT64_C(1000000)
#define S_TO_NS  INT64_C(1000000000)

/*
 * How long an answer is waited for. Four tries, since a lost one costs all of a host's ports: with
 * 2% of packets lost each way, 3 hosts in a million.
 */
static const int64_t ask_again_ns[NEIGHBOUR_TRIES] = {300 * MS_TO_NS, 500 * MS_TO_NS,
                                                      700 * MS_TO_NS, 1000 * MS_TO_NS};

enum {
	/* A set is searched from end to end; a key may be in either of two, so that they fill
	 * evenly. */
	SET_SLOTS = 8,
	SETS = NEIGHBOUR_SLOTS / SET_SLOTS,

	REFRESH_TRIES = 10, /* a second apart: one that was there is given up late */

	GATEWAY_FRESH_S = 60,
	GATEWAY_SILENT_S = 5,
	HOST_FRESH_S = 300,
	HOST_SILENT_S = 300,
};

enum state {
	STATE_EMPTY = 0,
	STATE_ASKED,     /* nothing is known */
	STATE_REFRESHED, /* asked for again; the old address is good meanwhile */
	STATE_KNOWN,
	STATE_SILENT,
	STATE_PERMANENT,
};

struct slot {
	struct neighbour_key key;
	uint32_t asker;
	uint8_t state;
	uint8_t tries;
	bool is_gateway;
	uint8_t mac[MAC_LEN];
	uint16_t asked_at; /* asked: where in n->asked */
	int64_t due_ns;    /* asked: the next question; known: stale; silent: forgotten */
};

struct neighbours {
	struct siphash_key hash;
	neighbours_ask_fn *ask;
	void *context;
	uint64_t silent;
	size_t n_asked;
	uint32_t asked[NEIGHBOUR_ASKED_MAX]; /* slots */
	struct slot slots[NEIGHBOUR_SLOTS];
};

int neighbours_new(const struct siphash_key *hash, neighbours_ask_fn *ask, void *context,
                   struct neighbours **out)
{
	struct neighbours *n = calloc(1, sizeof(*n));

	if (!n)
		return -ENOMEM;
	n->hash = *hash;
	n->ask = ask;
	n->context = context;
	*out = n;
	return 0;
}

void neighbours_free(struct neighbours *n)
{
	free(n);
}

static bool is_asked(const struct slot *s)
{
	return s->state == STATE_ASKED || s->state == STATE_REFRESHED;
}

static bool is_key(const struct slot *s, const struct neighbour_key *key)
{
	return s->state != STATE_EMPTY && memcmp(&s->key, key, sizeof(*key)) == 0;
}

/* The first slot of one of a key's two sets. */
static uint32_t set_of(uint64_t hash, unsigned which)
{
	return (uint32_t)(hash >> (which * 32)) % SETS * SET_SLOTS;
}

static uint64_t hash_key(const struct neighbours *n, const struct neighbour_key *key)
{
	return siphash_compute(&n->hash, key, sizeof(*key));
}

static struct slot *search(struct neighbours *n, const struct neighbour_key *key, uint64_t hash)
{
	for (unsigned which = 0; which < 2; which++) {
		struct slot *set = &n->slots[set_of(hash, which)];

		for (unsigned i = 0; i < SET_SLOTS; i++)
			if (is_key(&set[i], key))
				return &set[i];
	}
	return NULL;
}

/* Which one of two is the lesser loss. */
static int worth(const struct slot *s, int64_t now_ns)
{
	if (s->state == STATE_EMPTY)
		return 0;
	if (is_asked(s))
		return 5; /* never: an answer is on its way, and n->asked points here */
	if (s->is_gateway || s->state == STATE_PERMANENT)
		return 4;
	if (s->due_ns <= now_ns)
		return 1;
	return s->state == STATE_SILENT ? 3 : 2; /* silence took longest to find out */
}

/* A slot to put a new key in, or NULL: all are in use. */
static struct slot *make_room(struct neighbours *n, uint64_t hash, int64_t now_ns)
{
	struct slot *best = NULL;
	int best_worth = 5;

	for (unsigned i = 0; i < SET_SLOTS; i++) {
		/* alternately, so that both sets fill */
		for (unsigned which = 0; which < 2; which++) {
			struct slot *s = &n->slots[set_of(hash, which) + i];
			int w = worth(s, now_ns);

			if (w < best_worth ||
			    (best && w == best_worth && s->due_ns < best->due_ns)) {
				best = s;
				best_worth = w;
			}
		}
	}
	return best;
}

static void become_known(struct slot *s, const uint8_t *mac, int64_t now_ns)
{
	s->state = STATE_KNOWN;
	s->tries = 0;
	s->due_ns = now_ns + (s->is_gateway ? GATEWAY_FRESH_S : HOST_FRESH_S) * S_TO_NS;
	memcpy(s->mac, mac, MAC_LEN);
}

void neighbours_put(struct neighbours *n, const struct neighbour_key *key,
                    const uint8_t mac[static MAC_LEN], bool permanent, int64_t fresh_until_ns)
{
	uint64_t hash = hash_key(n, key);
	struct slot *s = search(n, key, hash);

	if (!s)
		s = make_room(n, hash, fresh_until_ns);
	if (!s || is_asked(s))
		return;
	*s = (struct slot){.key = *key};
	become_known(s, mac, 0);
	s->due_ns = fresh_until_ns;
	if (permanent)
		s->state = STATE_PERMANENT;
}

static void forget_asked(struct neighbours *n, const struct slot *s)
{
	uint32_t last = n->asked[--n->n_asked];

	n->asked[s->asked_at] = last;
	n->slots[last].asked_at = s->asked_at;
}

/* Sends the first question; false: too many are out, or it cannot go out now. */
static bool start_asking(struct neighbours *n, struct slot *s, enum state state, int64_t now_ns)
{
	if (n->n_asked == NEIGHBOUR_ASKED_MAX || !n->ask(n->context, &s->key, s->asker))
		return false;
	s->state = (uint8_t)state;
	s->tries = 1;
	s->due_ns = now_ns + ask_again_ns[0];
	s->asked_at = (uint16_t)n->n_asked;
	n->asked[n->n_asked++] = (uint32_t)(s - n->slots);
	return true;
}

static int ask_new(struct neighbours *n, const struct neighbour_key *key, uint64_t hash,
                   const struct neighbour_use *use, int64_t now_ns)
{
	struct slot *s, fresh = {.key = *key, .asker = use->asker, .is_gateway = use->is_gateway};

	if (n->n_asked == NEIGHBOUR_ASKED_MAX)
		return -EINPROGRESS;
	s = make_room(n, hash, now_ns);
	if (s) {
		struct slot evicted = *s;

		*s = fresh;
		if (!start_asking(n, s, STATE_ASKED, now_ns))
			*s = evicted;
	}
	return -EINPROGRESS;
}

static struct slot *locate(struct neighbours *n, const struct neighbour_key *key,
                           const struct neighbour_use *use, uint64_t *hash)
{
	struct slot *s;

	if (use->slot && *use->slot < NEIGHBOUR_SLOTS && is_key(&n->slots[*use->slot], key))
		return &n->slots[*use->slot];
	*hash = hash_key(n, key);
	s = search(n, key, *hash);
	if (s && use->slot)
		*use->slot = (uint32_t)(s - n->slots);
	return s;
}

/* As a gateway, an address has a gateway's deadlines. */
static void use_as(struct slot *s, const struct neighbour_use *use, int64_t now_ns)
{
	int64_t fresh_ns = now_ns + GATEWAY_FRESH_S * S_TO_NS;

	s->asker = use->asker;
	if (!use->is_gateway || s->is_gateway)
		return;
	s->is_gateway = true;
	if (s->state == STATE_KNOWN && s->due_ns > fresh_ns)
		s->due_ns = fresh_ns;
}

int neighbours_find(struct neighbours *n, const struct neighbour_key *key,
                    const struct neighbour_use *use, int64_t now_ns, const uint8_t **mac)
{
	uint64_t hash = 0;
	struct slot *s = locate(n, key, use, &hash);

	if (!s)
		return ask_new(n, key, hash, use, now_ns);
	use_as(s, use, now_ns);
	if (s->state == STATE_ASKED)
		return -EINPROGRESS;
	if (s->state == STATE_SILENT) {
		if (now_ns < s->due_ns)
			return -EHOSTUNREACH;
		start_asking(n, s, STATE_ASKED, now_ns);
		return -EINPROGRESS;
	}
	if (s->state == STATE_KNOWN && now_ns >= s->due_ns)
		start_asking(n, s, STATE_REFRESHED, now_ns);
	*mac = s->mac;
	return 0;
}

bool neighbours_answer(struct neighbours *n, const struct neighbour_key *key,
                       const uint8_t mac[static MAC_LEN], int64_t now_ns)
{
	struct slot *s = search(n, key, hash_key(n, key));

	if (!s || !is_asked(s))
		return false;
	forget_asked(n, s);
	become_known(s, mac, now_ns);
	return true;
}

static void become_silent(struct neighbours *n, struct slot *s, int64_t now_ns)
{
	s->state = STATE_SILENT;
	s->due_ns = now_ns + (s->is_gateway ? GATEWAY_SILENT_S : HOST_SILENT_S) * S_TO_NS;
	n->silent++;
}

/* False: it is no longer asked for. */
static bool ask_again(struct neighbours *n, struct slot *s, int64_t now_ns)
{
	bool is_refresh = s->state == STATE_REFRESHED;

	if (now_ns < s->due_ns)
		return true;
	if (s->tries >= (is_refresh ? REFRESH_TRIES : NEIGHBOUR_TRIES)) {
		become_silent(n, s, now_ns);
		return false;
	}
	if (!n->ask(n->context, &s->key, s->asker))
		return true; /* the next turn may */
	s->due_ns = now_ns + (is_refresh ? S_TO_NS : ask_again_ns[s->tries]);
	s->tries++;
	return true;
}

void neighbours_turn(struct neighbours *n, int64_t now_ns)
{
	/* from the end: what is given up is replaced by one that has had its turn */
	for (size_t i = n->n_asked; i-- > 0;) {
		struct slot *s = &n->slots[n->asked[i]];

		if (!ask_again(n, s, now_ns))
			forget_asked(n, s);
	}
}

uint64_t neighbours_silent(const struct neighbours *n)
{
	return n->silent;
}

size_t neighbours_asked(const struct neighbours *n)
{
	return n->n_asked;
}
