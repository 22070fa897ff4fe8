/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "common/cleanup.h"
#include "scanner/history_internal.h"
#include "scanner/target.h"

#include <errno.h>
#include <string.h>

AUTO_CLEANUP(json, json_t *, json_decref)
#define auto_json __attribute__((cleanup(cleanup_json)))

/* The columns of a sweep, its shards together. */
#define SWEEP_COLUMNS                                                                              \
	"name, max(vantage), min(started_ms), ifnull(max(ended_ms), 0), max(shards),"              \
	" count(*), min(complete), group_concat(ifnull(verdicts, ''), ';')"

static void add_verdicts(const char *text, struct history_sweep *out)
{
	size_t i = 0;

	while (*text) {
		char *end;
		uint64_t n = strtoull(text, &end, 10);

		if (end == text) {
			i = 0; /* ';': the next shard */
			text++;
			continue;
		}
		if (i < VERDICT_COUNT)
			out->verdicts[i++] += n;
		text = end;
	}
}

static void read_sweep(sqlite3_stmt *s, struct history_sweep *out)
{
	*out = (struct history_sweep){
	    .started_ms = sqlite3_column_int64(s, 2),
	    .ended_ms = sqlite3_column_int64(s, 3),
	    .shards = (unsigned)sqlite3_column_int(s, 4),
	    .shards_present = (unsigned)sqlite3_column_int(s, 5),
	    .interrupted = sqlite3_column_int(s, 6) == 0,
	};
	snprintf(out->name, sizeof(out->name), "%s", history_text(s, 0));
	snprintf(out->vantage, sizeof(out->vantage), "%s", history_text(s, 1));
	add_verdicts(history_text(s, 7), out);
}

int history_find_sweep(struct history *h, const char *name, const struct history_sweep *before,
                       struct history_sweep *out)
{
	auto_statement sqlite3_stmt *statement = NULL;
	int err, rc;

	if (name)
		err =
		    history_prepare(h, &statement,
		                    "SELECT " SWEEP_COLUMNS " FROM sweep"
		                    " WHERE substr(name, 1, length(?1)) = ?1 GROUP BY name LIMIT 2",
		                    "s", name);
	else if (before)
		err = history_prepare(h, &statement,
		                      "SELECT " SWEEP_COLUMNS " FROM sweep"
		                      " WHERE vantage = ? AND name <> ? GROUP BY name"
		                      " HAVING min(started_ms) <= ?"
		                      " ORDER BY min(started_ms) DESC, max(id) DESC LIMIT 1",
		                      "ssi", before->vantage, before->name, before->started_ms);
	else
		err = history_prepare(h, &statement,
		                      "SELECT " SWEEP_COLUMNS " FROM sweep GROUP BY name"
		                      " ORDER BY min(started_ms) DESC, max(id) DESC LIMIT 1",
		                      "");
	if (err < 0)
		return err;
	rc = sqlite3_step(statement);
	if (rc == SQLITE_DONE)
		return -ENOENT;
	if (rc != SQLITE_ROW)
		return -EIO;
	read_sweep(statement, out);
	if (name && sqlite3_step(statement) == SQLITE_ROW)
		return -EINVAL;
	return 0;
}

/* Whether one row of coverage has the endpoint. */
static bool covers(const char *network, const char *ports, const struct endpoint *e,
                   const char *host)
{
	char why[TARGET_ERROR_LEN];
	struct target target;
	struct port_list list;
	bool has_port = !*ports;

	if (target_parse(network, &target, why) < 0)
		return false;
	if (target.host[0] ? strcasecmp(target.host, host) != 0
	                   : !prefix_contains(&target.prefix, e))
		return false;
	if (has_port || port_list_parse(ports, &list, why) < 0)
		return has_port;
	for (size_t i = 0; i < list.count && !has_port; i++)
		has_port = list.ports[i] == e->port;
	port_list_free(&list);
	return has_port;
}

static int find_absence(struct history *h, const struct history_sweep *sweep, const char *endpoint,
                        const char *host, struct history_absence *out)
{
	auto_statement sqlite3_stmt *s = NULL;
	struct endpoint e;
	int rc;

	*out = (struct history_absence){
	    .shard_missing = sweep->shards_present < sweep->shards,
	    .interrupted = sweep->interrupted,
	};
	if (endpoint_parse(endpoint, &e) < 0)
		return -EIO;
	if (history_prepare(h, &s,
	                    /* Of the names only the one; no numeric network has these letters. */
	                    "SELECT kind, network, ports FROM coverage"
	                    " WHERE sweep IN (SELECT id FROM sweep WHERE name = ?)"
	                    " AND (network = ? COLLATE NOCASE OR network NOT GLOB '*[g-zG-Z]*')",
	                    "ss", sweep->name, host) < 0)
		return -EIO;
	while ((rc = sqlite3_step(s)) == SQLITE_ROW) {
		if (!covers(history_text(s, 1), history_text(s, 2), &e, host))
			continue;
		if (sqlite3_column_int(s, 0) == HISTORY_EXCLUDES)
			out->excluded = true;
		else
			out->covered = true;
	}
	return rc == SQLITE_DONE ? 0 : -EIO;
}

