/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The control socket's verbs (common/control.h): table first, then one function for each. */
#include "common/clock.h"
#include "common/control.h"
#include "common/log.h"
#include "daemon/agent/agent.h"
#include "daemon/agent/block_list.h"
#include "daemon/agent/verbs_internal.h"

#include <errno.h>
#include <string.h>

enum {
	DEFAULT_HOLD_MS = 3600 * 1000,
	ANSWER_MS = 4000, /* longer than WALL_ANSWER_MS, shorter than clients wait */
};
#define MAX_HOLD_MS (INT64_C(30) * 24 * 3600 * 1000)

static void wait_for(struct agent *a, struct control_request *cr, enum waiter_kind kind,
                     const struct endpoint *e, bool on)
{
	struct waiter *w = calloc(1, sizeof(*w));

	if (!w) {
		control_answer_error(cr, "out of memory");
		return;
	}
	w->kind = kind;
	w->request = cr;
	w->on = on;
	w->since_ms = clock_monotonic_ms();
	if (e)
		w->endpoint = *e;
	TAILQ_INSERT_TAIL(&a->waiters, w, link);
}

/* Frees the waiter. */
static void answer_impact(struct agent *a, struct waiter *w)
{
	json_t *answer = impact_report(a->impact, w->endpoint.family ? &w->endpoint : NULL);
	char text[ENDPOINT_TEXT_LEN];

	if (answer)
		control_answer(w->request, answer);
	else
		control_answer_error(w->request,
		                     "%s is not observed: it is neither exposed nor blocked",
		                     endpoint_format(&w->endpoint, text));
	free(w);
}

void verbs_check_deadlines(struct agent *a)
{
	int64_t now = clock_monotonic_ms();
	struct waiter *w;

	block_list_check_deadline(a);
	/* Oldest first. */
	while ((w = TAILQ_FIRST(&a->waiters)) && now - w->since_ms >= ANSWER_MS) {
		TAILQ_REMOVE(&a->waiters, w, link);
		if (w->kind == WAIT_IMPACT) { /* what was known before still is */
			answer_impact(a, w);
			continue;
		}
		control_answer_error(w->request, "the %s process does not answer",
		                     w->kind == WAIT_RELOAD ? "parent" : "firewall");
		free(w);
	}
}

/* Takes the next waiter of a kind out of the list; NULL when there is none. */
static struct waiter *next_waiter(struct agent *a, enum waiter_kind kind, const struct endpoint *e)
{
	struct waiter *w;

	TAILQ_FOREACH (w, &a->waiters, link) {
		if (w->kind != kind || (e && endpoint_compare(&w->endpoint, e) != 0))
			continue;
		TAILQ_REMOVE(&a->waiters, w, link);
		return w;
	}
	return NULL;
}

static void verb_status(struct agent *a, struct control_request *cr,
                        const struct control_peer *peer, const json_t *request)
{
	const char *after = json_string_value(json_object_get(request, "after"));
	struct report_range range = {.all = json_is_true(json_object_get(request, "all"))};
	struct watch_key key;

	(void)peer;
	if (after && watch_parse_name(after, &key) < 0) {
		control_answer_error(cr, "after: expected ADDRESS:PORT or [ADDRESS]:PORT, "
		                         "with or without @netns:NUMBER");
		return;
	}
	if (after)
		range.after = &key;
	control_answer(cr, report_status(a, &range));
}

/* Nothing is known of it as the host reaches it; others may have that address inside. */
static void answer_unknown(const struct agent *a, struct control_request *cr,
                           const struct watch_key *key, const char *text)
{
	char names[4 * WATCH_NAME_LEN] = "", name[WATCH_NAME_LEN];
	size_t n = 0;

	for (size_t i = 0; i < watch_set_count(a->watches) && n < 3; i++) {
		const struct watch *w = watch_set_at(a->watches, i);
		size_t used = strlen(names);

		if (key->netns || !w->netns || endpoint_compare(&w->endpoint, &key->endpoint) != 0)
			continue;
		snprintf(names + used, sizeof(names) - used, "%s%s", n++ ? ", " : "",
		         watch_name(w, name));
	}
	if (n)
		control_answer_error(cr, "%s is not watched from the host, but inside: %s", text,
		                     names);
	else
		control_answer_error(cr, "%s is not watched: no target, and nobody listens there",
		                     text);
}

