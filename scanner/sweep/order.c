/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "scanner/sweep/order.h"

/*
 * An unbalanced Feistel network on a table of 2^row_bits rows and just as many columns as the
 * size needs. Even rounds change the row by the column (XOR), odd ones the column by the row
 * (addition modulo `columns`), so that the number of columns need be no power of two: the table
 * has at most 2^row_bits - 1 cells too many, about one in a square root of the size. Walking on
 * from such a cell until one lies inside (Black and Rogaway, "Ciphers with Arbitrary Finite
 * Domains", 2002) is then next to never needed, where a power of two would need it for up to half
 * of all positions. There is no division.
 */

/* Two multiplications reach every bit of the upper half from every bit of the lower ones. */
static inline uint32_t round_hash(uint64_t key, uint64_t half)
{
	uint64_t h = (half ^ key) * 0x9e3779b97f4a7c15U;

	h ^= h >> 32;
	h *= 0xd6e8feb86659fd93U;
	return (uint32_t)(h >> 32);
}

static inline uint64_t column_shift(const struct sweep_order *o, unsigned round, uint64_t row)
{
	/* 0..columns-1; columns is at most 2^32, so this fits. */
	return (round_hash(o->keys[round], row) * o->columns) >> 32;
}

static inline uint64_t encipher(const struct sweep_order *o, uint64_t cell)
{
	uint64_t column = cell >> o->row_bits;
	uint64_t row = cell & o->row_mask;

	for (unsigned round = 0; round < SWEEP_ORDER_ROUNDS; round += 2) {
		row ^= round_hash(o->keys[round], column) & o->row_mask;
		column += column_shift(o, round + 1, row);
		column -= column >= o->columns ? o->columns : 0;
	}
	return column << o->row_bits | row;
}

static inline uint64_t decipher(const struct sweep_order *o, uint64_t cell)
{
	uint64_t column = cell >> o->row_bits;
	uint64_t row = cell & o->row_mask;

	for (unsigned round = SWEEP_ORDER_ROUNDS; round > 0; round -= 2) {
		uint64_t shift = column_shift(o, round - 1, row);

		column += column < shift ? o->columns : 0;
		column -= shift;
		row ^= round_hash(o->keys[round - 2], column) & o->row_mask;
	}
	return column << o->row_bits | row;
}

/* SplitMix64 (Steele, Lea, Flood 2014): seeds that are close give keys that are not. */
static uint64_t next_key(uint64_t *state)
{
	uint64_t z = *state += 0x9e3779b97f4a7c15U;

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9U;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebU;
	return z ^ (z >> 31);
}

void sweep_order_init(struct sweep_order *o, uint64_t size, uint64_t seed)
{
	/* Once more, for seeds that lie a step of the sequence apart. */
	uint64_t state = next_key(&seed);
	unsigned bits;

	*o = (struct sweep_order){.size = size ? size : 1};
	bits = o->size > 1 ? 64 - (unsigned)__builtin_clzll(o->size - 1) : 0;
	o->row_bits = bits / 2;
	o->row_mask = (UINT64_C(1) << o->row_bits) - 1;
	o->columns = ((o->size - 1) >> o->row_bits) + 1;
	for (unsigned i = 0; i < SWEEP_ORDER_ROUNDS; i++)
		o->keys[i] = next_key(&state);
}

uint64_t sweep_order_at(const struct sweep_order *o, uint64_t position)
{
	uint64_t cell = position;

	if (position >= o->size)
		return position;
	do {
		cell = encipher(o, cell);
	} while (cell >= o->size);
	return cell;
}

uint64_t sweep_order_position(const struct sweep_order *o, uint64_t index)
{
	uint64_t cell = index;

	if (index >= o->size)
		return index;
	do {
		cell = decipher(o, cell);
	} while (cell >= o->size);
	return cell;
}

static uint64_t shard_count(const struct sweep_shard *s)
{
	return s->count ? s->count : 1;
}

uint64_t sweep_shard_size(const struct sweep_shard *s, uint64_t size)
{
	return size > s->index ? (size - s->index - 1) / shard_count(s) + 1 : 0;
}

uint64_t sweep_shard_position(const struct sweep_shard *s, uint64_t i)
{
	return i * shard_count(s) + s->index;
}

bool sweep_shard_find(const struct sweep_shard *s, uint64_t position, uint64_t *i)
{
	if (position % shard_count(s) != s->index)
		return false;
	*i = position / shard_count(s);
	return true;
}
