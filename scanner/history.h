/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The history of sweeps: one SQLite file. It keeps what each sweep was asked and how it ended, and,
 * for every endpoint that ever showed profiles, what each sweep saw there; of the millions that
 * never did nothing but their number is kept. With a rollback journal, since people copy such
 * files. One thread.
 */
#pragma once

#include "scanner/history_judge.h"

#include <jansson.h>

enum {
	HISTORY_ERROR_LEN = 512,
	HISTORY_NAME_LEN = 33, /* of a sweep: its scan_id */
	HISTORY_VANTAGE_LEN = 65,
};

struct history;

enum history_mode {
	HISTORY_WRITE, /* made where there is none */
	HISTORY_READ,
};

/* Returns 0; or -EINVAL for a file that is no history, or another -errno, and one line in `why`. */
int history_open(const char *path, enum history_mode mode, struct history **out,
                 char why[static HISTORY_ERROR_LEN]);
void history_close(struct history *h);
/* What SQLite said last. */
const char *history_error(struct history *h);

/* Writing. All return 0 or -EIO (see history_error()). */

struct history_begin {
	const char *name; /* the sweep's id; its shards share it */
	unsigned shard;   /* 1..shards */
	unsigned shards;  /* 1: all in one */
	int64_t started_ms;
	const char *vantage; /* where it ran, as people call it */
	const char *version;
	const char *options; /* JSON */
};

struct history_end {
	bool complete;
	int64_t ended_ms;
	uint64_t verdicts[VERDICT_COUNT];
};

/* What was seen of one endpoint; plain bytes, so that it can go through a pipe. */
struct history_observation {
	struct endpoint endpoint;
	int64_t time_ms;
	uint32_t verdict;
	uint32_t severity;
	uint32_t high_risk;
	uint32_t walled;
	char host[256];
	char prefix[128]; /* asked for; "" for the default */
	char vantage[INET6_ADDRSTRLEN];
};

enum history_coverage { HISTORY_COVERS, HISTORY_EXCLUDES };

/*
 * One that was interrupted goes on under its name and shard; -EEXIST: there is a complete one.
 */
int history_begin_sweep(struct history *h, const struct history_begin *begin, int64_t *sweep);
/*
 * `network` is an address, a CIDR or a name, `ports` as --ports reads them; "" is every port.
 */
int history_add_coverage(struct history *h, int64_t sweep, enum history_coverage kind,
                         const char *network, const char *ports);
/* `finding` is its line, or NULL. Kept only where an endpoint is or was worth it. */
int history_add_observation(struct history *h, int64_t sweep, const struct history_observation *o,
                            const char *finding);
int history_end_sweep(struct history *h, int64_t sweep, const struct history_end *end);
/* Everything until now is on disk. */
int history_commit(struct history *h);

/* Reading. */

/* Every endpoint that a sweep saw something of. Returns 0, -EIO, or what `each` returned. */
int history_each_endpoint(struct history *h, int (*each)(const struct endpoint *e, void *arg),
                          void *arg);

struct history_sweep {
	char name[HISTORY_NAME_LEN];
	char vantage[HISTORY_VANTAGE_LEN];
	int64_t started_ms; /* of its first shard */
	int64_t ended_ms;   /* of its last; 0: of one that never ended */
	unsigned shards, shards_present;
	bool interrupted; /* one of its shards did not come to its end */
	uint64_t verdicts[VERDICT_COUNT];
};

/*
 * The sweep whose name begins with `name`; NULL: the latest, before `before` and from its vantage
 * point when that is not NULL. Returns 0, -ENOENT, -EINVAL for a name that fits several, -EIO.
 */
int history_find_sweep(struct history *h, const char *name, const struct history_sweep *before,
                       struct history_sweep *out);

/* How an endpoint stands. Strings belong to the reader, until its next entry. */
struct history_entry {
	enum history_state state;
	bool worse;   /* new, or changed to the worse */
	bool earlier; /* FIXED: already before the base */
	const char *endpoint, *host, *prefix;
	struct history_track track; /* with the sweep itself */
	const char *verdict;        /* what the sweep saw, or NULL */
	const char *finding;        /* the last one that showed the exposure: JSON, or NULL */
	const char *before;         /* for CHANGED: the one of the base */
};

/* A callback that returns anything but 0 ends it. */
typedef int history_entry_cb(const struct history_entry *entry, void *arg);

/*
 * Every endpoint that was ever exposed from this vantage point, up to `sweep`. What was the case
 * before is what the sweeps up to `base` found (NULL: all before `sweep`). Returns 0, -EIO,
 * -ENOMEM or what the callback returned.
 */
int history_walk(struct history *h, const struct history_sweep *base,
                 const struct history_sweep *sweep, history_entry_cb *entry, void *arg);
/* "10.0.0.0/8 on 9100,6060; ..."; malloc()ed, or NULL. */
char *history_describe_coverage(struct history *h, const struct history_sweep *sweep,
                                enum history_coverage kind);
/* Which of the fields of two findings differ, as a new JSON array of text; NULL: out of memory. */
json_t *history_compare(const char *before, const char *after, bool *worse);
