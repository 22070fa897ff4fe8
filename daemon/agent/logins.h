/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The ports by which people log in to this host, as the inventory helper finds them
 * (daemon/inventory/logins.h): they are spared like those of protect.ports, in every address. Who
 * has let himself in must not lock himself out. Loop's thread.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

enum {
	LOGINS_MAX_PORTS = 256,
	LOGINS_FRESH_MS = 1000,        /* what is known may be so old when a block goes in */
	LOGINS_PATIENCE_MS = 1000,     /* no block waits longer for a helper that says nothing */
	LOGINS_EVERY_MS = 60 * 1000,   /* somebody looks at least, */
	LOGINS_BLOCKED_MS = 10 * 1000, /* and so often while there are blocks */
};

struct agent;
struct logins;

int logins_new(struct agent *a, struct logins **out);
void logins_free(struct logins *l);

/*
 * Is what is known new enough for a block to go in? If not, asks; to be called again in moments.
 * A helper that is not there, or does not answer, is not waited for: what it said last counts.
 */
bool logins_is_fresh(struct logins *l, int64_t now_ms);
bool logins_has(const struct logins *l, uint16_t port);
/* Why such a port is not blocked: static text. */
const char *logins_reason(void);
/* With every tick of the agent's. */
void logins_tick(struct logins *l, int64_t now_ms);
