/* SPDX-License-Identifier: GPL-2.0-or-later */
/* `pprofwall ack` and `unack`: somebody takes on an endpoint whose breaker is open. */
#include "common/clock.h"
#include "common/log.h"
#include "daemon/agent/verbs_internal.h"

enum { PATIENCE_MS = 1000 }; /* for the disk */

static json_t *describe(const struct waiter *waiter, const struct watch *w, bool saved)
{
	const struct state_manual *ack = w && waiter->on ? w->ack : NULL;
	char name[WATCH_NAME_LEN] = "", until[CLOCK_TEXT_LEN];

	return json_pack("{s:b, s:s, s:b, s:s?}", "ok", 1, "endpoint", w ? watch_name(w, name) : "",
	                 "saved", saved, "until",
	                 ack ? clock_format_wall(ack->until_ms, until) : NULL);
}

/* Is there nothing to wait for? */
static bool is_settled(const struct agent *a, const struct watch *w)
{
	struct state_health health;

	state_get_health(a->state, &health);
	return record_is_saved(a, w) || w->record.unsaved || health.failing;
}

void verbs_answer_acks(struct agent *a)
{
	int64_t now = clock_monotonic_ms();
	struct waiter *waiter, *next;

	for (waiter = TAILQ_FIRST(&a->waiters); waiter; waiter = next) {
		const struct watch_key key = {waiter->endpoint, waiter->netns};
		const struct watch *w;

		next = TAILQ_NEXT(waiter, link);
		if (waiter->kind != WAIT_ACK)
			continue;
		w = watch_set_find_key(a->watches, &key);
		if (w && !is_settled(a, w) && now - waiter->since_ms < PATIENCE_MS)
			continue;
		TAILQ_REMOVE(&a->waiters, waiter, link);
		control_answer(waiter->request, describe(waiter, w, w && record_is_saved(a, w)));
		free(waiter);
	}
}

/* Takes it on, or, with NULL, lets it go. */
static void change(struct agent *a, struct control_request *cr, struct watch *w,
                   const struct state_manual *ack)
{
	struct waiter *waiter = calloc(1, sizeof(*waiter));

	if (!waiter || follow_acknowledge(a, w, ack) < 0) {
		control_answer_error(cr, "out of memory");
		free(waiter);
		return;
	}
	waiter->kind = WAIT_ACK;
	waiter->request = cr;
	waiter->endpoint = w->endpoint;
	waiter->netns = w->netns;
	waiter->on = ack != NULL;
	waiter->since_ms = clock_monotonic_ms();
	TAILQ_INSERT_TAIL(&a->waiters, waiter, link);
	verbs_answer_acks(a); /* there may be no disk to wait for */
}

/* As it was written; read already. */
static const char *endpoint_of(const json_t *request)
{
	return json_string_value(json_object_get(request, "endpoint"));
}

void verbs_ack(struct agent *a, struct control_request *cr, const struct control_peer *peer,
               const json_t *request)
{
	char name[WATCH_NAME_LEN];
	struct state_manual ack;
	struct watch_key key;
	struct watch *w;

	if (!verbs_read_key(cr, request, &key) || !verbs_read_terms(cr, peer, request, 0, &ack))
		return;
	w = watch_set_find_key(a->watches, &key);
	if (!w || w->breaker.state == BREAKER_CLOSED) {
		control_answer_error(cr, "%s: no breaker is open: there is nothing to acknowledge",
		                     endpoint_of(request));
		return;
	}
	ack.endpoint = key.endpoint;
	log_warning("ack %s by %s%s%s", watch_name(w, name), ack.who, ack.reason[0] ? ": " : "",
	            ack.reason);
	change(a, cr, w, &ack);
}

void verbs_unack(struct agent *a, struct control_request *cr, const struct control_peer *peer,
                 const json_t *request)
{
	char name[WATCH_NAME_LEN];
	struct watch_key key;
	struct watch *w;

	if (!verbs_read_key(cr, request, &key))
		return;
	w = watch_set_find_key(a->watches, &key);
	if (!w || !follow_is_acknowledged(w)) {
		control_answer_error(cr, "%s: nobody has acknowledged it", endpoint_of(request));
		return;
	}
	log_warning("unack %s by %s", watch_name(w, name), peer->who);
	story_add(w, "acknowledged no longer, by %s", peer->who);
	change(a, cr, w, NULL);
}
