/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/inventory/inventory_internal.h"

#include "common/cleanup.h"
#include "common/clock.h"
#include "common/log.h"

#include <errno.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum {
	POLL_WITH_EVENTS_MS = 30 * 1000,
	SLICE_MS = 10,
	DUMP_REST = 10, /* after a dump of a namespace: so many times what it took of a CPU */
	ADDRESSES_GAP_MS = 900, /* between two readings of a namespace's addresses */
	LOST_GAP_MS = 100,      /* between two full polls that events ask for, at least; and */
	LOST_REST = 100,        /* so many times what the last one took of a CPU; but at most */
	LOST_GAP_MAX_MS = 10 * 1000,
	CHECK_OWNERS_MS = 10 * 1000,
};

void inventory_start_timer(struct event *timer, int64_t in_ms)
{
	const struct timeval tv = {.tv_sec = (time_t)(in_ms / 1000),
	                           .tv_usec = (suseconds_t)(in_ms % 1000 * 1000)};

	evtimer_add(timer, &tv);
}

static void remove_netns(struct inventory *inv, struct table_netns *ns)
{
	if (inv->cursor == ns)
		inv->cursor = TAILQ_NEXT(ns, link);
	table_remove(&inv->table, ns);
}

int64_t inventory_cpu_ns(void)
{
	struct timespec ts = {0};

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &ts);
	return (int64_t)ts.tv_sec * 1000000000 + ts.tv_nsec;
}

int64_t inventory_rest_after(int64_t began_cpu_ns)
{
	int64_t rest = (inventory_cpu_ns() - began_cpu_ns) * DUMP_REST / 1000000;

	return clock_monotonic_ms() + (rest < LOST_GAP_MAX_MS ? rest : LOST_GAP_MAX_MS);
}

static void warn_once(struct inventory *inv, const struct table_netns *ns)
{
	if (inv->table.full && !inv->said_full) {
		log_warning("there are more than %d listeners, or %d of them or %d network "
		            "namespaces beside the host's: the rest is not seen",
		            TABLE_MAX_LISTENERS, TABLE_MAX_ELSEWHERE, TABLE_MAX_NAMESPACES);
		inv->said_full = true;
	}
	if (ns->host && ns->addresses.truncated && !inv->said_truncated) {
		log_warning("the host has more than %d addresses, or more than %d of services': "
		            "the rest is not seen",
		            INVENTORY_MAX_ADDRESSES, INVENTORY_MAX_ADDRESSES / 4);
		inv->said_truncated = true;
	}
}

int inventory_dump(struct inventory *inv, struct table_netns *ns, int64_t seen_ns)
{
	int64_t now = clock_monotonic_ms(), began_cpu_ns = inventory_cpu_ns();
	bool with_addresses = now >= ns->addresses_due_ms;
	int err;

	err = dump_netns(&inv->places, &inv->table, ns, &inv->seen, seen_ns, with_addresses);
	if (err == 0 && with_addresses)
		ns->addresses_due_ms = now + ADDRESSES_GAP_MS;
	ns->dumped_ms = inventory_rest_after(began_cpu_ns);
	warn_once(inv, ns);
	inv->handlers.news(inv->handlers.arg);
	return err;
}

/* Full polls */

static void end_poll(struct inventory *inv)
{
	int64_t next = inv->again ? LOST_GAP_MS : inv->events ? POLL_WITH_EVENTS_MS : inv->poll_ms;

	inv->polling = inv->again = false;
	inv->poll_ended_ms = clock_monotonic_ms();
	inv->status.polls++;
	inv->status.poll_cpu_ns = inventory_cpu_ns() - inv->poll_cpu_began_ns;
	inventory_start_timer(inv->poll, next);
	inv->handlers.synced(inv->handlers.arg);
}

