/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/agent/verify.h"

#include "common/clock.h"
#include "common/log.h"
#include "daemon/agent/verify_internal.h"

#include <arpa/inet.h>
#include <errno.h>
#include <string.h>

/* Whom a question is about; the watch may be gone when the answer comes. */
struct verify_ask {
	struct agent *agent;
	struct endpoint endpoint;
};

const char *verify_state_name(enum verify_state state)
{
	static const char *const names[VERIFY_STATE_COUNT] = {
	    [VERIFY_NONE] = "none",
	    [VERIFY_HOLDS] = "verified",
	    [VERIFY_INEFFECTIVE] = "ineffective",
	    [VERIFY_UNPROVEN] = "unproven",
	};

	return state < VERIFY_STATE_COUNT ? names[state] : "?";
}

size_t verify_count(const struct agent *a, enum verify_state state)
{
	size_t count = 0;

	for (size_t i = 0; i < watch_set_count(a->watches); i++)
		count += watch_set_at(a->watches, i)->verify.state == state;
	return count;
}

/*
 * Where the helper's namespace is (daemon/inventory/vantage.h): whom one of these ranges is allowed
 * from is let in by the wall, and says nothing about it.
 */
static bool overlaps(const struct conf_prefixes *list, sa_family_t family)
{
	struct endpoint self = {.family = family};
	char text[PREFIX_TEXT_LEN];
	struct prefix range;

	snprintf(text, sizeof(text), "%s",
	         family == AF_INET ? "169.254.213.0/25" : "fd70:7077:616c::/126");
	if (prefix_parse(text, &range) != PREFIX_OK)
		return true;
	memcpy(self.address, range.address, sizeof(self.address));
	for (size_t i = 0; i < list->count; i++) {
		struct endpoint other = {.family = list->items[i].family};

		memcpy(other.address, list->items[i].address, sizeof(other.address));
		if (prefix_contains(&list->items[i], &self) || prefix_contains(&range, &other))
			return true;
	}
	return false;
}

static bool is_let_through(const struct agent *a, const struct watch *w)
{
	auto_free struct prefix *dynamic = NULL;
	struct conf_prefixes merged = {0};
	sa_family_t family = w->endpoint.family;

	if (overlaps(&a->conf->protect.sources, family))
		return true;
	if (w->decision) /* a manual block lets nobody else through */
		return false;
	if (overlaps(&a->conf->breakers[w->rule].allow_from, family))
		return true;
	if (admit_merge(a->admit, w->rule, &dynamic, &merged.count) < 0)
		return true;
	merged.items = dynamic;
	return overlaps(&merged, family);
}

/* Why no connection from there can tell, or NULL. */
static const char *find_objection(const struct agent *a, const struct watch *w)
{
	if (endpoint_is_loopback(&w->endpoint))
		return "only this host itself reaches it";
	if (is_let_through(a, w))
		return "allow_from or protect.sources lets the connection that would tell pass";
	return NULL;
}

static void set_due(struct agent *a, struct watch *w, int64_t due_ms)
{
	w->verify.due_ms = due_ms;
	if (!a->verify_due_ms || due_ms < a->verify_due_ms)
		a->verify_due_ms = due_ms;
}

void verify_set_unproven(struct agent *a, struct watch *w, const char *why, int64_t again_ms)
{
	w->verify.state = VERIFY_UNPROVEN;
	w->verify.why = why;
	w->verify.connected = false;
	set_due(a, w, clock_monotonic_ms() + again_ms);
}

void verify_take_refusal(struct agent *a, struct watch *w, const char *how)
{
	bool was_broken = w->verify.state == VERIFY_INEFFECTIVE;
	char text[ENDPOINT_TEXT_LEN];

	w->verify.state = VERIFY_HOLDS;
	w->verify.why = NULL;
	w->verify.connected = false;
	w->verify.checked_wall_ms = clock_wall_ms();
	set_due(a, w, clock_monotonic_ms() + VERIFY_AGAIN_MS);
	if (!was_broken)
		return;
	log_info("%s: the wall holds now", endpoint_format(&w->endpoint, text));
	event_send(a, "effective", w, how, NULL);
}

void verify_take_connection(struct agent *a, struct watch *w, const char *why)
{
	bool was_broken = w->verify.state == VERIFY_INEFFECTIVE;
	char text[ENDPOINT_TEXT_LEN];

	if (!was_broken && !w->verify.connected) {
		/* It may have been under way before the block was in force. */
		w->verify.connected = true;
		set_due(a, w, clock_monotonic_ms() + VERIFY_TWICE_MS);
		return;
	}
	w->verify.state = VERIFY_INEFFECTIVE;
	w->verify.why = why;
	w->verify.checked_wall_ms = clock_wall_ms();
	set_due(a, w, clock_monotonic_ms() + VERIFY_BROKEN_MS);
	if (was_broken)
		return;
	log_error("%s: %s, and still reachable: %s", endpoint_format(&w->endpoint, text),
	          enforce_filters(a, w) ? "filtered" : "blocked", why);
	event_send(a, "ineffective", w, why, NULL);
}

static const char is_refused[] = "a connection from a namespace of our own is refused";
static const char is_answered[] = "a stranger's connection is answered in spite of the block: the "
                                  "traffic does not pass through nftables";

