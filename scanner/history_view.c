/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "scanner/history_view.h"

#include "common/cleanup.h"
#include "common/clock.h"

#include <errno.h>
#include <string.h>

AUTO_CLEANUP(json, json_t *, json_decref)
#define auto_json __attribute__((cleanup(cleanup_json)))

int history_view_init(struct history_view *view, const struct accept_list *accept, int64_t now_ms,
                      bool earlier)
{
	*view = (struct history_view){.accept = accept, .now_ms = now_ms, .earlier = earlier};
	view->entries = json_array();
	return view->entries ? 0 : -ENOMEM;
}

void history_view_fini(struct history_view *view)
{
	json_decref(view->entries);
	view->entries = NULL;
}

static json_t *time_or_null(int64_t ms)
{
	char text[CLOCK_TEXT_LEN];

	return ms ? json_string(clock_format_wall(ms, text)) : json_null();
}

/*
 * A history is a file, and may have been edited: its texts are held to what findings are held to
 * when they are made.
 */
static json_t *text_or_null(const char *text)
{
	auto_free char *clean = NULL;

	if (!text || !*text)
		return json_null();
	return finding_set(&clean, text) == 0 ? json_string(clean) : NULL;
}

/* Of a parsed value, with everything in it. */
static int clean_texts(json_t *value)
{
	auto_free char *clean = NULL;
	const char *key;
	json_t *item;
	size_t i;
	int bad = 0;

	if (json_is_string(value))
		return finding_set(&clean, json_string_value(value)) == 0
		           ? json_string_set(value, clean)
		           : -1;
	json_array_foreach (value, i, item)
		bad |= clean_texts(item);
	json_object_foreach (value, key, item)
		bad |= clean_texts(item);
	return bad;
}

static json_t *find_changes(const struct history_entry *entry)
{
	bool worse;

	if (!entry->before || !entry->finding)
		return json_array();
	return history_compare(entry->before, entry->finding, &worse);
}

static json_t *find_accepted(const struct history_view *view, const struct history_entry *entry,
                             bool *accepted)
{
	const struct acceptance *a = NULL;
	auto_free char *text = NULL;
	struct endpoint e;

	if (endpoint_parse(entry->endpoint, &e) == 0)
		a = accept_find(view->accept, &e, entry->host, view->now_ms);
	*accepted = a != NULL;
	if (!a)
		return json_null();
	text = accept_describe(a);
	return text ? json_string(text) : NULL;
}

static const char *find_reason(const struct history_entry *entry)
{
	if (entry->state == HISTORY_NEW && entry->track.returned)
		return "had been fixed before";
	return history_state_reason(entry->state);
}

int history_view_add(const struct history_entry *entry, void *arg)
{
	struct history_view *view = arg;
	const struct history_track *track = &entry->track;
	auto_json json_t *o = json_object();
	auto_json json_t *finding = NULL, *changes = NULL;
	bool accepted = false;
	int bad = 0;

	if (!o)
		return -ENOMEM;
	if (entry->earlier && !view->earlier)
		return 0;
	finding = entry->finding ? json_loads(entry->finding, 0, NULL) : json_null();
	if (!finding)
		return -EIO;
	bad |= clean_texts(finding);
	bad |= json_object_set_new(o, "schema", json_integer(1));
	bad |= json_object_set_new(o, "state", json_string(history_state_name(entry->state)));
	bad |= json_object_set_new(o, "worse", json_boolean(entry->worse));
	bad |= json_object_set_new(o, "endpoint", text_or_null(entry->endpoint));
	bad |= json_object_set_new(o, "host", text_or_null(entry->host));
	bad |= json_object_set_new(o, "prefix", text_or_null(entry->prefix));
	bad |= json_object_set_new(o, "verdict", text_or_null(entry->verdict));
	bad |= json_object_set_new(o, "first_seen", time_or_null(track->first_ms));
	bad |= json_object_set_new(o, "last_seen", time_or_null(track->last_ms));
	bad |= json_object_set_new(o, "fixed", time_or_null(track->fixed_ms));
	bad |= json_object_set_new(o, "returned", json_boolean(track->returned));
	bad |= json_object_set_new(o, "reason", text_or_null(find_reason(entry)));
	changes = find_changes(entry);
	bad |= !changes || clean_texts(changes);
	bad |= json_object_set(o, "changes", changes);
	bad |= json_object_set_new(o, "accepted", find_accepted(view, entry, &accepted));
	bad |= json_object_set(o, "finding", finding);
	if (bad || json_array_append(view->entries, o) < 0)
		return -ENOMEM;
	view->worse = view->worse || (entry->worse && !accepted);
	return 0;
}

