/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/sender/sink.h"

#include "common/clock.h"
#include "common/log.h"
#include "daemon/sender/circuit.h"
#include "daemon/sender/group.h"
#include "daemon/sender/queue.h"
#include "daemon/sender/sink_conf.h"

#include <errno.h>
#include <event2/util.h>
#include <inttypes.h>
#include <string.h>

/* The first `n` of a queue. */
struct attempt {
	size_t n; /* 0: none is under way */
	struct queue *from;
	const struct driver *driver;
	void *handle;
	json_t **events;
	struct message message;
	struct attempt_spec spec;
	struct conf_alert *conf; /* freed with it, if it is not the sink's any more */
	int64_t began_ms;
};

struct sink {
	const struct sink_env *env;
	struct conf_alert *conf;
	const struct driver *driver;
	struct queue waiting, tests;
	struct attempt attempt;
	struct circuit circuit;
	struct group_pace pace;
	struct group_split split;
	struct event *timer;
	bool resting; /* while flushing: it has failed */
};

static uint32_t random_32(void)
{
	uint32_t value;

	evutil_secure_rng_get_bytes(&value, sizeof(value));
	return value;
}

static void report(const struct sink *sink, uint64_t seq, enum ipc_send_outcome outcome, int status,
                   const char *text)
{
	struct ipc_send_result result = {.outcome = outcome, .status = status};

	snprintf(result.sink, sizeof(result.sink), "%s", sink->conf->name);
	snprintf(result.text, sizeof(result.text), "%s", text);
	result.circuit_open = circuit_is_open(&sink->circuit);
	sink->env->result(seq, &result, sink->env->arg);
}

void sink_report_missing(const struct sink_env *env, const char *name, uint64_t seq)
{
	struct ipc_send_result result = {.outcome = IPC_SEND_GAVE_UP};

	snprintf(result.sink, sizeof(result.sink), "%s", name);
	snprintf(result.text, sizeof(result.text), "no longer configured");
	env->result(seq, &result, env->arg);
}

void sink_env_release(const struct sink_env *env, struct parcel *p)
{
	uint64_t seq = p->seq;

	if (parcel_release(p))
		env->done(seq, env->arg);
}

/* What is out of date soon is not lost: the next one tells the same. */
static void end_delivery(struct sink *sink, struct queue *from, struct delivery *d,
                         enum ipc_send_outcome outcome, int status, const char *text)
{
	struct parcel *p = queue_remove(from, d);

	if (outcome == IPC_SEND_GAVE_UP && p->best_effort)
		outcome = IPC_SEND_RETRY;
	report(sink, p->seq, outcome, status, text);
	sink_env_release(sink->env, p);
}

static int64_t end_ms(const struct sink *sink, const struct delivery *d)
{
	return d->parcel->queued_ms + sink->conf->give_up_after_ms;
}

/* Once is enough: somebody waits for the answer, or the next one is on its way. */
static bool is_tried_once(const struct parcel *p)
{
	return p->test || p->best_effort;
}

static void log_given_up(const struct sink *sink, size_t n, const char *why)
{
	if (n && sink->attempt.from == &sink->tests)
		log_warning("alert %s: the test failed: %s", sink->conf->name, why);
	else if (n)
		log_warning("alert %s: gave up on %zu event%s: %s", sink->conf->name, n,
		            n == 1 ? "" : "s", why);
}

/* Everything of the attempt is over. */
static void end_attempt(struct sink *sink, size_t n, enum ipc_send_outcome outcome,
                        const struct attempt_result *result, const char *text)
{
	struct queue *from = sink->attempt.from;

	if (from == &sink->waiting)
		group_over(&sink->split, n, outcome == IPC_SEND_DELIVERED);
	for (size_t i = 0; i < n; i++)
		end_delivery(sink, from, queue_first(from), outcome, result->status, text);
	if (outcome == IPC_SEND_GAVE_UP)
		log_given_up(sink, n, text);
}

/* Ends what has no time left. Returns the first of the attempt's that stays, or NULL. */
static struct delivery *give_up_what_is_over(struct sink *sink, size_t n,
                                             const struct attempt_result *result, int64_t now_ms)
{
	struct queue *from = sink->attempt.from;
	struct delivery *d, *next, *stays = NULL;
	size_t i = 0, gone = 0, ours_gone = 0;

	for (d = queue_first(from); d; d = next, i++) {
		int64_t left_ms = end_ms(sink, d) - now_ms;
		bool ours = i < n, over = left_ms <= 0;

		/* A dead sink is dead for all of them: none is tried for its own sake. */
		if (!ours && !circuit_is_open(&sink->circuit))
			break;
		next = TAILQ_NEXT(d, link);
		if (ours)
			over |= is_tried_once(d->parcel) || result->retry_after_ms > left_ms;
		if (over) {
			end_delivery(sink, from, d, IPC_SEND_GAVE_UP, result->status, result->text);
			gone++;
			ours_gone += ours;
		} else if (ours && !stays) {
			stays = d;
		}
	}
	group_over(&sink->split, from == &sink->waiting ? ours_gone : 0, false);
	log_given_up(sink, gone, result->text);
	return stays;
}