bool verbs_read_key(struct control_request *cr, const json_t *request, struct watch_key *out)
{
	const char *text = json_string_value(json_object_get(request, "endpoint"));

	if (text && watch_parse_name(text, out) == 0)
		return true;
	control_answer_error(cr, "endpoint: expected ADDRESS:PORT or [ADDRESS]:PORT, "
	                         "with or without @netns:NUMBER");
	return false;
}

static void verb_explain(struct agent *a, struct control_request *cr,
                         const struct control_peer *peer, const json_t *request)
{
	const char *text = json_string_value(json_object_get(request, "endpoint"));
	struct watch_key key;
	json_t *answer;

	(void)peer;
	if (!verbs_read_key(cr, request, &key))
		return;
	answer = report_explanation(a, &key);
	if (answer)
		control_answer(cr, answer);
	else
		answer_unknown(a, cr, &key, text);
}

static void verb_blocks(struct agent *a, struct control_request *cr,
                        const struct control_peer *peer, const json_t *request)
{
	(void)peer;
	(void)request;
	wait_for(a, cr, WAIT_LIST, NULL, false);
	wall_list(a->wall);
}

void verbs_answer_list(struct agent *a)
{
	struct waiter *w;

	while ((w = next_waiter(a, WAIT_LIST, NULL))) {
		control_answer(w->request, report_blocks(a));
		free(w);
	}
}

static void verb_impact(struct agent *a, struct control_request *cr,
                        const struct control_peer *peer, const json_t *request)
{
	const json_t *text = json_object_get(request, "endpoint");
	struct endpoint e = {0};

	(void)peer;
	if (text && !json_is_null(text) &&
	    (!json_is_string(text) || endpoint_parse(json_string_value(text), &e) < 0)) {
		control_answer_error(cr, "endpoint: expected ADDRESS:PORT or [ADDRESS]:PORT");
		return;
	}
	wait_for(a, cr, WAIT_IMPACT, &e, false);
	impact_refresh(a->impact, e.family ? &e : NULL);
	if (impact_is_fresh(a->impact)) /* nobody was to be asked */
		verbs_answer_impact(a);
}

void verbs_answer_impact(struct agent *a)
{
	struct waiter *w;

	while ((w = next_waiter(a, WAIT_IMPACT, NULL)))
		answer_impact(a, w);
}

_Static_assert((int)STATE_REASON_LEN > (int)FINDING_STRING_MAX_BYTES, "nothing is cut");

/* Others will read it, in a terminal too: nothing in it that one obeys. */
static int copy_reason(const char *reason, char out[static STATE_REASON_LEN])
{
	auto_free char *clean = NULL;
	int err = finding_set(&clean, reason);

	snprintf(out, STATE_REASON_LEN, "%s", err < 0 ? "" : clean);
	return err;
}

/* Reads what decisions have in common; answers the error itself. */
bool verbs_read_terms(struct control_request *cr, const struct control_peer *peer,
                      const json_t *request, size_t reason_at_least, struct state_manual *out)
{
	const char *reason = json_string_value(json_object_get(request, "reason"));
	const json_t *for_ms = json_object_get(request, "for_ms");
	int64_t hold_ms = for_ms ? json_integer_value(for_ms) : DEFAULT_HOLD_MS;

	memset(out, 0, sizeof(*out));
	if (!reason || strlen(reason) < reason_at_least ||
	    strlen(reason) > CONTROL_REASON_MAX_BYTES) {
		control_answer_error(cr, "reason: expected %zu to %d bytes", reason_at_least,
		                     CONTROL_REASON_MAX_BYTES);
		return false;
	}
	if ((for_ms && !json_is_integer(for_ms)) || hold_ms < 1000 || hold_ms > MAX_HOLD_MS) {
		control_answer_error(cr, "for_ms: expected 1 second to 30 days, in milliseconds");
		return false;
	}
	if (copy_reason(reason, out->reason) < 0) {
		control_answer_error(cr, "out of memory");
		return false;
	}
	out->made_ms = clock_wall_ms();
	out->until_ms = out->made_ms + hold_ms;
	snprintf(out->who, sizeof(out->who), "%s", peer->who);
	return true;
}

