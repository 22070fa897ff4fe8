/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "scanner/block_input.h"

#include "common/cleanup.h"
#include "scanner/sweep_trailer.h"

#include <errno.h>
#include <stdarg.h>
#include <string.h>

AUTO_CLEANUP(json, json_t *, json_decref)
#define auto_json __attribute__((cleanup(cleanup_json)))

/* The longest finding, and the newline; trailers are shorter. */
enum { LINE_MAX_BYTES = FINDING_JSON_MAX_BYTES + 16 * 1024, KEY_MAX_BYTES = 64 };

struct reading {
	const char *name;
	const struct block_filter *filter;
	size_t max, size;
	uint64_t line;
	struct block_input input;
	char *why;
};

__attribute__((format(printf, 4, 5))) static int fail(const struct reading *r, int err,
                                                      size_t column, const char *format, ...)
{
	char what[BLOCK_INPUT_ERROR_LEN - 256];
	va_list args;

	va_start(args, format);
	vsnprintf(what, sizeof(what), format, args);
	va_end(args);
	snprintf(r->why, BLOCK_INPUT_ERROR_LEN, "%.200s:%llu:%zu: %s", r->name,
	         (unsigned long long)r->line, column, what);
	/* It may quote the input: a terminal must not obey it. */
	for (char *c = r->why; *c; c++)
		if ((unsigned char)*c < 0x20 || *c == 0x7f)
			*c = '?';
	return err;
}

/* Where the key stands that a message begins with ("severity: not a ..."); else the beginning. */
static size_t find_column(const char *line, const char *message)
{
	char key[KEY_MAX_BYTES + 3];
	size_t length = strcspn(message, ": ");
	const char *at;

	if (length == 0 || length > KEY_MAX_BYTES)
		return 1;
	snprintf(key, sizeof(key), "\"%.*s\"", (int)length, message);
	at = strstr(line, key);
	return at ? (size_t)(at - line) + 1 : 1;
}

static int compare(const void *a, const void *b)
{
	return endpoint_compare(a, b);
}

static void simplify(struct block_input *input)
{
	size_t n = 0;

	if (input->count)
		qsort(input->items, input->count, sizeof(input->items[0]), compare);
	for (size_t i = 0; i < input->count; i++) {
		if (n == 0 || endpoint_compare(&input->items[n - 1], &input->items[i]) != 0)
			input->items[n++] = input->items[i];
	}
	input->count = n;
}

static int add(struct reading *r, const struct endpoint *e)
{
	struct block_input *input = &r->input;

	if (input->count == r->size) {
		size_t size = r->size ? 2 * r->size : 64;
		struct endpoint *items;

		/* One endpoint may have many lines: a name each, say. */
		simplify(input);
		if (input->count > r->max)
			return fail(r, -E2BIG, 1, "more than %zu endpoints to block in one go",
			            r->max);
		items = realloc(input->items, size * sizeof(*items));
		if (!items)
			return fail(r, -ENOMEM, 1, "out of memory");
		input->items = items;
		r->size = size;
	}
	input->items[input->count++] = *e;
	return 0;
}

static int take_finding(struct reading *r, const json_t *object, const char *line)
{
	struct block_input *input = &r->input;
	struct finding f;
	char why[128];
	int err;

	finding_init(&f);
	err = finding_from_json(object, &f, why);
	if (err)
		return fail(r, err, find_column(line, why), "no finding: %s", why);
	input->findings++;
	if (f.scan_id && !input->scan_id[0])
		snprintf(input->scan_id, sizeof(input->scan_id), "%s", f.scan_id);
	if (!(r->filter->verdicts & 1U << f.verdict) || f.severity < r->filter->floor)
		input->other++;
	else if (f.accepted && !r->filter->accepted)
		input->accepted++;
	else
		err = add(r, &f.endpoint);
	finding_fini(&f);
	return err;
}

static int take_trailer(struct reading *r, const json_t *object, const char *line)
{
	char why[SWEEP_TRAILER_ERROR_LEN];
	struct sweep_trailer t;

	if (sweep_trailer_from_json(object, &t, why) < 0)
		return fail(r, -EINVAL, find_column(line, why), "%s", why);
	r->input.incomplete += !t.complete;
	return 0;
}

static int take_line(struct reading *r, const char *line)
{
	json_error_t error;
	auto_json json_t *object = json_loads(line, JSON_REJECT_DUPLICATES, &error);

	if (!object)
		return fail(r, -EINVAL, error.column > 0 ? (size_t)error.column : 1,
		            "not JSON: %.100s", error.text);
	if (sweep_trailer_is(object))
		return take_trailer(r, object, line);
	return take_finding(r, object, line);
}

static int read_lines(struct reading *r, FILE *in, char *line)
{
	int err = 0;

	while (!err && fgets(line, LINE_MAX_BYTES, in)) {
		size_t length = strlen(line);
		bool ended = length > 0 && line[length - 1] == '\n';

		r->line++;
		/* A NUL, too, makes it look short. */
		if (!ended && !feof(in))
			return fail(r, -EINVAL, length + 1, "not a line of NDJSON");
		if (ended)
			line[--length] = '\0';
		if (length > 0)
			err = take_line(r, line);
	}
	if (!err && ferror(in))
		err = fail(r, -EIO, 1, "%s", strerror(errno));
	return err;
}

int block_input_read(FILE *in, const char *name, const struct block_filter *filter, size_t max,
                     struct block_input *out, char why[static BLOCK_INPUT_ERROR_LEN])
{
	auto_free char *line = malloc(LINE_MAX_BYTES);
	struct reading r = {.name = name, .filter = filter, .max = max, .why = why};
	int err = line ? read_lines(&r, in, line) : fail(&r, -ENOMEM, 1, "out of memory");

	if (!err) {
		simplify(&r.input);
		if (r.input.count > max)
			err = fail(&r, -E2BIG, 1, "%zu endpoints to block; at most %zu in one go",
			           r.input.count, max);
	}
	if (err) {
		block_input_fini(&r.input);
		return err;
	}
	*out = r.input;
	return 0;
}

void block_input_fini(struct block_input *input)
{
	free(input->items);
	*input = (struct block_input){0};
}
