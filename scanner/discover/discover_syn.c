/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "scanner/discover/discover_syn.h"

#include "common/cleanup.h"
#include "common/clock.h"
#include "scanner/discover/discover_syn_internal.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

enum {
	RECEIVE_MAX = 4096,           /* answers taken before something is sent again */
	HOPS_TURN_NS = 100 * 1000000, /* at least so often */
	NAP_MIN_NS = 500 * 1000,      /* many packets for one waking */
	NAP_MAX_NS = 100 * 1000000,
};

AUTO_CLEANUP(discover_syn, struct discover_syn *, discover_syn_free)
#define auto_discover_syn __attribute__((cleanup(cleanup_discover_syn)))

/* Opening */

static int open_hops(const struct discover_limits *limits, struct discover_syn *s,
                     char why[static 256])
{
	_Static_assert(NEXT_HOP_ERROR_LEN <= 256, "it fits");
	int err = next_hops_open(&limits->source, limits->interface, &s->hops, why);

	if (!err)
		next_hops_set_rate(s->hops, limits->rate_per_sec);
	return err;
}

/* What the engine keeps besides its sockets. */
static int make_tables(const struct discover_limits *limits, struct discover_syn *s)
{
	struct siphash_key key = syn_socket_identity(s->socket)->key;
	int err = 0;

	s->canaries = canary_new(&key);
	if (!s->canaries)
		return -ENOMEM;
	if (limits->per_host_per_sec)
		err = host_pace_new(limits->per_host_per_sec, key.low ^ key.high, &s->host_pace);
	return err ? err : syn_own_addresses_read(&s->own);
}

int discover_syn_open(const struct discover_limits *limits, struct discover_syn **out,
                      char why[static 256])
{
	auto_discover_syn struct discover_syn *s = calloc(1, sizeof(*s));
	int err = s ? syn_socket_open(&s->socket, why) : -ENOMEM;

	if (!s) {
		snprintf(why, 256, "%s", strerror(ENOMEM));
		return -ENOMEM;
	}
	if (err)
		return err;
	err = open_hops(limits, s, why);
	if (err)
		return err;
	err = make_tables(limits, s);
	if (err) {
		snprintf(why, 256, "what a SYN sweep needs: %s", strerror(-err));
		return err;
	}
	s->limits = *limits;
	*out = steal_ptr(&s);
	return 0;
}

void discover_syn_free(struct discover_syn *s)
{
	if (!s)
		return;
	canary_free(s->canaries);
	host_pace_free(s->host_pace);
	next_hops_free(s->hops);
	syn_socket_free(s->socket);
	free(s);
}

/* Answers */

static void take_canary(struct discover_syn *s, const struct syn_answer *a)
{
	struct canary_outcome o;
	bool late;
	int64_t took_ns = canary_answer(s->canaries, &a->endpoint, a->attempt - SYN_ATTEMPT_CANARY,
	                                s->now_ns, &late, &o);

	if (took_ns >= 0)
		rtt_learn(&s->rtt, took_ns / 1000);
	if (late)
		discover_syn_take_back_canary(s, &o);
}

static enum discover_state state_of(enum syn_answer_kind kind)
{
	return kind == SYN_ANSWER_OPEN     ? DISCOVER_OPEN
	       : kind == SYN_ANSWER_CLOSED ? DISCOVER_CLOSED
	                                   : DISCOVER_UNREACHABLE;
}

static void take_answer(struct discover_syn *s, enum syn_answer_kind kind,
                        const struct syn_answer *a)
{
	struct discover_window *window;
	struct syn_window *w;
	uint32_t offset;
	int64_t rtt_us = -1;

	s->stats->answered++;
	if (a->attempt >= SYN_ATTEMPT_CANARY) {
		if (kind != SYN_ANSWER_UNREACHABLE)
			take_canary(s, a);
		return;
	}
	window = discover_child_find(s->child, &a->endpoint, &offset);
	if (!window)
		return;
	w = window->engine;
	if (syn_window_is_known(w, offset))
		return;
	if (a->attempt == SYN_ATTEMPT_FIRST) {
		rtt_us = syn_window_age_us(w, offset, s->now_ns);
		rtt_learn(&s->rtt, rtt_us);
	}
	w->sample_answers +=
	    w->sampled && a->attempt != SYN_ATTEMPT_FIRST && a->attempt != SYN_ATTEMPT_DEFERRED;
	discover_syn_know(s, w, offset, &a->endpoint, state_of(kind), rtt_us);
	if (kind != SYN_ANSWER_UNREACHABLE)
		canary_learn(s->canaries, &a->endpoint, kind == SYN_ANSWER_OPEN);
}