static void on_slice(evutil_socket_t fd, short what, void *arg)
{
	struct inventory *inv = arg;
	int64_t until = clock_monotonic_ms() + SLICE_MS;

	(void)fd;
	(void)what;
	while (inv->cursor && clock_monotonic_ms() < until) {
		struct table_netns *ns = inv->cursor;

		inv->cursor = TAILQ_NEXT(ns, link);
		if (inv->check_owners)
			dump_check_owners(&inv->places, &inv->table, ns, 0);
		if (inventory_dump(inv, ns, inv->poll_began_ns) < 0)
			inv->status.skipped++;
		ns->expected = 0;
	}
	if (inv->cursor)
		inventory_start_timer(inv->slice, 0);
	else
		end_poll(inv);
}

/* Known from an event, perhaps, and held by a thread alone: then through that. */
static bool is_there_still(const struct inventory *inv, const struct table_netns *ns)
{
	return ns->host || (ns->ref.task &&
	                    namespaces_of_task(inv->places.proc_fd, ns->ref.task) == ns->ref.netns);
}

static void add_netns(struct inventory *inv, const struct namespaces_ref *ref)
{
	struct table_netns *ns = table_find(&inv->table, ref->netns);

	if (ref->netns == inv->hidden)
		return;
	if (!ns) {
		(void)table_add(&inv->table, ref, ref->netns == inv->places.home_netns);
		return;
	}
	/* Its task may be another by now. */
	struct namespaces_ref copy;

	if (namespaces_copy_ref(ref, &copy) == 0) {
		namespaces_free_ref(&ns->ref);
		ns->ref = copy;
	}
}

int inventory_look_around(struct inventory *inv)
{
	struct namespaces found;
	int err = namespaces_find(inv->places.proc_fd, &found);

	if (err < 0)
		return err;
	namespaces_free(&inv->seen);
	inv->seen = found;
	return 0;
}

static void begin_poll(struct inventory *inv)
{
	struct table_netns *ns, *next;
	int err;

	event_del(inv->poll);
	inv->polling = true;
	inv->poll_began_ns = clock_monotonic_ns();
	inv->poll_cpu_began_ns = inventory_cpu_ns();
	inv->status.skipped = 0;
	inv->check_owners = inv->poll_began_ns >= inv->owners_due_ns;
	if (inv->check_owners)
		inv->owners_due_ns = inv->poll_began_ns + CHECK_OWNERS_MS * INT64_C(1000000);
	err = inventory_look_around(inv);
	if (err < 0) {
		log_error("/proc: %s", strerror(-err));
		inv->status.skipped++;
	}
	for (size_t i = 0; err == 0 && i < inv->seen.n_refs; i++)
		add_netns(inv, &inv->seen.refs[i]);
	for (ns = TAILQ_FIRST(&inv->table.namespaces); err == 0 && ns; ns = next) {
		next = TAILQ_NEXT(ns, link);
		if (!namespaces_has(&inv->seen, ns->ref.netns) && !is_there_still(inv, ns))
			remove_netns(inv, ns);
	}
	inv->cursor = TAILQ_FIRST(&inv->table.namespaces);
	inventory_start_timer(inv->slice, 0);
}

static void on_poll(evutil_socket_t fd, short what, void *arg)
{
	struct inventory *inv = arg;

	(void)fd;
	(void)what;
	if (!inv->polling)
		begin_poll(inv);
}

void inventory_poll_soon(struct inventory *inv)
{
	/* However events come: a hundredth of a CPU. */
	int64_t rest = inv->status.poll_cpu_ns / 1000000 * LOST_REST;
	int64_t gap = rest < LOST_GAP_MS       ? LOST_GAP_MS
	              : rest > LOST_GAP_MAX_MS ? LOST_GAP_MAX_MS
	                                       : rest;
	int64_t in = inv->poll_ended_ms + gap - clock_monotonic_ms();

	if (inv->polling)
		inv->again = true;
	else
		inventory_start_timer(inv->poll, in > 0 ? in : 0);
}

/* The outside */

void inventory_watch(struct inventory *inv, uint32_t poll_ms)
{
	inv->poll_ms = poll_ms;
	if (inv->readable)
		event_add(inv->readable, NULL);
	if (inv->addresses_changed)
		event_add(inv->addresses_changed, NULL);
	if (inv->polling)
		inv->again = true; /* what is told then may be older than the question */
	else
		inventory_start_timer(inv->poll, 0);
}

