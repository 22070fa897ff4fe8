/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "scanner/discover/discover_syn_internal.h"

#include <errno.h>

enum {
	CANARY_EVERY = 96,      /* packets */
	STEPS_MAX = 2048,       /* endpoints looked at in one call, sent or not */
	WINDOW_MIN = 256,       /* endpoints */
	WINDOW_SECONDS = 2,     /* about so long a window takes to send */
	RETRY_NS = 5000 * 1000, /* for what could not be sent yet */
	FULL_NS = 500 * 1000,   /* a device that is full is left alone */
};

enum outcome {
	OUT_SENT,    /* in the batch */
	OUT_SKIPPED, /* never to be sent */
	OUT_UNTOLD,  /* our packets do not get there, the kernel's may */
	OUT_LATER,   /* not yet */
	OUT_FULL,    /* the batch is, and cannot be flushed */
};

void discover_syn_know(struct discover_syn *s, struct syn_window *w, uint32_t offset,
                       const struct endpoint *e, enum discover_state state, int64_t rtt_us)
{
	if (!syn_window_know(w, offset))
		return;
	w->open += state == DISCOVER_OPEN;
	discover_child_result(s->child, w->w, e, state, rtt_us);
}

static void flush(struct discover_syn *s)
{
	int err = syn_socket_flush(s->socket, &s->stats->sent);

	/* A packet that the kernel refuses (the link is down, say) is one that got lost. */
	if (err == -ENOBUFS) {
		s->device_full++;
		s->blocked_until_ns = s->now_ns + FULL_NS;
	} else if (err) {
		s->stats->dropped++;
	}
}

static enum outcome put(struct discover_syn *s, const struct endpoint *e, unsigned attempt)
{
	const struct next_hop *hop = NULL;
	int err = next_hop_find(s->hops, e, s->now_ns, &hop);

	if (err == -EINPROGRESS)
		return OUT_LATER;
	if (err == -EOPNOTSUPP && syn_own_addresses_contain(&s->own, e))
		hop = NULL;
	else if (err == -EOPNOTSUPP)
		return OUT_UNTOLD;
	else if (err)
		return OUT_SKIPPED;
	if (syn_socket_add(s->socket, e, hop, attempt))
		return OUT_SENT;
	flush(s);
	return syn_socket_add(s->socket, e, hop, attempt) ? OUT_SENT : OUT_FULL;
}

static unsigned attempt_of(const struct syn_window *w)
{
	if (!w->again)
		return SYN_ATTEMPT_FIRST;
	if (w->rounds == 1 && !w->sampled)
		return SYN_ATTEMPT_DEFERRED;
	return SYN_ATTEMPT_AGAIN + (w->rounds + w->sampled) % SYN_ATTEMPTS_AGAIN;
}

static enum outcome put_offset(struct discover_syn *s, struct syn_window *w, uint32_t offset)
{
	struct endpoint e;
	enum outcome outcome;

	if (!discover_window_at(s->child, w->w, offset, &e)) {
		syn_window_know(w, offset);
		return OUT_SKIPPED;
	}
	if (s->host_pace && host_pace_ready(s->host_pace, &e, s->now_ns) > 0)
		return OUT_LATER;
	outcome = put(s, &e, attempt_of(w));
	if (outcome == OUT_SENT) {
		syn_window_stamp(w, offset, s->now_ns);
		s->stats->retransmitted += w->rounds > 1 || w->sampled;
	} else if (outcome == OUT_SKIPPED) {
		discover_syn_know(s, w, offset, &e, DISCOVER_UNREACHABLE, -1);
	} else if (outcome == OUT_UNTOLD) {
		/* The prober finds out, by an ordinary connection. */
		discover_syn_know(s, w, offset, &e, DISCOVER_OPEN, -1);
	}
	return outcome;
}

/* One endpoint of a window, or the end of its pass. */
static enum outcome step(struct discover_syn *s, struct syn_window *w)
{
	uint32_t offset = syn_window_next(w);
	enum outcome outcome;

	if (offset == SYN_WINDOW_END) {
		if (w->deferred)
			syn_window_restart(w, s->now_ns + RETRY_NS);
		else
			w->phase = SYN_PHASE_WAITING;
		return OUT_SKIPPED;
	}
	outcome = put_offset(s, w, offset);
	if (outcome == OUT_LATER)
		syn_window_defer(w, offset);
	else if (outcome != OUT_FULL)
		syn_window_done(w, offset);
	return outcome;
}

/* The oldest first: what the parent knows to be done grows from there. */
static struct syn_window *window_to_send(struct discover_syn *s)
{
	struct syn_window *oldest = NULL;

