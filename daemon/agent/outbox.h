/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Events on their way to the sender: kept until every sink has taken or refused them, so that a
 * sender's death loses nothing; bounded, and what is given up is counted. Also the way to names:
 * the sender resolves them, since a DNS answer is hostile bytes too. Loop's thread.
 */
#pragma once

#include "conf/conf.h"
#include "daemon/ipc.h"

#include <event2/event.h>
#include <jansson.h>

enum { OUTBOX_MAX_EVENTS = 1000 };

struct outbox;

struct outbox_sink {
	char name[CONF_NAME_MAX_LEN + 1];
	uint64_t delivered, retries, gave_up;
	char last_error[128]; /* "" when the last attempt went well */
};

struct outbox_handlers {
	/* An answer to outbox_resolve(); `token` as given there. */
	void (*resolved)(const struct ipc_addresses *addresses, uint64_t token, void *arg);
	/* Every sink has taken or refused the event that outbox_add() gave this number. */
	void (*done)(uint64_t seq, void *arg);
	/* To outbox_ask_name(); NULL: it has none, or nobody said. */
	void (*named)(const char *name, uint64_t token, void *arg);
	void (*pong)(void *arg);
	void *arg;
};

int outbox_new(struct event_base *base, const struct outbox_handlers *handlers,
               struct outbox **out);
void outbox_free(struct outbox *box);
/* Counters of sinks that keep their name go on. */
void outbox_configure(struct outbox *box, const struct conf *conf);
/* A (new) sender; takes over `sock`. What was not done is sent again. */
int outbox_set_sender(struct outbox *box, int sock);

/* Takes over `event`. Drops the oldest when there are too many. Returns its number; 0: dropped. */
uint64_t outbox_add(struct outbox *box, json_t *event);
/* Returns 0 or -errno; without a sender -ENOTCONN: ask again later. */
int outbox_resolve(struct outbox *box, const char *name, uint64_t token);
/* Asks for the name of an address (port 0). Returns as above. */
int outbox_ask_name(struct outbox *box, const struct endpoint *address, uint64_t token);
void outbox_ping(struct outbox *box);

size_t outbox_length(const struct outbox *box);
uint64_t outbox_dropped(const struct outbox *box);
size_t outbox_sink_count(const struct outbox *box);
const struct outbox_sink *outbox_sink_at(const struct outbox *box, size_t i);
