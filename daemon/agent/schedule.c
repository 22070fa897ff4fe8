/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/agent/schedule.h"

#include "common/cleanup.h"
#include "common/clock.h"
#include "daemon/channel.h"
#include "scanner/target.h"

#include <errno.h>
#include <string.h>

enum queue { QUEUE_NONE = 0, QUEUE_ALONE, QUEUE_URGENT, QUEUE_NORMAL, QUEUE_SLOW, QUEUE_COUNT };

enum {
	QUARANTINE_FIRST_MS = 30 * 1000,
	QUARANTINE_MAX_MS = 3600 * 1000,
	/* The prober's own deadlines are per request; past this it has lost track of the probe. */
	LOST_AFTER_EXTRA_MS = 5 * 1000,
	/* A prober that was stopped and goes on says PONG first; its probes end right after. */
	STEADY_AFTER_MS = 5 * 1000,
	STEADY_GAP_MS = 3 * 1000,
};

struct schedule {
	struct event_base *base;
	struct schedule_handlers handlers;
	struct channel *prober;
	struct watch_queue queues[QUEUE_COUNT];
	struct watch_queue in_flight;
	struct event *sweep; /* looks for lost probes, while there are any to lose */
	unsigned n_in_flight, n_slow, n_quarantined;
	size_t n_waiting;
	unsigned concurrency;
	int64_t timeout_ms;
	uint64_t next_seq;
	uint64_t n_lost;
	bool blind;
	int64_t steady_since_ms, last_pong_ms; /* PONGs have come without a gap */
};

static const struct timeval sweep_every = {.tv_sec = 1};

static void dispatch(struct schedule *s);

static void dequeue(struct schedule *s, struct watch *w)
{
	if (w->slot.queue == QUEUE_NONE)
		return;
	TAILQ_REMOVE(&s->queues[w->slot.queue], w, slot.link);
	w->slot.queue = QUEUE_NONE;
	s->n_waiting--;
}

static enum queue choose_queue(const struct watch *w)
{
	if (w->slot.quarantined)
		return QUEUE_ALONE;
	if (w->breaker.state != BREAKER_CLOSED || w->breaker.history ||
	    (w->appeared_ns && !w->seen))
		return QUEUE_URGENT;
	return w->slot.slow ? QUEUE_SLOW : QUEUE_NORMAL;
}

static void enqueue(struct schedule *s, struct watch *w)
{
	if (w->slot.queue != QUEUE_NONE || w->slot.in_flight)
		return;
	w->slot.queue = (uint8_t)choose_queue(w);
	TAILQ_INSERT_TAIL(&s->queues[w->slot.queue], w, slot.link);
	s->n_waiting++;
}

static void land(struct schedule *s, struct watch *w)
{
	TAILQ_REMOVE(&s->in_flight, w, slot.link);
	w->slot.in_flight = false;
	s->n_in_flight--;
	if (w->slot.slow)
		s->n_slow--;
}

static void set_quarantine(struct schedule *s, struct watch *w, bool on)
{
	if (w->slot.quarantined == on)
		return;
	w->slot.quarantined = on;
	s->n_quarantined += on ? 1U : -1U;
}

static bool send_probe(struct schedule *s, struct watch *w)
{
	struct ipc_probe probe = {
	    .endpoint = w->endpoint,
	    .timeout_ms = s->timeout_ms,
	    .tls_first = port_is_tls_first(w->endpoint.port),
	    .tls_only = w->tls_only,
	    .plain_only = w->plain_only,
	    .asks_serves = w->netns != WATCH_OUTSIDE,
	    .from_inside = w->netns != 0,
	};

	snprintf(probe.host, sizeof(probe.host), "%s", w->host ? w->host : "");
	snprintf(probe.prefix, sizeof(probe.prefix), "%s", w->prefix ? w->prefix : "");
	w->slot.seq = ++s->next_seq;
	w->slot.sockets = 0;
	return channel_send(s->prober, IPC_PROBE_START, w->slot.seq, &probe, sizeof(probe)) == 0;
}

/* The next one that may start now, or NULL. */
static struct watch *choose(struct schedule *s)
{
	struct watch *w = TAILQ_FIRST(&s->queues[QUEUE_ALONE]);

	if (w) /* everything in flight must land first */
		return s->n_in_flight == 0 ? w : NULL;
	if (s->n_in_flight > 0 && TAILQ_FIRST(&s->in_flight)->slot.quarantined)
		return NULL;
	if (s->n_in_flight >= s->concurrency)
		return NULL;
	w = TAILQ_FIRST(&s->queues[QUEUE_URGENT]);
	if (!w)
		w = TAILQ_FIRST(&s->queues[QUEUE_NORMAL]);
	if (!w && s->n_slow < (s->concurrency + 1) / 2)
		w = TAILQ_FIRST(&s->queues[QUEUE_SLOW]);
	return w;
}

