/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The shadow of what is blocked in the kernel: from it the ruleset is rebuilt when the
 * configuration changes or somebody else has removed it. The kernel expires its elements itself;
 * the shadow forgets them by the same deadline. Single-threaded; times are CLOCK_MONOTONIC.
 */
#pragma once

#include "daemon/firewall/wire.h"

/* The rule of a block whose breaker is no longer in the configuration. */
#define BLOCKS_RULE_ORPHAN FIREWALL_RULE_ORPHAN

struct block {
	struct endpoint endpoint;
	uint32_t rule; /* as in wire.h, or BLOCKS_RULE_ORPHAN */
	bool fallback; /* of a rule that filters: this endpoint is refused nevertheless */
	int64_t deadline_ms;
	int64_t drain_until_ms; /* connections from before may go on until then */
	uint64_t packets;       /* refused, or given to the filter; as last read from the kernel */
	uint64_t bytes;
};

struct blocks;

struct blocks *blocks_new(void); /* NULL when memory is out */
void blocks_free(struct blocks *blocks);

size_t blocks_count(const struct blocks *blocks);
/* The block of an endpoint, or NULL. Its endpoint must not be changed; valid until removed. */
struct block *blocks_find(const struct blocks *blocks, const struct endpoint *e);
/* Inserts, or replaces the block of the same endpoint. Returns 0 or -ENOMEM. */
int blocks_put(struct blocks *blocks, const struct block *block);
void blocks_remove(struct blocks *blocks, const struct endpoint *e);
void blocks_clear(struct blocks *blocks);
/* Is there one that `is` says yes of? */
bool blocks_any(const struct blocks *blocks, bool (*is)(const struct block *, const void *),
                const void *closure);
/* Forgets what has expired. Cheap while nothing has. */
void blocks_expire(struct blocks *blocks, int64_t now_ms);
/*
 * All blocks, ordered by endpoint, in a malloc()ed array of pointers into the shadow.
 * Returns 0 or -ENOMEM; *out is NULL when there are none.
 */
int blocks_list(const struct blocks *blocks, struct block ***out, size_t *count);
