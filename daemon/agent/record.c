/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What outlives the agent: the commit of "block, commit, alert". Rows are written together with the
 * events of what has changed in them. The answer to a person waits for the disk, as events do
 * (outbox.h), but not for a slow one.
 */
#include "common/cleanup.h"
#include "common/clock.h"
#include "common/log.h"
#include "daemon/agent/agent.h"

#include <string.h>
#include <sys/eventfd.h>

enum {
	/* Shorter than clients of the control socket wait. */
	PATIENCE_MS = 1000,
	/* A row is written again when only the last sight of it has moved by so much. */
	SEEN_EVERY_MS = 5 * 60 * 1000,
	/* A block is made again so long after a crash, for a name or a container that is late. */
	RENEW_WITHIN_MS = 3600 * 1000,
	RETRY_EVERY_MS = 1000,
	CLOCKS_DIFFER_MS = 1000, /* between two looks at both */
};
/* A row of no target: longer than its block lives in the kernel. */
#define REMEMBER_MS (INT64_C(7) * 24 * 3600 * 1000)

_Static_assert((int)STATE_SERVES_LEN == (int)BLAST_SERVES_LEN, "the same text");

/* Exposures */

void record_note_exposure(struct watch *w, const struct finding *f)
{
	struct watch_record *r = &w->record;
	char text[STATE_EVIDENCE_LEN];
	size_t used;

	r->last_seen_wall_ms = clock_wall_ms();
	if (!r->first_seen_wall_ms)
		r->first_seen_wall_ms = r->last_seen_wall_ms;
	if (f->severity > r->worst)
		r->worst = f->severity;
	used = (size_t)snprintf(text, sizeof(text), "%s, %s", finding_verdict_name(f->verdict),
	                        finding_severity_name(f->severity));
	for (size_t i = 0; i < f->evidence.count; i++) {
		const char *item = f->evidence.items[i];

		if (used + strlen(item) + 3 > sizeof(text))
			break;
		used += (size_t)snprintf(text + used, sizeof(text) - used, "%s%s", i ? ", " : ": ",
		                         item);
	}
	if (r->evidence && strcmp(r->evidence, text) == 0)
		return;
	free(r->evidence);
	r->evidence = strdup(text);
	r->row_written = false;
}

void record_forget_exposure(struct watch *w)
{
	free(w->record.evidence);
	w->record.evidence = NULL;
	/* Who heard of it is still to hear of its end. */
	if (w->owed == BREAKER_ALERT_NONE)
		w->record.worst = SEVERITY_NONE;
	w->record.first_seen_wall_ms = w->record.last_seen_wall_ms = 0;
}

static void set_time(json_t *object, const char *key, int64_t wall_ms)
{
	char text[CLOCK_TEXT_LEN];

	json_object_set_new(object, key,
	                    wall_ms ? json_string(clock_format_wall(wall_ms, text)) : json_null());
}

void record_to_json(const struct watch *w, json_t *object)
{
	int64_t offset = clock_wall_ms() - clock_monotonic_ms();
	const struct state_manual *d = w->decision;
	const struct state_manual *ack = follow_is_acknowledged(w) ? w->ack : NULL;
	bool is_open = w->breaker.state != BREAKER_CLOSED;

	set_time(object, "first_seen", w->record.first_seen_wall_ms);
	set_time(object, "last_seen", w->record.last_seen_wall_ms);
	set_time(object, "opened", is_open ? w->breaker.opened_ms + offset : 0);
	json_object_set_new(object, "evidence",
	                    w->record.evidence ? json_string(w->record.evidence) : json_null());
	set_time(object, "manual_since", d ? d->made_ms : 0);
	set_time(object, "manual_until", d ? d->until_ms : 0);
	json_object_set_new(object, "manual_who", d ? json_string(d->who) : json_null());
	json_object_set_new(object, "manual_reason", d ? json_string(d->reason) : json_null());
	set_time(object, "ack_since", ack ? ack->made_ms : 0);
	set_time(object, "ack_until", ack ? ack->until_ms : 0);
	json_object_set_new(object, "ack_who", ack ? json_string(ack->who) : json_null());
	json_object_set_new(object, "ack_reason", ack ? json_string(ack->reason) : json_null());
}

