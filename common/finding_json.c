/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Findings as JSON. The order of the keys is that of the documentation, which also is the order
 * in which a person wants to read them.
 */
#include "common/cleanup.h"
#include "common/finding.h"

#include <errno.h>
#include <string.h>
#include <time.h>

AUTO_CLEANUP(json, json_t *, json_decref)
#define auto_json __attribute__((cleanup(cleanup_json)))

enum {
	TIME_TEXT_LEN = 32,
	/* 1970-01-01T00:00:00Z to 9999-12-31T23:59:59Z: what four digits of a year can say */
	TIME_YEAR_MIN = 1970,
	TIME_YEAR_MAX = 9999,
};
static const int64_t time_max_ms = INT64_C(253402300799999);

/* RFC 3339, UTC; with milliseconds where they are not zero. */
static const char *format_time(int64_t ms, char text[static TIME_TEXT_LEN])
{
	time_t seconds;
	struct tm tm;
	size_t n;

	if (ms < 0)
		ms = 0;
	if (ms > time_max_ms)
		ms = time_max_ms;
	seconds = (time_t)(ms / 1000);
	gmtime_r(&seconds, &tm);
	n = strftime(text, TIME_TEXT_LEN, "%Y-%m-%dT%H:%M:%S", &tm);
	if (ms % 1000)
		snprintf(text + n, TIME_TEXT_LEN - n, ".%03dZ", (int)(ms % 1000));
	else
		snprintf(text + n, TIME_TEXT_LEN - n, "Z");
	return text;
}

static json_t *list_to_json(const struct finding_list *list)
{
	auto_json json_t *array = json_array();

	if (!array)
		return NULL;
	for (size_t i = 0; i < list->count; i++)
		if (json_array_append_new(array, json_string(list->items[i])) < 0)
			return NULL;
	return steal_ptr(&array);
}

static json_t *string_or_null(const char *text)
{
	return text ? json_string(text) : json_null();
}

json_t *finding_to_json(const struct finding *f)
{
	auto_json json_t *o = json_object();
	char when[TIME_TEXT_LEN], endpoint[ENDPOINT_TEXT_LEN], address[ENDPOINT_TEXT_LEN];
	int bad = 0;

	if (!o)
		return NULL;
	format_time(f->time_ms, when);
	endpoint_format(&f->endpoint, endpoint);
	endpoint_format_address(&f->endpoint, address);
	/* json_object_set_new() takes NULL (out of memory) and then returns -1 */
	bad |= json_object_set_new(o, "schema", json_integer(FINDING_SCHEMA));
	bad |= json_object_set_new(o, "time", json_string(when));
	bad |= json_object_set_new(o, "scan_id", string_or_null(f->scan_id));
	bad |= json_object_set_new(o, "vantage", string_or_null(f->vantage));
	bad |= json_object_set_new(o, "endpoint", json_string(endpoint));
	bad |= json_object_set_new(o, "address", json_string(address));
	bad |= json_object_set_new(o, "port", json_integer(f->endpoint.port));
	bad |= json_object_set_new(o, "scheme", string_or_null(f->scheme));
	bad |= json_object_set_new(o, "host", string_or_null(f->host));
	bad |= json_object_set_new(o, "path", string_or_null(f->path));
	bad |= json_object_set_new(o, "verdict", json_string(finding_verdict_name(f->verdict)));
	bad |= json_object_set_new(o, "severity", json_string(finding_severity_name(f->severity)));
	bad |= json_object_set_new(o, "risk", string_or_null(f->high_risk ? "HIGH_RISK" : NULL));
	bad |= json_object_set_new(o, "kind", string_or_null(f->kind));
	bad |= json_object_set_new(o, "evidence", list_to_json(&f->evidence));
	bad |= json_object_set_new(o, "profiles", list_to_json(&f->profiles));
	bad |= json_object_set_new(o, "status", f->status ? json_integer(f->status) : json_null());
	bad |= json_object_set_new(o, "go_version", string_or_null(f->go_version));
	bad |= json_object_set_new(o, "module", string_or_null(f->module));
	bad |= json_object_set_new(o, "program", string_or_null(f->program));
	bad |= json_object_set_new(o, "command", list_to_json(&f->command));
	bad |= json_object_set_new(o, "identified_by", list_to_json(&f->identified_by));
	bad |= json_object_set_new(o, "relatives", list_to_json(&f->relatives));
	bad |= json_object_set_new(o, "serves", list_to_json(&f->serves));
	bad |= json_object_set_new(o, "advice", string_or_null(f->advice));
	bad |= json_object_set_new(o, "signatures", string_or_null(f->signatures));
	bad |= json_object_set_new(o, "labels", list_to_json(&f->labels));
	bad |= json_object_set_new(o, "accepted", string_or_null(f->accepted));
	bad |= json_object_set_new(o, "error", string_or_null(f->error));
	bad |= json_object_set_new(o, "latency_ms",
	                           f->latency_ms < 0 ? json_null() : json_integer(f->latency_ms));
	bad |= json_object_set_new(o, "bytes", json_integer(f->bytes));
	return bad ? NULL : steal_ptr(&o);
}

