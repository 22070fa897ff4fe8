/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/agent/admit.h"

#include "common/clock.h"
#include "common/log.h"
#include "daemon/agent/agent.h"

#include <errno.h>
#include <string.h>

enum { RETRY_STALE_MS = 100, RETRY_REFUSED_MS = 10 * 1000, REPORT_ADDRESSES = 32 };

struct list {
	unsigned under_way; /* requests that are not answered yet */
	bool given;         /* the last one was taken */
	bool refused;
	int64_t again_ms; /* 0: no need */
};

struct admit {
	struct agent *agent;
	struct allow *allow;
	struct event *timer;
	struct list *lists; /* one for each rule */
	size_t count;
	unsigned outdated; /* answers to come to lists of the configuration before */
};

static void arm(struct admit *ad, int64_t in_ms)
{
	struct timeval delay = {.tv_sec = (time_t)(in_ms / 1000), .tv_usec = in_ms % 1000 * 1000};

	event_add(ad->timer, &delay);
}

static bool is_dynamic(const struct admit *ad, size_t rule)
{
	return rule < ad->count && ad->agent->conf->breakers[rule].allow_dynamic;
}

static void give(struct admit *ad, unsigned rule)
{
	auto_free struct prefix *prefixes = NULL;
	struct list *list = &ad->lists[rule];
	int64_t now_ms = clock_monotonic_ms();
	int err = -EAGAIN;
	size_t count;

	list->again_ms = 0;
	/* What the firewall has of before a restart is better than a list with gaps. */
	if (allow_is_settled(ad->allow, rule, now_ms))
		err = allow_merge(ad->allow, rule, &prefixes, &count);
	if (err == 0)
		err = wall_allow(ad->agent->wall, rule + 1, prefixes, count);
	if (err == 0) {
		list->under_way++;
		return;
	}
	/* Not known yet; or, at the start, the firewall is not there yet. */
	list->again_ms = now_ms + RETRY_STALE_MS;
	arm(ad, RETRY_STALE_MS);
}

static void on_timer(evutil_socket_t fd, short what, void *arg)
{
	struct admit *ad = arg;
	int64_t now_ms = clock_monotonic_ms(), next_ms = INT64_MAX;

	(void)fd;
	(void)what;
	for (unsigned r = 0; r < ad->count; r++) {
		if (ad->lists[r].again_ms && ad->lists[r].again_ms <= now_ms)
			give(ad, r);
		if (ad->lists[r].again_ms && ad->lists[r].again_ms < next_ms)
			next_ms = ad->lists[r].again_ms;
	}
	if (next_ms != INT64_MAX)
		arm(ad, next_ms > now_ms ? next_ms - now_ms : 1);
}

void admit_answered(struct admit *ad, uint32_t rule, const struct firewall_reply *reply)
{
	bool ok = reply->result == FIREWALL_OK, stale = reply->result == FIREWALL_STALE;
	struct list *list;

	if (ad->outdated > 0) {
		ad->outdated--;
		return;
	}
	if (rule == 0 || rule > ad->count)
		return;
	list = &ad->lists[rule - 1];
	if (list->under_way > 0)
		list->under_way--;
	if (list->under_way > 0)
		return; /* a later one decides */
	if (ok && list->refused)
		log_info("breaker %s: the firewall has its allow_from now",
		         ad->agent->conf->breakers[rule - 1].name);
	else if (!ok && !stale && !list->refused)
		log_error("breaker %s: its allow_from is not in the firewall: %s; nothing new is "
		          "blocked by it",
		          ad->agent->conf->breakers[rule - 1].name,
		          firewall_result_text((enum firewall_result)reply->result));
	list->given = ok;
	list->refused = !ok && !stale;
	if (!ok) {
		int64_t in_ms = stale ? RETRY_STALE_MS : RETRY_REFUSED_MS;

		list->again_ms = clock_monotonic_ms() + in_ms;
		arm(ad, in_ms);
	}
}

enum admit_gate admit_gate(const struct admit *ad, unsigned rule)
{
	const struct list *list;

	if (!is_dynamic(ad, rule))
		return ADMIT_OPEN;
	list = &ad->lists[rule];
	if (list->refused)
		return ADMIT_REFUSED;
	/*
	 * On its way is not good enough: the firewall may refuse the list, since it does not have
	 * the configuration yet, and take the block an instant later. Of one that was taken the
	 * next is sure to come before a block that is asked for after it.
	 */
	return list->given && allow_is_settled(ad->allow, rule, clock_monotonic_ms()) ? ADMIT_OPEN
	                                                                              : ADMIT_WAIT;
}

