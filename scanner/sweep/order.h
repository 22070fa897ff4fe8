/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * In which order a sweep visits its endpoints: a keyed permutation of 0..size-1, so that packets
 * which follow each other go to different hosts and networks. Nothing is stored per endpoint; a
 * position is computed from an index as cheaply as an index from a position. The same size and
 * seed give the same order on every machine and in every version: shards and files to resume from
 * rely on it. Plain values, pure functions, any thread.
 *
 * This spreads load, it hides nothing: it is no cipher to trust a secret to.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

enum { SWEEP_ORDER_ROUNDS = 6 };

struct sweep_order {
	uint64_t size;
	uint64_t
	    columns; /* the domain: columns x 2^row_bits, less than one column more than size */
	uint64_t row_mask;
	unsigned row_bits;
	uint64_t keys[SWEEP_ORDER_ROUNDS];
};

/* `size` is at most 2^63; 0 is taken as 1. */
void sweep_order_init(struct sweep_order *o, uint64_t size, uint64_t seed);
/* Position to index and back. What is not below the size stands for itself. */
uint64_t sweep_order_at(const struct sweep_order *o, uint64_t position);
uint64_t sweep_order_position(const struct sweep_order *o, uint64_t index);

/*
 * One of `count` equal parts of an order: the positions p with p % count == index. Together the
 * parts are the whole, and no two share a position. {0, 0} is the whole, as {0, 1} is.
 */
struct sweep_shard {
	uint32_t index; /* 0..count-1 */
	uint32_t count;
};

/* How many positions of 0..size-1 are the shard's. */
uint64_t sweep_shard_size(const struct sweep_shard *s, uint64_t size);
/* The i-th of them, i < sweep_shard_size(). */
uint64_t sweep_shard_position(const struct sweep_shard *s, uint64_t i);
/* Which one of them a position is; false: it is another shard's. */
bool sweep_shard_find(const struct sweep_shard *s, uint64_t position, uint64_t *i);