/* Drops the last item of the longest list; false when all are empty. */
static bool shorten(json_t *object)
{
	static const char *const keys[] = {"command",   "profiles", "evidence", "identified_by",
	                                   "relatives", "labels",   "serves"};
	json_t *longest = NULL;

	for (size_t i = 0; i < ARRAY_LEN(keys); i++) {
		json_t *list = json_object_get(object, keys[i]);

		if (!longest || json_array_size(list) > json_array_size(longest))
			longest = list;
	}
	return json_array_size(longest) > 0 &&
	       json_array_remove(longest, json_array_size(longest) - 1) == 0;
}

char *finding_to_line(const struct finding *f)
{
	auto_json json_t *object = finding_to_json(f);

	if (!object)
		return NULL;
	/*
	 * Full lists of full strings do not fit into a frame; with a few hundred items to
	 * drop, and real findings a tenth of the limit, the simple loop will do.
	 */
	while (json_dumpb(object, NULL, 0, JSON_COMPACT) > FINDING_JSON_MAX_BYTES)
		if (!shorten(object))
			return NULL;
	return json_dumps(object, JSON_COMPACT);
}

/* The reader: one object, the finding it fills, and the first thing that was wrong. */
struct reader {
	const json_t *object;
	struct finding *f;
	char *why;
	int error;
};

static void fail(struct reader *r, const char *key, const char *what)
{
	if (r->error)
		return;
	r->error = -EINVAL;
	snprintf(r->why, 128, "%s: %s", key, what);
}

static json_t *get(struct reader *r, const char *key)
{
	json_t *value = json_object_get(r->object, key);

	if (!value)
		fail(r, key, "missing");
	return value;
}

/* The writer has cleaned every string; one that is not clean was not written by it. */
static char *read_clean(struct reader *r, const char *key, const json_t *value)
{
	size_t length = json_string_length(value);
	auto_free char *copy = NULL;

	if (!json_is_string(value)) {
		fail(r, key, "not a string where one belongs");
		return NULL;
	}
	if (finding_set_bytes(&copy, json_string_value(value), length) < 0) {
		r->error = r->error ? r->error : -ENOMEM;
		return NULL;
	}
	if (strlen(copy) != length || memcmp(copy, json_string_value(value), length) != 0) {
		fail(r, key, "too long, or with control characters");
		return NULL;
	}
	return steal_ptr(&copy);
}

static const char *get_string(struct reader *r, const char *key)
{
	const json_t *value = get(r, key);

	if (value && !json_is_string(value))
		fail(r, key, "not a string");
	return r->error ? "" : json_string_value(value);
}

static void read_string_or_null(struct reader *r, const char *key, char **slot)
{
	const json_t *value = get(r, key);

	if (!value || json_is_null(value))
		return;
	*slot = read_clean(r, key, value);
}

static int64_t read_integer(struct reader *r, const char *key, int64_t min, int64_t max)
{
	const json_t *value = get(r, key);

	if (!value)
		return 0;
	if (!json_is_integer(value))
		fail(r, key, "not an integer");
	else if (json_integer_value(value) < min || json_integer_value(value) > max)
		fail(r, key, "out of range");
	return r->error ? 0 : json_integer_value(value);
}

