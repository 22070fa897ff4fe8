/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Everything the agent knows of one endpoint, and the set of them. The modules around it each own
 * a part of the struct and leave the others alone: schedule.c the probing, enforce.c the wall.
 * Times are CLOCK_MONOTONIC milliseconds unless the name says wall. Loop's thread.
 */
#pragma once

#include "daemon/agent/blast.h"
#include "daemon/agent/breaker.h"
#include "daemon/agent/state.h"
#include "daemon/inventory/wire.h"
#include "daemon/ipc.h"

#include <sys/queue.h>

struct agent;
struct schedule;

/* Does the wall keep strangers out? (verify.c) */
enum verify_state {
	VERIFY_NONE = 0,    /* there is no wall, or it was not tried yet */
	VERIFY_HOLDS,       /* a stranger was refused */
	VERIFY_INEFFECTIVE, /* a stranger was answered, twice */
	VERIFY_UNPROVEN,    /* it cannot be tried: `why` */
	VERIFY_STATE_COUNT
};

/* What an endpoint's last answer came by. */
enum watch_scheme { WATCH_SCHEME_UNKNOWN = 0, WATCH_SCHEME_PLAIN, WATCH_SCHEME_TLS };

struct block_item;
struct listener;
struct story;
struct claim;
LIST_HEAD(claim_list, claim);

/* The text of a watch's key: "127.0.0.1:80", "127.0.0.1:80@netns:4026532281" */
enum { WATCH_NAME_LEN = ENDPOINT_TEXT_LEN + sizeof("@netns:18446744073709551615") };

/* Endpoints are told apart by the network namespace that they are asked in. */
struct watch_key {
	struct endpoint endpoint;
	uint64_t netns; /* its inode number, of another than the host's; 0: asked from the host */
};

struct watch {
	struct endpoint endpoint;
	uint64_t netns; /* as in struct watch_key; if not 0, it is never blocked and not stored */
	/* how to ask (targets.c) */
	char *host, *prefix; /* owned; NULL for the address, and for the default prefix */
	bool tls_only, plain_only;
	/* It is a target or a listener's; false: only a block or a decision keeps it. */
	bool configured;
	bool targeted;  /* stands in scan.targets */
	uint64_t epoch; /* of the last targets_apply() that named it */

	/* who listens there (listeners.c) */
	struct claim_list claims;
	struct listener *listener; /* that of the claim which wins; NULL: none that we know of */
	bool ambiguous;            /* two containers have this address: never blocked */
	int64_t appeared_ns; /* when the listener was seen, until the first block; or 0 (local.c) */
	int64_t young_since_ms; /* it began to listen: asked more often at first; or 0 */
	const char *told_wall;  /* of the wall, to the story; static text */
	const char *told_error; /* likewise; static text */
	struct story *story;    /* owned; NULL while there is none to tell (story.c) */

	/* what was seen (observe.c) */
	struct finding *last;         /* owned; kept only where there is something to tell */
	enum finding_verdict verdict; /* of the last probe, if `seen` */
	bool seen;
	enum watch_scheme scheme; /* a filter found in the kernel speaks for plain HTTP, too */
	bool high_risk; /* its stacks were readable, which was told, and it was not clean since */
	int64_t seen_wall_ms;
	bool serves_known; /* since it is exposed; what it served once counts until it is clean */
	char serves[BLAST_SERVES_LEN];

	/* probing (schedule.c) */
	struct schedule_slot {
		struct schedule *owner;
		struct event *timer;
		TAILQ_ENTRY(watch) link;
		uint8_t queue; /* enum in schedule.c; 0: in none */
		bool in_flight;
		bool slow;        /* the last probe ran into its deadline */
		bool quarantined; /* a prober died while this was in flight: probed alone */
		unsigned deaths; /* provable ones, alone in flight, without a probe that survived */
		int64_t next_probe_ms;
		int64_t started_ms;
		uint64_t seq;
		unsigned sockets; /* that the probe in flight was given */
	} slot;

	/* deciding */
	struct breaker breaker;
	unsigned rule; /* index into conf.breakers */
	bool shielded; /* it opened behind a standing filter: only who asks was told (enforce.c) */
	bool saved;    /* the state has a row of the breaker */
	struct state_manual *decision; /* owned; a person's, in force; or NULL */
	bool decision_is_new;          /* the kernel has not answered for it yet */
	bool decision_untold;          /* ... and there is no event of it yet */
	int64_t decision_until_ms;     /* no jump of the wall clock moves it */
	struct event *manual_timer;    /* its end (enforce.c) */

	/* telling (follow.c) */
	struct state_manual *ack;   /* owned; who has taken it on, while it is open; or NULL */
	int64_t ack_until_ms;       /* as decision_until_ms */
	int64_t escalated_ms;       /* the last escalate_after that was told of it; 0: none */
	int64_t refresh_ms;         /* when Alertmanager is told again; 0: not planned */
	struct event *follow_timer; /* the next of these */

