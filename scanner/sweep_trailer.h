/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The last line of a sweep's NDJSON: which sweep and which of its shards it was, and whether it
 * came to its end. It is no finding; readers of findings tell it by its key "type", which findings
 * do not have. Pure; any thread.
 *
 *	{"schema":1,"type":"sweep","sweep_id":"…","scan_id":"…","shard":3,"shards":8,
 *	 "complete":true,"started":"…","ended":"…","endpoints":81920,"verdicts":{"confirmed":25,…}}
 */
#pragma once

#include "common/finding.h"

enum {
	SWEEP_TRAILER_SCHEMA = 1,
	SWEEP_ID_LEN = 33, /* 32 digits of hex */
	SWEEP_SHARDS_MAX = 1 << 20,
	SWEEP_TRAILER_ERROR_LEN = 128,
};

struct sweep_trailer {
	char sweep_id[SWEEP_ID_LEN]; /* that of all its shards */
	char scan_id[SWEEP_ID_LEN];  /* of this run; one that is resumed has another */
	unsigned shard, shards;      /* 1..shards */
	bool complete;               /* nothing of the shard is left to do */
	int64_t started_ms;          /* wall clock; written in whole seconds */
	int64_t ended_ms;
	uint64_t endpoints;               /* of this run, and of those that it goes on from */
	uint64_t verdicts[VERDICT_COUNT]; /* likewise */
};

/* One line, no newline; malloc()ed, or NULL when memory is out. */
char *sweep_trailer_to_line(const struct sweep_trailer *t);
/* Whether the object is meant to be one, or something else that is no finding. */
bool sweep_trailer_is(const json_t *object);
/*
 * Reads one; keys beyond these are ignored. On failure *out is untouched and `why` says what is
 * wrong. Returns 0 or -EINVAL.
 */
int sweep_trailer_from_json(const json_t *object, struct sweep_trailer *out,
                            char why[static SWEEP_TRAILER_ERROR_LEN]);
int sweep_trailer_from_line(const char *line, size_t length, struct sweep_trailer *out,
                            char why[static SWEEP_TRAILER_ERROR_LEN]);