static const char *get(const json_t *object, const char *key)
{
	const char *text = json_string_value(json_object_get(object, key));

	return text ? text : "-";
}

/* What identifies it best. */
static const char *find_program(const json_t *finding)
{
	static const char *const keys[] = {"program", "module"};
	const char *text;

	for (size_t i = 0; i < ARRAY_LEN(keys); i++) {
		text = json_string_value(json_object_get(finding, keys[i]));
		if (text)
			return text;
	}
	text = json_string_value(json_array_get(json_object_get(finding, "command"), 0));
	return text ? text : "-";
}

/* "2026-11-22 21:00": the seconds are for programs. */
static const char *short_time(const json_t *object, const char *key, char text[static 17])
{
	const char *full = json_string_value(json_object_get(object, key));

	if (!full || strlen(full) < 16)
		return "-";
	memcpy(text, full, 16);
	text[10] = ' ';
	text[16] = '\0';
	return text;
}

static void print_note(const json_t *o, FILE *out)
{
	const char *host = json_string_value(json_object_get(o, "host"));
	const char *reason = json_string_value(json_object_get(o, "reason"));
	const char *accepted = json_string_value(json_object_get(o, "accepted"));
	const json_t *change;
	char fixed[17];
	size_t i;

	fputs(find_program(json_object_get(o, "finding")), out);
	if (host)
		fprintf(out, " (%s)", host);
	if (json_is_string(json_object_get(o, "fixed")))
		fprintf(out, "; fixed %s", short_time(o, "fixed", fixed));
	if (reason)
		fprintf(out, "; %s", reason);
	json_array_foreach (json_object_get(o, "changes"), i, change)
		fprintf(out, "; %s", json_string_value(change));
	json_array_foreach (json_object_get(json_object_get(o, "finding"), "labels"), i, change)
		fprintf(out, " [%s]", json_string_value(change));
	if (accepted)
		fprintf(out, "; %s", accepted);
	fputc('\n', out);
}

static void print_row(const json_t *o, FILE *out)
{
	const json_t *finding = json_object_get(o, "finding");
	char first[17], last[17];

	fprintf(out, "%-13s %-21s %-8s %-9s %-16s %-16s ", get(o, "state"), get(o, "endpoint"),
	        get(finding, "severity"), get(finding, "risk"), short_time(o, "first_seen", first),
	        short_time(o, "last_seen", last));
	print_note(o, out);
}

static void print_rows(const struct history_view *view, bool accepted, FILE *out)
{
	const json_t *o;
	size_t i, rows = 0;

	for (unsigned state = 0; state < HISTORY_STATE_COUNT; state++) {
		json_array_foreach (view->entries, i, o) {
			if (strcmp(get(o, "state"), history_state_name(state)) != 0 ||
			    json_is_string(json_object_get(o, "accepted")) != accepted)
				continue;
			if (rows++ == 0)
				fprintf(out, "%s%-13s %-21s %-8s %-9s %-16s %-16s %s\n",
				        accepted ? "\naccepted risks\n" : "", "STATE", "ENDPOINT",
				        "SEVERITY", "RISK", "FIRST SEEN", "LAST SEEN", "PROGRAM");
			print_row(o, out);
		}
	}
}

void history_view_print_table(const struct history_view *view, FILE *out)
{
	print_rows(view, false, out);
	print_rows(view, true, out);
}

int history_view_print_ndjson(const struct history_view *view, FILE *out)
{
	const json_t *o;
	size_t i;

	json_array_foreach (view->entries, i, o) {
		if (json_dumpf(o, out, JSON_COMPACT) < 0 || fputc('\n', out) == EOF)
			return errno ? -errno : -EIO;
	}
	return 0;
}