void inventory_unwatch(struct inventory *inv)
{
	inv->polling = inv->lacking = false;
	inv->cursor = NULL;
	event_del(inv->poll);
	event_del(inv->slice);
	event_del(inv->soon);
	if (inv->addresses_changed)
		event_del(inv->addresses_changed);
	if (inv->readable) {
		event_del(inv->readable);
		event_del(inv->read_again);
	}
	table_clear(&inv->table);
	namespaces_free(&inv->seen);
}

struct table *inventory_table(struct inventory *inv)
{
	return &inv->table;
}

void inventory_fill_status(const struct inventory *inv, struct inventory_status *out)
{
	*out = inv->status;
	out->version = INVENTORY_WIRE_VERSION;
	out->mode = inv->events ? INVENTORY_BY_EVENTS : INVENTORY_BY_POLL;
	out->namespaces = inv->table.n_namespaces;
	out->listeners = inv->table.n_listeners;
	memcpy(out->why_no_events, inv->why_no_events, sizeof(out->why_no_events));
}

int inventory_act_inside(struct inventory *inv, uint64_t netns, int (*act)(void *arg), void *arg)
{
	const struct namespaces_ref home = {.netns = inv->places.home_netns};
	const struct table_netns *ns = table_find(&inv->table, netns);

	/* The host's own is there also when nobody watches. */
	if (netns == home.netns)
		return dump_act_inside(&inv->places, &home, act, arg);
	return ns ? dump_act_inside(&inv->places, &ns->ref, act, arg) : -ENOENT;
}

static int set_up(struct inventory *inv)
{
	int err = dump_places_open(&inv->places);

	if (err < 0)
		return err;
	/* Without it, by polls. */
	inv->addresses_sock = addresses_open_monitor();
	if (inv->addresses_sock >= 0)
		inv->addresses_changed =
		    event_new(inv->base, inv->addresses_sock, EV_READ | EV_PERSIST,
		              inventory_on_addresses_changed, inv);
	inv->poll = evtimer_new(inv->base, on_poll, inv);
	inv->slice = evtimer_new(inv->base, on_slice, inv);
	inv->soon = evtimer_new(inv->base, inventory_on_soon, inv);
	if (inv->events) {
		inv->readable = event_new(inv->base, events_fd(inv->events), EV_READ,
		                          inventory_on_readable, inv);
		inv->read_again = evtimer_new(inv->base, inventory_on_read_again, inv);
	}
	return inv->poll && inv->slice && inv->soon &&
	               (!inv->events || (inv->readable && inv->read_again))
	           ? 0
	           : -ENOMEM;
}

int inventory_new(struct event_base *base, struct events *events, const char *why_no_events,
                  uint64_t hidden, const struct inventory_handlers *handlers,
                  struct inventory **out)
{
	struct inventory *inv = calloc(1, sizeof(*inv));
	int err;

	if (!inv) {
		events_free(events);
		return -ENOMEM;
	}
	inv->base = base;
	inv->events = events;
	inv->hidden = hidden;
	inv->handlers = *handlers;
	inv->places = DUMP_PLACES_CLOSED;
	inv->addresses_sock = -1;
	if (!events)
		snprintf(inv->why_no_events, sizeof(inv->why_no_events), "%s", why_no_events);
	table_init(&inv->table);
	err = set_up(inv);
	if (err < 0) {
		inventory_free(inv);
		return err;
	}
	*out = inv;
	return 0;
}

void inventory_free(struct inventory *inv)
{
	struct event **all[] = {&inv->poll,     &inv->slice,      &inv->soon,
	                        &inv->readable, &inv->read_again, &inv->addresses_changed};

	for (size_t i = 0; i < ARRAY_LEN(all); i++) {
		if (*all[i])
			event_free(*all[i]);
	}
	table_clear(&inv->table);
	namespaces_free(&inv->seen);
	dump_places_close(&inv->places);
	if (inv->addresses_sock >= 0)
		close(inv->addresses_sock);
	events_free(inv->events);
	free(inv);
}