static void take_failure(struct sink *sink, size_t n, const struct attempt_result *result)
{
	int64_t now_ms = clock_monotonic_ms();
	const struct delivery *stays, *head;

	if (circuit_note_failure(&sink->circuit))
		log_warning(
		    "alert %s: failed %d times in a row, tried now and then from here on: %s",
		    sink->conf->name, CIRCUIT_FAILURES, result->text);
	stays = give_up_what_is_over(sink, n, result, now_ms);
	if (sink->env->flushing) {
		/* No answer: whoever gave us the event still has it, and sends it again. */
		sink->resting = true;
		return;
	}
	head = queue_first(&sink->waiting);
	circuit_put_off(&sink->circuit, now_ms, random_32(), result->retry_after_ms,
	                head ? end_ms(sink, head) : INT64_MAX);
	if (stays)
		report(sink, stays->parcel->seq, IPC_SEND_RETRY, result->status, result->text);
}

static void note_answer(struct sink *sink)
{
	if (circuit_note_answer(&sink->circuit))
		log_info("alert %s: answers again", sink->conf->name);
}

static void take_delivered(struct sink *sink, size_t n, const struct attempt_result *result)
{
	char text[ATTEMPT_TEXT_LEN] = "";

	note_answer(sink);
	if (sink->attempt.from == &sink->tests)
		snprintf(text, sizeof(text), "%.90s%sin %" PRId64 " ms", result->text,
		         result->text[0] ? " " : "", clock_monotonic_ms() - sink->attempt.began_ms);
	end_attempt(sink, n, IPC_SEND_DELIVERED, result, text);
}

static void take_refused(struct sink *sink, size_t n, const struct attempt_result *result)
{
	note_answer(sink);
	if (sink->attempt.from == &sink->waiting && group_refused(&sink->split, n, result->status))
		report(sink, queue_first(&sink->waiting)->parcel->seq, IPC_SEND_RETRY,
		       result->status, result->text);
	else
		end_attempt(sink, n, IPC_SEND_GAVE_UP, result, result->text);
}

static void forget_attempt(struct sink *sink)
{
	struct attempt *a = &sink->attempt;

	if (a->conf != sink->conf)
		sink_conf_free(a->conf);
	free(a->events);
	a->conf = NULL;
	a->events = NULL;
	a->n = 0;
}

static void cancel_attempt(struct sink *sink)
{
	if (sink->attempt.n)
		sink->attempt.driver->cancel(sink->attempt.handle);
	forget_attempt(sink);
}

static void settle(struct sink *sink, const struct attempt_result *result)
{
	size_t n = sink->attempt.n;

	switch (result->verdict) {
	case ATTEMPT_DELIVERED: take_delivered(sink, n, result); break;
	case ATTEMPT_REFUSED: take_refused(sink, n, result); break;
	case ATTEMPT_RETRY:
	default: take_failure(sink, n, result); break;
	}
	forget_attempt(sink);
}

static void on_attempt_done(const struct attempt_result *result, void *arg)
{
	struct sink *sink = arg;

	settle(sink, result);
	sink_run(sink);
	sink->env->settled(sink->env->arg);
}

static struct group_conf grouping_of(const struct sink *sink)
{
	const struct conf_alert *conf = sink->conf;

	return (struct group_conf){
	    .together = sink->driver->groups && (sink->driver->always_groups ||
	                                         conf->group_wait_ms || conf->max_per_minute),
	    .wait_ms = conf->group_wait_ms,
	    .per_minute = conf->max_per_minute,
	};
}

/* When the first of those that wait may be tried. */
static int64_t due_ms(const struct sink *sink, const struct group_conf *group)
{
	const struct delivery *head = queue_first(&sink->waiting);
	struct group_facts facts = {.first_ms = head->parcel->came_ms,
	                            .urgent_ms = queue_urgent_ms(&sink->waiting)};
	int64_t at_ms = sink->circuit.not_before_ms;
	int64_t group_ms = head->tried ? at_ms : group_due_ms(group, &sink->pace, &facts);

	if (sink->env->flushing)
		return INT64_MIN;
	return group_ms > at_ms ? group_ms : at_ms;
}

static void wake_in(struct sink *sink, int64_t wait_ms)
{
	const struct timeval tv = {wait_ms / 1000, wait_ms % 1000 * 1000};

	event_add(sink->timer, &tv);
}

/* Chooses what is tried next: the first `n` of `from`. False: nothing now. */
static bool choose(struct sink *sink, int64_t now_ms)
{
	struct group_conf group = grouping_of(sink);
	struct attempt *a = &sink->attempt;
	const struct delivery *head = queue_first(&sink->waiting);
	size_t limit;
	int64_t at_ms;

	a->from = &sink->tests;
	a->n = sink->tests.length ? 1 : 0;
	if (a->n || !head)
		return a->n;
	at_ms = due_ms(sink, &group);
	if (at_ms > now_ms) {
		wake_in(sink, at_ms - now_ms);
		return false;
	}
	limit = group_size(&group, &sink->split, sink->waiting.length);
	/* A sink that may be dead is asked with as little as possible. */
	if (circuit_is_open(&sink->circuit))
		limit = 1;
	a->from = &sink->waiting;
	a->n = queue_fitting(a->from, limit, GROUP_MAX_BYTES);
	if (!head->tried)
		group_take(&group, &sink->pace, now_ms);
	return true;
}

