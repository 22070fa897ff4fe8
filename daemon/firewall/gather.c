/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/firewall/gather.h"

#include "daemon/firewall/firewall.h"

#include <stdlib.h>

_Static_assert(FIREWALL_AT_ONCE * sizeof(struct firewall_request) <= FRAME_BODY_MAX_BYTES,
               "requests fit in a frame");
_Static_assert(FIREWALL_AT_ONCE * sizeof(struct firewall_reply) <= FRAME_BODY_MAX_BYTES,
               "and so do their replies");

void gather_fini(struct gather *g)
{
	free(g->requests);
	free(g->replies);
	free(g->seqs);
}

static bool grow(void *array, size_t count, size_t size)
{
	void **place = array, *grown = reallocarray(*place, count, size);

	if (grown)
		*place = grown;
	return grown != NULL;
}

/* Is there room for one more frame? */
static bool make_room(struct gather *g)
{
	const size_t size = 2 * g->size + FIREWALL_AT_ONCE;

	if (g->size - g->count >= FIREWALL_AT_ONCE)
		return true;
	if (!grow(&g->requests, size, sizeof(*g->requests)) ||
	    !grow(&g->replies, size, sizeof(*g->replies)) ||
	    !grow(&g->seqs, size, sizeof(*g->seqs)))
		return false;
	g->size = size;
	return true;
}

bool gather_take(struct gather *g, const struct frame *f)
{
	size_t n;

	if (f->type != FIREWALL_REQUEST || f->fd >= 0 || !make_room(g))
		return false;
	n = firewall_wire_read_blocks(f->body, f->length, &g->requests[g->count]);
	for (size_t i = 0; i < n; i++)
		g->seqs[g->count++] = f->seq;
	return n > 0;
}

bool gather_is_full(const struct gather *g)
{
	return g->count >= FIREWALL_BLOCKS_AT_ONCE;
}

int gather_send(struct peer *agent, uint64_t seq, const struct firewall_reply *replies,
                size_t count)
{
	int err = 0;

	for (size_t i = 0; !err && i < count; i += FIREWALL_AT_ONCE) {
		const size_t n = count - i < FIREWALL_AT_ONCE ? count - i : FIREWALL_AT_ONCE;

		err = peer_send(agent, FIREWALL_REPLY, seq, &replies[i], n * sizeof(*replies));
	}
	return err;
}

int gather_reply(const struct gather *g, struct peer *agent)
{
	int err = 0;

	for (size_t i = 0, n; !err && i < g->count; i += n) {
		for (n = 1; i + n < g->count && g->seqs[i + n] == g->seqs[i];)
			n++;
		err = gather_send(agent, g->seqs[i], &g->replies[i], n);
	}
	return err;
}