/* Rows */

static bool is_standing(const struct watch *w)
{
	return w->wall.in_kernel || w->wall.restored;
}

static bool is_written(const struct watch *w)
{
	const struct watch_record *r = &w->record;

	return r->row_written && r->row_state == w->breaker.state && r->row_rule == w->rule &&
	       r->row_opened_ms == w->breaker.opened_ms &&
	       r->row_open_until_ms == w->breaker.open_until_ms &&
	       r->row_high_risk == w->high_risk && r->row_serves_known == w->serves_known &&
	       r->row_worst == r->worst && r->row_escalated_ms == w->escalated_ms &&
	       r->row_blocked == is_standing(w) &&
	       r->last_seen_wall_ms - r->row_last_seen_wall_ms < SEEN_EVERY_MS;
}

static void note_written(struct watch *w)
{
	struct watch_record *r = &w->record;

	w->saved = true;
	r->row_written = true;
	r->row_state = w->breaker.state;
	r->row_rule = w->rule;
	r->row_opened_ms = w->breaker.opened_ms;
	r->row_open_until_ms = w->breaker.open_until_ms;
	r->row_high_risk = w->high_risk;
	r->row_serves_known = w->serves_known;
	r->row_worst = r->worst;
	r->row_escalated_ms = w->escalated_ms;
	r->row_blocked = is_standing(w);
	r->row_last_seen_wall_ms = r->last_seen_wall_ms;
}

static int put_breaker(struct agent *a, struct watch *w)
{
	int64_t offset = clock_wall_ms() - clock_monotonic_ms();
	const struct watch_record *r = &w->record;
	struct state_breaker b = {
	    .endpoint = w->endpoint,
	    .state = w->breaker.state,
	    .opened_ms = w->breaker.opened_ms + offset,
	    .open_until_ms = w->breaker.open_until_ms + offset,
	    .first_seen_ms = r->first_seen_wall_ms,
	    .last_seen_ms = r->last_seen_wall_ms,
	    .high_risk = w->high_risk,
	    .worst = r->worst,
	    .escalated_ms = w->escalated_ms,
	    .blocked = is_standing(w),
	};
	int err;

	snprintf(b.rule, sizeof(b.rule), "%s", a->conf->breakers[w->rule].name);
	snprintf(b.evidence, sizeof(b.evidence), "%s", r->evidence ? r->evidence : "");
	b.serves_known = w->serves_known;
	memcpy(b.serves, w->serves, sizeof(b.serves));
	err = state_save_breaker(a->state, &b);
	if (!err)
		note_written(w);
	return err;
}

static int save_breaker(struct agent *a, struct watch *w)
{
	int err;

	if (w->breaker.state != BREAKER_CLOSED && w->configured)
		return is_written(w) ? 0 : put_breaker(a, w);
	/* Most have no row: a reload does not write once for each of 65,536. */
	w->record.row_written = false;
	if (!w->saved)
		return 0;
	err = state_delete_breaker(a->state, &w->endpoint);
	if (!err)
		w->saved = false;
	return err;
}

static int save_decision(struct agent *a, struct watch *w)
{
	int err;

	if (w->decision && !w->decision_is_new) {
		if (w->record.decision_saved)
			return 0;
		err = state_save_manual(a->state, w->decision);
		if (!err)
			w->record.decision_saved = w->record.decision_row = true;
		return err;
	}
	w->record.decision_saved = false;
	if (!w->record.decision_row || w->decision)
		return 0;
	err = state_delete_manual(a->state, &w->endpoint);
	if (!err)
		w->record.decision_row = false;
	return err;
}

static int save_ack(struct agent *a, struct watch *w)
{
	bool wanted = follow_is_acknowledged(w);
	int err;

	if (w->netns)
		return 0;
	if (wanted && w->record.ack_saved)
		return 0;
	if (!wanted && !w->record.ack_row)
		return 0;
	err = wanted ? state_save_ack(a->state, w->ack) : state_delete_ack(a->state, &w->endpoint);
	if (!err)
		w->record.ack_saved = w->record.ack_row = wanted;
	return err;
}

