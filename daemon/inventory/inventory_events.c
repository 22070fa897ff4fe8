/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What events ask for: a look at one namespace, soon, and again until they are explained. */
#include "daemon/inventory/inventory_internal.h"

#include "common/cleanup.h"
#include "common/clock.h"

enum {
	/* The record is written a moment before the socket can be found. */
	EVENT_DELAY_MS = 2,
	DUMP_GAP_MS = 20, /* between two dumps of a namespace */
	READ_GAP_MS = 5,  /* between two looks into the rings */
	ANEW_MS = 100,    /* of looking for owners without a break; then as with dumps */
	SOON_MS = 100,    /* of looking where events came from without a break */
	/* With more, an event whose task has ended is not compared with each. */
	MAX_BY_OWNER = 1000,
};

/* Who listens may leave that to a child of his: what came in this time is looked at once more. */
#define OWNER_SETTLES_NS INT64_C(10000000000)

/* After an event: soon, should the first look be too early; and late, for who owns it now. */
static const int follow_up_ms[] = {DUMP_GAP_MS, 1000};

static void plan(struct table_netns *ns, int64_t in_ms)
{
	int64_t due = clock_monotonic_ms() + in_ms;

	if (due < ns->dumped_ms + DUMP_GAP_MS)
		due = ns->dumped_ms + DUMP_GAP_MS;
	if (!ns->due_ms || due < ns->due_ms)
		ns->due_ms = due;
}

static void plan_soon(struct inventory *inv)
{
	const struct table_netns *ns;
	int64_t first = 0, now = clock_monotonic_ms();

	TAILQ_FOREACH (ns, &inv->table.namespaces, link) {
		if (ns->due_ms && (!first || ns->due_ms < first))
			first = ns->due_ms;
	}
	if (inv->lacking && (!first || inv->anew_due_ms < first))
		first = inv->anew_due_ms;
	if (first)
		inventory_start_timer(inv->soon, first > now ? first - now : 0);
}

/*
 * Where else something may have happened: where this process has listeners. `except` was looked at
 * already. Returns false if there is no such place, or too many to look at.
 */
static bool plan_by_owner(struct inventory *inv, pid_t process, const struct table_netns *except,
                          int64_t event_ns)
{
	struct table_netns *ns;
	bool found = false;

	if (inv->table.n_listeners > MAX_BY_OWNER)
		return false;
	TAILQ_FOREACH (ns, &inv->table.namespaces, link) {
		for (size_t i = 0; ns != except && process > 0 && i < ns->n_listeners; i++) {
			if (ns->listeners[i]->owner.pid != process)
				continue;
			plan(ns, EVENT_DELAY_MS);
			ns->event_ns = event_ns;
			ns->follow_ups = 0;
			ns->expected++;
			ns->hint = 0; /* should it not have been here either: everywhere */
			found = true;
			break;
		}
	}
	return found;
}

/* Not of whom listen() came, and not of whom the last poll saw: somebody new. */
static void find_owners_anew(struct inventory *inv)
{
	int64_t began = clock_monotonic_ms(), began_cpu_ns = inventory_cpu_ns();
	struct table_netns *ns;
	bool unfinished = false;

	inv->lacking = false;
	if (inventory_look_around(inv) < 0)
		return;
	TAILQ_FOREACH (ns, &inv->table.namespaces, link) {
		if (!dump_lacks_owners(ns))
			continue;
		/* A socket that nobody holds must not keep us from everything else. */
		inv->lacking = clock_monotonic_ms() - began > ANEW_MS;
		if (inv->lacking)
			break;
		unfinished =
		    !dump_find_owners(&inv->places, &inv->table, ns, &inv->seen) || unfinished;
	}
	inv->lacking = inv->lacking || unfinished;
	inv->anew_due_ms = inventory_rest_after(began_cpu_ns);
	inv->handlers.news(inv->handlers.arg);
}

