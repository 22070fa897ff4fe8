/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What an alert carries: docs/alerts.md has the fields, tests/integration the contract. */
#include "common/clock.h"
#include "daemon/agent/agent.h"

#include <string.h>
#include <sys/random.h>

enum { EVENT_SCHEMA = 1, EVENT_ID_BYTES = 16 };

_Static_assert((int)STATE_EVENT_ID_LEN == EVENT_ID_BYTES * 2 + 1, "in hexadecimal");

/* Random, so that a receiver can drop what comes twice, whichever host or process it came from. */
static void make_id(char id[static STATE_EVENT_ID_LEN])
{
	uint8_t bytes[EVENT_ID_BYTES] = {0};

	if (getrandom(bytes, sizeof(bytes), 0) != (ssize_t)sizeof(bytes))
		*(int64_t *)(void *)bytes = clock_monotonic_ms();
	for (size_t i = 0; i < sizeof(bytes); i++)
		snprintf(id + 2 * i, 3, "%02x", bytes[i]);
}

static json_t *breaker_to_json(const struct agent *a, const struct watch *w)
{
	const struct conf_breaker *rule = &a->conf->breakers[w->rule];
	int64_t offset = clock_wall_ms() - clock_monotonic_ms();
	char opened[CLOCK_TEXT_LEN], until[CLOCK_TEXT_LEN];
	bool is_open = w->breaker.state != BREAKER_CLOSED;

	clock_format_wall(w->breaker.opened_ms + offset, opened);
	clock_format_wall(w->breaker.open_until_ms + offset, until);
	return json_pack("{s:s, s:s, s:i, s:I, s:s?, s:s?}", "name", rule->name, "state",
	                 breaker_state_name(w->breaker.state), "trip_after", (int)rule->trip_after,
	                 "open_for_ms", (json_int_t)rule->open_for_ms, "opened",
	                 is_open ? opened : NULL, "open_until", is_open ? until : NULL);
}

static const char not_blocked[] = "; not blocked";

static const char *describe_action(const struct agent *a, const struct watch *w, const char *action)
{
	bool filter = enforce_means_filter(a, w);

	if (strcmp(action, "filter") == 0)
		return a->conf->breakers[w->rule].filter.allow.count
		           ? "; the port is filtered: only what the rule allows is served"
		           : "; the port is filtered: profiling is refused, and the rest, such as "
		             "/metrics, goes on";
	if (strcmp(action, "drop") == 0)
		return "; the port is blocked";
	if (strcmp(action, "observe") != 0)
		return not_blocked;
	if (a->conf->rollout.held_back)
		return filter ? "; not filtered, this host is not within enforce_percent"
		              : "; not blocked, this host is not within enforce_percent";
	return filter ? "; observing, so nothing is filtered (it would be)"
	              : "; observing, so nothing is blocked (it would be)";
}

/* One sentence for those who read and do not parse. */
static void describe(const struct agent *a, const struct watch *w, const char *event, char *out,
                     size_t size)
{
	char endpoint[WATCH_NAME_LEN], program[128], buffer[BLAST_REASON_LEN], cut[256] = "";
	char until[CLOCK_TEXT_LEN];
	const char *why = enforce_reason(a, w, buffer);
	const char *action = enforce_action(a, w);
	const char *what = w->last ? finding_verdict_name(w->last->verdict) : "no finding";
	const char *done = "", *because = NULL;

	if (strcmp(event, "opened") == 0 || strcmp(event, "reminder") == 0 ||
	    strcmp(event, "escalated") == 0 || strcmp(event, "filtered") == 0) {
		impact_describe(a->impact, w, cut, sizeof(cut));
		done = describe_action(a, w, action);
		because = strcmp(done, not_blocked) == 0 ? why : NULL;
	} else if (strcmp(event, "acknowledged") == 0 && w->ack) {
		snprintf(cut, sizeof(cut), "; by %s until %s", w->ack->who,
		         clock_format_wall(w->ack->until_ms, until));
	} else if (strcmp(event, "ineffective") == 0) {
		done = enforce_filters(a, w)
		           ? "; filtered, and a stranger is served profiling all the same"
		           : "; blocked, and still reachable: the traffic does not pass through "
		             "nftables";
	} else if (strcmp(event, "effective") == 0) {
		done = enforce_filters(a, w) ? "; the filter holds now" : "; the block holds now";
	} else if (strcmp(event, "closed") == 0 || strcmp(event, "gone") == 0) {
		if (w->wall.in_kernel)
			done = w->decision ? "; blocked by hand, as before"
			                   : "; the block could not be lifted";
		else if (w->lifting)
			done = enforce_means_filter(a, w) ? "; the filter is lifted"
			                                  : "; the block is lifted";
	}
	watch_program(w, program);
	snprintf(out, size, "pprofwall: %s: %s%s%s%s, %s%s%s%s%s%s", event, watch_name(w, endpoint),
	         program[0] ? " (" : "", program, program[0] ? ")" : "", what,
	         w->high_risk ? ", HIGH_RISK" : "", done, because ? ": " : "",
	         because ? because : "", cut);
}