static void take_result(struct agent *a, struct watch *w, const struct inventory_answer *answer)
{
	if (!answer) {
		verify_set_unproven(a, w, "the inventory process did not answer", VERIFY_BUSY_MS);
		return;
	}
	switch ((enum inventory_result)answer->result) {
	case INVENTORY_REFUSED:
	case INVENTORY_SILENT: verify_take_refusal(a, w, is_refused); return;
	case INVENTORY_CONNECTED: verify_take_connection(a, w, is_answered); return;
	case INVENTORY_BUSY: set_due(a, w, clock_monotonic_ms() + VERIFY_BUSY_MS); return;
	case INVENTORY_NO_ROUTE:
		verify_set_unproven(a, w, "no route from the namespace of our own",
		                    VERIFY_AGAIN_MS);
		return;
	case INVENTORY_UNSUPPORTED:
		verify_set_unproven(a, w, "there is no namespace of our own", VERIFY_AGAIN_MS);
		return;
	case INVENTORY_OK:
	case INVENTORY_MALFORMED:
	case INVENTORY_NOT_FOUND:
	case INVENTORY_KERNEL:
	case INVENTORY_CUT:
	default:
		verify_set_unproven(a, w, "the inventory process could not connect",
		                    VERIFY_AGAIN_MS);
	}
}

static void on_answered(const struct inventory_answer *answer, int fd, void *arg)
{
	auto_free struct verify_ask *ask = arg;
	struct agent *a = ask->agent;
	struct watch *w = watch_set_find(a->watches, &ask->endpoint);

	if (fd >= 0)
		close(fd);
	a->verifying--;
	/* Another watch of the same endpoint asks anew when its time has come. */
	if (!w || !w->verify.asking)
		return;
	w->verify.asking = false;
	if (w->wall.in_kernel && a->conf->firewall.verify && !w->verify.of_filter)
		take_result(a, w, answer);
}

/* Returns 0, or -errno when nothing was asked. */
static int ask(struct agent *a, struct watch *w)
{
	struct inventory_request request = {
	    .verb = INVENTORY_CONNECT,
	    .port = w->endpoint.port,
	    .family = (uint8_t)w->endpoint.family,
	    .timeout_ms = VERIFY_TIMEOUT_MS,
	};
	struct inventory_asker asker = {.answered = on_answered};
	struct verify_ask *question = malloc(sizeof(*question));
	int err;

	if (!question)
		return -ENOMEM;
	*question = (struct verify_ask){.agent = a, .endpoint = w->endpoint};
	asker.arg = question;
	memcpy(request.address, w->endpoint.address, sizeof(request.address));
	err = inventory_ask(a->inventory, &request, &asker);
	if (err < 0) {
		free(question);
		return err;
	}
	w->verify.asking = true;
	a->verifying++;
	return 0;
}

static void verify_one(struct agent *a, struct watch *w, int64_t now_ms)
{
	const char *objection = find_objection(a, w);

	if (objection)
		verify_set_unproven(a, w, objection, VERIFY_AGAIN_MS);
	else if ((enforce_filters(a, w) ? verify_probe(a, w) : ask(a, w)) < 0 &&
	         w->verify.state == VERIFY_NONE)
		verify_set_unproven(a, w, "the inventory process is not there", VERIFY_BUSY_MS);
	else if (!w->verify.asking)
		set_due(a, w, now_ms + VERIFY_BUSY_MS);
}

void verify_note_wall(struct agent *a, struct watch *w)
{
	struct verify_slot *v = &w->verify;
	bool filters = enforce_filters(a, w);

	/* Of another kind: another question, for another answer. */
	if (!w->wall.in_kernel || !a->conf->firewall.verify || v->of_filter != filters) {
		verify_forget(a, w);
		*v = (struct verify_slot){.asking = v->asking, .of_filter = filters};
	}
	if (!w->wall.in_kernel || !a->conf->firewall.verify)
		return;
	/* Another configuration may let the connection that tells pass, or not any more. */
	if (!v->due_ms || v->generation != a->meta.generation)
		set_due(a, w, 1);
	v->generation = a->meta.generation;
	/* The first answer is wanted now, not with the next tick; of 100,000 that come together,
	 * with theirs. */
	if (v->state == VERIFY_NONE && !v->asking && !v->connected && a->verifying < VERIFY_AT_ONCE)
		verify_one(a, w, clock_monotonic_ms());
}

void verify_tick(struct agent *a, int64_t now_ms)
{
	unsigned room = VERIFY_PER_TICK;

	if (!a->conf->firewall.verify || !a->verify_due_ms || a->verify_due_ms > now_ms)
		return;
	a->verify_due_ms = 0;
	for (size_t i = 0; i < watch_set_count(a->watches); i++) {
		struct watch *w = watch_set_at(a->watches, i);

		if (!w->wall.in_kernel || w->verify.asking || !w->verify.due_ms)
			continue;
		if (w->verify.due_ms > now_ms) {
			set_due(a, w, w->verify.due_ms);
			continue;
		}
		if (room-- == 0 || a->verifying >= VERIFY_AT_ONCE) {
			set_due(a, w, w->verify.due_ms); /* and of those behind it */
			return;
		}
		verify_one(a, w, now_ms);
	}
}

json_t *verify_to_json(const struct watch *w)
{
	char checked[CLOCK_TEXT_LEN];

	if (!w->wall.in_kernel)
		return json_null();
	clock_format_wall(w->verify.checked_wall_ms, checked);
	return json_pack("{s:s, s:s?, s:s?}", "state", verify_state_name(w->verify.state), "why",
	                 w->verify.why, "checked", w->verify.checked_wall_ms ? checked : NULL);
}

bool verify_is_ready(const struct agent *a, struct evbuffer *out)
{
	bool ready = true;

	for (size_t i = 0; i < watch_set_count(a->watches); i++) {
		const struct watch *w = watch_set_at(a->watches, i);
		char text[ENDPOINT_TEXT_LEN];

		if (w->verify.state != VERIFY_INEFFECTIVE)
			continue;
		evbuffer_add_printf(out,
		                    "a wall is not in the path: %s is blocked, and reachable\n",
		                    endpoint_format(&w->endpoint, text));
		ready = false;
	}
	return ready;
}
