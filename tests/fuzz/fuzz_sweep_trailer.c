/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The last line of a file that anybody may have written: what is accepted is within its bounds,
 * writes to a line that reads back to the same, and is no finding.
 */
#include "common/cleanup.h"
#include "scanner/sweep_tally.h"

#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(bool holds)
{
	if (!holds)
		abort();
}

static void ignore(const char *line, void *arg)
{
	(void)arg;
	check(strlen(line) > 0);
}

/* A shard alone is a whole sweep only where there is one. */
static void check_tally(const struct sweep_trailer *t)
{
	struct sweep_tally *tally = sweep_tally_new();

	check(tally && sweep_tally_add(tally, t) == 0);
	check(sweep_tally_sweeps(tally) == 1);
	check(sweep_tally_report(tally, ignore, NULL) == (t->shards == 1 && t->complete));
	sweep_tally_free(tally);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char why[SWEEP_TRAILER_ERROR_LEN], finding_why[128];
	auto_free char *line = NULL, *again = NULL;
	struct sweep_trailer t, back;
	struct finding f;

	if (sweep_trailer_from_line((const char *)data, size, &t, why) < 0)
		return 0;
	check(t.shard >= 1 && t.shard <= t.shards && t.shards <= SWEEP_SHARDS_MAX);
	check(strlen(t.sweep_id) == 32 && strlen(t.scan_id) == 32);
	check(t.started_ms >= 0 && t.ended_ms >= 0);
	finding_init(&f);
	check(finding_from_line((const char *)data, size, &f, finding_why) < 0);
	line = sweep_trailer_to_line(&t);
	check(line && sweep_trailer_from_line(line, strlen(line), &back, why) == 0);
	again = sweep_trailer_to_line(&back);
	check(again && strcmp(line, again) == 0);
	if (t.shards <= 4096)
		check_tally(&t);
	return 0;
}
