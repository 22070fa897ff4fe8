/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "common/cleanup.h"
#include "common/clock.h"
#include "daemon/agent/wall_internal.h"
#include "daemon/channel.h"

#include <errno.h>
#include <stdlib.h>

/*
 * nf_tables looks at every element of our map in every transaction (it checks where chains jump
 * to), so that one change takes the longer the more blocks there are: 0.1 s with 100,000. The
 * helper puts what it finds in its socket in one transaction; here renewals wait for one another.
 */
enum { QUEUE_NONE, QUEUE_URGENT, QUEUE_RENEWALS };
enum {
	RENEWALS_AT_ONCE = 1024, /* under way: others do not wait long behind them */
	RENEWALS_PART = 32,      /* and this part of all blocks, whose number is what costs */
	URGENT_AT_ONCE = 100000, /* and be it all, after somebody has taken the table away */
	ALONE_AT_ONCE = 64,    /* under way: what comes then waits for the others, for one frame */
	FRAMES_AT_ONCE = 3072, /* fit into the channel, with room for other questions */
	GATHER_PART = 16,      /* renewals wait for at most this part of a block's time */
};

/* BLOCKs that go in one frame. */
struct lot {
	size_t count;
	struct wall_request about[FIREWALL_AT_ONCE];
	struct firewall_request requests[FIREWALL_AT_ONCE];
};

static struct firewall_request make_block(const struct watch *w, uint32_t rule, int64_t timeout_ms)
{
	struct firewall_request request = {.verb = FIREWALL_BLOCK,
	                                   .rule = rule & ~WALL_FALLBACK,
	                                   .fallback = (rule & WALL_FALLBACK) != 0,
	                                   .restored = w->wall.restored};

	request.timeout_ms = (uint64_t)timeout_ms;
	if (request.timeout_ms < FIREWALL_TIMEOUT_MIN_MS)
		request.timeout_ms = FIREWALL_TIMEOUT_MIN_MS;
	if (request.timeout_ms > FIREWALL_TIMEOUT_MAX_MS)
		request.timeout_ms = FIREWALL_TIMEOUT_MAX_MS;
	wall_set_address(&request, &w->endpoint);
	return request;
}

static void send_block(struct wall *wall, struct watch *w, uint32_t rule, int64_t timeout_ms)
{
	struct firewall_request request = make_block(w, rule, timeout_ms);

	wall_send_request(wall, &request, w);
}

static void send_unblock(struct wall *wall, struct watch *w)
{
	struct firewall_request request = {.verb = FIREWALL_UNBLOCK};

	wall_set_address(&request, &w->endpoint);
	wall_send_request(wall, &request, w);
}

static void send_lot(struct wall *wall, struct lot *lot)
{
	const size_t count = lot->count;
	int err = 0;

	lot->count = 0;
	if (count)
		err = wall_send_frame(wall, FIREWALL_REQUEST, lot->requests,
		                      count * sizeof(*lot->requests), lot->about, count);
	for (size_t i = 0; err && i < count; i++) {
		struct watch *w = lot->about[i].watch;

		w->wall.pending = false;
		w->wall.error = wall_not_there;
		wall->handlers.settled(w, wall->handlers.arg);
	}
}

static void add_to_lot(struct wall *wall, struct lot *lot, struct watch *w, uint32_t rule,
                       int64_t timeout_ms)
{
	struct firewall_request *request = &lot->requests[lot->count];

	*request = make_block(w, rule, timeout_ms);
	request->version = FIREWALL_WIRE_VERSION;
	request->generation = wall->generation;
	lot->about[lot->count++] =
	    (struct wall_request){.watch = w, .verb = FIREWALL_BLOCK, .rule = rule};
	w->wall.pending = true;
	if (lot->count == FIREWALL_AT_ONCE)
		send_lot(wall, lot);
}

/* Queues */

static struct watch_queue *queue_of(struct wall *wall, const struct watch *w)
{
	return w->wall.queue == QUEUE_URGENT ? &wall->urgent : &wall->renewals;
}

void wall_queue_leave(struct wall *wall, struct watch *w)
{
	if (w->wall.queue == QUEUE_NONE)
		return;
	TAILQ_REMOVE(queue_of(wall, w), w, wall.link);
	w->wall.queue = QUEUE_NONE;
}

static void enter_queue(struct wall *wall, struct watch *w, uint8_t queue)
{
	if (w->wall.queue == queue)
		return;
	wall_queue_leave(wall, w);
	w->wall.queue = queue;
	w->wall.queued_ms = clock_monotonic_ms();
	w->wall.pending = true;
	w->wall.late = false;
	TAILQ_INSERT_TAIL(queue_of(wall, w), w, wall.link);
}

/* Nobody is told of anything while there is something in the lot. */
static void send_queued(struct wall *wall, struct watch *w, struct lot *lot)
{
	const int64_t waited_ms = clock_monotonic_ms() - w->wall.queued_ms;
	const bool renewal = w->wall.queue == QUEUE_RENEWALS;
	const int64_t timeout_ms = w->wall.again_timeout_ms - (renewal ? 0 : waited_ms);

	wall_queue_leave(wall, w);
	w->wall.pending = w->wall.again = false;
	if (w->wall.again_block && lot) {
		add_to_lot(wall, lot, w, w->wall.again_rule, timeout_ms);
		return;
	}
	if (lot)
		send_lot(wall, lot);
	if (w->wall.again_block)
		send_block(wall, w, w->wall.again_rule, timeout_ms);
	else
		send_unblock(wall, w);
	if (!w->wall.pending)
		wall->handlers.settled(w, wall->handlers.arg);
}