/* Of what may or may not be in the state now, everything is written again. */
static void forget_written(struct watch *w)
{
	struct watch_record *r = &w->record;

	w->saved = true;
	r->row_written = r->decision_saved = r->ack_saved = false;
	r->decision_row = r->ack_row = true;
}

static void save_rows(struct agent *a, struct watch *w, bool with_events)
{
	int breaker = 0, decision = 0, ack = 0, error;

	state_begin(a->state);
	/* A namespace's number is another's after a boot, and maybe before: rows are the host's. */
	if (!w->netns) {
		breaker = save_breaker(a, w);
		decision = save_decision(a, w);
		ack = save_ack(a, w);
	}
	if (with_events)
		enforce_make_events(a, w);
	outbox_save_again(a->outbox, &w->endpoint);
	error = state_end(a->state);
	outbox_end(a->outbox, error);
	if (error && a->state)
		forget_written(w);
	/* Without a database there is nothing to try again. */
	w->record.unsaved = a->state && (error || breaker || decision || ack);
	a->has_unsaved |= w->record.unsaved;
	w->record.ticket = state_last_ticket(a->state);
}

void record_save(struct agent *a, struct watch *w)
{
	save_rows(a, w, true);
	follow_update(a, w);
}

void record_event(struct agent *a, struct watch *w, const char *event, const char *reason,
                  const char *who)
{
	int error;

	state_begin(a->state);
	if (event)
		event_send(a, event, w, reason, who);
	w->record.unsaved |= a->state && save_ack(a, w) < 0;
	/* What else is new of it has events of its own, that are still to come. */
	if (w->record.row_written && w->record.row_state == w->breaker.state &&
	    w->owed == BREAKER_ALERT_NONE)
		w->record.unsaved |= put_breaker(a, w) < 0;
	error = state_end(a->state);
	outbox_end(a->outbox, error);
	if (error && a->state && w->record.row_written) {
		forget_written(w);
		w->record.unsaved = true;
	}
	a->has_unsaved |= w->record.unsaved;
	w->record.ticket = state_last_ticket(a->state);
}

static void retry(struct agent *a)
{
	int64_t now = clock_monotonic_ms();

	if (!a->has_unsaved || now - a->retried_ms < RETRY_EVERY_MS)
		return;
	a->retried_ms = now;
	a->has_unsaved = false;
	for (size_t i = watch_set_count(a->watches); i-- > 0;) {
		struct watch *w = watch_set_at(a->watches, i);

		if (!w->record.unsaved)
			continue;
		/* What is owed is written with it, when the kernel has answered. */
		if (w->owed == BREAKER_ALERT_NONE && !w->decision_is_new)
			save_rows(a, w, false);
		a->has_unsaved |= w->record.unsaved;
		if (!w->record.unsaved)
			enforce_drop_unused(a, w);
	}
}

/* Answering */

bool record_is_saved(const struct agent *a, const struct watch *w)
{
	return a->state && !w->record.unsaved && state_written_ticket(a->state) >= w->record.ticket;
}

/* Is there nothing to wait for? */
static bool is_settled(const struct agent *a, const struct watch *w)
{
	struct state_health health;

	if (w->record.unsaved || !a->state || record_is_saved(a, w))
		return true;
	state_get_health(a->state, &health);
	return health.failing;
}

static void stop_waiting(struct agent *a, struct watch *w)
{
	if (!w->record.waiting)
		return;
	TAILQ_REMOVE(&a->untold, w, record.link);
	w->record.waiting = false;
}

static void tell_now(struct agent *a, struct watch *w)
{
	stop_waiting(a, w);
	enforce_tell(a, w);
}

void record_tell(struct agent *a, struct watch *w)
{
	if (is_settled(a, w)) {
		tell_now(a, w);
		return;
	}
	if (w->record.waiting)
		return;
	w->record.waiting = true;
	w->record.waiting_since_ms = clock_monotonic_ms();
	TAILQ_INSERT_TAIL(&a->untold, w, record.link);
}

void record_check(struct agent *a)
{
	int64_t now = clock_monotonic_ms();
	struct watch *w, *next;

	retry(a);
	outbox_save_rest(a->outbox);
	verbs_answer_acks(a);
	/* Telling may free the watch at hand, and no other. */
	for (w = TAILQ_FIRST(&a->untold); w; w = next) {
		next = TAILQ_NEXT(w, record.link);
		if (is_settled(a, w) || now - w->record.waiting_since_ms >= PATIENCE_MS)
			tell_now(a, w);
	}
}