void inventory_on_soon(evutil_socket_t fd, short what, void *arg)
{
	struct inventory *inv = arg;
	int64_t now = clock_monotonic_ms();
	struct table_netns *ns, *next;

	(void)fd;
	(void)what;
	for (ns = TAILQ_FIRST(&inv->table.namespaces); ns; ns = next) {
		next = TAILQ_NEXT(ns, link);
		if (!ns->due_ms || ns->due_ms > now)
			continue;
		if (clock_monotonic_ms() - now > SOON_MS)
			break;
		ns->due_ms = 0;
		if (ns->follow_ups == ARRAY_LEN(follow_up_ms)) {
			dump_check_owners(&inv->places, &inv->table, ns,
			                  clock_monotonic_ns() - OWNER_SETTLES_NS);
			ns->grew = false;
		}
		if (inventory_dump(inv, ns, ns->event_ns) < 0) {
			/* Whom we had it from has ended; there may be others. */
			inventory_poll_soon(inv);
			continue;
		}
		inv->lacking = inv->lacking || dump_lacks_owners(ns);
		ns->expected -= ns->expected < ns->changes ? ns->expected : ns->changes;
		/* All is explained: only who owns what has come may still change. */
		if (!ns->expected && ns->follow_ups == 0)
			ns->follow_ups = ns->grew ? 1 : ARRAY_LEN(follow_up_ms);
		else if (ns->expected && ns->follow_ups > 0) {
			/* A socket may live elsewhere than the task that calls listen() on it. */
			ns->expected = 0;
			if (!plan_by_owner(inv, ns->hint, ns, ns->event_ns))
				inventory_poll_soon(inv);
		}
		if (ns->follow_ups < ARRAY_LEN(follow_up_ms))
			plan(ns, follow_up_ms[ns->follow_ups++]);
	}
	if (inv->lacking && now >= inv->anew_due_ms)
		find_owners_anew(inv);
	plan_soon(inv);
}

static void on_record(const struct events_record *r, void *arg)
{
	struct inventory *inv = arg;
	struct namespaces_ref ref = {.task = r->task};
	struct table_netns *ns;

	inv->status.events++;
	if (r->task != inv->event_task)
		inv->event_netns =
		    r->task > 0 ? namespaces_of_task(inv->places.proc_fd, r->task) : 0;
	inv->event_task = r->task;
	ref.netns = inv->event_netns;
	if (ref.netns && ref.netns == inv->hidden)
		return;
	if (!ref.netns) {
		if (!plan_by_owner(inv, r->process, NULL, r->time_ns))
			inventory_poll_soon(inv);
		return;
	}
	ns = table_find(&inv->table, ref.netns);
	if (!ns)
		ns = table_add(&inv->table, &ref, ref.netns == inv->places.home_netns);
	if (!ns)
		return;
	plan(ns, EVENT_DELAY_MS);
	ns->event_ns = r->time_ns;
	ns->follow_ups = 0;
	ns->expected++;
	ns->hint = r->process;
}

static void read_events(struct inventory *inv)
{
	uint64_t lost;

	inv->event_task = 0;
	inv->event_netns = 0;
	lost = events_read(inv->events, on_record, inv);
	inv->status.lost += lost;
	if (lost)
		inventory_poll_soon(inv);
	plan_soon(inv);
	/* In a storm of events, by and by. */
	inventory_start_timer(inv->read_again, READ_GAP_MS);
}

void inventory_on_readable(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	read_events(arg);
}

void inventory_on_read_again(evutil_socket_t fd, short what, void *arg)
{
	struct inventory *inv = arg;

	(void)fd;
	(void)what;
	event_add(inv->readable, NULL);
	/* poll(2) of a ring tells of a record once, and epoll asks twice where it is added to: of
	 * what came in the gap nobody would be told. */
	if (!events_are_waiting(inv->events))
		return;
	event_del(inv->readable);
	read_events(inv);
}

/* The host's own addresses: a wildcard there is reached by a new one at once. */
void inventory_on_addresses_changed(evutil_socket_t fd, short what, void *arg)
{
	struct inventory *inv = arg;
	struct table_netns *ns = table_find(&inv->table, inv->places.home_netns);

	(void)what;
	addresses_drain_monitor(fd);
	if (!ns)
		return;
	plan(ns, DUMP_GAP_MS);
	ns->addresses_due_ms = 0;
	ns->event_ns = clock_monotonic_ns();
	ns->follow_ups = ARRAY_LEN(follow_up_ms); /* what is told of is there */
	plan_soon(inv);
}
