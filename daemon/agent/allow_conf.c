/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Which files and names there are, by the configuration, and what is known of them from before. */
#include "daemon/agent/allow_internal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static void free_source(struct allow *al, struct allow_source *s)
{
	if (s->file && s->file->directory >= 0 && al->watch)
		allow_watch_remove(al->watch, s->file->directory);
	free(s->file);
	free(s->text);
	free(s->good);
}

void allow_forget(struct allow *al)
{
	for (size_t i = 0; i < al->n_sources; i++)
		free_source(al, &al->sources[i]);
	for (size_t i = 0; i < al->n_rules; i++)
		free(al->rules[i].sources);
	free(al->sources);
	free(al->rules);
	al->sources = NULL;
	al->rules = NULL;
	al->n_sources = al->n_rules = 0;
}

static struct allow_source *find_source(const struct allow *al, const char *text)
{
	for (size_t i = 0; i < al->n_sources; i++) {
		if (strcasecmp(al->sources[i].text, text) == 0 &&
		    (text[0] != '@' || strcmp(al->sources[i].text, text) == 0))
			return &al->sources[i];
	}
	return NULL;
}

bool allow_has_source(const struct allow *al, const char *text)
{
	return find_source(al, text) != NULL;
}

/* What it said, and how it went, under the configuration before. */
static void inherit(struct allow_source *s, struct allow_source *old)
{
	s->good = old->good;
	s->n_good = old->n_good;
	s->good_wall_ms = old->good_wall_ms;
	s->failures = old->failures;
	s->told = old->told;
	s->tried = old->tried;
	snprintf(s->error, sizeof(s->error), "%s", old->error);
	old->good = NULL;
	old->n_good = 0;
}

/* The source of this text, made if there is none; NULL without memory. */
static struct allow_source *add_source(struct allow *next, struct allow *old, char *text)
{
	struct allow_source *s = find_source(next, text), *before;

	if (s) {
		free(text);
		return s;
	}
	s = &next->sources[next->n_sources];
	*s = (struct allow_source){.text = text, .is_file = text[0] == '@'};
	if (s->is_file && !(s->file = calloc(1, sizeof(*s->file)))) {
		free(text);
		return NULL;
	}
	if (s->file)
		s->file->directory = -1;
	next->n_sources++;
	before = find_source(old, text);
	if (before)
		inherit(s, before);
	return s;
}

static int add_sources(struct allow *next, struct allow *old, struct allow_rule *rule,
                       const struct conf_strings *list, const char *sign)
{
	for (size_t i = 0; i < list->count; i++) {
		struct allow_source *s;
		char *text = NULL;

		if (asprintf(&text, "%s%s", sign, list->items[i]) < 0)
			return -ENOMEM;
		s = add_source(next, old, text);
		if (!s)
			return -ENOMEM;
		rule->sources[rule->count++] = (size_t)(s - next->sources);
	}
	return 0;
}

static int add_rules(struct allow *next, struct allow *old, const struct conf *conf)
{
	size_t n = 0;
	int err = 0;

	for (size_t i = 0; i < conf->n_breakers; i++)
		n += conf->breakers[i].allow_sources.files.count +
		     conf->breakers[i].allow_sources.names.count;
	next->sources = calloc(n + 1, sizeof(*next->sources));
	next->rules = calloc(conf->n_breakers + 1, sizeof(*next->rules));
	if (!next->sources || !next->rules)
		return -ENOMEM;
	for (size_t i = 0; i < conf->n_breakers && !err; i++) {
		const struct conf_sources *sources = &conf->breakers[i].allow_sources;
		struct allow_rule *rule = &next->rules[next->n_rules++];

		rule->sources =
		    calloc(sources->files.count + sources->names.count + 1, sizeof(*rule->sources));
		err = rule->sources ? add_sources(next, old, rule, &sources->files, "@") : -ENOMEM;
		if (!err)
			err = add_sources(next, old, rule, &sources->names, "");
	}
	return err;
}

int allow_configure(struct allow *al, const struct conf *conf, int64_t now_ms)
{
	struct allow next = *al;
	int err;

	next.sources = NULL;
	next.rules = NULL;
	next.n_sources = next.n_rules = 0;
	next.generation++;
	next.configured_ms = now_ms;
	err = add_rules(&next, al, conf);
	if (err < 0) {
		allow_forget(&next);
		return err;
	}
	allow_forget(al); /* directories first: the next look watches them anew */
	*al = next;
	for (size_t i = 0; i < al->n_sources; i++) {
		struct allow_source *s = &al->sources[i];

		if (!s->is_file)
			continue;
		s->file->directory = al->watch ? allow_watch_add(al->watch, s->text + 1) : -1;
		allow_read_file(al, s, false);
		s->due_ms = now_ms + (s->failures > 0 ? ALLOW_RETRY_MS : ALLOW_NO_TTL_MS);
	}
	return 0;
}

void allow_restore(struct allow *al, const char *text, const struct prefix *list, size_t count,
                   int64_t good_wall_ms)
{
	struct allow_source *s = find_source(al, text);

	if (!s || s->n_good > 0 || count == 0)
		return;
	s->good = calloc(count, sizeof(*s->good));
	if (!s->good)
		return;
	memcpy(s->good, list, count * sizeof(*list));
	s->n_good = prefix_simplify(s->good, count);
	s->good_wall_ms = good_wall_ms;
	/* Together with others it may be too many for the firewall, under another configuration. */
	if (allow_is_overfull(al, (size_t)(s - al->sources), s->good, s->n_good)) {
		free(s->good);
		s->good = NULL;
		s->n_good = 0;
	}
}

int allow_check(const struct conf *conf, const char *config_path, char error[static CONF_ERROR_LEN])
{
	for (size_t i = 0; i < conf->n_breakers; i++) {
		const struct conf_strings *files = &conf->breakers[i].allow_sources.files;

		for (size_t f = 0; f < files->count; f++) {
			auto_free struct prefix *list = NULL;
			char why[ALLOW_FILE_ERROR_LEN];
			struct allow_file_id id;
			size_t count;
			int err = allow_file_read(files->items[f], &list, &count, &id, why);

			if (err == 0)
				continue;
			snprintf(error, CONF_ERROR_LEN,
			         "%.150s:%u:%u: breakers[].allow_from: %.300s", config_path,
			         files->marks[f].line, files->marks[f].column, why);
			return err;
		}
	}
	return 0;
}