/* What every event has. */
static json_t *make_event(const struct agent *a, const char *event, const char *endpoint,
                          const char *action, const char *reason, const char *who, const char *text)
{
	char id[STATE_EVENT_ID_LEN], now[CLOCK_TEXT_LEN];

	make_id(id);
	return json_pack(
	    "{s:i, s:s, s:s, s:s, s:s, s:s?, s:s, s:b, s:s, s:s?, s:s?, s:s, s:n, s:n}", "schema",
	    EVENT_SCHEMA, "id", id, "event", event, "time", clock_format_wall(clock_wall_ms(), now),
	    "host", a->host, "endpoint", endpoint, "mode",
	    a->conf->mode == CONF_MODE_ENFORCE ? "enforce" : "observe", "held_back",
	    a->conf->rollout.held_back, "action", action, "reason", reason, "who", who, "text",
	    text, "breaker", "finding");
}

/* Out of memory, the outbox may have fewer sinks than the configuration. */
static size_t choose(const struct agent *a, const struct route_facts *facts,
                     struct route_choice out[static CONF_MAX_ALERTS])
{
	size_t n = route_choose(a->routes, facts, clock_wall_ms(), out);

	while (n && out[n - 1].index >= outbox_sink_count(a->outbox))
		n--;
	return n;
}

/* Takes over `event`. */
static void send_event(struct agent *a, const struct route_facts *facts, json_t *event)
{
	struct route_choice chosen[CONF_MAX_ALERTS];
	struct outbox_target targets[CONF_MAX_ALERTS];
	size_t n = choose(a, facts, chosen);

	for (size_t i = 0; i < n; i++)
		targets[i] = (struct outbox_target){.sink = chosen[i].index,
		                                    .not_before_ms = chosen[i].not_before_ms};
	outbox_add(a->outbox, &(struct outbox_message){.event = event,
	                                               .endpoint = facts->endpoint,
	                                               .targets = targets,
	                                               .n_targets = n});
}

static json_t *ack_to_json(const struct watch *w)
{
	char since[CLOCK_TEXT_LEN], until[CLOCK_TEXT_LEN];
	const struct state_manual *ack = w->ack;

	if (!follow_is_acknowledged(w))
		return json_null();
	return json_pack("{s:s, s:s, s:s, s:s}", "who", ack->who, "reason", ack->reason, "since",
	                 clock_format_wall(ack->made_ms, since), "until",
	                 clock_format_wall(ack->until_ms, until));
}

static json_t *make_endpoint_event(const struct agent *a, const char *event, const struct watch *w,
                                   const char *reason, const char *who)
{
	char endpoint[WATCH_NAME_LEN], text[1024];
	json_t *json;

	describe(a, w, event, text, sizeof(text));
	json =
	    make_event(a, event, watch_name(w, endpoint), enforce_action(a, w), reason, who, text);
	json_object_set_new(json, "breaker", breaker_to_json(a, w));
	json_object_set_new(json, "finding", w->last ? finding_to_json(w->last) : json_null());
	json_object_set_new(json, "impact", impact_summarize(a->impact, w));
	json_object_set_new(json, "listener",
	                    w->listener ? report_listener(w->listener) : json_null());
	json_object_set_new(json, "ack", ack_to_json(w));
	return json;
}

