/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "scanner/probe_internal.h"

#include "common/clock.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>
#include <unistd.h>

enum {
	STARVED_RETRY_MS = 20,
	/*
	 * Begun at once; the rest of what may be under way begins when there is nothing else to do.
	 * Where answers come faster than they are read, more connections only push each other out
	 * of the processor's caches.
	 */
	EAGER_PROBES = 24,
};

static int fill_finding(const struct probe *p, struct finding *f)
{
	int err = fingerprint_finish(p->fingerprint, f);

	if (!err && p->request.host[0])
		err = finding_set(&f->host, p->request.host);
	if (!err && p->vantage[0])
		err = finding_set(&f->vantage, p->vantage);
	return err;
}

static void deliver(struct probe_engine *engine, const struct probe_request *request,
                    struct finding *f)
{
	if (engine->take)
		engine->take(request, f, engine->arg);
	else
		engine->done(request, f, engine->arg);
}

static void report(struct probe *p)
{
	struct probe_engine *engine = p->engine;
	struct finding f;

	finding_init(&f);
	if (fill_finding(p, &f) < 0) {
		/* Out of memory: a probe is answered all the same. */
		finding_fini(&f);
		finding_init(&f);
		f.verdict = VERDICT_ERROR;
	}
	if (f.verdict == VERDICT_ERROR) {
		engine->stats.behind_proxy += p->behind_proxy;
		engine->stats.proxy_failure += p->proxy_failure;
	}
	f.endpoint = p->request.endpoint;
	f.time_ms = clock_wall_ms();
	f.latency_ms = p->latency_ms;
	f.bytes = p->bytes;
	deliver(engine, &p->request, &f);
	finding_fini(&f);
}

/* The probe is in no list. */
static void finish(struct probe *p)
{
	struct probe_engine *engine = p->engine;

	engine->n_active--;
	engine->had_events = true;
	engine->stats.in_flight--;
	engine->stats.finished++;
	report(p); /* may submit another; this one is not idle yet */
	transfer_release(&p->transfer);
	TAILQ_INSERT_HEAD(&engine->idle, p, link);
}

/* False: it has waited that long. The probe is in no list. */
static bool wait_a_while(struct probe *p, int64_t limit_ms)
{
	struct probe_engine *engine = p->engine;
	struct timeval tv = {.tv_usec = STARVED_RETRY_MS * 1000};
	int64_t now_ms = clock_monotonic_ms();

	if (p->starved_since_ms == 0)
		p->starved_since_ms = now_ms;
	if (now_ms - p->starved_since_ms > limit_ms)
		return false;
	TAILQ_INSERT_TAIL(&engine->starved, p, link);
	if (!evtimer_pending(engine->starved_timer, NULL))
		evtimer_add(engine->starved_timer, &tv);
	return true;
}

/* As long as the request itself may take: who asked for the probe reckons with its deadlines. */
static int wait_for_socket(struct probe *p)
{
	const struct probe_limits *limits = &p->engine->limits;

	if (!wait_a_while(p, p->request.timeout_ms ? p->request.timeout_ms
	                                           : limits->request_timeout_ms)) {
		p->starved_since_ms = 0;
		return -EMFILE;
	}
	if (!p->asked) {
		p->asked = true;
		p->engine->ask_socket(&p->request, p->engine->arg);
	}
	return 0;
}

/* Sends the request in p->step. The probe is in no list. */
static int start_transfer(struct probe *p)
{
	struct probe_engine *engine = p->engine;
	int err;

	if (p->request.from_inside && p->transfer.given < 0)
		return wait_for_socket(p);
	err = transfer_prepare(&p->transfer, &p->request, &p->step, &engine->limits,
	                       p->n_requests == 1 || p->fresh);
	if (err < 0)
		return err;
	probe_tracer_reset(p->tracer);
	if (curl_multi_add_handle(curl_loop_multi(p->loop), p->transfer.easy))
		return -ENOMEM;
	TAILQ_INSERT_TAIL(&engine->running, p, link);
	engine->stats.requests++;
	return 0;
}

static void feed_error(struct probe *p, int error)
{
	struct http_answer answer = {.error = error, .content_type = "", .location = ""};

	fingerprint_feed(p->fingerprint, &answer);
}

static bool take_next_step(struct probe *p)
{
	if (p->n_requests >= p->engine->limits.max_requests ||
	    !fingerprint_next(p->fingerprint, &p->step))
		return false;
	p->n_requests++;
	return true;
}

/* On to the request in p->step if there is `more`, or to the end. The probe is in no list. */
static void go_on(struct probe *p, bool more)
{
	for (; more; more = take_next_step(p)) {
		int err = start_transfer(p);

		if (err == 0)
			return;
		feed_error(p, err);
	}
	finish(p);
}

