/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/agent/wall.h"

#include "common/cleanup.h"
#include "common/clock.h"
#include "daemon/channel.h"

#include <errno.h>
#include <event2/event.h>
#include <string.h>

struct wall_request {
	TAILQ_ENTRY(wall_request) link;
	uint64_t seq;
	struct watch *watch; /* NULL: the watch is gone */
	enum firewall_verb verb;
	uint32_t rule;
	int64_t sent_ms;
	bool late; /* its deadline has passed, and was told */
};

/* For wall_request.verb: not a verb of the wire, but a frame of its own. */
#define WALL_ALLOW ((enum firewall_verb)0)

/*
 * nf_tables looks at every element of our map in every transaction (it checks where chains jump
 * to), so that one change takes the longer the more blocks there are: 0.1 s with 100,000. The
 * helper puts what it finds in its socket in one transaction; here renewals wait for one another.
 */
enum { QUEUE_NONE, QUEUE_URGENT, QUEUE_RENEWALS };
enum {
	RENEWALS_AT_ONCE = 1024, /* under way: others do not wait long behind them */
	RENEWALS_PART = 32,      /* and this part of all blocks, whose number is what costs */
	URGENT_AT_ONCE = 3072,   /* fit into the channel, with room for other questions */
	GATHER_PART = 16,        /* renewals wait for at most this part of a block's time */
};

struct wall {
	struct event_base *base;
	struct watch_queue urgent, renewals;
	struct event *gathered; /* renewals have waited for one another */
	bool flushing;          /* ... and go until there are none */
	size_t n_out;           /* BLOCK and UNBLOCK that are under way */
	struct wall_handlers handlers;
	struct channel *firewall;
	TAILQ_HEAD(, wall_request) pending; /* answers come in the order of the questions */
	uint64_t generation, next_seq;
	struct wall_stats stats;
};

static const char not_there[] = "the firewall process is not there";
static const char not_answering[] = "the firewall process does not answer";

static bool changes_a_block(enum firewall_verb verb)
{
	return verb == FIREWALL_BLOCK || verb == FIREWALL_UNBLOCK;
}

/* Returns 0, or -errno and nothing is under way. */
static int send_frame(struct wall *wall, uint16_t type, const void *body, size_t length,
                      const struct wall_request *about)
{
	struct wall_request *pending = malloc(sizeof(*pending));

	if (!pending)
		return -ENOMEM;
	if (!wall->firewall ||
	    channel_send(wall->firewall, type, wall->next_seq + 1, body, length) < 0) {
		free(pending);
		return -ENOTCONN;
	}
	*pending = *about;
	pending->seq = ++wall->next_seq;
	pending->sent_ms = clock_monotonic_ms();
	TAILQ_INSERT_TAIL(&wall->pending, pending, link);
	wall->n_out += changes_a_block(pending->verb);
	return 0;
}

static void send_request(struct wall *wall, struct firewall_request *request, struct watch *w)
{
	const struct wall_request about = {.watch = w,
	                                   .verb = (enum firewall_verb)request->verb,
	                                   .rule = wall_rule(request->rule, request->fallback)};

	request->version = FIREWALL_WIRE_VERSION;
	request->generation = wall->generation;
	if (send_frame(wall, FIREWALL_REQUEST, request, sizeof(*request), &about)) {
		if (w)
			w->wall.error = not_there;
		return;
	}
	if (w)
		w->wall.pending = true;
}

static void send_simple(struct wall *wall, enum firewall_verb verb)
{
	struct firewall_request request = {.verb = (uint16_t)verb};

	send_request(wall, &request, NULL);
}

static void set_address(struct firewall_request *request, const struct endpoint *e)
{
	request->family = (uint8_t)e->family;
	request->port = e->port;
	memcpy(request->address, e->address, sizeof(request->address));
}

