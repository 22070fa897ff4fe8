/* SPDX-License-Identifier: GPL-2.0-or-later */
/* For tests of daemon/agent/listeners.h: a host with addresses, and what the inventory tells. */
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "daemon/agent/listeners.h"

enum { HOST = 100, POD = 200, OTHER = 300, OWN_PID = 4242 };

struct table {
	struct watch_set *watches;
	struct listeners *l;
	unsigned appeared, changed, gone;
	int64_t seen_ns;
	struct watch *last;
	enum conf_inside inside; /* of configure() */
};

int set_up(void **state);
int tear_down(void **state);
void configure(struct table *t, bool seals_loopback);
/* "L" before an address: loopback, "S": a service's, "Z": link-local; with blanks between. */
void tell_namespace(struct table *t, uint64_t netns, enum inventory_change change,
                    const char *addresses);
void tell(struct table *t, const struct inventory_listener *f, int64_t now_ms);
void tell_listener(struct table *t, uint64_t netns, const char *address, uint16_t port);
void tell_gone(struct table *t, uint64_t netns, const char *address, uint16_t port, int64_t now_ms);
void tell_synced(struct table *t, int64_t now_ms);
/* By its name: "127.0.0.1:80", "127.0.0.1:80@netns:200". */
struct watch *find(const struct table *t, const char *endpoint);
struct inventory_listener make_listener(uint64_t netns, const char *address, uint16_t port);