static const char *const compared[] = {"verdict", "severity", "risk",      "kind",
                                       "scheme",  "path",     "program",   "module",
                                       "command", "profiles", "relatives", "go_version"};

static int rank(const json_t *finding)
{
	enum finding_severity severity = SEVERITY_NONE;
	const char *name = json_string_value(json_object_get(finding, "severity"));
	const char *verdict = json_string_value(json_object_get(finding, "verdict"));

	if (name)
		finding_severity_parse(name, &severity);
	return (int)severity * 4 + (json_is_string(json_object_get(finding, "risk")) ? 2 : 0) +
	       (verdict && strcmp(verdict, "confirmed") == 0);
}

static const char *show(const json_t *value, char **text)
{
	if (json_is_string(value))
		return json_string_value(value);
	if (!value || json_is_null(value))
		return "none";
	*text = json_dumps(value, JSON_COMPACT | JSON_ENCODE_ANY);
	return *text ? *text : "?";
}

json_t *history_compare(const char *before, const char *after, bool *worse)
{
	auto_json json_t *a = json_loads(before, 0, NULL), *b = json_loads(after, 0, NULL);
	auto_json json_t *changes = json_array();

	if (!a || !b || !changes)
		return NULL;
	*worse = rank(b) > rank(a);
	for (size_t i = 0; i < ARRAY_LEN(compared); i++) {
		const json_t *was = json_object_get(a, compared[i]);
		const json_t *is = json_object_get(b, compared[i]);
		auto_free char *was_text = NULL, *is_text = NULL;

		if (json_equal(was, is))
			continue;
		if (json_array_append_new(changes, json_sprintf("%s: %s, was %s", compared[i],
		                                                show(is, &is_text),
		                                                show(was, &was_text))) < 0)
			return NULL;
	}
	return steal_ptr(&changes);
}

/* One endpoint while its observations are read, oldest first. */
struct subject {
	int64_t id; /* 0: none yet */
	char *endpoint, *host, *prefix;
	struct history_track before, now;
	char *exposed_before, *exposed_now; /* findings */
	bool seen;                          /* by the sweep itself */
	struct history_row row;             /* what it saw */
	char vantage[INET6_ADDRSTRLEN];
};

static void subject_fini(struct subject *s)
{
	free(s->endpoint);
	free(s->host);
	free(s->prefix);
	free(s->exposed_before);
	free(s->exposed_now);
	memset(s, 0, sizeof(*s));
}

static int subject_begin(struct subject *s, sqlite3_stmt *row)
{
	subject_fini(s);
	s->id = sqlite3_column_int64(row, 0);
	s->endpoint = strdup(history_text(row, 1));
	s->host = strdup(history_text(row, 2));
	s->prefix = strdup(history_text(row, 3));
	return s->endpoint && s->host && s->prefix ? 0 : -ENOMEM;
}

static int keep_finding(char **slot, const char *text)
{
	char *copy = strdup(text);

	if (!copy)
		return -ENOMEM;
	free(*slot);
	*slot = copy;
	return 0;
}

/* Columns: those of history_walk(). */
static int subject_feed(struct subject *s, sqlite3_stmt *row, const struct history_sweep *base,
                        const struct history_sweep *sweep)
{
	struct history_row r = {
	    .time_ms = sqlite3_column_int64(row, 4),
	    .walled = sqlite3_column_int(row, 6) != 0,
	    .vantage = s->vantage,
	};
	bool own = strcmp(history_text(row, 9), sweep->name) == 0;
	bool counts = !own && (!base || sqlite3_column_int64(row, 10) <= base->started_ms);
	const char *finding = history_text(row, 8);
	int err = 0;

	if (!own && !counts)
		return 0; /* between base and sweep */
	if (finding_verdict_parse(history_text(row, 5), &r.verdict) < 0)
		return -EIO;
	snprintf(s->vantage, sizeof(s->vantage), "%s", history_text(row, 7));
	if (counts) {
		history_track_feed(&s->before, &r);
		if (*finding && history_is_exposed(r.verdict))
			err = keep_finding(&s->exposed_before, finding);
		s->now = s->before;
		return err;
	}
	s->seen = true;
	s->row = r;
	history_track_feed(&s->now, &r);
	if (*finding && history_is_exposed(r.verdict))
		err = keep_finding(&s->exposed_now, finding);
	return err;
}

static int tell_changes(const struct subject *s, struct history_entry *entry)
{
	auto_json json_t *changes = NULL;

	if (entry->state != HISTORY_STILL || !s->exposed_before || !s->exposed_now)
		return 0;
	changes = history_compare(s->exposed_before, s->exposed_now, &entry->worse);
	if (!changes)
		return -ENOMEM;
	if (json_array_size(changes) > 0) {
		entry->state = HISTORY_CHANGED;
		entry->before = s->exposed_before;
	}
	return 0;
}

