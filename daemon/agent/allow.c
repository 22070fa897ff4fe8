/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/agent/allow_internal.h"

#include "common/clock.h"
#include "common/log.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum {
	SETTLE_MS = 100,   /* what happens to a file at once, is looked at once */
	SUSPECT_MS = 1000, /* editors move a file away, and write the new one in its place */
	QUIET_MS = 2000,   /* a file that nobody told us of may still be in the writing */
};

const char *allow_state_name(enum allow_state state)
{
	static const char *const names[ALLOW_STATE_COUNT] = {"unknown", "good", "stale"};

	return state < ALLOW_STATE_COUNT ? names[state] : "?";
}

enum allow_state allow_source_state(const struct allow_source *source)
{
	if (source->n_good == 0)
		return ALLOW_UNKNOWN;
	return source->failures > 0 ? ALLOW_STALE : ALLOW_GOOD;
}

/* Lists */

static bool rule_has(const struct allow_rule *rule, size_t source)
{
	for (size_t i = 0; i < rule->count; i++) {
		if (rule->sources[i] == source)
			return true;
	}
	return false;
}

bool allow_rule_has(const struct allow *al, unsigned rule, size_t i)
{
	return rule < al->n_rules && rule_has(&al->rules[rule], i);
}

/* The rule's list if source `instead` said `list`; its count may be more than ALLOW_RULE_MAX. */
static int merge(const struct allow *al, const struct allow_rule *rule, size_t instead,
                 const struct prefix *list, size_t n_list, struct prefix **out, size_t *count)
{
	struct prefix *all;
	size_t n = 0;

	for (size_t i = 0; i < rule->count; i++)
		n += rule->sources[i] == instead ? n_list : al->sources[rule->sources[i]].n_good;
	all = calloc(n + 1, sizeof(*all));
	if (!all)
		return -ENOMEM;
	n = 0;
	for (size_t i = 0; i < rule->count; i++) {
		const struct allow_source *s = &al->sources[rule->sources[i]];
		bool is_it = rule->sources[i] == instead;
		size_t more = is_it ? n_list : s->n_good;

		if (more > 0)
			memcpy(all + n, is_it ? list : s->good, more * sizeof(*all));
		n += more;
	}
	*count = prefix_simplify(all, n);
	*out = all;
	return 0;
}

int allow_merge(const struct allow *al, unsigned rule, struct prefix **out, size_t *count)
{
	static const struct allow_rule none;

	return merge(al, rule < al->n_rules ? &al->rules[rule] : &none, SIZE_MAX, NULL, 0, out,
	             count);
}

bool allow_is_settled(const struct allow *al, unsigned rule, int64_t now_ms)
{
	const struct allow_rule *r;

	if (rule >= al->n_rules || now_ms - al->configured_ms >= ALLOW_PATIENCE_MS)
		return true;
	r = &al->rules[rule];
	for (size_t i = 0; i < r->count; i++) {
		const struct allow_source *s = &al->sources[r->sources[i]];

		if (!s->tried && s->n_good == 0)
			return false;
	}
	return true;
}

size_t allow_source_count(const struct allow *al)
{
	return al->n_sources;
}

const struct allow_source *allow_source_at(const struct allow *al, size_t i)
{
	return &al->sources[i];
}

/* What sources say */

static bool is_same_list(const struct allow_source *s, const struct prefix *list, size_t count)
{
	if (s->n_good != count)
		return false;
	for (size_t i = 0; i < count; i++) {
		if (prefix_compare(&s->good[i], &list[i]) != 0)
			return false;
	}
	return true;
}

static void fail(struct allow *al, struct allow_source *s, const char *why)
{
	s->tried = true;
	s->failures++;
	snprintf(s->error, sizeof(s->error), "%s", why);
	if (s->told || (!s->is_file && s->failures < ALLOW_TELL_AFTER))
		return;
	s->told = true;
	al->handlers.failed(s, al->handlers.arg);
}

bool allow_is_overfull(const struct allow *al, size_t source, const struct prefix *list,
                       size_t count)
{
	for (size_t r = 0; r < al->n_rules; r++) {
		auto_free struct prefix *all = NULL;
		size_t n = 0;

		if (rule_has(&al->rules[r], source) &&
		    (merge(al, &al->rules[r], source, list, count, &all, &n) < 0 ||
		     n > ALLOW_RULE_MAX))
			return true;
	}
	return false;
}