static void send_block(struct wall *wall, struct watch *w, uint32_t rule, int64_t timeout_ms)
{
	struct firewall_request request = {.verb = FIREWALL_BLOCK,
	                                   .rule = rule & ~WALL_FALLBACK,
	                                   .fallback = (rule & WALL_FALLBACK) != 0};

	request.timeout_ms = (uint64_t)timeout_ms;
	if (request.timeout_ms < FIREWALL_TIMEOUT_MIN_MS)
		request.timeout_ms = FIREWALL_TIMEOUT_MIN_MS;
	if (request.timeout_ms > FIREWALL_TIMEOUT_MAX_MS)
		request.timeout_ms = FIREWALL_TIMEOUT_MAX_MS;
	set_address(&request, &w->endpoint);
	send_request(wall, &request, w);
}

static void send_unblock(struct wall *wall, struct watch *w)
{
	struct firewall_request request = {.verb = FIREWALL_UNBLOCK};

	set_address(&request, &w->endpoint);
	send_request(wall, &request, w);
}

/* Queues */

static struct watch_queue *queue_of(struct wall *wall, const struct watch *w)
{
	return w->wall.queue == QUEUE_URGENT ? &wall->urgent : &wall->renewals;
}

static void leave_queue(struct wall *wall, struct watch *w)
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
	leave_queue(wall, w);
	w->wall.queue = queue;
	w->wall.queued_ms = clock_monotonic_ms();
	w->wall.pending = true;
	w->wall.late = false;
	TAILQ_INSERT_TAIL(queue_of(wall, w), w, wall.link);
}

static void send_queued(struct wall *wall, struct watch *w)
{
	int64_t waited_ms = clock_monotonic_ms() - w->wall.queued_ms;
	bool renewal = w->wall.queue == QUEUE_RENEWALS;

	leave_queue(wall, w);
	w->wall.pending = w->wall.again = false;
	if (w->wall.again_block)
		send_block(wall, w, w->wall.again_rule,
		           w->wall.again_timeout_ms - (renewal ? 0 : waited_ms));
	else
		send_unblock(wall, w);
	if (!w->wall.pending)
		wall->handlers.settled(w, wall->handlers.arg);
}

static size_t count_renewals_at_once(const struct wall *wall)
{
	return RENEWALS_AT_ONCE + wall->stats.blocks / RENEWALS_PART;
}

/* Sends what has room; urgent ones first. */
static void pump(struct wall *wall)
{
	struct watch *w;

	while (wall->n_out < URGENT_AT_ONCE && (w = TAILQ_FIRST(&wall->urgent)))
		send_queued(wall, w);
	while (wall->flushing && wall->n_out < count_renewals_at_once(wall)) {
		w = TAILQ_FIRST(&wall->renewals);
		if (w)
			send_queued(wall, w);
		else
			wall->flushing = false;
	}
}

