/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "scanner/merge_input.h"

#include "common/cleanup.h"

#include <errno.h>
#include <stdarg.h>
#include <string.h>

AUTO_CLEANUP(json, json_t *, json_decref)
#define auto_json __attribute__((cleanup(cleanup_json)))

enum { LINE_MAX_BYTES = FINDING_JSON_MAX_BYTES + 16 * 1024 };

struct place {
	const char *name;
	uint64_t line;
	char *why;
};

__attribute__((format(printf, 3, 4))) static int fail(const struct place *at, int err,
                                                      const char *format, ...)
{
	int n = snprintf(at->why, MERGE_ERROR_LEN, "%.200s:%llu: ", at->name,
	                 (unsigned long long)at->line);
	va_list args;

	va_start(args, format);
	vsnprintf(at->why + n, MERGE_ERROR_LEN - (size_t)n, format, args);
	va_end(args);
	return err;
}

static int take_trailer(struct merge_input *input, const json_t *object, const struct place *at)
{
	char why[SWEEP_TRAILER_ERROR_LEN];
	struct sweep_trailer t;
	int err;

	if (sweep_trailer_from_json(object, &t, why) < 0)
		return fail(at, -EINVAL, "%s", why);
	err = sweep_tally_add(input->tally, &t);
	if (err == -EINVAL)
		return fail(at, err, "the same sweep, but not in %u shards", t.shards);
	if (err)
		return fail(at, err, "out of memory");
	input->trailers++;
	return 0;
}

static void note_scan(struct merge_input *input, const struct finding *f)
{
	if (!f->scan_id)
		return;
	if (!input->scan_id[0])
		snprintf(input->scan_id, sizeof(input->scan_id), "%s", f->scan_id);
	else if (strcmp(input->scan_id, f->scan_id) != 0)
		input->several_scans = true;
}

static int take_finding(struct merge_input *input, const json_t *object, const char *line,
                        const struct place *at)
{
	struct finding f;
	char why[128];
	int err;

	finding_init(&f);
	err = finding_from_json(object, &f, why);
	if (err)
		return fail(at, err, "no finding: %s", why);
	note_scan(input, &f);
	input->findings++;
	err = merge_store_add(input->store, &f, line);
	finding_fini(&f);
	return err ? fail(at, err, "%s", merge_store_error(input->store)) : 0;
}

static int take_line(struct merge_input *input, const char *line, bool ended,
                     const struct place *at, struct merge_oddities *out)
{
	json_error_t error;
	auto_json json_t *object = json_loads(line, JSON_REJECT_DUPLICATES, &error);

	out->no_trailer = true;
	if (!object && !ended) {
		out->torn = true;
		return 0;
	}
	if (!object)
		return fail(at, -EINVAL, "not JSON: %.100s", error.text);
	if (!sweep_trailer_is(object))
		return take_finding(input, object, line, at);
	out->no_trailer = false;
	return take_trailer(input, object, at);
}

int merge_input_read(struct merge_input *input, FILE *in, const char *name,
                     struct merge_oddities *out, char why[static MERGE_ERROR_LEN])
{
	auto_free char *line = malloc(LINE_MAX_BYTES);
	struct place at = {.name = name, .why = why};
	int err = line ? 0 : fail(&at, -ENOMEM, "out of memory");

	*out = (struct merge_oddities){0};
	while (!err && fgets(line, LINE_MAX_BYTES, in)) {
		size_t length = strlen(line);
		bool ended = length > 0 && line[length - 1] == '\n';

		at.line++;
		/* A NUL, too, makes it look short. */
		if (!ended && !feof(in))
			return fail(&at, -EINVAL, "not a line of NDJSON");
		if (ended)
			line[--length] = '\0';
		if (length > 0)
			err = take_line(input, line, ended, &at, out);
	}
	if (!err && ferror(in))
		err = fail(&at, -EIO, "%s", strerror(errno));
	return err;
}
