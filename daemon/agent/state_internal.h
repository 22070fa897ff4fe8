/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Between the parts of state.h: rows to be written (state_save.c), and their queue (state.c). */
#pragma once

#include "daemon/agent/state_db.h"

/* With its deliveries. NULL is fine. */
void state_item_free(struct state_item *item);

/*
 * Stamps the item and queues it, or stages it between state_begin() and state_end(). Takes it over,
 * in every case. Returns 0, or -ENOSPC when the queue is full.
 */
int state_queue_item(struct state *st, struct state_item *item);
