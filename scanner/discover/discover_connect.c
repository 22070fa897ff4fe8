/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "common/clock.h"
#include "scanner/discover/discover_connect_internal.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <sys/epoll.h>

enum {
	BATCH = 256,       /* connects begun, or events taken, before the other gets its turn */
	SKIPS = 4096,      /* endpoints left out, likewise */
	TURN_MS = 100,     /* at the latest, statistics go out */
	LOSS_SAMPLE = 100, /* answers, before they say something of the loss */
};

#define STARVED_NS INT64_C(100000000) /* until the next try, if nothing ends before */

/* What ends */

static void close_if_done(struct discover_connect *k, struct open_window *w)
{
	if (w->pending || w->next < w->window->count)
		return;
	if (k->current == w)
		k->current = NULL;
	discover_child_close(k->child, w->window);
	w->window = NULL;
}

static void report(struct discover_connect *k, unsigned window, const struct endpoint *e,
                   enum discover_state state, int64_t rtt_us)
{
	struct open_window *w = &k->windows[window];

	discover_child_result(k->child, w->window, e, state, rtt_us);
	w->pending--;
	close_if_done(k, w);
}

/*
 * How many answers came only after the kernel had sent the SYN again: one of the two got lost, so
 * it is the loss of both ways together.
 */
static void count_retransmits(struct discover_connect *k, const struct slot *slot, bool answered)
{
	struct discover_stats *stats = discover_child_stats(k->child);
	unsigned again = connect_socket_retransmits(&slot->socket);

	stats->sent += again;
	stats->retransmitted += again;
	if (answered && again)
		k->late++;
}

static void count_answer(struct discover_connect *k)
{
	struct discover_stats *stats = discover_child_stats(k->child);

	stats->answered++;
	/* With a shorter wait, nothing is ever sent again. */
	if (stats->answered >= LOSS_SAMPLE && k->timeout_ns > SECOND_NS)
		stats->loss = (double)k->late / (double)stats->answered;
}

/* The slot is free again, its socket too if it may connect anew. */
static void settle(struct discover_connect *k, struct slot *slot, int error, int64_t now_ns)
{
	enum discover_state state = connect_judge(error);
	int64_t rtt_ns = now_ns - slot->begun_ns;

	if (state == DISCOVER_OPEN && connect_socket_is_own_peer(&slot->socket, &slot->endpoint))
		state = DISCOVER_CLOSED;
	if (state == DISCOVER_OPEN || state == DISCOVER_CLOSED)
		count_answer(k);
	if (state != DISCOVER_CLOSED || error == 0)
		connect_socket_close(&slot->socket);
	slot->is_busy = false;
	k->starved = false;
	TAILQ_REMOVE(&k->busy, slot, link);
	TAILQ_INSERT_HEAD(&k->idle, slot, link);
	report(k, slot->window, &slot->endpoint, state,
	       state == DISCOVER_FILTERED ? -1 : rtt_ns / 1000);
}

static void take_event(struct discover_connect *k, struct slot *slot, int64_t now_ns)
{
	int err;

	if (!slot->is_busy)
		return; /* an idle socket is one that has hung up, for epoll */
	if (now_ns - slot->begun_ns >= SECOND_NS)
		count_retransmits(k, slot, true);
	err = connect_socket_finish(&slot->socket, &slot->endpoint);
	if (err != -EALREADY && err != -EINPROGRESS)
		settle(k, slot, err, now_ns);
}

static void expire(struct discover_connect *k, int64_t now_ns)
{
	struct slot *slot;
	int err;

	while ((slot = TAILQ_FIRST(&k->busy)) && now_ns - slot->begun_ns >= k->timeout_ns) {
		count_retransmits(k, slot, false);
		/* It may have answered just now. */
		err = connect_socket_finish(&slot->socket, &slot->endpoint);
		settle(k, slot, err == -EALREADY || err == -EINPROGRESS ? -ETIMEDOUT : err, now_ns);
	}
}

/* What begins */

