/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the parts of the outbox share: outbox.c (its life, what the state has of it),
 * outbox_queue.c (who gets what next), outbox_sender.c (the talk with the sender), outbox_loss.c
 * (what is given up) and outbox_test.c (test events).
 */
#pragma once

#include "daemon/agent/outbox.h"
#include "daemon/channel.h"

#include <sys/queue.h>

enum saving {
	UNSAVED = 0, /* the state had no room, or there is none */
	STAGED,      /* in a transaction that is being made */
	SAVED,       /* queued under `ticket` */
};

enum place {
	OVER = 0,
	WAITING, /* for the disk */
	HELD,    /* until its date */
	READY,
	UNDER_WAY, /* at the sender */
	PLACE_COUNT
};

struct delivery {
	TAILQ_ENTRY(delivery) link; /* in the sink's list of its place */
	enum place place;
	struct event_row *row;
	struct sink_queue *sink;
	int64_t not_before_ms;
};
TAILQ_HEAD(delivery_list, delivery);

/* One event, with its deliveries in the order of the configuration. */
struct event_row {
	TAILQ_ENTRY(event_row) link; /* in order of seq */
	TAILQ_ENTRY(event_row) wait; /* likewise, while it waits for the disk */
	uint64_t seq, ticket;
	int64_t made_ms;
	int64_t since_ms; /* CLOCK_MONOTONIC; when it began to wait */
	struct endpoint endpoint;
	enum saving saving;
	bool waiting;
	size_t pending; /* deliveries that are not over */
	char id[STATE_EVENT_ID_LEN];
	char *text;
	size_t length;
	size_t n_deliveries;
	struct delivery deliveries[];
};
TAILQ_HEAD(event_rows, event_row);

/* That of one sink; stays where it is while it is configured. */
struct sink_queue {
	struct outbox_sink public; /* outbox_get_sink() adds what is found only then */
	bool kept;                 /* by the configuration that is being put in force */
	struct delivery_list lists[PLACE_COUNT];
	size_t n_under_way;
	struct state_loss loss; /* what it has not been told of */
	bool loss_unsaved;
	int64_t lost_ms;   /* CLOCK_MONOTONIC; when the last event was given up */
	int64_t logged_ms; /* likewise; when that was logged last, and... */
	uint64_t unlogged; /* ...what was not */
};

/* A delivery that is over, and still stands in the state. */
struct leftover {
	STAILQ_ENTRY(leftover) link;
	uint64_t seq;
	char sink[STATE_SINK_LEN];
};

struct outbox_trial;

struct outbox {
	struct event_base *base;
	struct outbox_handlers handlers;
	struct state *state;
	struct channel *sender;
	struct event *timer;
	unsigned max_events;
	int64_t max_age_ms;

	struct event_rows rows, waiting;
	size_t count, bytes, n_staged;
	bool has_unsaved;
	uint64_t next_seq, removed;
	STAILQ_HEAD(, leftover) leftovers;
	bool congested; /* the sender does not read */

	struct sink_queue **sinks;
	size_t n_sinks;
	LIST_HEAD(, outbox_trial) trials;
};

/* outbox.c */
unsigned outbox_index_of(const struct outbox *box, const struct sink_queue *sink);
struct sink_queue *outbox_find_sink(const struct outbox *box, const char *name);
/*
 * After anything has changed: what may go goes, what is over leaves the state, what is too much is
 * given up, and the timer is set. Ends deliveries: a row or delivery at hand may be freed.
 */
void outbox_settle(struct outbox *box);

/* outbox_queue.c */
/* Its event is released: it is ready, or held until its date. */
void outbox_place(struct delivery *d);
/* Those whose date has come are ready. Returns the next date (wall clock), or INT64_MAX. */
int64_t outbox_release_held(struct outbox *box);
void outbox_move(struct delivery *d, enum place place);
/* What was under way is to be sent first, in its order. */
void outbox_take_back(struct sink_queue *sink);
/* It is over; frees the row with its last delivery. */
void outbox_end_delivery(struct outbox *box, struct delivery *d);
void outbox_free_row(struct outbox *box, struct event_row *row);
/* Gives up what is too much or too old. */
void outbox_trim(struct outbox *box);
/* When the oldest becomes too old (wall clock), or INT64_MAX. */
int64_t outbox_next_old(const struct outbox *box);

/* outbox_sender.c */
/* Sends what is ready, as far as the windows allow. */
void outbox_pump(struct outbox *box);
/* An event for some sinks; `flag`, such as "test", is true with it; or NULL. As channel_send(). */
int outbox_send_frame(struct outbox *box, uint64_t seq, struct sink_queue *const *sinks,
                      size_t n_sinks, int64_t queued_ms, const char *flag, const char *event);

/* outbox_loss.c */
/* Given up: counted, to be told. It is over then. */
void outbox_lose(struct outbox *box, struct delivery *d, enum outbox_loss why);
/* The sink is back, or may be. */
void outbox_tell_loss(struct outbox *box, struct sink_queue *sink);
/* Tries sinks that have nothing else to deliver. */
void outbox_tell_losses(struct outbox *box);
/* When to do that again (monotonic), or INT64_MAX. */
int64_t outbox_next_telling(const struct outbox *box);
void outbox_restore_loss(struct outbox *box, const struct state_loss *loss);

/* outbox_test.c */
/* True: the result was that of a test. */
bool outbox_take_test_result(struct outbox *box, uint64_t seq,
                             const struct ipc_send_result *result);
/* The sender is gone. */
void outbox_fail_tests(struct outbox *box);