static bool receive(struct discover_syn *s)
{
	enum syn_answer_kind kind;
	struct syn_answer a;
	unsigned n = 0;

	while (n < RECEIVE_MAX && syn_socket_receive(s->socket, &kind, &a)) {
		take_answer(s, kind, &a);
		n++;
	}
	return n == RECEIVE_MAX;
}

/* The rate */

static void note_rate(struct discover_syn *s, enum rate_event event)
{
	const struct rate *r = &s->rate;

	if (event == RATE_SAME || event == RATE_TRYING || s->notes >= SYN_NOTES_MAX)
		return;
	s->notes++;
	if (event == RATE_LOWERED_DROPS)
		discover_child_note(s->child,
		                    "rate lowered to %.0f packets per second: this host's own "
		                    "sockets dropped packets",
		                    r->allowed_per_sec);
	else if (event == RATE_LOWERED_LOSS)
		discover_child_note(s->child,
		                    "rate lowered to %.0f packets per second: %.1f%% were lost, "
		                    "%.1f%% at half the rate",
		                    r->allowed_per_sec, 100 * r->before_loss, 100 * r->seen_loss);
	else
		discover_child_note(s->child,
		                    "%.1f%% of packets are lost at any rate: asking again instead "
		                    "of sending more slowly",
		                    100 * r->link_loss);
}

static void adapt(struct discover_syn *s)
{
	int64_t before_ns = s->rate.turned_ns;
	enum rate_event event;

	event = rate_turn(&s->rate, s->now_ns, s->stats->sent, s->stats->dropped + s->device_full);
	if (s->rate.turned_ns == before_ns)
		return;
	s->stats->dropped += syn_socket_drops(s->socket);
	s->stats->rate_per_sec = (double)rate_get(&s->rate);
	if (s->all_asked)
		s->stats->loss = (double)s->all_lost / (double)s->all_asked;
	pacer_set_rate(&s->pacer, rate_get(&s->rate), s->now_ns);
	note_rate(s, event);
}

/* The loop */

static void turn_hops(struct discover_syn *s, bool readable)
{
	if (!readable && s->now_ns - s->hops_turned_ns < HOPS_TURN_NS)
		return;
	next_hop_turn(s->hops, s->now_ns);
	s->stats->hosts_silent = next_hops_silent(s->hops);
	s->hops_turned_ns = s->now_ns;
}

static void nap(struct discover_syn *s)
{
	bool writable;
	struct pollfd fds[] = {
	    {.fd = syn_socket_descriptor(s->socket), .events = POLLIN},
	    {.fd = next_hop_descriptor(s->hops), .events = POLLIN},
	    {.fd = discover_child_descriptor(s->child, &writable), .events = POLLIN},
	};
	int64_t until_ns = discover_syn_next_send_ns(s), judge_ns = discover_syn_next_judge_ns(s);
	struct timespec wait = {0};
	int64_t ns;

	if (writable)
		fds[2].events |= POLLOUT;
	ns = (until_ns < judge_ns ? until_ns : judge_ns) - s->now_ns;
	ns = ns < NAP_MIN_NS ? NAP_MIN_NS : ns > NAP_MAX_NS ? NAP_MAX_NS : ns;
	wait.tv_nsec = ns;
	if (ppoll(fds, ARRAY_LEN(fds), &wait, NULL) > 0 && fds[1].revents) {
		s->now_ns = clock_monotonic_ns();
		turn_hops(s, true);
	}
}

int discover_syn_run(struct discover_syn *s, struct discover_child *c)
{
	s->child = c;
	s->stats = discover_child_stats(c);
	s->stats->loss = -1;
	s->now_ns = clock_monotonic_ns();
	rate_init(&s->rate, s->limits.rate_per_sec, s->now_ns);
	pacer_init(&s->pacer, rate_get(&s->rate), s->now_ns);
	for (;;) {
		int err = discover_child_turn(c);
		bool more;

		if (err)
			return err < 0 ? err : 0;
		s->now_ns = clock_monotonic_ns();
		more = receive(s);
		turn_hops(s, false);
		adapt(s);
		/* Not while answers wait that would change the verdict. */
		if (!more)
			discover_syn_judge(s);
		if (!discover_syn_send(s) && !more)
			nap(s);
	}
}