static bool open_window(struct discover_connect *k)
{
	struct discover_window *window = discover_child_window(k->child, k->window_max);

	if (!window)
		return false;
	k->current = &k->windows[window->slot];
	*k->current = (struct open_window){.window = window};
	return true;
}

/* The next endpoint of the windows; false: none now. */
static bool deal(struct discover_connect *k, struct defer_item *item, struct endpoint *e)
{
	struct open_window *w;
	uint32_t skipped = 0;

	while (skipped < SKIPS && (k->current || open_window(k))) {
		w = k->current;
		*item = (struct defer_item){.slot = w->window->slot, .offset = w->next};
		if (w->next < w->window->count &&
		    discover_window_at(k->child, w->window, w->next++, e)) {
			w->pending++;
			if (w->next == w->window->count)
				k->current = NULL;
			return true;
		}
		skipped++;
		close_if_done(k, w);
		if (k->current == w && w->next == w->window->count)
			k->current = NULL;
	}
	return false;
}

/* A deferred or held endpoint: what is excluded by now is left out, and no longer owed. */
static bool look_up(struct discover_connect *k, const struct defer_item *item, struct endpoint *e)
{
	struct open_window *w = &k->windows[item->slot];

	if (discover_window_at(k->child, w->window, item->offset, e))
		return true;
	w->pending--;
	close_if_done(k, w);
	return false;
}

/* The next endpoint whose host may be asked now; false: none. */
static bool choose(struct discover_connect *k, int64_t now_ns, struct defer_item *item,
                   struct endpoint *e)
{
	int64_t wait_ns;

	if (k->held.is_set) {
		k->held.is_set = false;
		*item = k->held.item;
		if (look_up(k, item, e))
			return true;
	}
	for (unsigned i = 0; i < SKIPS; i++) {
		if (defer_pop(&k->deferred, now_ns, item)) {
			if (!look_up(k, item, e))
				continue;
		} else if (k->deferred.count == DEFER_MAX || !deal(k, item, e)) {
			return false;
		}
		wait_ns = k->host_pace ? host_pace_ready(k->host_pace, e, now_ns) : 0;
		if (!wait_ns)
			return true;
		item->due_ns = now_ns + wait_ns;
		defer_push(&k->deferred, item); /* there is room: see above */
	}
	return false;
}

static void starve(struct discover_connect *k, const struct defer_item *item, int error,
                   int64_t now_ns)
{
	k->held = (struct held){.is_set = true, .item = *item};
	k->starved = true;
	k->starved_until_ns = now_ns + STARVED_NS;
	if (k->said_starved)
		return;
	k->said_starved = true;
	discover_child_note(k->child, "fewer connections at once: none more to be had here: %s",
	                    strerror(-error));
}

static void begin(struct discover_connect *k, const struct defer_item *item,
                  const struct endpoint *e)
{
	struct slot *slot = TAILQ_FIRST(&k->idle);
	int err;

	slot->window = item->slot;
	slot->endpoint = *e;
	slot->begun_ns = clock_monotonic_ns();
	err = connect_socket_begin(&slot->socket, &k->options, e, slot);
	if (err != -EINPROGRESS && connect_is_starved(&k->options, e, err)) {
		starve(k, item, err, slot->begun_ns);
		return;
	}
	discover_child_stats(k->child)->sent++;
	slot->is_busy = true;
	TAILQ_REMOVE(&k->idle, slot, link);
	TAILQ_INSERT_TAIL(&k->busy, slot, link);
	if (err != -EINPROGRESS)
		settle(k, slot, err, slot->begun_ns);
}

static unsigned ask_conntrack(struct discover_connect *k, int64_t now_ns, unsigned want)
{
	unsigned given = conntrack_take(&k->conntrack, now_ns, want);

	if (!given && !k->said_conntrack) {
		k->said_conntrack = true;
		discover_child_note(k->child,
		                    "slowed down: this host's connection tracking holds %" PRIu64
		                    " of %" PRIu64 " entries (net.netfilter.nf_conntrack_max)",
		                    k->conntrack.count, k->conntrack.max);
	}
	return given;
}