	/* what of it is in the state, and what waits for that (record.c) */
	struct watch_record {
		int64_t first_seen_wall_ms, last_seen_wall_ms; /* exposed; 0: not, or not known */
		enum finding_severity worst; /* of these exposures; SEVERITY_NONE: not known */
		char *evidence;              /* owned; or NULL */
		/* the row as it was written last */
		bool row_written, row_high_risk, row_serves_known, row_blocked;
		enum breaker_state row_state;
		unsigned row_rule;
		int64_t row_opened_ms, row_open_until_ms, row_last_seen_wall_ms;
		int64_t row_escalated_ms;
		enum finding_severity row_worst;
		bool decision_row, decision_saved;
		bool ack_row, ack_saved;
		bool unsaved;    /* the queue was full: to be tried again */
		uint64_t ticket; /* of the last write */
		bool waiting;    /* in the agent's list, until the ticket is written: who asked is
		                    answered then */
		int64_t waiting_since_ms;
		TAILQ_ENTRY(watch) link;
	} record;

	/* the wall (wall.c; what is wanted of it, enforce.c) */
	struct wall_slot {
		bool in_kernel;
		bool restored; /* the state says that it stood, and nothing was asked of it yet */
		uint32_t kernel_rule; /* as wall_block() took it */
		int64_t expires_ms;
		bool listed;  /* stood in the list that is just being read */
		bool stale;   /* the last request was numbered by another configuration */
		bool pending; /* a request is under way... */
		bool again;   /* ...and this is what is wanted after it */
		bool again_block;
		uint8_t queue; /* enum in wall.c: not sent yet, and what is wanted is `again` */
		bool late;     /* of one in a queue: that was told */
		int64_t queued_ms;
		TAILQ_ENTRY(watch) link;
		uint32_t again_rule;
		int64_t again_timeout_ms;
		const char *error; /* why there is no block though one is wanted; static text */
		uint64_t packets, bytes; /* of the block in the kernel, at the last look */
	} wall;
	uint64_t denied; /* requests that the filter in front of it has refused (filters.c) */
	struct verify_slot {
		enum verify_state state;
		const char *why;         /* static text; of INEFFECTIVE and UNPROVEN */
		int64_t checked_wall_ms; /* when a stranger was refused, or answered */
		int64_t due_ms;          /* when to try again; 0: never */
		uint64_t generation;     /* of the configuration that it was planned under */
		bool of_filter;          /* what is tried is one */
		bool asking;
		struct watch *probe; /* owned; while a filter is asked from outside; or NULL */
		bool connected;      /* a stranger was answered once */
	} verify;
	struct agent *agent;        /* for the timers below */
	struct event *renew_timer;  /* enforce.c */
	enum breaker_alert owed;    /* an alert that waits for the kernel's answer (enforce.c) */
	struct block_item *in_list; /* block_list.c: not to be announced or freed meanwhile */
	bool lifting;               /* a block that was there is being taken away, for that alert */
};

TAILQ_HEAD(watch_queue, watch);

/* In place of a namespace: asked as a stranger would, from the helper's own (verify_filter.c). */
#define WATCH_OUTSIDE INVENTORY_VANTAGE

/* One that is in no set, to be probed aside; NULL when memory is out. */
struct watch *watch_new(const struct watch_key *key);
void watch_free(struct watch *w);

struct watch_set;

struct watch_set *watch_set_new(void);
void watch_set_free(struct watch_set *set);
/* Of those that are asked from the host. */
struct watch *watch_set_find(const struct watch_set *set, const struct endpoint *e);
/* Finds or makes; NULL when memory is out. */
struct watch *watch_set_get(struct watch_set *set, const struct endpoint *e);
/* The same of all. */
struct watch *watch_set_find_key(const struct watch_set *set, const struct watch_key *key);
struct watch *watch_set_get_key(struct watch_set *set, const struct watch_key *key);
/* Frees it; the caller has made sure that nothing is in flight or pending. */
void watch_set_remove(struct watch_set *set, struct watch *w);
size_t watch_set_count(const struct watch_set *set);
/* In order of keys, 0 <= i < count; removing shifts those behind. */
struct watch *watch_set_at(const struct watch_set *set, size_t i);

/* By endpoint, and then by namespace. */
int watch_compare_key(const struct watch *w, const struct watch_key *key);
/* What it is called by people, in alerts and in metrics; returns text. */
const char *watch_name(const struct watch *w, char text[static WATCH_NAME_LEN]);
/* Reads that name. Returns 0 or -EINVAL. */
int watch_parse_name(const char *name, struct watch_key *out);

/* Swaps the finding's contents into the watch; the caller still has to fini what is left. */
void watch_keep_finding(struct watch *w, struct finding *finding);
void watch_forget_finding(struct watch *w);

/* The program's name for people and labels, from finding or listener; "" when it is not known. */
const char *watch_program(const struct watch *w, char text[static 128]);