/* Handlers of the sources */

static void on_changed(unsigned rule, void *arg)
{
	give(arg, rule);
}

/* "10.0.9.1 10.0.10.0/24", or NULL without memory; the caller frees it. */
static char *write_prefixes(const struct prefix *list, size_t count)
{
	char *text = calloc(count + 1, PREFIX_TEXT_LEN), *end = text;

	for (size_t i = 0; text && i < count; i++) {
		char one[PREFIX_TEXT_LEN];

		end += snprintf(end, PREFIX_TEXT_LEN, "%s%s", i ? " " : "",
		                prefix_format(&list[i], one));
	}
	return text;
}

static void on_learnt(const struct allow_source *source, void *arg)
{
	const struct admit *ad = arg;
	auto_free char *prefixes = write_prefixes(source->good, source->n_good);

	/* Of the start, before the state is open: a file, which is read again at the next. */
	if (prefixes && ad->agent->state)
		(void)state_save_source(ad->agent->state, source->text, prefixes,
		                        source->good_wall_ms);
}

/* {"a","b"}: the names of the rules that have this source. */
static json_t *rules_of(const struct admit *ad, const struct allow_source *source)
{
	size_t at = (size_t)(source - allow_source_at(ad->allow, 0));
	json_t *names = json_array();

	for (unsigned r = 0; r < ad->count; r++) {
		if (allow_rule_has(ad->allow, r, at))
			json_array_append_new(names,
			                      json_string(ad->agent->conf->breakers[r].name));
	}
	return names;
}

static void on_failed(const struct allow_source *source, void *arg)
{
	struct admit *ad = arg;
	char text[ALLOW_ERROR_LEN + 128];

	snprintf(text, sizeof(text), "%s%s", source->error,
	         source->n_good ? "; what it said before stays in force"
	                        : "; it has never said anybody: the rule is in force without it");
	log_warning("allow_from: %s: %s", source->text, text);
	event_send_source(ad->agent, "source_failed", source->text, rules_of(ad, source), text);
}

static void on_recovered(const struct allow_source *source, void *arg)
{
	struct admit *ad = arg;

	log_info("allow_from: %s: is good again", source->text);
	event_send_source(ad->agent, "source_recovered", source->text, rules_of(ad, source), NULL);
}

/* Life */

int admit_check(const struct conf *conf, const char *config_path, char error[static CONF_ERROR_LEN])
{
	return allow_check(conf, config_path, error);
}

int admit_configure(struct admit *ad)
{
	const struct conf *conf = ad->agent->conf;
	struct list *lists = calloc(conf->n_breakers + 1, sizeof(*lists));

	if (!lists)
		return -ENOMEM;
	for (size_t r = 0; r < ad->count; r++)
		ad->outdated += ad->lists[r].under_way;
	free(ad->lists);
	ad->lists = lists;
	ad->count = conf->n_breakers;
	return allow_configure(ad->allow, conf, clock_monotonic_ms());
}

void admit_give(struct admit *ad)
{
	for (unsigned r = 0; r < ad->count; r++) {
		if (is_dynamic(ad, r))
			give(ad, r);
	}
}

/* Cuts `text` into pieces. Returns how many prefixes of it are good; at most `room`. */
static size_t read_prefixes(char *text, struct prefix *list, size_t room)
{
	char *save = NULL;
	size_t count = 0;

	for (char *word = strtok_r(text, " ", &save); word && count < room;
	     word = strtok_r(NULL, " ", &save)) {
		if (prefix_parse(word, &list[count]) == PREFIX_OK)
			count++;
	}
	return count;
}

void admit_restore(struct admit *ad, const struct state_snapshot *snapshot)
{
	auto_free struct prefix *list = calloc(ALLOW_RULE_MAX, sizeof(*list));

	for (size_t i = 0; list && i < snapshot->n_sources; i++) {
		const struct state_source *s = &snapshot->sources[i];
		size_t count;

		if (!allow_has_source(ad->allow, s->text)) {
			(void)state_delete_source(ad->agent->state, s->text);
			continue;
		}
		count = read_prefixes(s->prefixes, list, ALLOW_RULE_MAX);
		allow_restore(ad->allow, s->text, list, count, s->good_ms);
	}
}