	for (unsigned i = 0; i < DISCOVER_WINDOWS; i++) {
		struct syn_window *w = &s->windows[i];

		if (w->w && w->phase == SYN_PHASE_SENDING && w->retry_ns <= s->now_ns &&
		    (!oldest || w->serial < oldest->serial))
			oldest = w;
	}
	return oldest;
}

static struct syn_window *open_window(struct discover_syn *s)
{
	uint64_t rate = rate_get(&s->rate), max = DISCOVER_WINDOW_MAX;
	struct discover_window *w;
	struct syn_window *ours;

	if (rate && rate * WINDOW_SECONDS < max)
		max = rate * WINDOW_SECONDS;
	w = discover_child_window(s->child, (uint32_t)(max < WINDOW_MIN ? WINDOW_MIN : max));
	if (!w)
		return NULL;
	ours = &s->windows[w->slot];
	syn_window_begin(ours, w, ++s->serial, s->now_ns);
	ours->drops = s->stats->dropped;
	return ours;
}

/*
 * The window to which a canary counts is the one that is being sent, or (when evidence is short)
 * the one that waits for it.
 */
static uint32_t canary_tag(const struct syn_window *w)
{
	return (uint32_t)(w->serial << 3 | w->w->slot);
}

static enum outcome put_canary(struct discover_syn *s, const struct syn_window *w, bool sparing)
{
	struct endpoint e;
	unsigned serial;
	enum outcome outcome;

	if (!canary_ask(s->canaries, s->now_ns, canary_tag(w), sparing, &e, &serial))
		return OUT_SKIPPED;
	outcome = s->host_pace && host_pace_ready(s->host_pace, &e, s->now_ns) > 0
	              ? OUT_LATER
	              : put(s, &e, SYN_ATTEMPT_CANARY + serial);
	if (outcome == OUT_SENT)
		s->stats->canaries_sent++;
	else
		canary_cancel(s->canaries);
	return outcome;
}

/* A window that waits for canaries gets them, as far as there are any. */
static unsigned top_up(struct discover_syn *s, unsigned want)
{
	unsigned put = 0;

	for (unsigned i = 0; i < DISCOVER_WINDOWS && put < want; i++) {
		struct syn_window *w = &s->windows[i];

		if (!w->w || w->phase != SYN_PHASE_WAITING || w->canaries_wanted == 0)
			continue;
		while (put < want && w->canaries_wanted > 0) {
			if (put_canary(s, w, true) != OUT_SENT) {
				/* None is free now, or none at all. */
				w->canaries_out = !w->canary_sent && w->topped_up > 1;
				w->canaries_wanted = 0;
				break;
			}
			w->canaries_wanted--;
			w->canary_sent = true;
			w->sent_ns = s->now_ns;
			put++;
		}
	}
	return put;
}

static unsigned fill(struct discover_syn *s, unsigned want, bool *moved)
{
	unsigned put = top_up(s, want);

	for (unsigned steps = 0; put < want && steps < STEPS_MAX; steps++) {
		struct syn_window *w = window_to_send(s);
		enum outcome outcome;

		if (!w)
			w = open_window(s);
		if (!w)
			break;
		*moved = true;
		if (s->until_canary == 0) {
			s->until_canary = CANARY_EVERY;
			put += put_canary(s, w, false) == OUT_SENT;
			continue;
		}
		outcome = step(s, w);
		if (outcome == OUT_FULL)
			break;
		if (outcome == OUT_SENT) {
			put++;
			s->until_canary--;
		}
	}
	return put;
}

bool discover_syn_send(struct discover_syn *s)
{
	unsigned may, put;
	bool moved = false;

	if (s->now_ns < s->blocked_until_ns || discover_child_is_behind(s->child))
		return false;
	if (syn_socket_waiting(s->socket)) {
		flush(s);
		return true;
	}
	may = pacer_take(&s->pacer, s->now_ns, SYN_BATCH);
	if (may == 0)
		return false;
	put = fill(s, may, &moved);
	if (put < may)
		pacer_return(&s->pacer, may - put);
	if (syn_socket_waiting(s->socket))
		flush(s);
	return moved || put > 0;
}

int64_t discover_syn_next_send_ns(const struct discover_syn *s)
{
	int64_t next = INT64_MAX;

	if (discover_child_is_behind(s->child))
		return INT64_MAX;
	if (syn_socket_waiting(s->socket))
		return s->blocked_until_ns;
	for (unsigned i = 0; i < DISCOVER_WINDOWS; i++) {
		const struct syn_window *w = &s->windows[i];
		bool sends = w->w && (w->phase == SYN_PHASE_SENDING || w->canaries_wanted > 0);

		if (sends && w->retry_ns < next)
			next = w->retry_ns;
	}
	if (next < s->now_ns + pacer_wait_ns(&s->pacer))
		next = s->now_ns + pacer_wait_ns(&s->pacer);
	return next;
}
