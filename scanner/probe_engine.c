/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The engine as its user sees it: made, set up, asked how it is, and freed. */
#include "scanner/probe_internal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum {
	/*
	 * libcurl looks for a connection to forget through half of all it has, so that with a few
	 * thousand of them it does little else: several multi handles then share the probes.
	 */
	PROBES_PER_LOOP = 128,
};

static void probe_delete(struct probe *p)
{
	transfer_fini(&p->transfer);
	probe_tracer_free(p->tracer);
	fingerprint_free(p->fingerprint);
	free(p);
}

struct probe *probe_take_idle(struct probe_engine *engine)
{
	struct probe *p = TAILQ_FIRST(&engine->idle);

	if (p) {
		TAILQ_REMOVE(&engine->idle, p, link);
		return p;
	}
	p = calloc(1, sizeof(*p));
	if (!p)
		return NULL;
	p->engine = engine;
	/* For good; each loop is filled before the next is used. */
	p->loop = engine->loops[engine->n_probes / PROBES_PER_LOOP % engine->n_loops];
	p->fingerprint = fingerprint_new();
	if (!p->fingerprint ||
	    transfer_init(&p->transfer, p->loop, &engine->limits, engine->user_agent, p) < 0) {
		fingerprint_free(p->fingerprint);
		free(p);
		return NULL;
	}
	if (engine->route && transfer_set_route(&p->transfer, engine->route) < 0) {
		probe_delete(p);
		return NULL;
	}
	if (engine->trace) {
		p->tracer = probe_tracer_new(p->transfer.easy, engine->limits.header_max_bytes);
		if (!p->tracer) {
			probe_delete(p);
			return NULL;
		}
	}
	engine->n_probes++;
	return p;
}

static int add_loop(struct probe_engine *engine, struct event_base *base)
{
	struct curl_loop **loop = &engine->loops[engine->n_loops];
	CURLM *multi;
	int err = curl_loop_new(base, probe_on_transfer_done, engine, loop);

	if (err < 0)
		return err;
	engine->n_loops++;
	multi = curl_loop_multi(*loop);
	/*
	 * Room for one connection of each probe. Those of finished probes are hung up already, and
	 * being the oldest they are what libcurl closes to stay within this.
	 */
	curl_multi_setopt(multi, CURLMOPT_MAXCONNECTS, (long)PROBES_PER_LOOP);
	curl_multi_setopt(multi, CURLMOPT_PIPELINING, (long)CURLPIPE_NOTHING);
	return 0;
}

static int add_loops(struct probe_engine *engine, struct event_base *base)
{
	size_t n = (engine->limits.concurrency + PROBES_PER_LOOP - 1) / PROBES_PER_LOOP;
	int err = 0;

	n += n == 0;
	engine->loops = calloc(n, sizeof(*engine->loops));
	if (!engine->loops)
		return -ENOMEM;
	while (engine->n_loops < n && !err)
		err = add_loop(engine, base);
	return err;
}

int probe_new(struct event_base *base, const struct probe_limits *limits, const char *user_agent,
              bool show_secrets, probe_done_cb *done, void *arg, struct probe_engine **out)
{
	struct probe_engine *engine = calloc(1, sizeof(*engine));
	int err;

	if (!engine)
		return -ENOMEM;
	engine->limits = *limits;
	if (engine->limits.body_max_bytes > FINGERPRINT_BODY_MAX_BYTES)
		engine->limits.body_max_bytes = FINGERPRINT_BODY_MAX_BYTES;
	engine->show_secrets = show_secrets;
	engine->done = done;
	engine->arg = arg;
	TAILQ_INIT(&engine->idle);
	TAILQ_INIT(&engine->running);
	TAILQ_INIT(&engine->starved);
	probe_queue_init(&engine->queue);
	engine->user_agent = strdup(user_agent);
	engine->starved_timer = evtimer_new(base, probe_on_starved, engine);
	engine->idle_turn = evtimer_new(base, probe_on_idle_turn, engine);
	err = engine->user_agent && engine->starved_timer && engine->idle_turn ? 0 : -ENOMEM;
	if (!err)
		err = add_loops(engine, base);
	if (err < 0) {
		probe_free(engine);
		return err;
	}
	*out = engine;
	return 0;
}

void probe_set_taker(struct probe_engine *engine, probe_take_cb *take)
{
	engine->take = take;
}

void probe_set_socket_source(struct probe_engine *engine, probe_ask_socket_cb *ask)
{
	engine->ask_socket = ask;
}

void probe_set_trace(struct probe_engine *engine, probe_trace_cb *trace)
{
	engine->trace = trace;
}

void probe_set_signatures(struct probe_engine *engine, const struct signatures *signatures,
                          bool all_prefixes)
{
	engine->signatures = signatures;
	engine->all_prefixes = all_prefixes;
}

void probe_set_route(struct probe_engine *engine, const struct probe_route *route)
{
	engine->route = route;
}

static void delete_all(struct probe_list *list)
{
	struct probe *p;

	while ((p = TAILQ_FIRST(list))) {
		TAILQ_REMOVE(list, p, link);
		probe_delete(p);
	}
}

void probe_free(struct probe_engine *engine)
{
	struct probe *p;

	if (!engine)
		return;
	TAILQ_FOREACH (p, &engine->running, link)
		curl_multi_remove_handle(curl_loop_multi(p->loop), p->transfer.easy);
	delete_all(&engine->running);
	delete_all(&engine->starved);
	delete_all(&engine->idle);
	while (engine->n_loops > 0)
		curl_loop_free(engine->loops[--engine->n_loops]);
	free(engine->loops);
	probe_queue_fini(&engine->queue);
	if (engine->idle_turn)
		event_free(engine->idle_turn);
	if (engine->starved_timer)
		event_free(engine->starved_timer);
	free(engine->user_agent);
	free(engine);
}

void probe_get_stats(const struct probe_engine *engine, struct probe_stats *out)
{
	*out = engine->stats;
}

void probe_each(const struct probe_engine *engine,
                void (*each)(const struct probe_request *request, void *arg), void *arg)
{
	const struct probe *p;
	const struct probe_waiting *w;

	TAILQ_FOREACH (p, &engine->running, link)
		each(&p->request, arg);
	TAILQ_FOREACH (p, &engine->starved, link)
		each(&p->request, arg);
	STAILQ_FOREACH (w, &engine->queue.waiting, link)
		each(&w->request, arg);
}
