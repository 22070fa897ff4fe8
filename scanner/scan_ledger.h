/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What a scan writes down about itself, and what it was told beforehand about endpoints: the
 * history, accepted risks, exclusions, and what is walled. All files are read and the history's
 * writer is started by scan_ledger_open(), before privileges are dropped. One thread.
 */
#pragma once

#include "scanner/probe.h"
#include "scanner/sweep/exclude.h"
#include "scanner/target.h"

enum { SCAN_LEDGER_ERROR_LEN = 640 };

struct scan_ledger_conf {
	const char *history; /* files; NULL: none */
	const char *accept;
	const char *blocks;                 /* what `pprofwall blocks --json` printed */
	const char *vantage;                /* NULL: the host's name */
	const struct exclude_set *excludes; /* or NULL */
	const char *sweep_id;               /* that of all its shards, and of runs that go on */
	unsigned shard, shards;             /* 1..shards */
	const char *options;                /* JSON, for the history */
};

struct scan_ledger;

/* Strings and lists are not kept. Returns 0; or -EINVAL or -errno, and one line in `why`. */
int scan_ledger_open(const struct scan_ledger_conf *conf, struct scan_ledger **out,
                     char why[static SCAN_LEDGER_ERROR_LEN]);
void scan_ledger_close(struct scan_ledger *l);

/* A target is begun. The ports are those of targets without one. 0 or -errno. */
int scan_ledger_add_target(struct scan_ledger *l, const struct target *target,
                           const struct port_list *ports);
/* The history would keep that this endpoint is closed now: it showed something once. */
bool scan_ledger_knows(const struct scan_ledger *l, const struct endpoint *e);
/*
 * Says in the finding whether it is accepted; the string is the caller's to release. 0 or -ENOMEM.
 */
int scan_ledger_accept(const struct scan_ledger *l, struct finding *f);
/* 0 or -errno: the history is not being kept any more. */
int scan_ledger_observe(struct scan_ledger *l, const struct probe_request *request,
                        const struct finding *f);
/* Returns when all is on disk. 0 or -errno. */
int scan_ledger_end(struct scan_ledger *l, bool complete, const uint64_t verdicts[VERDICT_COUNT]);
