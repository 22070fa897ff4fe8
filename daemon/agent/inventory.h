/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The agent's talk with the inventory helper (daemon/inventory/wire.h): asks, and hands over what
 * comes by itself. Loop's thread.
 */
#pragma once

#include "daemon/inventory/wire.h"

#include <event2/event.h>
#include <stddef.h>

enum { INVENTORY_MAX_ASKED = 256, INVENTORY_ASK_MS = 15 * 1000 };

struct inventory;

struct inventory_handlers {
	/* INVENTORY_NAMESPACE, _LISTENER, _SYNCED; -EPROTO: the helper is not to be believed. */
	int (*told)(enum inventory_type type, const void *body, size_t length, void *arg);
	void (*pong)(void *arg);
	/* It hung up, spoke nonsense, or has a successor. */
	void (*gone)(void *arg);
	void *arg;
};

struct inventory_asker {
	/* For INVENTORY_PEERS, one after the other. May be NULL. */
	void (*peer)(const struct inventory_peer *peer, void *arg);
	/*
	 * The last that comes, exactly once. `fd` is a socket (INVENTORY_SOCKET) that is the
	 * callee's from now on, or -1. `answer` is NULL when the helper died or took too long.
	 */
	void (*answered)(const struct inventory_answer *answer, int fd, void *arg);
	void *arg;
};

int inventory_new(struct event_base *base, const struct inventory_handlers *handlers,
                  struct inventory **out);
/* Those who still wait for an answer are told that there is none. */
void inventory_free(struct inventory *inv);
/* A (new) helper; takes over `sock`. Returns 0 or -errno. */
int inventory_set_helper(struct inventory *inv, int sock);
bool inventory_is_there(const struct inventory *inv);

/*
 * Asks; the version is filled in. `asker` is copied; NULL: nobody minds the answer. Returns 0,
 * -ENOTCONN without a helper, -EBUSY with INVENTORY_MAX_ASKED under way, or another -errno: then
 * nothing of the asker is called.
 */
int inventory_ask(struct inventory *inv, const struct inventory_request *request,
                  const struct inventory_asker *asker);
void inventory_ping(struct inventory *inv);
/* Tells those who have waited for INVENTORY_ASK_MS; to be called every now and then. */
void inventory_check_deadlines(struct inventory *inv);