static bool has_room(const struct wall *wall, size_t n_more, size_t most)
{
	return wall->n_out + n_more < most &&
	       (!wall->firewall || channel_queued(wall->firewall) < FRAMES_AT_ONCE);
}

static size_t count_renewals_at_once(const struct wall *wall)
{
	return RENEWALS_AT_ONCE + wall->stats.blocks / RENEWALS_PART;
}

static size_t count_in(const struct lot *lot)
{
	return lot ? lot->count : 0;
}

void wall_queue_pump(struct wall *wall)
{
	auto_free struct lot *lot = NULL;
	struct watch *w;

	if (TAILQ_EMPTY(&wall->urgent) && !wall->flushing)
		return;
	/* Without it, or without anybody to send it to, each goes by itself. */
	if (wall->firewall)
		lot = calloc(1, sizeof(*lot));
	while (has_room(wall, count_in(lot), URGENT_AT_ONCE) && (w = TAILQ_FIRST(&wall->urgent)))
		send_queued(wall, w, lot);
	while (wall->flushing && has_room(wall, count_in(lot), count_renewals_at_once(wall))) {
		w = TAILQ_FIRST(&wall->renewals);
		if (w)
			send_queued(wall, w, lot);
		else
			wall->flushing = false;
	}
	if (lot)
		send_lot(wall, lot);
}

static void on_together(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	wall_queue_pump(arg);
}

static void on_gathered(evutil_socket_t fd, short what, void *arg)
{
	struct wall *wall = arg;

	(void)fd;
	(void)what;
	wall->flushing = true;
	wall_queue_pump(wall);
}

/* The more blocks there are, the longer: half a minute for 60,000. */
static void gather(struct wall *wall, struct watch *w, int64_t timeout_ms)
{
	int64_t in_ms = wall->stats.blocks / 2;
	struct timeval delay;

	if (in_ms > timeout_ms / GATHER_PART)
		in_ms = timeout_ms / GATHER_PART;
	delay = (struct timeval){.tv_sec = in_ms / 1000, .tv_usec = in_ms % 1000 * 1000};
	enter_queue(wall, w, QUEUE_RENEWALS);
	if (!wall->flushing && !event_pending(wall->gathered, EV_TIMEOUT, NULL))
		event_add(wall->gathered, &delay);
}

static void enter_urgent(struct wall *wall, struct watch *w)
{
	const struct timeval at_once = {0};

	enter_queue(wall, w, QUEUE_URGENT);
	if (!event_pending(wall->together, EV_TIMEOUT, NULL))
		event_add(wall->together, &at_once);
}

/* In a frame of its own, before all that is done with it at the same time is known. */
static bool may_go_alone(const struct wall *wall)
{
	return TAILQ_EMPTY(&wall->urgent) && has_room(wall, 0, ALONE_AT_ONCE);
}

/* One that can wait: nobody's decision, and the block has most of its time left. */
static bool is_renewal(const struct watch *w, uint32_t rule, int64_t timeout_ms)
{
	return w->wall.in_kernel && w->wall.kernel_rule == rule && rule != FIREWALL_RULE_MANUAL &&
	       w->wall.expires_ms - clock_monotonic_ms() > timeout_ms / 4;
}

void wall_block(struct wall *wall, struct watch *w, uint32_t rule, int64_t timeout_ms)
{
	bool under_way = w->wall.pending && w->wall.queue == QUEUE_NONE;

	if (!under_way && !is_renewal(w, rule, timeout_ms) && may_go_alone(wall)) {
		wall_queue_leave(wall, w);
		w->wall.pending = w->wall.again = false;
		send_block(wall, w, rule, timeout_ms);
		return;
	}
	w->wall.again = true;
	w->wall.again_block = true;
	w->wall.again_rule = rule;
	w->wall.again_timeout_ms = timeout_ms;
	if (under_way)
		return;
	if (is_renewal(w, rule, timeout_ms))
		gather(wall, w, timeout_ms);
	else
		enter_urgent(wall, w);
}

void wall_unblock(struct wall *wall, struct watch *w)
{
	bool under_way = w->wall.pending && w->wall.queue == QUEUE_NONE;

	if (!under_way && has_room(wall, 0, URGENT_AT_ONCE)) {
		wall_queue_leave(wall, w);
		w->wall.pending = w->wall.again = false;
		send_unblock(wall, w);
		return;
	}
	w->wall.again = true;
	w->wall.again_block = false;
	if (!under_way)
		enter_urgent(wall, w);
}

int wall_queue_init(struct wall *wall)
{
	TAILQ_INIT(&wall->urgent);
	TAILQ_INIT(&wall->renewals);
	wall->gathered = evtimer_new(wall->base, on_gathered, wall);
	wall->together = evtimer_new(wall->base, on_together, wall);
	if (wall->gathered && wall->together)
		return 0;
	wall_queue_fini(wall);
	return -ENOMEM;
}

void wall_queue_fini(struct wall *wall)
{
	if (wall->gathered)
		event_free(wall->gathered);
	if (wall->together)
		event_free(wall->together);
}