static void note_facts(struct probe *p, const struct http_answer *answer)
{
	char *local_ip = NULL;
	curl_off_t total_us = 0;

	p->bytes += (int64_t)answer->body_length;
	p->engine->stats.bytes += answer->body_length;
	if (answer->error)
		return;
	if (!p->vantage[0] && !curl_easy_getinfo(p->transfer.easy, CURLINFO_LOCAL_IP, &local_ip) &&
	    local_ip) {
		strncpy(p->vantage, local_ip, sizeof(p->vantage) - 1);
	}
	if (p->n_requests == 1 && answer->status &&
	    !curl_easy_getinfo(p->transfer.easy, CURLINFO_TOTAL_TIME_T, &total_us))
		p->latency_ms = (int64_t)total_us / 1000;
}

/*
 * No descriptor, no local port, no memory in the kernel: it waits for other probes to end. Long
 * enough for each of them to run into its deadline; then it ends in an error.
 */
static bool wait_for_descriptor(struct probe *p)
{
	if (!wait_a_while(p, 2 * p->engine->limits.request_timeout_ms))
		return false;
	transfer_detach(&p->transfer, curl_loop_multi(p->loop), false);
	return true;
}

static void tell(const struct probe *p, const struct http_answer *answer)
{
	struct probe_exchange exchange = {.request = &p->step, .answer = answer};

	probe_tracer_fill(p->tracer, p->transfer.easy, &exchange);
	p->engine->trace(&p->request, &exchange, p->engine->arg);
}

/*
 * A server may close a connection that it has let us keep, just as we ask again on it: that says
 * nothing about the answer. Once more then, on one of its own.
 */
static bool ask_again(struct probe *p, const struct http_answer *answer)
{
	bool was_cut = answer->status == 0 && !answer->timed_out && answer->body_length == 0 &&
	               (answer->error == -ECONNRESET || answer->error == -EPIPE);

	if (!was_cut || p->fresh || p->step.step == FINGERPRINT_INDEX)
		return false;
	transfer_detach(&p->transfer, curl_loop_multi(p->loop), false);
	p->fresh = true;
	return start_transfer(p) == 0;
}

void probe_on_transfer_done(CURL *easy, CURLcode result, void *arg)
{
	struct probe_engine *engine = arg;
	struct http_answer answer;
	struct probe *p = NULL;
	bool starved, more;

	curl_easy_getinfo(easy, CURLINFO_PRIVATE, (char **)&p);
	TAILQ_REMOVE(&engine->running, p, link);
	transfer_answer(&p->transfer, result, &answer);
	starved = transfer_is_starved(&p->transfer, result);
	if (starved && wait_for_descriptor(p))
		return;
	if (!starved && ask_again(p, &answer))
		return;
	p->fresh = false;
	engine->stats.starved += starved;
	engine->stats.no_route += answer.error == -ENETUNREACH && p->n_requests == 1;
	engine->stats.no_family += answer.error == -EAFNOSUPPORT && p->n_requests == 1;
	p->behind_proxy = answer.error == -EREMOTEIO;
	p->proxy_failure = p->behind_proxy && transfer_is_proxy_failure(&p->transfer, result);
	p->starved_since_ms = 0;
	note_facts(p, &answer);
	if (p->tracer)
		tell(p, &answer);
	fingerprint_feed(p->fingerprint, &answer);
	more = take_next_step(p);
	/* libcurl keeps no connection that something went wrong on */
	transfer_detach(&p->transfer, curl_loop_multi(p->loop), !more && result == CURLE_OK);
	go_on(p, more);
}

static int begin(struct probe_engine *engine, const struct probe_request *request);

/* That it could not even begin comes as a finding, too: it was accepted. */
static void begin_waiting(struct probe_engine *engine)
{
	struct probe_waiting *w = probe_queue_take(&engine->queue);

	if (begin(engine, &w->request) < 0) {
		struct finding f;

		finding_init(&f);
		f.verdict = VERDICT_ERROR;
		f.endpoint = w->request.endpoint;
		f.time_ms = clock_wall_ms();
		engine->stats.in_flight--;
		engine->stats.finished++;
		deliver(engine, &w->request, &f);
		finding_fini(&f);
	}
	probe_queue_give_back(&engine->queue, w);
}

