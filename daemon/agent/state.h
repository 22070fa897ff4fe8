/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the agent remembers across restarts: SQLite (WAL) in the state directory, written by a
 * thread of its own from a bounded queue, so that a full disk or a slow fsync never delays a
 * block. Called from the loop's thread only; no call blocks but state_open() and state_close().
 *
 * Times are wall clock, milliseconds since the epoch. Each row is stored with the time of the call,
 * the boot id and that boot's own clock, so that a clock set forward or back in between neither
 * ends a decision early nor prolongs it: within one boot the snapshot's times are moved by as much
 * as the wall clock was; after a reboot only a clock that now shows less than when the row was
 * written is noticed, and the time left is then what it was at that moment.
 *
 * The database is locked for as long as it is open: one agent for one state directory.
 */
#pragma once

#include "common/endpoint.h"
#include "daemon/agent/breaker.h"

enum {
	STATE_ERROR_LEN = 256,
	STATE_REASON_LEN = 513,
	STATE_WHO_LEN = 128,
	STATE_RULE_LEN = 64,
	STATE_EVIDENCE_LEN = 256,
	STATE_EVENT_ID_LEN = 33,
	STATE_SERVES_LEN = 64,
	STATE_SINK_LEN = 64,
};

/* A breaker that is not closed, or a closed one that never was opened is not kept. */
struct state_breaker {
	struct endpoint endpoint;
	char rule[STATE_RULE_LEN]; /* the breaker's name in the configuration */
	enum breaker_state state;
	int64_t opened_ms;
	int64_t open_until_ms;
	int64_t first_seen_ms, last_seen_ms; /* exposed; 0: not known */
	char evidence[STATE_EVIDENCE_LEN];   /* "confirmed, high: index, symbol", or "" */
	char serves[STATE_SERVES_LEN];       /* what else the port serves, if serves_known */
	bool serves_known;
	bool untold; /* in a snapshot: an earlier version had not told its opening to every sink */
	bool high_risk;
	enum finding_severity worst; /* that was seen of it; SEVERITY_NONE: not known */
	int64_t escalated_ms;        /* the last escalate_after that was told of it; 0: none */
	bool blocked;                /* it was in the kernel, not only wanted there */
};

/*
 * A person's decision; wins over every rule until it ends. Also in this form: who has taken on an
 * endpoint whose breaker is open, and until when (`pprofwall ack`).
 */
struct state_manual {
	struct endpoint endpoint;
	bool block; /* false: a manual unblock, which holds the breaker closed; or of an ack */
	int64_t made_ms;
	int64_t until_ms;
	char reason[STATE_REASON_LEN];
	char who[STATE_WHO_LEN]; /* "alice (loginuid 1000) as root" */
};

/* Who was seen at an endpoint (daemon/agent/ledger.h). */
struct state_ledger {
	struct endpoint endpoint;
	int64_t since_ms;
	char *peers;      /* text of ledger_format_peers(); in a snapshot it is the snapshot's */
	int64_t shift_ms; /* in a snapshot: to be added to the times in `peers` */
};

/* What a file or name of allow_from (daemon/agent/allow.h) said last. */
struct state_source {
	char *text;     /* "@/path" or the name */
	char *prefixes; /* with a space in between */
	int64_t good_ms;
};

/* Whom an event is still to be told, and not before when (wall clock; 0: at once). */
struct state_delivery {
	char sink[STATE_SINK_LEN];
	int64_t not_before_ms;
};

/* An event that is not over (daemon/agent/outbox.h); no clock that was set moves its times. */
struct state_event {
	uint64_t seq;                /* unique */
	char id[STATE_EVENT_ID_LEN]; /* for people who read the table; not in a snapshot */
	int64_t made_ms;
	struct endpoint endpoint; /* family 0: of none */
	char *json;               /* in a snapshot it is the snapshot's, as are the deliveries */
	struct state_delivery *deliveries;
	size_t n_deliveries; /* 1 or more */
};

/* What a sink has not been told, and will not be. */
struct state_loss {
	char sink[STATE_SINK_LEN];
	uint64_t count;
	int64_t since_ms, until_ms; /* when the first and the last of them were made */
};

