/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "scanner/sweep_trailer.h"

#include "common/cleanup.h"
#include "common/clock.h"

#include <errno.h>
#include <stdarg.h>
#include <string.h>
#include <time.h>

AUTO_CLEANUP(json, json_t *, json_decref)
#define auto_json __attribute__((cleanup(cleanup_json)))

static json_t *time_to_json(int64_t ms)
{
	char text[CLOCK_TEXT_LEN];

	return json_string(clock_format_wall(ms, text));
}

static json_t *verdicts_to_json(const uint64_t verdicts[static VERDICT_COUNT])
{
	auto_json json_t *o = json_object();

	for (unsigned i = 0; o && i < VERDICT_COUNT; i++)
		if (json_object_set_new(o, finding_verdict_name(i),
		                        json_integer((json_int_t)verdicts[i])) < 0)
			return NULL;
	return steal_ptr(&o);
}

char *sweep_trailer_to_line(const struct sweep_trailer *t)
{
	auto_json json_t *o = json_object();
	int bad = 0;

	if (!o)
		return NULL;
	bad |= json_object_set_new(o, "schema", json_integer(SWEEP_TRAILER_SCHEMA));
	bad |= json_object_set_new(o, "type", json_string("sweep"));
	bad |= json_object_set_new(o, "sweep_id", json_string(t->sweep_id));
	bad |= json_object_set_new(o, "scan_id", json_string(t->scan_id));
	bad |= json_object_set_new(o, "shard", json_integer(t->shard));
	bad |= json_object_set_new(o, "shards", json_integer(t->shards));
	bad |= json_object_set_new(o, "complete", json_boolean(t->complete));
	bad |= json_object_set_new(o, "started", time_to_json(t->started_ms));
	bad |= json_object_set_new(o, "ended", time_to_json(t->ended_ms));
	bad |= json_object_set_new(o, "endpoints", json_integer((json_int_t)t->endpoints));
	bad |= json_object_set_new(o, "verdicts", verdicts_to_json(t->verdicts));
	return bad ? NULL : json_dumps(o, JSON_COMPACT);
}

bool sweep_trailer_is(const json_t *object)
{
	return json_object_get(object, "type") != NULL;
}

/* The first thing that is wrong stays in `why`. */
struct reader {
	const json_t *object;
	char *why;
	bool bad;
};

__attribute__((format(printf, 2, 3))) static void fail(struct reader *r, const char *format, ...)
{
	va_list args;

	if (r->bad)
		return;
	r->bad = true;
	va_start(args, format);
	vsnprintf(r->why, SWEEP_TRAILER_ERROR_LEN, format, args);
	va_end(args);
}

static uint64_t read_count(struct reader *r, const json_t *object, const char *key, uint64_t min,
                           uint64_t max)
{
	const json_t *value = json_object_get(object, key);
	json_int_t n = json_integer_value(value);

	if (!json_is_integer(value))
		fail(r, "%s: not a number", key);
	else if (n < 0 || (uint64_t)n < min || (uint64_t)n > max)
		fail(r, "%s: out of range", key);
	return r->bad ? 0 : (uint64_t)n;
}

static void read_id(struct reader *r, const char *key, char out[static SWEEP_ID_LEN])
{
	const json_t *value = json_object_get(r->object, key);
	const char *text = json_string_value(value);

	if (!text || json_string_length(value) != SWEEP_ID_LEN - 1 ||
	    strspn(text, "0123456789abcdef") != SWEEP_ID_LEN - 1)
		fail(r, "%s: not 32 digits of hex", key);
	else
		memcpy(out, text, SWEEP_ID_LEN);
}

/* What clock_format_wall() writes, and nothing else: so it is written again and compared. */
static int64_t read_time(struct reader *r, const char *key)
{
	const char *text = json_string_value(json_object_get(r->object, key));
	char again[CLOCK_TEXT_LEN];
	struct tm tm = {0};
	int64_t ms;

	if (text && strptime(text, "%Y-%m-%dT%H:%M:%SZ", &tm)) {
		ms = (int64_t)timegm(&tm) * 1000;
		if (ms >= 0 && strcmp(text, clock_format_wall(ms, again)) == 0)
			return ms;
	}
	fail(r, "%s: not a time as 2026-11-22T21:00:00Z", key);
	return 0;
}

static void read_verdicts(struct reader *r, uint64_t out[static VERDICT_COUNT])
{
	const json_t *object = json_object_get(r->object, "verdicts");

	if (!json_is_object(object))
		fail(r, "verdicts: not an object");
	for (unsigned i = 0; i < VERDICT_COUNT && !r->bad; i++)
		out[i] = read_count(r, object, finding_verdict_name(i), 0, INT64_MAX);
}

static void read_all(struct reader *r, struct sweep_trailer *t)
{
	const char *type = json_string_value(json_object_get(r->object, "type"));
	const json_t *complete = json_object_get(r->object, "complete");

	read_count(r, r->object, "schema", 1, SWEEP_TRAILER_SCHEMA);
	if (!type || strcmp(type, "sweep") != 0)
		fail(r, "type: not \"sweep\"");
	read_id(r, "sweep_id", t->sweep_id);
	read_id(r, "scan_id", t->scan_id);
	t->shards = (unsigned)read_count(r, r->object, "shards", 1, SWEEP_SHARDS_MAX);
	t->shard = (unsigned)read_count(r, r->object, "shard", 1, t->shards);
	if (!json_is_boolean(complete))
		fail(r, "complete: neither true nor false");
	t->complete = json_is_true(complete);
	t->started_ms = read_time(r, "started");
	t->ended_ms = read_time(r, "ended");
	t->endpoints = read_count(r, r->object, "endpoints", 0, INT64_MAX);
	read_verdicts(r, t->verdicts);
}

int sweep_trailer_from_json(const json_t *object, struct sweep_trailer *out,
                            char why[static SWEEP_TRAILER_ERROR_LEN])
{
	struct reader r = {.object = object, .why = why};
	struct sweep_trailer t = {0};

	if (!json_is_object(object))
		fail(&r, "not a JSON object");
	else
		read_all(&r, &t);
	if (r.bad)
		return -EINVAL;
	*out = t;
	return 0;
}

int sweep_trailer_from_line(const char *line, size_t length, struct sweep_trailer *out,
                            char why[static SWEEP_TRAILER_ERROR_LEN])
{
	auto_json json_t *object = json_loadb(line, length, JSON_REJECT_DUPLICATES, NULL);

	if (!object) {
		snprintf(why, SWEEP_TRAILER_ERROR_LEN, "not JSON");
		return -EINVAL;
	}
	return sweep_trailer_from_json(object, out, why);
}