static int64_t when_more(const struct discover_connect *k, int64_t now_ns, bool spent)
{
	if (TAILQ_EMPTY(&k->idle))
		return INT64_MAX;
	if (k->starved)
		return k->starved_until_ns;
	if (spent)
		return now_ns + pacer_wait_ns(&k->pacer);
	if (k->current && k->deferred.count < DEFER_MAX)
		return now_ns; /* so much was left out that others shall have their turn */
	return defer_due_ns(&k->deferred);
}

/* Begins what may begin now. Returns when there may be more; INT64_MAX: not before an event. */
static int64_t begin_batch(struct discover_connect *k, int64_t now_ns)
{
	unsigned budget, tracked, used = 0;
	struct defer_item item;
	struct endpoint e;

	if (discover_child_is_behind(k->child) || TAILQ_EMPTY(&k->idle))
		return INT64_MAX;
	if (k->starved && now_ns < k->starved_until_ns)
		return k->starved_until_ns;
	k->starved = false;
	tracked = ask_conntrack(k, now_ns, BATCH);
	if (!tracked)
		return now_ns + conntrack_wait_ns(&k->conntrack, now_ns);
	budget = pacer_take(&k->pacer, now_ns, tracked);
	while (used < budget && !TAILQ_EMPTY(&k->idle) && !k->starved &&
	       choose(k, now_ns, &item, &e)) {
		begin(k, &item, &e);
		used += !k->starved;
	}
	pacer_return(&k->pacer, budget - used);
	conntrack_return(&k->conntrack, tracked - used);
	return when_more(k, now_ns, used == budget);
}

/* The loop */

static int watch_child(struct discover_connect *k)
{
	bool writable = false;
	int fd = discover_child_descriptor(k->child, &writable);
	struct epoll_event event = {.events = EPOLLIN, .data.ptr = NULL};
	bool is_new = fd != k->child_fd;

	if (writable)
		event.events |= EPOLLOUT;
	if (!is_new && writable == k->child_writable)
		return 0;
	if (epoll_ctl(k->options.epoll_fd, is_new ? EPOLL_CTL_ADD : EPOLL_CTL_MOD, fd, &event) < 0)
		return -errno;
	k->child_fd = fd;
	k->child_writable = writable;
	return 0;
}

/* Milliseconds to wait for events: until something may begin, or somebody's time is over. */
static int wait_ms(const struct discover_connect *k, int64_t more_ns, int64_t now_ns)
{
	const struct slot *oldest = TAILQ_FIRST(&k->busy);
	int64_t until_ns = now_ns + TURN_MS * INT64_C(1000000);

	if (more_ns < until_ns)
		until_ns = more_ns;
	if (oldest && oldest->begun_ns + k->timeout_ns < until_ns)
		until_ns = oldest->begun_ns + k->timeout_ns;
	return until_ns <= now_ns ? 0 : (int)((until_ns - now_ns + 999999) / 1000000);
}

static int take_events(struct discover_connect *k, int timeout_ms)
{
	struct epoll_event events[BATCH];
	int count = epoll_wait(k->options.epoll_fd, events, BATCH, timeout_ms);
	int64_t now_ns;

	if (count < 0)
		return errno == EINTR ? 0 : -errno;
	now_ns = clock_monotonic_ns();
	for (int i = 0; i < count; i++) {
		if (events[i].data.ptr)
			take_event(k, events[i].data.ptr, now_ns);
	}
	expire(k, now_ns);
	return 0;
}

int discover_connect_run(struct discover_connect *k, struct discover_child *c)
{
	struct discover_stats *stats = discover_child_stats(c);
	int64_t now_ns, more_ns;
	int err;

	k->child = c;
	stats->rate_per_sec = (double)k->pacer.rate_per_sec;
	stats->loss = -1;
	for (;;) {
		err = discover_child_turn(c);
		if (err)
			return err < 0 ? err : 0;
		now_ns = clock_monotonic_ns();
		more_ns = begin_batch(k, now_ns);
		err = watch_child(k);
		if (!err)
			err = take_events(k, wait_ms(k, more_ns, now_ns));
		if (err)
			return err;
	}
}