/* What was found at the start; owned by the caller, freed with state_snapshot_free(). */
struct state_snapshot {
	struct state_breaker *breakers; /* ordered by endpoint */
	size_t n_breakers;
	/* Ordered likewise; those past their end are left out and deleted. The taken are NULL. */
	struct state_manual **manuals;
	size_t n_manuals;
	struct state_manual *acks; /* those past their end likewise */
	size_t n_acks;
	struct state_ledger *ledgers;
	size_t n_ledgers;
	struct state_source *sources;
	size_t n_sources;
	struct state_event *events; /* in order of seq */
	size_t n_events;
	struct state_loss *losses;
	size_t n_losses;
	bool is_new; /* the database was made just now: what was before it is not known */
};

struct state;

/*
 * The functions below take a NULL state, for an agent that goes on without: nothing is saved
 * (-ENODEV), and the health is failing.
 *
 * Opens or creates DIRECTORY/state.db, checks its schema version, reads the snapshot, starts the
 * writer. A damaged database is renamed to state.db.damaged-SECONDS and a new one begun: `why`
 * then says so although 0 is returned, else `why` is "". On failure returns -errno with `why`.
 */
int state_open(const char *directory, struct state **out, struct state_snapshot *snapshot,
               char why[static STATE_ERROR_LEN]);
void state_snapshot_free(struct state_snapshot *snapshot);
/*
 * Writes out what is queued, for at most two seconds, and frees (but what a writer uses that even
 * then hangs in the kernel).
 */
void state_close(struct state *st);

/*
 * Queue a write; a later one for the same endpoint replaces an earlier one still queued. Return 0,
 * -ENOMEM, or -ENOSPC when the queue is full: nothing was queued, save it again later (counted in
 * state_get_health). What could not be written stays queued and is tried again every second.
 */
enum { STATE_QUEUE_MAX = 8192 };
int state_save_breaker(struct state *st, const struct state_breaker *b);
int state_delete_breaker(struct state *st, const struct endpoint *e);
int state_save_manual(struct state *st, const struct state_manual *m);
int state_delete_manual(struct state *st, const struct endpoint *e);
int state_save_ack(struct state *st, const struct state_manual *ack);
int state_delete_ack(struct state *st, const struct endpoint *e);

/* `peers` is copied. */
int state_save_ledger(struct state *st, const struct state_ledger *l);
int state_delete_ledger(struct state *st, const struct endpoint *e);

int state_save_source(struct state *st, const char *text, const char *prefixes, int64_t good_ms);
int state_delete_source(struct state *st, const char *text);

/* With its deliveries; copies. The event goes with the last of them. */
int state_save_event(struct state *st, const struct state_event *event);
int state_delete_delivery(struct state *st, uint64_t seq, const char *sink);
int state_save_loss(struct state *st, const struct state_loss *loss);
int state_delete_loss(struct state *st, const char *sink);

/*
 * What is saved and deleted from one to the other is written in one transaction, or not at all:
 * these calls return 0 then (or -ENOMEM, and the rest goes on without), and state_end() returns
 * what they would have. Later writes of the same rows do not replace these, but follow them.
 */
void state_begin(struct state *st);
int state_end(struct state *st);
bool state_is_begun(const struct state *st);

/*
 * Writes have tickets, in the order of the calls. What was queued when state_last_ticket() said N
 * is on the disk when state_written_ticket() has reached N. Both are 0 for a NULL state.
 */
uint64_t state_last_ticket(struct state *st);
uint64_t state_written_ticket(struct state *st);
/* An eventfd for the caller's loop, readable after each transaction; it stays ours. */
int state_notify_fd(const struct state *st);

struct state_health {
	uint64_t writes, failures; /* transactions */
	size_t queued;
	uint64_t dropped;            /* calls that returned -ENOSPC */
	bool failing;                /* the last transaction failed */
	char error[STATE_ERROR_LEN]; /* of the last failure */
};
void state_get_health(struct state *st, struct state_health *out);

/*
 * The panic marker in the state directory; an ordinary file, made and seen without SQLite
 * (common/panic_marker.h). Setting and clearing wait for a disk that hangs for 300 ms, and return
 * -ETIMEDOUT: it is then done when the disk goes on. A marker that exists is left as it is,
 * returning 0.
 */
bool state_panic_exists(const char *directory);
int state_panic_set(const char *directory, const char *who, const char *reason);
int state_panic_clear(const char *directory);
/* The reason that was given, "" for none. Returns 0, -ENOENT or another -errno. */
int state_panic_read(const char *directory, char reason[static STATE_REASON_LEN]);
