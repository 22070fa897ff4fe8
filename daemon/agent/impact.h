/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Whom a block would cut off: keeps the ledger (daemon/agent/ledger.h) of every endpoint that is
 * exposed or blocked, in whatever mode. Begins with the first exposed probe, before anything is
 * blocked; asks inventory who is connected, has the firewall count who connects, and the sender
 * for names. What is no longer exposed is kept for IMPACT_KEEP_MS. Loop's thread.
 */
#pragma once

#include "daemon/agent/ledger.h"
#include "daemon/agent/state.h"
#include "daemon/firewall/wire.h"

#include <jansson.h>

struct agent;
struct watch;
struct impact;

enum {
	IMPACT_LIST_EVERY_MS = 10 * 1000, /* the counting set is read */
	IMPACT_LOOK_EVERY_MS = 60 * 1000, /* who is connected? */
	/* Behind a block only who may be is; each look costs a walk through all of the host's. */
	IMPACT_LOOK_BLOCKED_MS = 10 * 60 * 1000,
	IMPACT_SAVE_EVERY_MS = 60 * 1000,   /* counts and times... */
	IMPACT_SAVE_NEW_MS = 2 * 1000,      /* ...and somebody new */
	IMPACT_TELL_EVERY_MS = 3600 * 1000, /* the firewall forgets in time */
	IMPACT_KEEP_MS = 24 * 3600 * 1000,  /* of what is not exposed any more */
	IMPACT_FIRST_PEERS = 3,             /* that alerts name */
};

int impact_new(struct agent *a, struct impact **out);
/* Saves first what was not. */
void impact_free(struct impact *impact);

void impact_restore(struct impact *impact, const struct state_snapshot *snapshot);

/* Something was decided or found: is it to be observed from now on? */
void impact_consider(struct impact *impact, const struct watch *w);
/* To be called every now and then. */
void impact_tick(struct impact *impact);

/* From the firewall helper. */
void impact_take_peers(struct impact *impact, const struct firewall_peer *peers, size_t count);
void impact_take_peers_end(struct impact *impact);
/* The firewall's table is new, or was: what it is to count is told again. */
void impact_tell_again(struct impact *impact);
/* From the sender. */
void impact_take_name(struct impact *impact, const char *name, uint64_t token);

/*
 * Asks anew who connects to the endpoint (NULL: to all that are observed); when everybody has
 * answered, impact_is_fresh() is true and verbs_answer_impact() was called.
 */
void impact_refresh(struct impact *impact, const struct endpoint *e);
bool impact_is_fresh(const struct impact *impact);

/* For the verb; NULL: not observed. docs/control.md has the fields. */
json_t *impact_report(struct impact *impact, const struct endpoint *e);
/* For an alert: counts and the first few; JSON null where nothing is observed. */
json_t *impact_summarize(struct impact *impact, const struct watch *w);
/* "; that would cut off (or: cuts off) 2 clients: prom-1.example.com, 10.0.0.4"; "" where nobody is
 * known. */
const char *impact_describe(struct impact *impact, const struct watch *w, char *out, size_t size);