static int ask_name(const char *name, uint64_t token, void *arg)
{
	const struct admit *ad = arg;

	return outbox_resolve(ad->agent->outbox, name, token);
}

void admit_tick(struct admit *ad, int64_t now_ms)
{
	allow_ask_due(ad->allow, now_ms, ask_name, ad);
}

void admit_take_answer(struct admit *ad, uint64_t token, const struct ipc_addresses *answer)
{
	allow_take_answer(ad->allow, token, answer, clock_monotonic_ms());
}

int admit_new(struct agent *a, struct admit **out)
{
	struct admit *ad = calloc(1, sizeof(*ad));
	const struct allow_handlers handlers = {
	    .changed = on_changed,
	    .learnt = on_learnt,
	    .failed = on_failed,
	    .recovered = on_recovered,
	    .arg = ad,
	};
	int err;

	if (!ad)
		return -ENOMEM;
	ad->agent = a;
	ad->timer = evtimer_new(a->base, on_timer, ad);
	err = ad->timer ? allow_new(a->base, &handlers, &ad->allow) : -ENOMEM;
	if (err < 0) {
		admit_free(ad);
		return err;
	}
	*out = ad;
	return 0;
}

void admit_free(struct admit *ad)
{
	if (!ad)
		return;
	allow_free(ad->allow);
	if (ad->timer)
		event_free(ad->timer);
	free(ad->lists);
	free(ad);
}

int admit_merge(const struct admit *ad, unsigned rule, struct prefix **out, size_t *count)
{
	return allow_merge(ad->allow, rule, out, count);
}

/* For people and machines */

static json_t *addresses_of(const struct allow_source *source)
{
	json_t *list = json_array();
	char text[PREFIX_TEXT_LEN];

	for (size_t i = 0; i < source->n_good && i < REPORT_ADDRESSES; i++)
		json_array_append_new(list, json_string(prefix_format(&source->good[i], text)));
	return list;
}

json_t *admit_report(const struct admit *ad)
{
	json_t *list = json_array();

	for (size_t i = 0; i < allow_source_count(ad->allow); i++) {
		const struct allow_source *s = allow_source_at(ad->allow, i);
		char since[CLOCK_TEXT_LEN];
		auto_free char *error = NULL;

		clock_format_wall(s->good_wall_ms, since);
		(void)finding_set(&error, s->error);
		json_array_append_new(list,
		                      json_pack("{s:s, s:o, s:s, s:I, s:o, s:s?, s:s?}", "source",
		                                s->text, "rules", rules_of(ad, s), "state",
		                                allow_state_name(allow_source_state(s)), "prefixes",
		                                (json_int_t)s->n_good, "addresses", addresses_of(s),
		                                "since", s->n_good ? since : NULL, "error",
		                                error && error[0] ? error : NULL));
	}
	return list;
}

void admit_expose(const struct admit *ad, struct evbuffer *out)
{
	static const char name[] = "pprofwall_allow_sources";

	metrics_family(out, name, METRICS_GAUGE,
	               "1 for the state that a file or name of a rule's allow_from is in.");
	for (unsigned r = 0; r < ad->count; r++) {
		for (size_t i = 0; i < allow_source_count(ad->allow); i++) {
			const struct allow_source *s = allow_source_at(ad->allow, i);

			if (!allow_rule_has(ad->allow, r, i))
				continue;
			for (int state = 0; state < ALLOW_STATE_COUNT; state++)
				metrics_sample(
				    out, name,
				    (struct metrics_label[]){
				        {"rule", ad->agent->conf->breakers[r].name},
				        {"source", s->text},
				        {"state", allow_state_name((enum allow_state)state)},
				    },
				    3, (int)allow_source_state(s) == state);
		}
	}
}

bool admit_is_ready(const struct admit *ad, struct evbuffer *out)
{
	bool ready = true;

	for (size_t i = 0; i < allow_source_count(ad->allow); i++) {
		const struct allow_source *s = allow_source_at(ad->allow, i);

		if (allow_source_state(s) != ALLOW_UNKNOWN)
			continue;
		evbuffer_add_printf(out, "allow_from: %s: %s\n", s->text,
		                    s->error[0] ? s->error : "is being asked");
		ready = false;
	}
	return ready;
}
