/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "scanner/discover/canary.h"

#include <stdlib.h>
#include <string.h>

enum {
	SERIALS = 3,
	DEAD_AFTER = 4, /* losses in a row: it is gone, and its place is free */
};

struct canary {
	struct endpoint endpoint; /* family 0: none */
	int64_t asked_ns;
	uint32_t tag;
	uint8_t serial;
	uint8_t silent; /* times in a row */
	uint16_t asked;
	bool open, waiting, answered, lost /* the last asking, judged so */;
};

struct canaries {
	struct siphash_key key;
	unsigned cursor;
	unsigned first, waiting;    /* of the queue */
	uint16_t queue[CANARY_MAX]; /* in the order of asking */
	struct canary list[CANARY_MAX];
};

struct canaries *canary_new(const struct siphash_key *key)
{
	struct canaries *c = calloc(1, sizeof(*c));

	if (c)
		c->key = *key;
	return c;
}

void canary_free(struct canaries *c)
{
	free(c);
}

static struct canary *place_of(struct canaries *c, const struct endpoint *e)
{
	return &c->list[siphash_compute(&c->key, e->address, sizeof(e->address)) % CANARY_MAX];
}

void canary_learn(struct canaries *c, const struct endpoint *e, bool open)
{
	struct canary *at = place_of(c, e);

	if (at->waiting || (at->endpoint.family && (at->open || !open)))
		return;
	*at = (struct canary){.endpoint = *e, .open = open};
}

bool canary_ask(struct canaries *c, int64_t now_ns, uint32_t tag, bool sparing,
                struct endpoint *out, unsigned *serial)
{
	for (unsigned i = 0; i < CANARY_MAX; i++) {
		unsigned place = (c->cursor + i) % CANARY_MAX;
		struct canary *at = &c->list[place];

		if (!at->endpoint.family || at->waiting ||
		    (sparing && at->asked >= CANARY_ASKED_MAX))
			continue;
		at->serial = (uint8_t)((at->serial + 1) % SERIALS);
		at->waiting = true;
		at->answered = false;
		at->lost = false;
		at->asked_ns = now_ns;
		at->tag = tag;
		if (at->asked < UINT16_MAX)
			at->asked++;
		c->queue[(c->first + c->waiting++) % CANARY_MAX] = (uint16_t)place;
		c->cursor = place + 1;
		*out = at->endpoint;
		*serial = at->serial;
		return true;
	}
	return false;
}

void canary_cancel(struct canaries *c)
{
	if (c->waiting > 0)
		c->list[c->queue[(c->first + --c->waiting) % CANARY_MAX]].waiting = false;
}

int64_t canary_answer(struct canaries *c, const struct endpoint *e, unsigned serial, int64_t now_ns,
                      bool *late, struct canary_outcome *out)
{
	struct canary *at = place_of(c, e);

	*late = false;
	if (at->endpoint.family == 0 || endpoint_compare(&at->endpoint, e) != 0 ||
	    at->serial != serial || at->answered || !(at->waiting || at->lost))
		return -1;
	at->answered = true;
	at->silent = 0;
	if (at->lost) {
		at->lost = false;
		*late = true;
		*out = (struct canary_outcome){.asked_ns = at->asked_ns, .tag = at->tag};
	}
	return now_ns - at->asked_ns;
}

bool canary_judge(struct canaries *c, int64_t now_ns, int64_t wait_ns, struct canary_outcome *out)
{
	struct canary *at;

	if (c->waiting == 0)
		return false;
	at = &c->list[c->queue[c->first]];
	if (now_ns - at->asked_ns < wait_ns)
		return false;
	c->first = (c->first + 1) % CANARY_MAX;
	c->waiting--;
	at->waiting = false;
	at->lost = !at->answered;
	at->silent = (uint8_t)(at->lost ? at->silent + 1 : 0);
	*out = (struct canary_outcome){.asked_ns = at->asked_ns, .tag = at->tag, .lost = at->lost};
	if (at->silent >= DEAD_AFTER)
		at->endpoint.family = 0;
	return true;
}

int64_t canary_oldest_ns(const struct canaries *c)
{
	return c->waiting ? c->list[c->queue[c->first]].asked_ns : -1;
}