/* Takes over `list`, sorted and disjoint, at least one. `tell`: call changed(). */
static void succeed(struct allow *al, struct allow_source *s, struct prefix *list, size_t count,
                    bool tell)
{
	size_t at = (size_t)(s - al->sources);
	bool same = is_same_list(s, list, count);

	if (!same && allow_is_overfull(al, at, list, count)) {
		char why[ALLOW_ERROR_LEN];

		snprintf(why, sizeof(why),
		         "with the rule's other files and names, more than %d prefixes",
		         ALLOW_RULE_MAX);
		free(list);
		fail(al, s, why);
		return;
	}
	free(s->good);
	s->good = list;
	s->n_good = count;
	s->good_wall_ms = clock_wall_ms();
	s->tried = true;
	s->failures = 0;
	s->error[0] = '\0';
	if (s->told)
		al->handlers.recovered(s, al->handlers.arg);
	s->told = false;
	if (same)
		return;
	al->handlers.learnt(s, al->handlers.arg);
	for (unsigned r = 0; tell && r < al->n_rules; r++) {
		if (rule_has(&al->rules[r], at))
			al->handlers.changed(r, al->handlers.arg);
	}
}

/* Files */

void allow_read_file(struct allow *al, struct allow_source *s, bool tell)
{
	char why[ALLOW_FILE_ERROR_LEN];
	struct prefix *list;
	size_t count;
	int err = allow_file_read(s->text + 1, &list, &count, &s->file->id, why);

	s->file->seen = err == 0 || allow_file_identify(s->text + 1, &s->file->id) == 0;
	if (err < 0)
		fail(al, s, why);
	else
		succeed(al, s, list, count, tell);
}

/* For the first look that an event has asked for; others come with allow_ask_due(). */
static void arm(struct allow *al)
{
	int64_t in_ms = INT64_MAX, now_ms = clock_monotonic_ms();
	struct timeval delay;

	for (size_t i = 0; i < al->n_sources; i++) {
		const struct allow_source *s = &al->sources[i];

		if (s->is_file && s->file->event && s->due_ms - now_ms < in_ms)
			in_ms = s->due_ms - now_ms;
	}
	if (in_ms == INT64_MAX)
		return;
	if (in_ms < 1)
		in_ms = 1;
	delay = (struct timeval){.tv_sec = (time_t)(in_ms / 1000), .tv_usec = in_ms % 1000 * 1000};
	event_add(al->timer, &delay);
}

/* A file that is written all the time is looked at in spite of it. */
static void plan_look(struct allow_source *s, int64_t due_ms)
{
	if (s->file->event && s->due_ms <= due_ms)
		return;
	s->due_ms = due_ms;
	s->file->event = true;
}

static bool has_changed(const struct allow_source *s, struct allow_file_id *now)
{
	bool there = allow_file_identify(s->text + 1, now) == 0;

	return there != s->file->seen || (there && !allow_file_is_same(now, &s->file->id));
}

/* A look that no event has asked for leaves alone what was touched a moment ago. */
static bool is_quiet(const struct allow_file_id *id)
{
	return clock_wall_ms() - (int64_t)id->modified.tv_sec * 1000 > QUIET_MS;
}

static void look(struct allow *al, struct allow_source *s, int64_t now_ms)
{
	bool event = s->file->event, suspect = s->file->suspect;
	struct allow_file_id id = {0};
	bool changed = has_changed(s, &id);
	bool gone = id.size == 0;

	if (s->file->directory < 0 && al->watch)
		s->file->directory = allow_watch_add(al->watch, s->text + 1);
	s->due_ms = now_ms + (s->failures > 0 ? ALLOW_RETRY_MS : ALLOW_NO_TTL_MS);
	s->file->event = s->file->suspect = false;
	if (!changed)
		return;
	/* Half of it may be there; it is told of when it is closed, unless it never is. */
	if (s->file->writing && !gone && !is_quiet(&id)) {
		s->due_ms = now_ms + QUIET_MS;
		return;
	}
	if (gone && !suspect && s->file->seen) {
		/* Believed only when it is still so in a while. */
		s->file->suspect = true;
		plan_look(s, now_ms + SUSPECT_MS);
	} else if (!event && !gone && !is_quiet(&id)) {
		s->due_ms = now_ms + QUIET_MS;
	} else {
		allow_read_file(al, s, true);
	}
}

static void look_at_due(struct allow *al, int64_t now_ms, bool events_only)
{
	for (size_t i = 0; i < al->n_sources; i++) {
		struct allow_source *s = &al->sources[i];

		if (s->is_file && s->due_ms <= now_ms && (s->file->event || !events_only))
			look(al, s, now_ms);
	}
	arm(al);
}

static void on_timer(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	look_at_due(arg, clock_monotonic_ms(), true);
}

