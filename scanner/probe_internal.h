/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the engine (probe_engine.c) and the life of a probe (probe.c) share. */
#pragma once

#include "scanner/curl_loop.h"
#include "scanner/probe_queue.h"
#include "scanner/probe_tracer.h"
#include "scanner/probe_transfer.h"

#include <sys/queue.h>

/* One endpoint under way. Kept for the next one when it is over. */
struct probe {
	struct probe_engine *engine;
	struct probe_request request;
	struct fingerprint *fingerprint;
	struct curl_loop *loop; /* one of the engine's */
	struct transfer transfer;
	struct probe_tracer *tracer; /* NULL: nobody listens */
	struct fingerprint_request step;
	unsigned n_requests;
	bool fresh;               /* this request is made again, on a connection of its own */
	int64_t starved_since_ms; /* monotonic; 0: it is not waiting for a descriptor */
	bool asked;               /* for a socket; see probe_give_socket() */
	bool behind_proxy, proxy_failure; /* of the last answer, as in struct probe_stats */

	/* For the finding; a fingerprint does not see them. */
	char vantage[INET6_ADDRSTRLEN];
	int64_t latency_ms;
	int64_t bytes;

	TAILQ_ENTRY(probe) link;
};

TAILQ_HEAD(probe_list, probe);

struct probe_engine {
	struct curl_loop **loops;
	size_t n_loops;
	size_t n_probes; /* that there are, idle ones included */
	struct probe_nonces nonces;
	struct event *starved_timer;
	struct probe_limits limits;
	char *user_agent;
	bool show_secrets;
	probe_done_cb *done;
	probe_take_cb *take;   /* or NULL */
	probe_trace_cb *trace; /* or NULL */
	probe_ask_socket_cb *ask_socket;
	const struct signatures *signatures;
	bool all_prefixes;
	const struct probe_route *route; /* NULL: the kernel's choice, and no proxy */
	void *arg;
	struct probe_list idle;    /* to be used again */
	struct probe_list running; /* its transfer is in the multi handle */
	struct probe_list starved; /* waiting for a descriptor */
	size_t n_active;           /* running or starved */
	struct probe_queue queue;
	struct event *idle_turn; /* pending as long as somebody waits */
	bool had_events;         /* since its last one */
	struct probe_stats stats;
};

/* probe_engine.c: one for the next endpoint; NULL: no memory. */
struct probe *probe_take_idle(struct probe_engine *engine);

/* probe.c: what the engine's loops and timers call; `arg` is the engine. */
void probe_on_transfer_done(CURL *easy, CURLcode result, void *arg);
void probe_on_idle_turn(evutil_socket_t fd, short what, void *arg);
void probe_on_starved(evutil_socket_t fd, short what, void *arg);
