/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "scanner/sweep_tally.h"

#include "common/cleanup.h"

#include <errno.h>
#include <string.h>

struct sweep_tally {
	struct sweep_trailer *runs;
	size_t n_runs, room;
};

struct sweep_tally *sweep_tally_new(void)
{
	return calloc(1, sizeof(struct sweep_tally));
}

void sweep_tally_free(struct sweep_tally *tally)
{
	if (!tally)
		return;
	free(tally->runs);
	free(tally);
}

static int grow(struct sweep_tally *tally)
{
	size_t room = tally->room ? tally->room * 2 : 16;
	struct sweep_trailer *runs;

	if (tally->n_runs < tally->room)
		return 0;
	runs = reallocarray(tally->runs, room, sizeof(*runs));
	if (!runs)
		return -ENOMEM;
	tally->runs = runs;
	tally->room = room;
	return 0;
}

int sweep_tally_add(struct sweep_tally *tally, const struct sweep_trailer *t)
{
	for (size_t i = 0; i < tally->n_runs; i++) {
		struct sweep_trailer *other = &tally->runs[i];

		if (strcmp(other->sweep_id, t->sweep_id) != 0)
			continue;
		if (other->shards != t->shards)
			return -EINVAL;
		if (other->shard != t->shard || strcmp(other->scan_id, t->scan_id) != 0)
			continue;
		if (t->complete && !other->complete)
			*other = *t;
		return 0;
	}
	if (grow(tally) < 0)
		return -ENOMEM;
	tally->runs[tally->n_runs++] = *t;
	return 0;
}

static int compare(const void *a, const void *b)
{
	const struct sweep_trailer *x = a, *y = b;
	int order = strcmp(x->sweep_id, y->sweep_id);

	if (order == 0)
		order = (x->shard > y->shard) - (x->shard < y->shard);
	if (order == 0)
		order = (x->started_ms > y->started_ms) - (x->started_ms < y->started_ms);
	return order ? order : strcmp(x->scan_id, y->scan_id);
}

size_t sweep_tally_runs(struct sweep_tally *tally, const struct sweep_trailer **out)
{
	if (tally->n_runs > 1)
		qsort(tally->runs, tally->n_runs, sizeof(*tally->runs), compare);
	*out = tally->runs;
	return tally->n_runs;
}

uint64_t sweep_tally_endpoints(struct sweep_tally *tally)
{
	const struct sweep_trailer *runs;
	size_t n = sweep_tally_runs(tally, &runs);
	uint64_t sum = 0, most = 0;

	for (size_t i = 0; i < n; i++) {
		if (i > 0 && (runs[i].shard != runs[i - 1].shard ||
		              strcmp(runs[i].sweep_id, runs[i - 1].sweep_id) != 0)) {
			sum += most;
			most = 0;
		}
		most = runs[i].endpoints > most ? runs[i].endpoints : most;
	}
	return sum + most;
}

size_t sweep_tally_sweeps(const struct sweep_tally *tally)
{
	size_t count = 0;

	for (size_t i = 0; i < tally->n_runs; i++) {
		size_t first = 0;

		while (strcmp(tally->runs[first].sweep_id, tally->runs[i].sweep_id) != 0)
			first++;
		count += first == i;
	}
	return count;
}

enum shard_state { SHARD_MISSING = 0, SHARD_INCOMPLETE, SHARD_WHOLE, SHARD_TWICE };

/* "3, 5-7 and 9": the shards in that state; "" for none. malloc()ed, or NULL. */
static char *list_shards(const uint8_t *states, unsigned shards, enum shard_state state)
{
	enum { RANGES_MAX = 40 }; /* a line for a person */
	char *text = NULL;
	size_t size;
	FILE *out = open_memstream(&text, &size);
	unsigned ranges = 0;

	if (!out)
		return NULL;
	for (unsigned i = 0; i < shards; i++) {
		unsigned first = i;

		if (states[i] != state)
			continue;
		while (i + 1 < shards && states[i + 1] == state)
			i++;
		if (ranges++ == RANGES_MAX)
			fputs(", and more", out);
		if (ranges > RANGES_MAX)
			continue;
		fprintf(out, "%s%u", ranges > 1 ? ", " : "", first + 1);
		if (i > first)
			fprintf(out, "-%u", i + 1);
	}
	if (fclose(out) == 0)
		return text;
	free(text);
	return NULL;
}

static int say_state(const struct sweep_trailer *sweep, const uint8_t *states,
                     enum shard_state state, const char *what, sweep_tally_say *say, void *arg)
{
	auto_free char *list = list_shards(states, sweep->shards, state);
	auto_free char *line = NULL;

	if (!list)
		return -ENOMEM;
	if (!*list)
		return 0;
	if (asprintf(&line, "sweep %.8s: of %u shards %s: %s", sweep->sweep_id, sweep->shards, what,
	             list) < 0)
		return -ENOMEM;
	say(line, arg);
	return 0;
}

/* The runs of one sweep, sorted. */
static int report_sweep(const struct sweep_trailer *runs, size_t count, bool *whole,
                        sweep_tally_say *say, void *arg)
{
	auto_free uint8_t *states = calloc(runs->shards, 1);
	int err = states ? 0 : -ENOMEM;

	for (size_t i = 0; i < count && !err; i++) {
		uint8_t *state = &states[runs[i].shard - 1];

		if (!runs[i].complete)
			*state = *state > SHARD_INCOMPLETE ? *state : SHARD_INCOMPLETE;
		else
			*state = *state >= SHARD_WHOLE ? SHARD_TWICE : SHARD_WHOLE;
	}
	for (unsigned i = 0; i < runs->shards && !err; i++)
		*whole = *whole && states[i] >= SHARD_WHOLE;
	if (!err)
		err = say_state(runs, states, SHARD_MISSING, "these are missing", say, arg);
	if (!err)
		err = say_state(runs, states, SHARD_INCOMPLETE, "these are incomplete", say, arg);
	if (!err)
		err = say_state(runs, states, SHARD_TWICE, "these are here twice", say, arg);
	return err;
}

int sweep_tally_report(struct sweep_tally *tally, sweep_tally_say *say, void *arg)
{
	const struct sweep_trailer *runs;
	size_t n = sweep_tally_runs(tally, &runs), end;
	bool whole = n > 0;

	for (size_t i = 0; i < n; i = end) {
		int err;

		for (end = i + 1; end < n; end++)
			if (strcmp(runs[end].sweep_id, runs[i].sweep_id) != 0)
				break;
		err = report_sweep(runs + i, end - i, &whole, say, arg);
		if (err)
			return err;
	}
	return whole;
}