static void on_gathered(evutil_socket_t fd, short what, void *arg)
{
	struct wall *wall = arg;

	(void)fd;
	(void)what;
	wall->flushing = true;
	pump(wall);
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

/* One that can wait: nobody's decision, and the block has most of its time left. */
static bool is_renewal(const struct watch *w, uint32_t rule, int64_t timeout_ms)
{
	return w->wall.in_kernel && w->wall.kernel_rule == rule && rule != FIREWALL_RULE_MANUAL &&
	       w->wall.expires_ms - clock_monotonic_ms() > timeout_ms / 4;
}

void wall_block(struct wall *wall, struct watch *w, uint32_t rule, int64_t timeout_ms)
{
	bool under_way = w->wall.pending && w->wall.queue == QUEUE_NONE;

	if (!under_way && !is_renewal(w, rule, timeout_ms) && wall->n_out < URGENT_AT_ONCE) {
		leave_queue(wall, w);
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
		enter_queue(wall, w, QUEUE_URGENT);
}

void wall_unblock(struct wall *wall, struct watch *w)
{
	bool under_way = w->wall.pending && w->wall.queue == QUEUE_NONE;

	if (!under_way && wall->n_out < URGENT_AT_ONCE) {
		leave_queue(wall, w);
		w->wall.pending = w->wall.again = false;
		send_unblock(wall, w);
		return;
	}
	w->wall.again = true;
	w->wall.again_block = false;
	if (!under_way)
		enter_queue(wall, w, QUEUE_URGENT);
}

void wall_forget(struct wall *wall, struct watch *w)
{
	struct wall_request *r;

	leave_queue(wall, w);
	TAILQ_FOREACH (r, &wall->pending, link) {
		if (r->watch == w)
			r->watch = NULL;
	}
}

void wall_list(struct wall *wall)
{
	send_simple(wall, FIREWALL_LIST);
}

int wall_ask_status(struct wall *wall)
{
	send_simple(wall, FIREWALL_STATUS);
	return wall->firewall ? 0 : -ENOTCONN;
}

void wall_panic(struct wall *wall)
{
	send_simple(wall, FIREWALL_PANIC);
}

void wall_resume(struct wall *wall)
{
	send_simple(wall, FIREWALL_RESUME);
}

static void send_about(struct wall *wall, enum firewall_verb verb, const struct endpoint *e)
{
	struct firewall_request request = {.verb = (uint16_t)verb};

	if (e)
		set_address(&request, e);
	send_request(wall, &request, NULL);
}

void wall_ledger_add(struct wall *wall, const struct endpoint *e)
{
	send_about(wall, FIREWALL_LEDGER_ADD, e);
}

void wall_ledger_remove(struct wall *wall, const struct endpoint *e)
{
	send_about(wall, FIREWALL_LEDGER_REMOVE, e);
}

void wall_ledger_list(struct wall *wall, const struct endpoint *e)
{
	send_about(wall, FIREWALL_LEDGER_LIST, e);
}

int wall_allow(struct wall *wall, uint32_t rule, const struct prefix *items, size_t count)
{
	const struct firewall_allow head = {.version = FIREWALL_WIRE_VERSION,
	                                    .rule = rule,
	                                    .generation = wall->generation,
	                                    .count = (uint32_t)count};
	const struct wall_request about = {.verb = WALL_ALLOW, .rule = rule};
	const size_t length = sizeof(head) + count * sizeof(struct firewall_prefix);
	auto_free uint8_t *body = NULL;

	if (count > FIREWALL_ALLOW_MAX)
		return -E2BIG;
	body = malloc(length);
	if (!body)
		return -ENOMEM;
	memcpy(body, &head, sizeof(head));
	for (size_t i = 0; i < count; i++) {
		const struct firewall_prefix entry = firewall_prefix_from(&items[i]);

		memcpy(body + sizeof(head) + i * sizeof(entry), &entry, sizeof(entry));
	}
	return send_frame(wall, FIREWALL_ALLOW, body, length, &about);
}

void wall_ping(struct wall *wall)
{
	/* One that does not read is not heaped with questions. */
	if (wall->firewall && channel_queued(wall->firewall) == 0)
		channel_send(wall->firewall, IPC_PING, 0, NULL, 0);
}

void wall_note_counters(struct wall *wall, struct watch *w, const struct firewall_reply *block,
                        bool dropped)
{
	/* A block that was taken out and put in again counts from zero. */
	uint64_t before = block->packets >= w->wall.packets ? w->wall.packets : 0;

	wall->stats.dropped_packets += dropped ? block->packets - before : 0;
	w->wall.packets = block->packets;
	w->wall.bytes = block->bytes;
}

/* Refusals of a BLOCK that also say: there is none in the kernel. */
static bool is_absent(enum firewall_result result)
{
	return result == FIREWALL_PROTECTED_PORT || result == FIREWALL_BAD_ADDRESS ||
	       result == FIREWALL_TOO_MANY || result == FIREWALL_TOO_FAST ||
	       result == FIREWALL_PANICKED;
}

/* What the answer to a BLOCK or UNBLOCK says about the kernel. */
static void take_answer(struct watch *w, const struct wall_request *r,
                        const struct firewall_reply *reply)
{
	struct wall_slot *slot = &w->wall;
	bool ok = reply->result == FIREWALL_OK;

	slot->pending = false;
	slot->stale = reply->result == FIREWALL_STALE;
	slot->error = ok ? NULL : firewall_result_text((enum firewall_result)reply->result);
	if (r->verb == FIREWALL_BLOCK && ok) {
		slot->in_kernel = true;
		slot->kernel_rule = r->rule;
		slot->expires_ms = clock_monotonic_ms() + (int64_t)reply->expires_ms;
	} else if (r->verb == FIREWALL_UNBLOCK && (ok || reply->result == FIREWALL_NOT_FOUND)) {
		slot->in_kernel = false;
		slot->error = NULL;
		slot->packets = slot->bytes = 0;
	} else if (is_absent((enum firewall_result)reply->result)) {
		slot->in_kernel = false;
		slot->packets = slot->bytes = 0;
	}
}

static void settle(struct wall *wall, struct watch *w)
{
	if (w->wall.again) {
		w->wall.again = false;
		if (w->wall.again_block)
			wall_block(wall, w, w->wall.again_rule, w->wall.again_timeout_ms);
		else
			wall_unblock(wall, w);
		if (w->wall.pending)
			return;
	}
	wall->handlers.settled(w, wall->handlers.arg);
}

static void answer(struct wall *wall, struct wall_request *r, const struct firewall_reply *reply)
{
	if (r->verb == FIREWALL_LIST && reply->result == FIREWALL_OK) {
		wall->handlers.found(reply, wall->handlers.arg);
		return; /* more to come */
	}
	TAILQ_REMOVE(&wall->pending, r, link);
	wall->n_out -= changes_a_block(r->verb);
	if (r->verb == FIREWALL_LIST)
		wall->handlers.list_ended(reply->result == FIREWALL_END, wall->handlers.arg);
	else if (r->verb == FIREWALL_STATUS)
		wall->handlers.status(reply, wall->handlers.arg);
	else if (r->verb == FIREWALL_PANIC || r->verb == FIREWALL_RESUME)
		wall->handlers.panic_answered(r->verb, reply, wall->handlers.arg);
	else if (r->verb == FIREWALL_LEDGER_LIST && wall->handlers.peers_ended)
		wall->handlers.peers_ended(reply->result == FIREWALL_END, wall->handlers.arg);
	else if (r->verb == WALL_ALLOW && wall->handlers.allow_answered)
		wall->handlers.allow_answered(r->rule, reply, wall->handlers.arg);
	else if (r->watch) {
		take_answer(r->watch, r, reply);
		settle(wall, r->watch);
	}
	free(r);
}

/* The body of a frame is aligned for it. */
static void take_peers(struct wall *wall, const struct frame *f)
{
	const struct firewall_peer *peers = (const void *)f->body;

	if (wall->handlers.peers && f->length && f->length % sizeof(*peers) == 0)
		wall->handlers.peers(peers, f->length / sizeof(*peers), wall->handlers.arg);
}

static void on_frame(struct frame *f, void *arg)
{
	struct wall *wall = arg;
	struct firewall_reply reply;
	struct wall_request *r;

	if (f->type == IPC_PONG) {
		wall->handlers.pong(wall->handlers.arg);
		return;
	}
	if (f->type == FIREWALL_PEERS) {
		take_peers(wall, f);
		return;
	}
	if (f->length != sizeof(reply))
		return;
	memcpy(&reply, f->body, sizeof(reply));
	wall->stats.blocks = reply.blocks;
	wall->stats.reconciliations = reply.reconciliations;
	wall->stats.persist = reply.persist;
	wall->stats.panicked = reply.panicked;
	if (f->type == FIREWALL_EVENT) {
		if (reply.panicked)
			wall->handlers.panic_answered(FIREWALL_STATUS, &reply, wall->handlers.arg);
		else
			wall->handlers.restored(wall->handlers.arg);
		return;
	}
	TAILQ_FOREACH (r, &wall->pending, link) {
		if (r->seq == f->seq) {
			answer(wall, r, &reply);
			pump(wall);
			return;
		}
	}
}

static void on_end(int error, void *arg)
{
	struct wall *wall = arg;
	struct wall_request *r;

	(void)error;
	channel_free(wall->firewall);
	wall->firewall = NULL;
	while ((r = TAILQ_FIRST(&wall->pending))) {
		TAILQ_REMOVE(&wall->pending, r, link);
		if (r->watch) {
			r->watch->wall.pending = r->watch->wall.again = false;
			r->watch->wall.error = not_there;
			wall->handlers.settled(r->watch, wall->handlers.arg);
		}
		free(r);
	}
	wall->n_out = 0;
	wall->flushing = true;
	pump(wall); /* there is nobody to send it to: that settles them */
	wall->handlers.gone(wall->handlers.arg);
}

/* A watch stays while it is in a queue. */
static void check_urgent(struct wall *wall, int64_t now)
{
	struct watch *w;

	TAILQ_FOREACH (w, &wall->urgent, wall.link) {
		if (now - w->wall.queued_ms < WALL_ANSWER_MS)
			return;
		if (w->wall.late)
			continue;
		w->wall.late = true;
		w->wall.error = not_answering;
		wall->handlers.settled(w, wall->handlers.arg);
	}
}

void wall_check_deadlines(struct wall *wall)
{
	int64_t now = clock_monotonic_ms();
	struct wall_request *r;

	check_urgent(wall, now);
	/* Oldest first; a watch stays while its request does. */
	TAILQ_FOREACH (r, &wall->pending, link) {
		if (now - r->sent_ms < WALL_ANSWER_MS)
			return;
		if (r->late)
			continue;
		r->late = true;
		if (!r->watch)
			continue;
		r->watch->wall.error = not_answering;
		wall->handlers.settled(r->watch, wall->handlers.arg);
	}
}

bool wall_is_waiting(const struct wall *wall)
{
	return !TAILQ_EMPTY(&wall->urgent) || !TAILQ_EMPTY(&wall->pending);
}

int wall_new(struct event_base *base, const struct wall_handlers *handlers, struct wall **out)
{
	struct wall *wall = calloc(1, sizeof(*wall));

	if (!wall)
		return -ENOMEM;
	wall->base = base;
	wall->handlers = *handlers;
	TAILQ_INIT(&wall->pending);
	TAILQ_INIT(&wall->urgent);
	TAILQ_INIT(&wall->renewals);
	wall->gathered = evtimer_new(base, on_gathered, wall);
	if (!wall->gathered) {
		free(wall);
		return -ENOMEM;
	}
	*out = wall;
	return 0;
}

void wall_free(struct wall *wall)
{
	struct wall_request *r;

	if (!wall)
		return;
	while ((r = TAILQ_FIRST(&wall->pending))) {
		TAILQ_REMOVE(&wall->pending, r, link);
		free(r);
	}
	channel_free(wall->firewall);
	event_free(wall->gathered);
	free(wall);
}

int wall_set_firewall(struct wall *wall, int sock)
{
	struct channel_handlers handlers = {.frame = on_frame, .end = on_end, .arg = wall};

	channel_free(wall->firewall);
	wall->firewall = NULL;
	return channel_new(wall->base, sock, &handlers, &wall->firewall);
}

void wall_set_generation(struct wall *wall, uint64_t generation)
{
	wall->generation = generation;
}

void wall_get_stats(const struct wall *wall, struct wall_stats *out)
{
	*out = wall->stats;
	out->connected = wall->firewall != NULL;
}