static int64_t read_integer_or_null(struct reader *r, const char *key, int64_t min, int64_t max,
                                    int64_t otherwise)
{
	const json_t *value = get(r, key);

	if (!value || json_is_null(value))
		return otherwise;
	return read_integer(r, key, min, max);
}

static void read_list(struct reader *r, const char *key, struct finding_list *list)
{
	const json_t *array = get(r, key);
	const json_t *item;
	size_t i;

	if (!array)
		return;
	if (!json_is_array(array)) {
		fail(r, key, "not a list");
		return;
	}
	if (json_array_size(array) > FINDING_LIST_MAX) {
		fail(r, key, "too many items");
		return;
	}
	json_array_foreach (array, i, item) {
		auto_free char *text = read_clean(r, key, item);

		if (!text)
			return;
		if (finding_list_give(list, text) < 0) {
			r->error = r->error ? r->error : -ENOMEM;
			return;
		}
		steal_ptr(&text);
	}
}

static bool read_digits(const char **text, size_t count, int *out)
{
	int value = 0;

	for (size_t i = 0; i < count; i++) {
		char c = (*text)[i];

		if (c < '0' || c > '9')
			return false;
		value = value * 10 + (c - '0');
	}
	*text += count;
	*out = value;
	return true;
}

static bool skip(const char **text, char expected)
{
	if (**text != expected)
		return false;
	(*text)++;
	return true;
}

/* "2026-11-22T21:00:00Z" or "2026-11-22T21:00:00.123Z": what format_time() writes, no more. */
static bool parse_time(const char *text, int64_t *out)
{
	struct tm tm = {0}, back;
	int year, month, ms = 0;
	time_t seconds;

	if (!read_digits(&text, 4, &year) || !skip(&text, '-') || !read_digits(&text, 2, &month) ||
	    !skip(&text, '-') || !read_digits(&text, 2, &tm.tm_mday) || !skip(&text, 'T') ||
	    !read_digits(&text, 2, &tm.tm_hour) || !skip(&text, ':') ||
	    !read_digits(&text, 2, &tm.tm_min) || !skip(&text, ':') ||
	    !read_digits(&text, 2, &tm.tm_sec))
		return false;
	if (*text == '.' && (!skip(&text, '.') || !read_digits(&text, 3, &ms)))
		return false;
	if (strcmp(text, "Z") != 0 || year < TIME_YEAR_MIN || year > TIME_YEAR_MAX)
		return false;
	tm.tm_year = year - 1900;
	tm.tm_mon = month - 1;
	back = tm;
	seconds = timegm(&back); /* normalises: the 31st of February shows by its change */
	if (back.tm_mon != tm.tm_mon || back.tm_mday != tm.tm_mday || back.tm_hour != tm.tm_hour ||
	    back.tm_min != tm.tm_min || back.tm_sec != tm.tm_sec)
		return false;
	*out = (int64_t)seconds * 1000 + ms;
	return true;
}

static void read_endpoint(struct reader *r)
{
	const char *endpoint = get_string(r, "endpoint");
	const char *address = get_string(r, "address");
	uint16_t port = (uint16_t)read_integer(r, "port", 1, 65535);
	struct endpoint other;

	if (r->error)
		return;
	if (endpoint_parse(endpoint, &r->f->endpoint) < 0) {
		fail(r, "endpoint", "not a numeric address and port");
		return;
	}
	if (endpoint_parse_address(address, &other) < 0) {
		fail(r, "address", "not a numeric address");
		return;
	}
	other.port = port;
	if (endpoint_compare(&r->f->endpoint, &other) != 0)
		fail(r, "endpoint", "differs from address and port");
}

static void read_names(struct reader *r)
{
	const char *verdict = get_string(r, "verdict");
	const char *severity = get_string(r, "severity");
	auto_free char *risk = NULL;

	if (!r->error && finding_verdict_parse(verdict, &r->f->verdict) < 0)
		fail(r, "verdict", "not a known verdict");
	if (!r->error && finding_severity_parse(severity, &r->f->severity) < 0)
		fail(r, "severity", "not a known severity");
	read_string_or_null(r, "risk", &risk);
	if (risk && strcmp(risk, "HIGH_RISK") != 0)
		fail(r, "risk", "neither null nor HIGH_RISK");
	r->f->high_risk = risk != NULL;
	read_string_or_null(r, "scheme", &r->f->scheme);
	if (r->f->scheme && strcmp(r->f->scheme, "http") != 0 && strcmp(r->f->scheme, "https") != 0)
		fail(r, "scheme", "neither null, http nor https");
}