static int subject_end(struct history *h, const struct subject *s,
                       const struct history_sweep *sweep, history_entry_cb *cb, void *arg)
{
	struct history_entry entry = {
	    .endpoint = s->endpoint,
	    .host = s->host,
	    .prefix = s->prefix,
	    .track = s->now,
	    .verdict = s->seen ? finding_verdict_name(s->row.verdict) : NULL,
	    .finding = s->exposed_now ? s->exposed_now : s->exposed_before,
	};
	struct history_absence absence = {0};
	int err = 0;

	if (s->id == 0 || s->now.first_ms == 0)
		return 0;
	if (!s->seen)
		err = find_absence(h, sweep, s->endpoint, s->host, &absence);
	if (err)
		return err;
	if (!s->before.open && !(s->seen && history_is_exposed(s->row.verdict))) {
		entry.earlier = true;
		entry.state = HISTORY_FIXED;
	} else {
		entry.state = history_judge(&s->before, s->seen ? &s->row : NULL, &absence);
	}
	entry.worse = entry.state == HISTORY_NEW;
	err = tell_changes(s, &entry);
	return err ? err : cb(&entry, arg);
}

int history_walk(struct history *h, const struct history_sweep *base,
                 const struct history_sweep *sweep, history_entry_cb *cb, void *arg)
{
	auto_statement sqlite3_stmt *row = NULL;
	struct subject s = {0};
	int err = 0, rc = SQLITE_DONE;

	/* Shards of one sweep count as begun together; time decides within, id among equals. */
	if (history_prepare(
	        h, &row,
	        "SELECT s.id, s.endpoint, s.host, s.prefix, o.time_ms, o.verdict, o.walled,"
	        " o.vantage, o.finding, w.name, g.started"
	        " FROM observation o JOIN subject s ON s.id = o.subject"
	        " JOIN sweep w ON w.id = o.sweep"
	        " JOIN (SELECT name, min(started_ms) AS started, max(id) AS last FROM sweep"
	        "       GROUP BY name) g ON g.name = w.name"
	        " WHERE w.vantage = ?1 AND (g.started < ?2 OR w.name = ?3 OR"
	        "  (g.started = ?2 AND g.last < (SELECT max(id) FROM sweep WHERE name = ?3)))"
	        " ORDER BY s.id, g.started, g.last, o.time_ms",
	        "sis", sweep->vantage, sweep->started_ms, sweep->name) < 0)
		return -EIO;
	while (!err && (rc = sqlite3_step(row)) == SQLITE_ROW) {
		if (sqlite3_column_int64(row, 0) != s.id) {
			err = subject_end(h, &s, sweep, cb, arg);
			if (!err)
				err = subject_begin(&s, row);
		}
		if (!err)
			err = subject_feed(&s, row, base, sweep);
	}
	if (!err && rc != SQLITE_DONE)
		err = -EIO;
	if (!err)
		err = subject_end(h, &s, sweep, cb, arg);
	subject_fini(&s);
	return err;
}

char *history_describe_coverage(struct history *h, const struct history_sweep *sweep,
                                enum history_coverage kind)
{
	auto_statement sqlite3_stmt *s = NULL;
	char *text = NULL;
	size_t length = 0;
	FILE *out = open_memstream(&text, &length);
	unsigned count = 0;

	if (!out)
		return NULL;
	if (history_prepare(h, &s,
	                    "SELECT DISTINCT network, ports FROM coverage WHERE kind = ?"
	                    " AND sweep IN (SELECT id FROM sweep WHERE name = ?)",
	                    "is", (int64_t)kind, sweep->name) == 0) {
		while (sqlite3_step(s) == SQLITE_ROW) {
			/* A list of a hundred thousand hosts says nothing to anybody. */
			if (count++ < 8)
				fprintf(out, "%s%s%s%s", count > 1 ? "; " : "", history_text(s, 0),
				        *history_text(s, 1) ? " on " : "", history_text(s, 1));
		}
	}
	if (count > 8)
		fprintf(out, "; and %u more", count - 8);
	fclose(out);
	return text;
}

int history_each_endpoint(struct history *h, int (*each)(const struct endpoint *e, void *arg),
                          void *arg)
{
	auto_statement sqlite3_stmt *statement = NULL;
	struct endpoint e;
	int err = 0, rc;

	if (history_prepare(h, &statement, "SELECT DISTINCT endpoint FROM subject", "") < 0)
		return -EIO;
	while (!err && (rc = sqlite3_step(statement)) == SQLITE_ROW) {
		/* What no scan has written is not to be found by one. */
		if (endpoint_parse(history_text(statement, 0), &e) == 0)
			err = each(&e, arg);
	}
	return err ? err : rc == SQLITE_DONE ? 0 : -EIO;
}
