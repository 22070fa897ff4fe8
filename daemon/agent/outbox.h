/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Events on their way to the sinks: at least once, in order for each endpoint and sink, over
 * restarts. An event is in the state, with a row for each sink that is still to get it, before it
 * goes to the sender; it does not wait longer than a second for the disk. Each sink has its own
 * queue here and a bounded number of events under way at the sender, so that one that is dead holds
 * up no other.
 *
 * Bounded by number, bytes and age: what is given up is counted for each sink, and told to that
 * sink when it is back. Also the way to names: the sender resolves them, since a DNS answer is
 * hostile bytes too. Loop's thread.
 */
#pragma once

#include "conf/conf.h"
#include "daemon/agent/state.h"
#include "daemon/ipc.h"

#include <event2/event.h>
#include <jansson.h>

enum {
	OUTBOX_WINDOW = 256, /* events of one sink at the sender */
	OUTBOX_PATIENCE_MS = 1000,
	OUTBOX_MAX_BYTES = 64 * 1024 * 1024,
};

struct outbox;

/* Why events were given up. */
enum outbox_loss {
	OUTBOX_TOO_MANY = 0, /* more than outbox.max_events */
	OUTBOX_TOO_OLD,      /* older than outbox.max_age */
	OUTBOX_GAVE_UP,      /* by the sender: refused, or give_up_after */
	OUTBOX_LOSS_COUNT
};
const char *outbox_loss_name(enum outbox_loss loss);

struct outbox_sink {
	char name[CONF_NAME_MAX_LEN + 1];
	uint64_t delivered, retries, gave_up;
	uint64_t lost[OUTBOX_LOSS_COUNT];
	size_t queued;
	int64_t oldest_ms;    /* wall clock, of what is queued; 0: nothing is */
	uint64_t untold_loss; /* given up, and the sink does not know yet */
	bool circuit_open;    /* the sender gives it a rest */
	char last_error[128]; /* "" when the last attempt went well */
};

struct outbox_handlers {
	/* An answer to outbox_resolve(); `token` as given there. */
	void (*resolved)(const struct ipc_addresses *addresses, uint64_t token, void *arg);
	/* To outbox_ask_name(); NULL: it has none, or nobody said. */
	void (*named)(const char *name, uint64_t token, void *arg);
	void (*pong)(void *arg);
	/* A sink that has missed events is to be told: the event for it, NULL if there is none. */
	json_t *(*describe_loss)(const struct state_loss *loss, void *arg);
	void *arg;
};

int outbox_new(struct event_base *base, const struct outbox_handlers *handlers,
               struct outbox **out);
void outbox_free(struct outbox *box);
/*
 * Counters of sinks that keep their name go on; what is owed to sinks that are gone is given up.
 * The first one comes before outbox_restore().
 */
void outbox_configure(struct outbox *box, const struct conf *conf);
/* `state`, which may be NULL, outlives the outbox's use; what the snapshot has is owed. */
void outbox_restore(struct outbox *box, struct state *state, const struct state_snapshot *snapshot);
/* A (new) sender; takes over `sock`. What was under way is sent again. */
int outbox_set_sender(struct outbox *box, int sock);

struct outbox_target {
	unsigned sink;         /* index into conf.alerts */
	int64_t not_before_ms; /* wall clock; 0: now */
};

struct outbox_message {
	json_t *event;                   /* is taken over; with "id" */
	const struct endpoint *endpoint; /* NULL: of none */
	const struct outbox_target *targets;
	size_t n_targets;
};

/*
 * Between state_begin() and state_end() the event is one of that transaction: outbox_end() follows.
 * When one goes to a sink, what the sink has still to get of that endpoint goes before it, whatever
 * not_before says.
 */
void outbox_add(struct outbox *box, const struct outbox_message *message);
/* Events that the state had no room for: of this endpoint, within a transaction; then the rest. */
void outbox_save_again(struct outbox *box, const struct endpoint *e);
void outbox_save_rest(struct outbox *box);
/* What state_end() said. */
void outbox_end(struct outbox *box, int error);
/* The state has written something. */
void outbox_note_written(struct outbox *box);

/* Takes over `event`: goes to each sink that has nothing waiting, now or never. */
void outbox_send_now(struct outbox *box, json_t *event, const unsigned *sinks, size_t n_sinks);

/* How a test went with one sink. */
struct outbox_outcome {
	const char *sink;
	bool delivered;
	int status;
	int64_t took_ms; /* from when it was asked for */
	const char *text;
};
/*
 * Sends `event` (taken over) once to some sinks, past their queues. `done` is called from the loop,
 * once, when the last has answered, or after `within_ms`. Returns 0 or -errno.
 */
typedef void outbox_test_done(const struct outbox_outcome *outcomes, size_t count, void *arg);
int outbox_test(struct outbox *box, json_t *event, const unsigned *sinks, size_t n_sinks,
                int64_t within_ms, outbox_test_done *done, void *arg);

/* Returns 0 or -errno; without a sender -ENOTCONN: ask again later. */
int outbox_resolve(struct outbox *box, const char *name, uint64_t token);
/* Asks for the name of an address (port 0). Returns as above. */
int outbox_ask_name(struct outbox *box, const struct endpoint *address, uint64_t token);
void outbox_ping(struct outbox *box);

/* Events that not every sink has taken or refused. */
size_t outbox_length(const struct outbox *box);
/* Given up because their sink is configured no more. */
uint64_t outbox_removed(const struct outbox *box);
size_t outbox_sink_count(const struct outbox *box);
void outbox_get_sink(const struct outbox *box, size_t i, struct outbox_sink *out);