static void read_all(struct reader *r)
{
	struct finding *f = r->f;
	const char *when = get_string(r, "time");

	if (!r->error && !parse_time(when, &f->time_ms))
		fail(r, "time", "not a time as 2026-11-22T21:00:00Z");
	read_endpoint(r);
	read_names(r);
	read_string_or_null(r, "scan_id", &f->scan_id);
	read_string_or_null(r, "vantage", &f->vantage);
	read_string_or_null(r, "host", &f->host);
	read_string_or_null(r, "path", &f->path);
	read_string_or_null(r, "kind", &f->kind);
	read_list(r, "evidence", &f->evidence);
	read_list(r, "profiles", &f->profiles);
	f->status = (int)read_integer_or_null(r, "status", 100, 999, 0);
	read_string_or_null(r, "go_version", &f->go_version);
	read_string_or_null(r, "module", &f->module);
	read_string_or_null(r, "program", &f->program);
	read_list(r, "command", &f->command);
	read_list(r, "identified_by", &f->identified_by);
	read_list(r, "relatives", &f->relatives);
	/* not yet written by the first releases, whose findings are kept in histories */
	if (json_object_get(r->object, "serves"))
		read_list(r, "serves", &f->serves);
	read_string_or_null(r, "advice", &f->advice);
	read_string_or_null(r, "signatures", &f->signatures);
	read_list(r, "labels", &f->labels);
	read_string_or_null(r, "accepted", &f->accepted);
	read_string_or_null(r, "error", &f->error);
	f->latency_ms = read_integer_or_null(r, "latency_ms", 0, INT64_MAX, -1);
	f->bytes = read_integer(r, "bytes", 0, INT64_MAX);
}

static void refuse_unknown_keys(struct reader *r, json_t *object)
{
	static const char *const known[] = {
	    "schema",        "time",      "scan_id",  "vantage",    "endpoint", "address",
	    "port",          "scheme",    "host",     "path",       "verdict",  "severity",
	    "risk",          "kind",      "evidence", "profiles",   "status",   "go_version",
	    "module",        "command",   "error",    "latency_ms", "bytes",    "program",
	    "identified_by", "relatives", "advice",   "signatures", "labels",   "accepted",
	    "serves",
	};
	const char *key;
	json_t *value;

	json_object_foreach (object, key, value) {
		bool found = false;

		for (size_t i = 0; i < ARRAY_LEN(known) && !found; i++)
			found = strcmp(key, known[i]) == 0;
		if (!found)
			fail(r, "object", "has a key that this schema does not know");
	}
}

int finding_from_json(const json_t *object, struct finding *out, char why[static 128])
{
	struct finding f;
	struct reader r = {.object = object, .f = &f, .why = why};
	/* jansson's iterators take no const, though they change nothing */
	json_t *mutable = (json_t *)(uintptr_t)object;
	int64_t schema;

	if (!json_is_object(object)) {
		snprintf(why, 128, "not a JSON object");
		return -EINVAL;
	}
	finding_init(&f);
	schema = read_integer(&r, "schema", 1, INT32_MAX);
	if (!r.error && schema <= FINDING_SCHEMA)
		refuse_unknown_keys(&r, mutable);
	if (!r.error)
		read_all(&r);
	if (r.error) {
		finding_fini(&f);
		return r.error;
	}
	*out = f;
	return 0;
}

int finding_from_line(const char *line, size_t length, struct finding *out, char why[static 128])
{
	auto_json json_t *object = NULL;
	json_error_t error;

	if (length > FINDING_JSON_MAX_BYTES) {
		snprintf(why, 128, "longer than %d bytes", FINDING_JSON_MAX_BYTES);
		return -EINVAL;
	}
	object = json_loadb(line, length, JSON_REJECT_DUPLICATES, &error);
	if (!object) {
		if (json_error_code(&error) == json_error_out_of_memory)
			return -ENOMEM;
		snprintf(why, 128, "column %d: %.100s", error.column, error.text);
		return -EINVAL;
	}
	return finding_from_json(object, out, why);
}
