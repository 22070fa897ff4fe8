/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/agent/logins.h"

#include "common/clock.h"
#include "daemon/agent/agent.h"

#include <errno.h>
#include <string.h>

struct ports {
	size_t count;
	uint16_t items[LOGINS_MAX_PORTS];
};

struct logins {
	struct agent *agent;
	struct ports known, found; /* found: by the look that is under way */
	bool asking;
	int64_t looked_ms; /* when what is known came; 0: not yet */
	int64_t asked_ms;  /* when it was asked for last */
	int64_t wanted_ms; /* somebody waits since then; 0: nobody */
};

int logins_new(struct agent *a, struct logins **out)
{
	struct logins *l = calloc(1, sizeof(*l));

	if (!l)
		return -ENOMEM;
	l->agent = a;
	*out = l;
	return 0;
}

void logins_free(struct logins *l)
{
	free(l);
}

static bool has(const struct ports *p, uint16_t port)
{
	for (size_t i = 0; i < p->count; i++) {
		if (p->items[i] == port)
			return true;
	}
	return false;
}

bool logins_has(const struct logins *l, uint16_t port)
{
	return l && has(&l->known, port);
}

const char *logins_reason(void)
{
	return "people log in by this port: never blocked while an SSH server listens on it, or "
	       "has a connection to it";
}

static void on_peer(const struct inventory_peer *own, void *arg)
{
	struct ports *p = &((struct logins *)arg)->found;

	if (!has(p, own->port) && p->count < LOGINS_MAX_PORTS)
		p->items[p->count++] = own->port;
}

/* What has been decided may have to be decided anew. */
static void reconsider(struct logins *l, const struct ports *before)
{
	struct agent *a = l->agent;

	for (size_t i = watch_set_count(a->watches); i-- > 0;) {
		struct watch *w = watch_set_at(a->watches, i);

		if (has(before, w->endpoint.port) != logins_has(l, w->endpoint.port) &&
		    (w->configured || w->decision))
			enforce_apply(a, w);
	}
}

static void on_answered(const struct inventory_answer *answer, int fd, void *arg)
{
	struct logins *l = arg;
	const struct ports before = l->known;

	if (fd >= 0)
		close(fd);
	l->asking = false;
	if (!answer || answer->result != INVENTORY_OK)
		return;
	l->known = l->found;
	l->looked_ms = clock_monotonic_ms();
	l->wanted_ms = 0;
	/* Before the first list it is not known what is blocked. */
	if (l->agent->adopted)
		reconsider(l, &before);
}

static void ask(struct logins *l, int64_t now_ms)
{
	const struct inventory_request request = {.verb = INVENTORY_LOGINS};
	const struct inventory_asker asker = {.peer = on_peer, .answered = on_answered, .arg = l};

	if (l->asking)
		return;
	l->asked_ms = now_ms;
	l->found.count = 0;
	l->asking = inventory_ask(l->agent->inventory, &request, &asker) == 0;
}

bool logins_is_fresh(struct logins *l, int64_t now_ms)
{
	if (!inventory_is_there(l->agent->inventory))
		return true;
	if (l->looked_ms && now_ms - l->looked_ms <= LOGINS_FRESH_MS)
		return true;
	if (!l->wanted_ms)
		l->wanted_ms = now_ms;
	ask(l, now_ms);
	return now_ms - l->wanted_ms > LOGINS_PATIENCE_MS;
}

void logins_tick(struct logins *l, int64_t now_ms)
{
	struct wall_stats wall;
	int64_t every_ms;

	wall_get_stats(l->agent->wall, &wall);
	every_ms = wall.blocks > 0 ? LOGINS_BLOCKED_MS : LOGINS_EVERY_MS;
	if ((!l->asked_ms || now_ms - l->asked_ms >= every_ms) &&
	    inventory_is_there(l->agent->inventory))
		ask(l, now_ms);
}