/* A link in the way may have been turned: only then another entry of the directory concerns us. */
static bool leads_elsewhere(const struct allow_source *s)
{
	struct allow_file_id id;

	if (allow_file_identify(s->text + 1, &id) < 0)
		return s->file->seen;
	return !s->file->seen || id.device != s->file->id.device || id.inode != s->file->id.inode;
}

static void on_directory(int directory, const char *name, bool writing, void *arg)
{
	struct allow *al = arg;
	int64_t now_ms = clock_monotonic_ms();

	for (size_t i = 0; i < al->n_sources; i++) {
		struct allow_source *s = &al->sources[i];

		if (!s->is_file || (directory >= 0 && s->file->directory != directory))
			continue;
		if (!name) /* the directory is gone or moved: its path may be another's by now */
			s->file->directory = -1;
		if (name && strcmp(strrchr(s->text, '/') + 1, name) == 0)
			s->file->writing = writing;
		else if (name && (writing || !leads_elsewhere(s)))
			continue;
		if (!writing)
			plan_look(s, now_ms + SETTLE_MS);
	}
	arm(al);
}

/* Names */

void allow_ask_due(struct allow *al, int64_t now_ms,
                   int (*ask)(const char *name, uint64_t token, void *arg), void *arg)
{
	look_at_due(al, now_ms, false);
	for (size_t i = 0; i < al->n_sources; i++) {
		struct allow_source *s = &al->sources[i];

		if (s->is_file || s->due_ms > now_ms)
			continue;
		/* A sender that dies with the question is asked again by this date. */
		s->due_ms = now_ms + 2 * ALLOW_RETRY_MS;
		if (ask(s->text, ALLOW_TOKEN | (al->generation & INT32_MAX) << 32 | i, arg) < 0)
			s->due_ms = now_ms + ALLOW_RETRY_MS;
	}
}

static struct prefix host_of(const struct endpoint *e)
{
	struct prefix p = {.family = e->family, .bits = e->family == AF_INET ? 32 : 128};

	memcpy(p.address, e->address, sizeof(p.address));
	return p;
}

/* What it said; of a family that it was silent about, what it said before. */
static int list_answer(const struct allow_source *s, const struct ipc_addresses *answer,
                       struct prefix **out, size_t *count)
{
	struct prefix *list = calloc(answer->count + s->n_good, sizeof(*list));
	size_t n = 0;

	if (!list)
		return -ENOMEM;
	for (uint32_t i = 0; i < answer->count; i++)
		list[n++] = host_of(&answer->addresses[i]);
	for (size_t i = 0; i < s->n_good && answer->unanswered; i++) {
		if (s->good[i].family == answer->unanswered)
			list[n++] = s->good[i];
	}
	*count = prefix_simplify(list, n);
	*out = list;
	return 0;
}

void allow_take_answer(struct allow *al, uint64_t token, const struct ipc_addresses *answer,
                       int64_t now_ms)
{
	size_t i = (size_t)(token & UINT32_MAX);
	struct allow_source *s;
	struct prefix *list;
	size_t count;

	if (((token & ~ALLOW_TOKEN) >> 32) != (al->generation & INT32_MAX) || i >= al->n_sources ||
	    al->sources[i].is_file)
		return;
	s = &al->sources[i];
	s->due_ms = now_ms + ALLOW_RETRY_MS;
	if (answer->error || answer->count == 0 || list_answer(s, answer, &list, &count) < 0) {
		fail(al, s, answer->text[0] ? answer->text : "no address");
		return;
	}
	if (!answer->unanswered)
		s->due_ms =
		    now_ms + (answer->ttl_s ? (int64_t)answer->ttl_s * 1000 : ALLOW_NO_TTL_MS);
	succeed(al, s, list, count, true);
}

int allow_new(struct event_base *base, const struct allow_handlers *handlers, struct allow **out)
{
	struct allow *al = calloc(1, sizeof(*al));
	int err;

	if (!al)
		return -ENOMEM;
	al->base = base;
	al->handlers = *handlers;
	al->timer = evtimer_new(base, on_timer, al);
	if (!al->timer) {
		free(al);
		return -ENOMEM;
	}
	err = allow_watch_new(base, on_directory, al, &al->watch);
	if (err < 0)
		log_warning("files of allow_from are looked at every %d s: inotify: %s",
		            ALLOW_NO_TTL_MS / 1000, strerror(-err));
	*out = al;
	return 0;
}

void allow_free(struct allow *al)
{
	if (!al)
		return;
	allow_forget(al);
	allow_watch_free(al->watch);
	event_free(al->timer);
	free(al);
}