static int start(struct sink *sink, int64_t now_ms)
{
	struct attempt *a = &sink->attempt;
	struct delivery *d = queue_first(a->from);

	a->conf = sink->conf;
	a->driver = sink->driver;
	a->began_ms = now_ms;
	a->events = calloc(a->n, sizeof(*a->events));
	for (size_t i = 0; i < a->n; i++, d = TAILQ_NEXT(d, link)) {
		d->tried = true;
		if (a->events)
			a->events[i] = d->parcel->event;
	}
	if (!a->events)
		return -ENOMEM;
	a->message = (struct message){.events = a->events, .n = a->n};
	a->spec = (struct attempt_spec){
	    .conf = a->conf, .message = &a->message, .timeout_ms = a->conf->timeout_ms};
	return a->driver->start(sink->env->drivers, &a->spec, on_attempt_done, sink, &a->handle);
}

void sink_run(struct sink *sink)
{
	while (!sink->attempt.n && !sink->resting) {
		struct attempt_result failed = {.verdict = ATTEMPT_RETRY};
		int64_t now_ms = clock_monotonic_ms();
		int rc;

		if (!choose(sink, now_ms))
			return;
		rc = start(sink, now_ms);
		if (rc == 0)
			return;
		if (rc == -EINVAL)
			failed.verdict = ATTEMPT_REFUSED;
		snprintf(failed.text, sizeof(failed.text), "%s",
		         rc == -EINVAL ? "the sink is not usable as configured" : strerror(-rc));
		settle(sink, &failed);
	}
}

static void on_timer(evutil_socket_t fd, short what, void *arg)
{
	struct sink *sink = arg;

	(void)fd;
	(void)what;
	sink_run(sink);
	sink->env->settled(sink->env->arg);
}

void sink_add(struct sink *sink, struct parcel *p)
{
	struct queue *q = p->test ? &sink->tests : &sink->waiting;
	size_t most = p->test ? SINK_QUEUE_MAX_TESTS : SINK_QUEUE_MAX_EVENTS;
	struct delivery *earlier = queue_replaced_by(q, p);

	if (earlier)
		sink_env_release(sink->env, queue_remove(q, earlier));
	if (q->length >= most && (earlier = queue_oldest_untried(q))) {
		end_delivery(sink, q, earlier, IPC_SEND_GAVE_UP, 0, "queue full");
		log_given_up(sink, 1, "queue full");
	}
	if (queue_append(q, p) < 0)
		report(sink, p->seq, IPC_SEND_GAVE_UP, 0, "out of memory");
}

void sink_give_up(struct sink *sink, const char *why)
{
	struct queue *const queues[] = {&sink->tests, &sink->waiting};
	struct delivery *d;

	cancel_attempt(sink);
	log_given_up(sink, sink->waiting.length, why);
	for (size_t i = 0; i < 2; i++)
		while ((d = queue_first(queues[i])))
			end_delivery(sink, queues[i], d, IPC_SEND_GAVE_UP, 0, why);
}

bool sink_is_busy(const struct sink *sink)
{
	return sink->attempt.n || (!sink->resting && (sink->waiting.length || sink->tests.length));
}

const char *sink_name(const struct sink *sink)
{
	return sink->conf->name;
}

void sink_replace_conf(struct sink *sink, struct sink *fresh)
{
	struct conf_alert *old = sink->conf;
	bool moved = !sink_conf_is_same_connection(old, fresh->conf);

	sink->conf = fresh->conf;
	sink->driver = fresh->driver;
	fresh->conf = NULL;
	sink_free(fresh);
	if (!sink->attempt.n || sink->attempt.conf != old)
		sink_conf_free(old);
	if (moved) {
		sink->circuit = (struct circuit){0};
		sink->split = (struct group_split){0};
	}
	sink_run(sink);
}

struct sink *sink_new(const struct sink_env *env, struct conf_alert *alert)
{
	struct sink *sink = calloc(1, sizeof(*sink));

	if (!sink)
		return NULL;
	sink->env = env;
	sink->driver = driver_of(alert);
	queue_init(&sink->waiting);
	queue_init(&sink->tests);
	sink->timer = evtimer_new(env->drivers->base, on_timer, sink);
	sink->conf = sink->timer ? sink_conf_take(alert) : NULL;
	if (!sink->conf) {
		sink_free(sink);
		return NULL;
	}
	return sink;
}

static void drop_queue(struct queue *q)
{
	while (queue_first(q))
		parcel_release(queue_remove(q, queue_first(q)));
}

void sink_free(struct sink *sink)
{
	if (!sink)
		return;
	cancel_attempt(sink);
	drop_queue(&sink->tests);
	drop_queue(&sink->waiting);
	if (sink->timer)
		event_free(sink->timer);
	sink_conf_free(sink->conf);
	free(sink);
}