void event_send(struct agent *a, const char *event, struct watch *w, const char *reason,
                const char *who)
{
	struct route_facts facts = follow_facts(w, event);

	story_tell(w, "alert: %s%s%s%s%s", event, who ? " by " : "", who ? who : "",
	           reason ? ": " : "", reason ? reason : "");
	send_event(a, &facts, make_endpoint_event(a, event, w, reason, who));
}

void event_send_refusal(struct agent *a, struct watch *w, const struct refusal *refusal)
{
	char client[ENDPOINT_TEXT_LEN], endpoint[WATCH_NAME_LEN], text[512];
	const char *reason = filter_reason_name(refusal->reason);
	struct route_facts facts = follow_facts(w, "denied");
	struct route_choice chosen[CONF_MAX_ALERTS];
	json_t *json;

	endpoint_format_address(&refusal->client, client);
	story_tell(w, "filter: %llu of %s refused (%s)%s%s", (unsigned long long)refusal->count,
	           client, reason, refusal->path[0] ? ": " : "", refusal->path);
	snprintf(text, sizeof(text),
	         "pprofwall: denied: %s: %llu request%s of %s refused by the filter (%s)%s%s",
	         watch_name(w, endpoint), (unsigned long long)refusal->count,
	         refusal->count == 1 ? "" : "s", client, reason,
	         refusal->path[0] ? ", the last for " : "", refusal->path);
	if (!choose(a, &facts, chosen))
		return; /* as a rule nobody asks for it */
	json = make_endpoint_event(a, facts.event, w, NULL, NULL);
	json_object_set_new(json, "text", json_string(text));
	json_object_set_new(json, "denied",
	                    json_pack("{s:s, s:s, s:s?, s:I}", "client", client, "reason", reason,
	                              "path", refusal->path[0] ? refusal->path : NULL, "count",
	                              (json_int_t)refusal->count));
	send_event(a, &facts, json);
}

void event_refresh(struct agent *a, const struct watch *w)
{
	struct route_facts facts = follow_facts(w, "refresh");
	struct route_choice chosen[CONF_MAX_ALERTS];
	unsigned sinks[CONF_MAX_ALERTS];
	size_t n = choose(a, &facts, chosen);

	for (size_t i = 0; i < n; i++)
		sinks[i] = chosen[i].index;
	outbox_send_now(a->outbox, make_endpoint_event(a, facts.event, w, NULL, NULL), sinks, n);
}

void event_send_source(struct agent *a, const char *event, const char *source, json_t *rules,
                       const char *reason)
{
	auto_free char *clean = NULL, *sentence = NULL;
	char text[1024];
	json_t *json;

	/* Both may have been cut within a character. */
	(void)finding_set(&clean, reason ? reason : "");
	snprintf(text, sizeof(text), "pprofwall: %s: %.300s of allow_from%s%.500s", event, source,
	         reason ? ": " : "", reason ? reason : "");
	(void)finding_set(&sentence, text);
	json = make_event(a, event, NULL, "none", reason ? clean : NULL, NULL,
	                  sentence ? sentence : "");
	json_object_set_new(json, "source", json_string(source));
	json_object_set_new(json, "rules", rules);
	send_event(a, &(struct route_facts){.event = event}, json);
}

json_t *event_describe_loss(const struct state_loss *loss, void *arg)
{
	char text[256], since[CLOCK_TEXT_LEN], until[CLOCK_TEXT_LEN];
	json_t *json;

	clock_format_wall(loss->since_ms, since);
	clock_format_wall(loss->until_ms, until);
	snprintf(text, sizeof(text),
	         "pprofwall: alerts_lost: %llu event%s from %s to %s could not be delivered here",
	         (unsigned long long)loss->count, loss->count == 1 ? "" : "s", since, until);
	json = make_event(arg, "alerts_lost", NULL, "none", NULL, NULL, text);
	json_object_set_new(json, "lost",
	                    json_pack("{s:s, s:I, s:s, s:s}", "sink", loss->sink, "count",
	                              (json_int_t)loss->count, "since", since, "until", until));
	return json;
}

json_t *event_make_test(const struct agent *a, const char *who)
{
	json_t *json = make_event(a, "test", NULL, "none", NULL, who,
	                          "pprofwall: test: nothing has happened, this is a test");

	json_object_set_new(json, "test", json_true());
	return json;
}