/* A turn of the loop in which no probe went on: the network is what we wait for. */
void probe_on_idle_turn(evutil_socket_t fd, short what, void *arg)
{
	static const struct timeval now = {0};
	struct probe_engine *engine = arg;
	unsigned n = engine->had_events ? 0 : EAGER_PROBES;

	(void)fd;
	(void)what;
	engine->had_events = false;
	while (!probe_queue_is_empty(&engine->queue) &&
	       (n > 0 || engine->n_active < EAGER_PROBES)) {
		n -= n > 0;
		begin_waiting(engine);
	}
	if (!probe_queue_is_empty(&engine->queue))
		evtimer_add(engine->idle_turn, &now);
}

/* Waits no more, neither for a socket nor for a descriptor. */
static void resume(struct probe *p, int err)
{
	if (!err)
		err = start_transfer(p);
	if (err == 0)
		return;
	feed_error(p, err);
	go_on(p, take_next_step(p));
}

void probe_on_starved(evutil_socket_t fd, short what, void *arg)
{
	struct probe_engine *engine = arg;
	struct probe_list retry = TAILQ_HEAD_INITIALIZER(retry);
	struct probe *p;

	(void)fd;
	(void)what;
	TAILQ_CONCAT(&retry, &engine->starved, link);
	while ((p = TAILQ_FIRST(&retry))) {
		TAILQ_REMOVE(&retry, p, link);
		resume(p, 0);
	}
}

void probe_give_socket(struct probe_engine *engine, uint64_t token, int fd, int error)
{
	struct probe *p;

	TAILQ_FOREACH (p, &engine->starved, link) {
		if (p->asked && p->request.token == token)
			break;
	}
	if (!p) {
		if (fd >= 0)
			close(fd);
		return;
	}
	p->asked = false;
	if (fd < 0 && error == -EAGAIN)
		return; /* the next turn asks again */
	TAILQ_REMOVE(&engine->starved, p, link);
	transfer_give_socket(&p->transfer, fd);
	resume(p, fd < 0 ? error : 0);
}

static int reset_probe(struct probe *p, const struct probe_request *request)
{
	char address[ENDPOINT_TEXT_LEN], authority[sizeof(request->host) + 8];
	struct fingerprint_conf conf = {
	    .prefix = request->prefix,
	    .all_relatives = request->all_relatives,
	    .all_prefixes = p->engine->all_prefixes,
	    .asks_serves = request->asks_serves,
	    .signatures = p->engine->signatures,
	    .authority = authority,
	    .tls_first = request->tls_first,
	    .tls_only = request->tls_only,
	    .plain_only = request->plain_only,
	    .show_secrets = p->engine->show_secrets,
	    .goroutine_read_max = 1000,
	};

	if (request->host[0])
		snprintf(authority, sizeof(authority), "%s:%u", request->host,
		         (unsigned)request->endpoint.port);
	else
		snprintf(authority, sizeof(authority), "%s",
		         endpoint_format(&request->endpoint, address));
	if (probe_nonces_draw(&p->engine->nonces, &conf.nonce) < 0)
		return -EIO;
	fingerprint_reset(p->fingerprint, &conf);
	p->transfer.asks_everywhere = request->all_relatives || p->engine->all_prefixes;
	p->request = *request;
	p->n_requests = 0;
	p->fresh = false;
	p->starved_since_ms = 0;
	p->asked = false;
	p->behind_proxy = false;
	p->proxy_failure = false;
	p->vantage[0] = '\0';
	p->latency_ms = -1;
	p->bytes = 0;
	return 0;
}

static int begin(struct probe_engine *engine, const struct probe_request *request)
{
	struct probe *p = probe_take_idle(engine);
	int err;

	if (!p)
		return -ENOMEM;
	err = reset_probe(p, request);
	if (!err && !fingerprint_next(p->fingerprint, &p->step))
		err = -EINVAL;
	if (!err) {
		p->n_requests = 1;
		err = start_transfer(p);
	}
	if (err < 0)
		TAILQ_INSERT_HEAD(&engine->idle, p, link);
	else
		engine->n_active++;
	return err;
}

static int wait_for_turn(struct probe_engine *engine, const struct probe_request *request)
{
	static const struct timeval now = {0};
	int err = probe_queue_put(&engine->queue, request);

	if (!err && !evtimer_pending(engine->idle_turn, NULL))
		evtimer_add(engine->idle_turn, &now);
	return err;
}

int probe_submit(struct probe_engine *engine, const struct probe_request *request)
{
	int err;

	if (!probe_request_is_valid(request))
		return -EINVAL;
	if (engine->stats.in_flight >= engine->limits.concurrency)
		return -EAGAIN;
	if (engine->n_active < EAGER_PROBES && probe_queue_is_empty(&engine->queue))
		err = begin(engine, request);
	else
		err = wait_for_turn(engine, request);
	if (err < 0)
		return err;
	engine->stats.started++;
	engine->stats.in_flight++;
	return 0;
}
