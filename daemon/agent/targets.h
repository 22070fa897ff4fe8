/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * scan.targets as watches: addresses and prefixes at once, names as they resolve, again and again.
 * Names are resolved elsewhere (the sender); an answer that fails keeps the addresses of the one
 * before. Loop's thread.
 */
#pragma once

#include "conf/conf.h"
#include "daemon/agent/watch.h"

enum { TARGETS_RESOLVE_EVERY_MS = 60 * 1000, TARGETS_RESOLVE_RETRY_MS = 5 * 1000 };

struct targets;

struct targets *targets_new(void);
void targets_free(struct targets *t);
/* From the configuration, which has checked every target. Returns 0 or -ENOMEM. */
int targets_configure(struct targets *t, const struct conf *conf);

/*
 * Makes a watch for every endpoint, and marks it as configured; `added` is called for those that
 * were not before. A watch whose epoch is not the one returned is no longer named.
 */
uint64_t targets_apply(struct targets *t, struct watch_set *set,
                       void (*added)(struct watch *w, void *arg), void *arg);

/* The watch is no target any more: it is asked by its address, in the default way. */
void targets_forget_manner(struct watch *w);

/* Calls `ask` for each name whose time has come; a token names the question. */
void targets_ask_due(struct targets *t, int64_t now_ms,
                     int (*ask)(const char *name, uint64_t token, void *arg), void *arg);
/* Takes an answer; returns true when the addresses have changed. */
bool targets_take_answer(struct targets *t, uint64_t token, const struct ipc_addresses *answer,
                         int64_t now_ms);

/* The i-th name without an address, or NULL past the last; `why` is set to the last error. */
const char *targets_unresolved(const struct targets *t, size_t i, const char **why);
