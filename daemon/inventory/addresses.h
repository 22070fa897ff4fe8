/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The addresses of the network namespace that the thread is in, by rtnetlink(7).
 */
#pragma once

#include "daemon/inventory/wire.h"

struct addresses {
	struct inventory_address *items; /* sorted, each once */
	uint32_t count;                  /* at most INVENTORY_MAX_ADDRESSES */
	bool truncated;                  /* there are more */
};

/* Returns 0 or -errno, *out being empty then. */
int addresses_list(struct addresses *out);
/*
 * A socket that becomes readable when an address of the thread's namespace has come or gone; to be
 * drained then. It keeps the namespace alive: for our own only. Returns it, or -errno.
 */
int addresses_open_monitor(void);
void addresses_drain_monitor(int sock);
bool addresses_are_equal(const struct addresses *a, const struct addresses *b);
void addresses_free(struct addresses *a);
