/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A place in a sweep: everything before it is done. Pure; any thread. */
#pragma once

#include <stddef.h>
#include <stdint.h>

enum {
	SCAN_MARK_MAX_PARTS = 64,
	SCAN_MARK_MAX_TAKEN = 4096,
	SCAN_MARK_TEXT_LEN = 64 + SCAN_MARK_MAX_PARTS * 40,
};

/* Zeros: at the start. */
struct scan_mark {
	uint64_t first_target; /* of the first batch that was not complete (scan_feed.h) */
	uint64_t n_taken;      /* 0: that batch had not been made */
	struct {
		uint64_t digest, position;
	} parts[SCAN_MARK_MAX_PARTS];
	size_t n_parts;
};

/* FIRST:TAKEN[:DIGEST=POSITION]..., for --start-at. */
void scan_mark_format(const struct scan_mark *mark, char text[static SCAN_MARK_TEXT_LEN]);
/* Returns 0 or -EINVAL. */
int scan_mark_parse(const char *text, struct scan_mark *out);
/* Decimal digits at the start of `text`; *end is behind them. Returns 0 or -EINVAL. */
int scan_mark_parse_number(const char *text, const char **end, uint64_t *out);
