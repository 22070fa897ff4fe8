/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Requests that were accepted but not begun, first come first served. Internal to the engine
 * (probe.c).
 */
#pragma once

#include "scanner/probe.h"

#include <sys/queue.h>

struct probe_waiting {
	struct probe_request request;
	STAILQ_ENTRY(probe_waiting) link;
};

STAILQ_HEAD(probe_waiting_list, probe_waiting);

struct probe_queue {
	struct probe_waiting_list waiting, unused;
};

void probe_queue_init(struct probe_queue *queue);
void probe_queue_fini(struct probe_queue *queue);
bool probe_queue_is_empty(const struct probe_queue *queue);
/* Returns 0 or -ENOMEM. */
int probe_queue_put(struct probe_queue *queue, const struct probe_request *request);
/* The first one, which goes back by probe_queue_give_back(); NULL when there is none. */
struct probe_waiting *probe_queue_take(struct probe_queue *queue);
void probe_queue_give_back(struct probe_queue *queue, struct probe_waiting *taken);

enum { PROBE_NONCES_AT_ONCE = 32 };

/* No server may foresee them; a system call for each would be seen in a sweep's profile. */
struct probe_nonces {
	uint64_t drawn[PROBE_NONCES_AT_ONCE];
	size_t left;
};

/* Returns 0 or -EIO. */
int probe_nonces_draw(struct probe_nonces *nonces, uint64_t *out);
