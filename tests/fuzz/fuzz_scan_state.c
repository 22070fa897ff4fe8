/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The file of --resume and the text of --start-at, which anybody may have edited: what is accepted
 * is within its bounds and writes to what reads back to the same. The first byte says which.
 */
#include "scanner/scan_state.h"

#include "common/cleanup.h"

#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(bool holds)
{
	if (!holds)
		abort();
}

static void check_mark(const struct scan_mark *mark)
{
	char text[SCAN_MARK_TEXT_LEN];
	struct scan_mark back;

	check(mark->n_taken <= SCAN_MARK_MAX_TAKEN && mark->n_parts <= SCAN_MARK_MAX_PARTS);
	scan_mark_format(mark, text);
	check(strlen(text) < SCAN_MARK_TEXT_LEN - 1);
	check(scan_mark_parse(text, &back) == 0);
	check(memcmp(mark, &back, sizeof(back)) == 0);
}

static void try_mark(const char *text)
{
	struct scan_mark mark;

	if (scan_mark_parse(text, &mark) == 0)
		check_mark(&mark);
}

static void try_state(const char *text, size_t size)
{
	char why[SCAN_STATE_ERROR_LEN] = "";
	auto_free char *line = NULL, *again = NULL;
	struct scan_state s, back;

	if (scan_state_parse(text, size, &s, why) < 0) {
		check(why[0] && !strchr(why, '\n'));
		return;
	}
	check(strlen(s.sweep_id) == SCAN_SWEEP_ID_LEN - 1 &&
	      strlen(s.asked) == SCAN_SWEEP_ID_LEN - 1);
	check(s.shard.count > 0 && s.shard.index < s.shard.count);
	check_mark(&s.mark);
	line = scan_state_format(&s);
	check(line && scan_state_parse(line, strlen(line), &back, why) == 0);
	again = scan_state_format(&back);
	check(again && strcmp(line, again) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	auto_free char *text = NULL;

	if (size == 0)
		return 0;
	if (data[0] == '{') {
		try_state((const char *)data, size);
		return 0;
	}
	text = strndup((const char *)data, size);
	check(text);
	try_mark(text);
	return 0;
}
