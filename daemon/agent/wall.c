/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/agent/wall_internal.h"

#include "common/cleanup.h"
#include "common/clock.h"
#include "daemon/channel.h"

#include <errno.h>
#include <string.h>

const char wall_not_there[] = "the firewall process is not there";
static const char not_answering[] = "the firewall process does not answer";

static bool changes_a_block(enum firewall_verb verb)
{
	return verb == FIREWALL_BLOCK || verb == FIREWALL_UNBLOCK;
}

static void free_requests(struct wall_requests *list)
{
	struct wall_request *r;

	while ((r = TAILQ_FIRST(list))) {
		TAILQ_REMOVE(list, r, link);
		free(r);
	}
}

static bool note_requests(const struct wall_request *about, size_t count, uint64_t seq,
                          struct wall_requests *out)
{
	const int64_t now = clock_monotonic_ms();

	for (size_t i = 0; i < count; i++) {
		struct wall_request *r = malloc(sizeof(*r));

		if (!r)
			return false;
		*r = about[i];
		r->seq = seq;
		r->sent_ms = now;
		TAILQ_INSERT_TAIL(out, r, link);
	}
	return true;
}

int wall_send_frame(struct wall *wall, uint16_t type, const void *body, size_t length,
                    const struct wall_request *about, size_t count)
{
	struct wall_requests noted = TAILQ_HEAD_INITIALIZER(noted);
	const uint64_t seq = wall->next_seq + 1;
	int err = note_requests(about, count, seq, &noted) ? 0 : -ENOMEM;

	if (!err && (!wall->firewall || channel_send(wall->firewall, type, seq, body, length) < 0))
		err = -ENOTCONN;
	if (err) {
		free_requests(&noted);
		return err;
	}
	for (size_t i = 0; i < count; i++)
		wall->n_out += changes_a_block(about[i].verb);
	TAILQ_CONCAT(&wall->pending, &noted, link);
	wall->next_seq = seq;
	return 0;
}

void wall_send_request(struct wall *wall, struct firewall_request *request, struct watch *w)
{
	const struct wall_request about = {.watch = w,
	                                   .verb = (enum firewall_verb)request->verb,
	                                   .rule = wall_rule(request->rule, request->fallback)};

	request->version = FIREWALL_WIRE_VERSION;
	request->generation = wall->generation;
	if (wall_send_frame(wall, FIREWALL_REQUEST, request, sizeof(*request), &about, 1)) {
		if (w)
			w->wall.error = wall_not_there;
		return;
	}
	if (w)
		w->wall.pending = true;
}

static void send_simple(struct wall *wall, enum firewall_verb verb)
{
	struct firewall_request request = {.verb = (uint16_t)verb};

	wall_send_request(wall, &request, NULL);
}

void wall_set_address(struct firewall_request *request, const struct endpoint *e)
{
	request->family = (uint8_t)e->family;
	request->port = e->port;
	memcpy(request->address, e->address, sizeof(request->address));
}

void wall_forget(struct wall *wall, struct watch *w)
{
	struct wall_request *r;

	wall_queue_leave(wall, w);
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
		wall_set_address(&request, e);
	wall_send_request(wall, &request, NULL);
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
	return wall_send_frame(wall, FIREWALL_ALLOW, body, length, &about, 1);
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
	if (ok)
		slot->restored = false;
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

/* It is to the first of those that were asked in its frame. */
static void take_reply(struct wall *wall, uint64_t seq, const struct firewall_reply *reply)
{
	struct wall_request *r;

	TAILQ_FOREACH (r, &wall->pending, link) {
		if (r->seq == seq) {
			answer(wall, r, reply);
			return;
		}
	}
}

static void on_frame(struct frame *f, void *arg)
{
	struct wall *wall = arg;
	struct firewall_reply reply;

	if (f->type == IPC_PONG) {
		wall->handlers.pong(wall->handlers.arg);
		return;
	}
	if (f->type == FIREWALL_PEERS) {
		take_peers(wall, f);
		return;
	}
	if (!f->length || f->length % sizeof(reply))
		return;
	/* Of several, the last has the numbers of now. */
	memcpy(&reply, f->body + f->length - sizeof(reply), sizeof(reply));
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
	for (size_t at = 0; at < f->length; at += sizeof(reply)) {
		memcpy(&reply, f->body + at, sizeof(reply));
		take_reply(wall, f->seq, &reply);
	}
	wall_queue_pump(wall);
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
			r->watch->wall.error = wall_not_there;
			wall->handlers.settled(r->watch, wall->handlers.arg);
		}
		free(r);
	}
	wall->n_out = 0;
	wall->flushing = true;
	wall_queue_pump(wall); /* there is nobody to send it to: that settles them */
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
	if (wall_queue_init(wall)) {
		free(wall);
		return -ENOMEM;
	}
	*out = wall;
	return 0;
}

void wall_free(struct wall *wall)
{
	if (!wall)
		return;
	free_requests(&wall->pending);
	channel_free(wall->firewall);
	wall_queue_fini(wall);
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
