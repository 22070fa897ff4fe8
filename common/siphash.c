/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "common/siphash.h"

#include <endian.h>
#include <string.h>

struct state {
	uint64_t v0, v1, v2, v3;
};

static inline uint64_t rotate(uint64_t x, unsigned bits)
{
	return x << bits | x >> (64 - bits);
}

static inline uint64_t read_word(const uint8_t *bytes)
{
	uint64_t word;

	memcpy(&word, bytes, sizeof(word));
	return le64toh(word);
}

static inline void mix(struct state *s)
{
	s->v0 += s->v1;
	s->v2 += s->v3;
	s->v1 = rotate(s->v1, 13) ^ s->v0;
	s->v3 = rotate(s->v3, 16) ^ s->v2;
	s->v0 = rotate(s->v0, 32) + s->v3;
	s->v2 += s->v1;
	s->v1 = rotate(s->v1, 17) ^ s->v2;
	s->v3 = rotate(s->v3, 21) ^ s->v0;
	s->v2 = rotate(s->v2, 32);
}

static inline void absorb(struct state *s, uint64_t word)
{
	s->v3 ^= word;
	mix(s);
	mix(s);
	s->v0 ^= word;
}

struct siphash_key siphash_read_key(const uint8_t bytes[static 16])
{
	return (struct siphash_key){read_word(bytes), read_word(bytes + 8)};
}

uint64_t siphash_compute(const struct siphash_key *key, const void *message, size_t length)
{
	/* "somepseudorandomlygeneratedbytes" */
	struct state s = {
	    key->low ^ 0x736f6d6570736575U,
	    key->high ^ 0x646f72616e646f6dU,
	    key->low ^ 0x6c7967656e657261U,
	    key->high ^ 0x7465646279746573U,
	};
	const uint8_t *at = message;
	uint8_t tail[8] = {0};
	size_t left = length;

	for (; left >= 8; left -= 8, at += 8)
		absorb(&s, read_word(at));
	if (left > 0)
		memcpy(tail, at, left);
	tail[7] = (uint8_t)length;
	absorb(&s, read_word(tail));
	s.v2 ^= 0xff;
	mix(&s);
	mix(&s);
	mix(&s);
	mix(&s);
	return s.v0 ^ s.v1 ^ s.v2 ^ s.v3;
}
