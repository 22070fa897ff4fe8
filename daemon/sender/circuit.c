/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/sender/circuit.h"

#include "daemon/sender/backoff.h"

#include <limits.h>

bool circuit_is_open(const struct circuit *c)
{
	return c->failures >= CIRCUIT_FAILURES;
}

/* At least half of the span: what is dead is not tried twice in a second by chance. */
static int64_t open_wait_ms(unsigned failures, uint32_t random)
{
	int64_t half_ms =
	    (failures == CIRCUIT_FAILURES ? CIRCUIT_FIRST_OPEN_MS : CIRCUIT_OPEN_MS) / 2;

	return half_ms + (int64_t)((uint64_t)half_ms * random / UINT32_MAX);
}

bool circuit_note_failure(struct circuit *c)
{
	if (c->failures < UINT_MAX)
		c->failures++;
	return c->failures == CIRCUIT_FAILURES;
}

void circuit_put_off(struct circuit *c, int64_t now_ms, uint32_t random, int64_t retry_after_ms,
                     int64_t last_ms)
{
	int64_t wait_ms = backoff_next_ms(c->failures, random, 0);
	int64_t asked_ms = backoff_next_ms(c->failures, 0, retry_after_ms);
	int64_t left_ms = last_ms > now_ms ? last_ms - now_ms : 0;

	if (circuit_is_open(c)) {
		wait_ms = open_wait_ms(c->failures, random);
		if (left_ms < CIRCUIT_LEAST_OPEN_MS)
			left_ms = CIRCUIT_LEAST_OPEN_MS;
	}
	if (wait_ms > left_ms)
		wait_ms = left_ms;
	c->not_before_ms = now_ms + (wait_ms > asked_ms ? wait_ms : asked_ms);
}

bool circuit_note_answer(struct circuit *c)
{
	bool was_open = circuit_is_open(c);

	*c = (struct circuit){0};
	return was_open;
}