static void on_written(evutil_socket_t fd, short what, void *arg)
{
	eventfd_t count;

	(void)what;
	(void)eventfd_read((int)fd, &count);
	outbox_note_written(((struct agent *)arg)->outbox);
	record_check(arg);
}

/* Memory of what no target names yet */

static int compare_rows(const void *left, const void *right)
{
	const struct state_breaker *a = left, *b = right;

	return endpoint_compare(&a->endpoint, &b->endpoint);
}

static void restore_ack(struct agent *a, struct watch *w)
{
	int64_t opened_wall_ms = w->breaker.opened_ms + clock_wall_ms() - clock_monotonic_ms();

	for (size_t i = 0; i < a->n_acks; i++) {
		const struct state_manual *ack = &a->acks[i];

		if (endpoint_compare(&ack->endpoint, &w->endpoint) != 0)
			continue;
		w->record.ack_row = true;
		/* One of an earlier opening, whose end was not seen, is nobody's now. */
		if (ack->made_ms < opened_wall_ms - CLOCKS_DIFFER_MS)
			continue;
		w->record.ack_saved = true;
		(void)follow_take_on(w, ack);
	}
	follow_update(a, w);
}

static void restore(struct agent *a, struct watch *w, const struct state_breaker *row)
{
	struct watch_record *r = &w->record;

	r->first_seen_wall_ms = row->first_seen_ms;
	r->last_seen_wall_ms = row->last_seen_ms;
	r->evidence = row->evidence[0] ? strdup(row->evidence) : NULL;
	w->serves_known = row->serves_known;
	memcpy(w->serves, row->serves, sizeof(w->serves));
	r->worst = row->worst;
	w->escalated_ms = row->escalated_ms;
	enforce_restore_breaker(a, w, row);
	if (row->untold)
		w->owed = BREAKER_ALERT_OPENED;
}

void record_take_up(struct agent *a, struct watch *w)
{
	const struct state_breaker key = {.endpoint = w->endpoint};
	struct state_breaker *row = NULL;

	if (a->remembered && !w->netns)
		row = bsearch(&key, a->remembered, a->n_remembered, sizeof(key), compare_rows);
	if (!row || !row->rule[0])
		return;
	w->saved = true; /* it goes with the next write, unless the breaker stands */
	if (w->breaker.state == BREAKER_CLOSED && !w->decision &&
	    (!a->adopted || w->wall.in_kernel ||
	     row->open_until_ms + RENEW_WITHIN_MS > clock_wall_ms()))
		restore(a, w, row);
	restore_ack(a, w);
	row->rule[0] = '\0'; /* taken */
}

int record_begin(struct agent *a, struct state_snapshot *snapshot)
{
	int64_t now = clock_wall_ms();

	a->remembered = snapshot->breakers;
	a->n_remembered = snapshot->n_breakers;
	a->remembers = !snapshot->is_new;
	snapshot->breakers = NULL;
	snapshot->n_breakers = 0;
	a->acks = snapshot->acks;
	a->n_acks = snapshot->n_acks;
	snapshot->acks = NULL;
	snapshot->n_acks = 0;
	for (size_t i = 0; i < a->n_remembered; i++) {
		struct state_breaker *row = &a->remembered[i];
		struct watch *w = watch_set_find(a->watches, &row->endpoint);

		if (w) {
			record_take_up(a, w);
		} else if (row->open_until_ms + REMEMBER_MS < now) {
			/* Nobody would ever close it; one named again starts anew. */
			state_delete_breaker(a->state, &row->endpoint);
			row->rule[0] = '\0';
		}
	}
	a->written =
	    event_new(a->base, state_notify_fd(a->state), EV_READ | EV_PERSIST, on_written, a);
	return a->written && event_add(a->written, NULL) == 0 ? 0 : -ENOMEM;
}

void record_end(struct agent *a)
{
	if (a->written)
		event_free(a->written);
	free(a->remembered);
	free(a->acks);
}
