/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The tables behind daemon/agent/state.h. Used by one thread at a time: the loop's until the
 * writer starts, then the writer's.
 */
#pragma once

#include "daemon/agent/state.h"

#include <sys/queue.h>

enum state_kind {
	STATE_KIND_BREAKER,
	STATE_KIND_MANUAL,
	STATE_KIND_ACK, /* as a manual */
	STATE_KIND_LEDGER,
	STATE_KIND_SOURCE,
	STATE_KIND_EVENT,
	STATE_KIND_DELIVERY,
	STATE_KIND_LOSS,
};

/* One write: a row to put in, or to take out. */
struct state_item {
	TAILQ_ENTRY(state_item) entry;
	enum state_kind kind;
	bool remove;
	uint64_t ticket;
	uint64_t group;           /* written together with its neighbours of the same; 0: alone */
	struct endpoint endpoint; /* not of a source, a delivery or a loss */
	int64_t saved_ms;         /* wall clock at the call */
	int64_t boot_ms;          /* CLOCK_BOOTTIME then */
	union {
		struct state_breaker breaker;
		struct state_manual manual;
		struct state_ledger ledger; /* its peers are the text below */
		int64_t source_good_ms;     /* the text is that of the source, and its prefixes */
		struct state_event event;   /* owns its deliveries; its json is the text below */
		uint64_t delivery_seq;      /* the text is the sink */
		struct state_loss loss;     /* likewise */
	};
	char text[]; /* of a source with a line break in between, which no path has */
};
TAILQ_HEAD(state_items, state_item);

struct state_db;

/* As state_open(), but for the writer. */
int state_db_open(const char *directory, struct state_db **out, struct state_snapshot *snapshot,
                  char why[static STATE_ERROR_LEN]);
void state_db_close(struct state_db *db);
/* All items in one transaction, or none. Returns 0 or -errno with `why`. */
int state_db_write(struct state_db *db, const struct state_items *items,
                   char why[static STATE_ERROR_LEN]);

/* Fills saved_ms and boot_ms. */
void state_db_stamp(struct state_item *item);