static bool read_decision(struct control_request *cr, const struct control_peer *peer,
                          const json_t *request, struct state_manual *out)
{
	const char *text = json_string_value(json_object_get(request, "endpoint"));
	struct endpoint endpoint;

	if (!text || endpoint_parse(text, &endpoint) < 0) {
		control_answer_error(cr, "endpoint: expected ADDRESS:PORT or [ADDRESS]:PORT");
		return false;
	}
	if (!verbs_read_terms(cr, peer, request, 1, out))
		return false;
	out->endpoint = endpoint;
	return true;
}

static void decide(struct agent *a, struct control_request *cr, const struct control_peer *peer,
                   const json_t *request, bool block)
{
	struct state_manual decision;
	char text[ENDPOINT_TEXT_LEN];
	struct watch *w;

	if (!read_decision(cr, peer, request, &decision))
		return;
	if (block && a->panic) {
		control_answer_error(cr,
		                     "panic is on: nothing is enforced until `pprofwall resume`");
		return;
	}
	decision.block = block;
	w = watch_set_get(a->watches, &decision.endpoint);
	if (!w) {
		control_answer_error(cr, "out of memory");
		return;
	}
	if (w->in_list) {
		control_answer_error(cr, "%s: stands in a list that is being blocked; try again",
		                     endpoint_format(&w->endpoint, text));
		return;
	}
	log_warning("%s %s by %s: %s", block ? "block" : "unblock",
	            endpoint_format(&w->endpoint, text), decision.who, decision.reason);
	wait_for(a, cr, WAIT_WALL, &decision.endpoint, block);
	enforce_decide(a, w, &decision);
}

static void verb_block(struct agent *a, struct control_request *cr, const struct control_peer *peer,
                       const json_t *request)
{
	decide(a, cr, peer, request, true);
}

static void verb_block_list(struct agent *a, struct control_request *cr,
                            const struct control_peer *peer, const json_t *request)
{
	struct state_manual terms;

	if (verbs_read_terms(cr, peer, request, 1, &terms))
		block_list_start(a, cr, request, &terms);
}

static void verb_unblock(struct agent *a, struct control_request *cr,
                         const struct control_peer *peer, const json_t *request)
{
	decide(a, cr, peer, request, false);
}

static json_t *describe_outcome(const struct agent *a, const struct watch *watch,
                                const char *endpoint)
{
	bool saved = record_is_saved(a, watch);
	char until[CLOCK_TEXT_LEN];

	if (watch->decision->block)
		return json_pack("{s:b, s:s, s:b, s:I}", "ok", 1, "endpoint", endpoint, "saved",
		                 saved, "expires_ms",
		                 (json_int_t)(watch->wall.expires_ms - clock_monotonic_ms()));
	return json_pack("{s:b, s:s, s:b, s:s}", "ok", 1, "endpoint", endpoint, "saved", saved,
	                 "until", clock_format_wall(watch->decision->until_ms, until));
}

void verbs_answer_wall(struct agent *a, const struct watch *watch)
{
	char endpoint[ENDPOINT_TEXT_LEN];
	struct waiter *w;

	/* What came before was written now; what somebody waits for is still under way. */
	if (watch->wall.pending)
		return;
	endpoint_format(&watch->endpoint, endpoint);
	while ((w = next_waiter(a, WAIT_WALL, &watch->endpoint))) {
		if (watch->wall.error)
			control_answer_error(w->request, "%s: %s", endpoint, watch->wall.error);
		else if (watch->decision && watch->decision->block == w->on &&
		         watch->wall.in_kernel == w->on)
			control_answer(w->request, describe_outcome(a, watch, endpoint));
		else
			control_answer_error(w->request, "%s: overtaken by %s", endpoint,
			                     a->panic ? "panic" : "a later decision");
		free(w);
	}
}

