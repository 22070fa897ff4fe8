/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "scanner/discover/syn_window.h"

#include <string.h>

enum { RUN = 64 };

static uint32_t words(const struct syn_window *s)
{
	return (s->w->count + RUN - 1) / RUN;
}

/* The bits of a word that stand for endpoints. */
static uint64_t valid_bits(const struct syn_window *s, uint32_t word)
{
	uint32_t left = s->w->count - word * RUN;

	return left >= RUN ? UINT64_MAX : (UINT64_C(1) << left) - 1;
}

void syn_window_begin(struct syn_window *s, struct discover_window *w, uint64_t serial,
                      int64_t now_ns)
{
	memset(s, 0, sizeof(*s));
	s->w = w;
	s->serial = serial;
	s->opened_ns = now_ns;
	s->sent_ns = now_ns;
	w->engine = s;
	syn_window_begin_round(s);
	s->again = false;
}

static void rewind_pass(struct syn_window *s)
{
	s->phase = SYN_PHASE_SENDING;
	s->cursor = 0;
	s->deferred = 0;
	s->again = true;
	s->retry_ns = 0;
}

void syn_window_begin_round(struct syn_window *s)
{
	for (uint32_t i = 0; i < words(s); i++)
		s->todo_bits[i] = ~s->known_bits[i] & valid_bits(s, i);
	s->rounds++;
	rewind_pass(s);
}

/* xorshift64*: which ones are asked again need not be hard to guess. */
static uint64_t next_random(uint64_t *state)
{
	*state ^= *state >> 12;
	*state ^= *state << 25;
	*state ^= *state >> 27;
	return *state * UINT64_C(0x2545f4914f6cdd1d);
}

void syn_window_begin_sample(struct syn_window *s, uint32_t count, uint32_t end, uint64_t seed)
{
	uint32_t silent = syn_window_silent(s), wanted = count;
	uint64_t state = seed | 1;

	memset(s->todo_bits, 0, sizeof(s->todo_bits));
	/* Each of them with the same chance, until there are enough. */
	for (uint32_t i = 0; i < words(s) && i * RUN < end && silent > 0; i++) {
		uint64_t left = ~s->known_bits[i] & valid_bits(s, i);

		for (; left; left &= left - 1) {
			if ((next_random(&state) >> 32) * silent >> 32 < wanted)
				s->todo_bits[i] |= left & -left;
		}
	}
	s->sampled = true;
	rewind_pass(s);
}

uint32_t syn_window_next(struct syn_window *s)
{
	for (uint32_t word = s->cursor / RUN; word < words(s); word++) {
		uint64_t left = s->todo_bits[word] & ~s->known_bits[word];

		if (word == s->cursor / RUN)
			left &= UINT64_MAX << s->cursor % RUN;
		if (left) {
			s->cursor = word * RUN + (uint32_t)__builtin_ctzll(left);
			return s->cursor;
		}
	}
	s->cursor = words(s) * RUN;
	return SYN_WINDOW_END;
}

void syn_window_done(struct syn_window *s, uint32_t offset)
{
	s->todo_bits[offset / RUN] &= ~(UINT64_C(1) << offset % RUN);
	s->cursor = offset + 1;
}

void syn_window_defer(struct syn_window *s, uint32_t offset)
{
	s->deferred++;
	s->cursor = offset + 1;
}

void syn_window_restart(struct syn_window *s, int64_t retry_ns)
{
	rewind_pass(s);
	s->retry_ns = retry_ns;
}

bool syn_window_is_known(const struct syn_window *s, uint32_t offset)
{
	return s->known_bits[offset / RUN] >> offset % RUN & 1;
}

bool syn_window_know(struct syn_window *s, uint32_t offset)
{
	if (syn_window_is_known(s, offset))
		return false;
	s->known_bits[offset / RUN] |= UINT64_C(1) << offset % RUN;
	s->known++;
	return true;
}

void syn_window_stamp(struct syn_window *s, uint32_t offset, int64_t now_ns)
{
	uint32_t us = (uint32_t)((now_ns - s->opened_ns) / 1000);

	s->sent_ns = now_ns;
	/* At least 1: 0 is a run that was not begun. */
	if (!s->again && s->sent_us[offset / RUN] == 0)
		s->sent_us[offset / RUN] = us ? us : 1;
}

int64_t syn_window_age_us(const struct syn_window *s, uint32_t offset, int64_t now_ns)
{
	int64_t begin = s->sent_us[offset / RUN], end = s->sent_us[offset / RUN + 1];
	int64_t now_us = (now_ns - s->opened_ns) / 1000;

	if (begin == 0)
		return -1;
	if (end == 0)
		end = (s->sent_ns - s->opened_ns) / 1000;
	if (end > begin)
		begin += (end - begin) * (offset % RUN) / RUN;
	return now_us > begin ? now_us - begin : 0;
}

uint32_t syn_window_sent_before(const struct syn_window *s, int64_t then_ns)
{
	int64_t then_us = (then_ns - s->opened_ns) / 1000;
	uint32_t word = 0;

	/* A run is over when the next one has begun. */
	while (word < words(s) && s->sent_us[word + 1] && s->sent_us[word + 1] <= then_us)
		word++;
	return word * RUN < s->w->count ? word * RUN : s->w->count;
}