static void dispatch(struct schedule *s)
{
	struct watch *w;

	while (s->prober && (w = choose(s))) {
		dequeue(s, w);
		s->handlers.begin(w, s->handlers.arg);
		w->slot.started_ms = clock_monotonic_ms();
		w->slot.in_flight = true;
		TAILQ_INSERT_TAIL(&s->in_flight, w, slot.link);
		s->n_in_flight++;
		if (w->slot.slow)
			s->n_slow++;
		if (!send_probe(s, w)) {
			/* Its queue is full or it is gone: the end of the channel tells which. */
			land(s, w);
			schedule_probe_in(s, w, 1000);
			break;
		}
	}
	if (s->n_in_flight + s->n_waiting > 0 && !evtimer_pending(s->sweep, NULL))
		evtimer_add(s->sweep, &sweep_every);
}

static void on_due(evutil_socket_t fd, short what, void *arg)
{
	struct watch *w = arg;

	(void)fd;
	(void)what;
	enqueue(w->slot.owner, w);
	dispatch(w->slot.owner);
}

static struct timeval to_timeval(int64_t ms)
{
	return (struct timeval){.tv_sec = (time_t)(ms / 1000), .tv_usec = (ms % 1000) * 1000};
}

void schedule_probe_in(struct schedule *s, struct watch *w, int64_t delay_ms)
{
	struct timeval delay = to_timeval(delay_ms > 0 ? delay_ms : 0);

	w->slot.owner = s;
	if (!w->slot.timer)
		w->slot.timer = evtimer_new(s->base, on_due, w);
	if (w->slot.in_flight || !w->slot.timer)
		return;
	dequeue(s, w);
	w->slot.next_probe_ms = clock_monotonic_ms() + (delay_ms > 0 ? delay_ms : 0);
	event_add(w->slot.timer, &delay);
}

void schedule_forget(struct schedule *s, struct watch *w)
{
	if (w->slot.timer)
		event_del(w->slot.timer);
	dequeue(s, w);
	if (w->slot.in_flight)
		land(s, w);
	set_quarantine(s, w, false);
}

static void finish(struct schedule *s, struct watch *w, struct finding *finding)
{
	bool was_quarantined = w->slot.quarantined;
	int64_t took_ms = clock_monotonic_ms() - w->slot.started_ms;

	land(s, w);
	w->slot.slow = took_ms >= s->timeout_ms;
	if (was_quarantined && finding) {
		set_quarantine(s, w, false);
		w->slot.deaths = 0;
		s->handlers.released(w, s->handlers.arg);
	}
	s->handlers.done(w, finding, s->handlers.arg);
	dispatch(s);
}

static struct watch *find_in_flight(const struct schedule *s, uint64_t seq)
{
	struct watch *w;

	TAILQ_FOREACH (w, &s->in_flight, slot.link) {
		if (w->slot.seq == seq)
			return w;
	}
	return NULL;
}

static void note_pong(struct schedule *s)
{
	int64_t now = clock_monotonic_ms();

	if (now - s->last_pong_ms > STEADY_GAP_MS)
		s->steady_since_ms = now;
	s->last_pong_ms = now;
}

void schedule_give_socket(struct schedule *s, uint64_t probe, int fd, int error)
{
	const struct ipc_socket answer = {.error = fd < 0 ? error : 0};
	struct watch *w = find_in_flight(s, probe);

	if (!s->prober || !w)
		return; /* it has ended meanwhile */
	w->slot.sockets += fd >= 0;
	/* If it does not get there, the probe does not wait for ever. */
	(void)channel_send_fd(s->prober, IPC_PROBE_SOCKET, probe, &answer, sizeof(answer), fd);
}

/* A prober that was taken over gets sockets only where it was sent, and not without end. */
static void on_ask_socket(struct schedule *s, uint64_t probe)
{
	struct watch *w = find_in_flight(s, probe);

	if (!w || !w->netns)
		return;
	if (w->slot.sockets < SCHEDULE_MAX_SOCKETS)
		s->handlers.ask_socket(w, probe, s->handlers.arg);
	else
		schedule_give_socket(s, probe, -1, -EDQUOT);
}

static void on_frame(struct frame *f, void *arg)
{
	struct schedule *s = arg;
	struct finding finding;
	struct watch *w;
	char why[128];

	if (f->type == IPC_PONG) {
		note_pong(s);
		s->handlers.pong(s->handlers.arg);
		return;
	}
	if (f->type == IPC_PROBE_ASK_SOCKET)
		on_ask_socket(s, f->seq);
	if (f->type != IPC_PROBE_DONE)
		return;
	w = find_in_flight(s, f->seq);
	s->blind = false;
	if (!w)
		return; /* forgotten meanwhile */
	finding_init(&finding);
	/* The prober may have been taken over: a finding about another endpoint is no finding. */
	if (finding_from_line((const char *)f->body, f->length, &finding, why) < 0 ||
	    endpoint_compare(&finding.endpoint, &w->endpoint) != 0)
		finish(s, w, NULL);
	else
		finish(s, w, &finding);
	finding_fini(&finding);
}

