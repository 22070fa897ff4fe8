/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Addresses, and how often each is there. Compared with their ports; port 0 stands for itself. */
#pragma once

#include "common/endpoint.h"

struct addresses {
	void *root; /* tsearch(3) */
};

/*
 * Whom a client counts as: his address; of IPv6 his /64, which is the least that a host's link has
 * (RFC 6177), so that nobody counts as many by having many addresses.
 */
struct endpoint addresses_of_client(const struct endpoint *client);
/* Once more. Returns how often it is there by now, or -ENOMEM. */
int addresses_add(struct addresses *a, const struct endpoint *e);
/* Once less; what is not there stays so. */
void addresses_remove(struct addresses *a, const struct endpoint *e);
unsigned addresses_count(const struct addresses *a, const struct endpoint *e);
void addresses_fini(struct addresses *a);