static void verb_reload(struct agent *a, struct control_request *cr,
                        const struct control_peer *peer, const json_t *request)
{
	(void)request;
	log_info("reload asked for by %s", peer->who);
	if (channel_send(a->parent, IPC_CHILD_RELOAD, 0, NULL, 0) < 0) {
		control_answer_error(cr, "the parent process does not answer");
		return;
	}
	wait_for(a, cr, WAIT_RELOAD, NULL, false);
}

void verbs_answer_reload(struct agent *a, const struct ipc_result *result)
{
	struct waiter *w;

	while ((w = next_waiter(a, WAIT_RELOAD, NULL))) {
		if (result->error)
			control_answer_error(w->request, "%s", result->text);
		else
			control_answer(w->request, json_pack("{s:b, s:I}", "ok", 1, "generation",
			                                     (json_int_t)a->meta.generation));
		free(w);
	}
}

/* Panic and resume give a reason to the log and to the marker, if there is one. */
static void read_reason(const json_t *request, char out[static STATE_REASON_LEN])
{
	const char *reason = json_string_value(json_object_get(request, "reason"));

	(void)copy_reason(reason && strlen(reason) <= CONTROL_REASON_MAX_BYTES ? reason : "", out);
}

static void verb_panic(struct agent *a, struct control_request *cr, const struct control_peer *peer,
                       const json_t *request)
{
	char reason[STATE_REASON_LEN];
	int err;

	read_reason(request, reason);
	err = state_panic_set(a->conf->state.directory, peer->who, reason);
	log_warning("panic by %s", peer->who);
	if (err < 0 && err != -EEXIST) /* removing the rules matters more than remembering it */
		log_error("the panic marker cannot be written: %s", strerror(-err));
	wait_for(a, cr, WAIT_PANIC, NULL, true);
	wall_panic(a->wall);
	enforce_set_panic(a, true, reason);
}

static void verb_resume(struct agent *a, struct control_request *cr,
                        const struct control_peer *peer, const json_t *request)
{
	int err = state_panic_clear(a->conf->state.directory);

	(void)request;
	log_warning("resume by %s", peer->who);
	if (err < 0 && err != -ENOENT) {
		control_answer_error(cr, "the panic marker cannot be removed: %s", strerror(-err));
		return;
	}
	wait_for(a, cr, WAIT_PANIC, NULL, false);
	wall_resume(a->wall);
}

void verbs_answer_panic(struct agent *a, bool panic, const char *why)
{
	struct waiter *w, *next;

	for (w = TAILQ_FIRST(&a->waiters); w; w = next) {
		next = TAILQ_NEXT(w, link);
		if (w->kind != WAIT_PANIC || w->on != panic)
			continue;
		TAILQ_REMOVE(&a->waiters, w, link);
		if (why)
			control_answer_error(w->request, "%s", why);
		else
			control_answer(w->request,
			               json_pack("{s:b, s:b}", "ok", 1, "panic", panic));
		free(w);
	}
}

void verbs_handle(struct control_request *cr, const struct control_peer *peer,
                  const json_t *request, void *arg)
{
	static const struct {
		const char *name;
		verb_function *run;
	} verbs[] = {
	    {"status", verb_status},
	    {"blocks", verb_blocks},
	    {"block", verb_block},
	    {"block_list", verb_block_list},
	    {"unblock", verb_unblock},
	    {"reload", verb_reload},
	    {"panic", verb_panic},
	    {"resume", verb_resume},
	    {"explain", verb_explain},
	    {"impact", verb_impact},
	    {"ack", verbs_ack},
	    {"unack", verbs_unack},
	    {"test-alert", verbs_test_alert},
	};
	const char *name = json_string_value(json_object_get(request, "verb"));

	for (size_t i = 0; name && i < ARRAY_LEN(verbs); i++) {
		if (strcmp(name, verbs[i].name) == 0) {
			verbs[i].run(arg, cr, peer, request);
			return;
		}
	}
	control_answer_error(cr, "verb: expected status, blocks, block, block_list, unblock, ack, "
	                         "unack, reload, panic, resume, explain, impact or test-alert");
}