/* How long an endpoint that provably kills probers waits for the next one. */
static int64_t quarantine_delay(unsigned deaths)
{
	int64_t delay = QUARANTINE_FIRST_MS;

	for (unsigned i = 1; i < deaths && delay < QUARANTINE_MAX_MS; i++)
		delay *= 2;
	return delay < QUARANTINE_MAX_MS ? delay : QUARANTINE_MAX_MS;
}

static void on_end(int error, void *arg)
{
	struct schedule *s = arg;
	bool alone = s->n_in_flight == 1;
	struct watch *w;

	channel_free(s->prober);
	s->prober = NULL;
	while ((w = TAILQ_FIRST(&s->in_flight))) {
		land(s, w);
		set_quarantine(s, w, true);
		if (alone)
			w->slot.deaths++;
		schedule_probe_in(s, w, alone ? quarantine_delay(w->slot.deaths) : 0);
		s->handlers.died(w, alone, s->handlers.arg);
	}
	s->handlers.prober_gone(error, s->handlers.arg);
}

/* Without a prober that probes, the watch is off: another one, then. */
static void give_up_prober(struct schedule *s, unsigned n_lost)
{
	bool again = s->blind;

	s->blind = true;
	s->handlers.blind(n_lost, again, s->handlers.arg);
	on_end(-ETIMEDOUT, s);
}

static void on_sweep(evutil_socket_t fd, short what, void *arg)
{
	struct schedule *s = arg;
	int64_t now = clock_monotonic_ms();
	int64_t lost_after = s->timeout_ms * FINGERPRINT_MAX_REQUESTS + LOST_AFTER_EXTRA_MS;
	bool steady = s->prober && now - s->last_pong_ms <= STEADY_GAP_MS &&
	              now - s->steady_since_ms > STEADY_AFTER_MS;
	unsigned n_lost = 0;
	struct watch *w;

	(void)fd;
	(void)what;
	/* The oldest stand first. */
	TAILQ_FOREACH (w, &s->in_flight, slot.link) {
		if (now - w->slot.started_ms <= lost_after)
			break;
		n_lost++;
	}
	s->n_lost += n_lost;
	if (n_lost > 0 && steady) {
		give_up_prober(s, n_lost);
		return;
	}
	/* A stopped prober has lost nothing: it answers when it goes on. */
	while (n_lost-- > 0)
		finish(s, TAILQ_FIRST(&s->in_flight), NULL);
	/* Those forgotten in flight have left places that no answer gives back. */
	dispatch(s);
}

int schedule_new(struct event_base *base, const struct schedule_handlers *handlers,
                 struct schedule **out)
{
	struct schedule *s = calloc(1, sizeof(*s));

	if (!s)
		return -ENOMEM;
	s->base = base;
	s->handlers = *handlers;
	s->concurrency = 1;
	for (int i = 0; i < QUEUE_COUNT; i++)
		TAILQ_INIT(&s->queues[i]);
	TAILQ_INIT(&s->in_flight);
	s->sweep = evtimer_new(base, on_sweep, s);
	if (!s->sweep) {
		schedule_free(s);
		return -ENOMEM;
	}
	*out = s;
	return 0;
}

void schedule_free(struct schedule *s)
{
	if (!s)
		return;
	if (s->sweep)
		event_free(s->sweep);
	channel_free(s->prober);
	free(s);
}

void schedule_configure(struct schedule *s, unsigned concurrency, int64_t timeout_ms)
{
	s->concurrency = concurrency;
	s->timeout_ms = timeout_ms;
}

int schedule_set_prober(struct schedule *s, int sock)
{
	struct channel_handlers handlers = {.frame = on_frame, .end = on_end, .arg = s};
	int err;

	/* The old one's end may come after its successor: what it had in flight died with it. */
	if (s->prober)
		on_end(0, s);
	s->steady_since_ms = s->last_pong_ms = clock_monotonic_ms();
	err = channel_new(s->base, sock, &handlers, &s->prober);
	if (err == 0)
		dispatch(s);
	return err;
}

void schedule_ping(struct schedule *s)
{
	/* One that does not read is not heaped with questions. */
	if (s->prober && channel_queued(s->prober) == 0)
		channel_send(s->prober, IPC_PING, 0, NULL, 0);
}

void schedule_get_stats(const struct schedule *s, struct schedule_stats *out)
{
	*out = (struct schedule_stats){
	    .in_flight = s->n_in_flight,
	    .quarantined = s->n_quarantined,
	    .waiting = s->n_waiting,
	    .lost = s->n_lost,
	    .blind = s->blind,
	};
}
