/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/firewall/heartbeat.h"

enum heartbeat_step heartbeat_step(struct heartbeat *h, int64_t now_ms)
{
	if (!h->asked_ms) {
		if (now_ms < h->next_ms)
			return HEARTBEAT_WAIT;
		h->asked_ms = now_ms;
		h->seq++;
		return HEARTBEAT_ASK;
	}
	if (!h->deaf && now_ms - h->asked_ms >= HEARTBEAT_DEAF_MS) {
		h->deaf = true;
		return HEARTBEAT_DEAF;
	}
	if (h->deaf && !h->told && now_ms - h->asked_ms >= HEARTBEAT_RESTART_MS) {
		h->told = true;
		return HEARTBEAT_RESTART;
	}
	return HEARTBEAT_WAIT;
}

int64_t heartbeat_wake_ms(const struct heartbeat *h)
{
	if (!h->asked_ms)
		return h->next_ms;
	if (h->told)
		return INT64_MAX;
	return h->asked_ms + (h->deaf ? HEARTBEAT_RESTART_MS : HEARTBEAT_DEAF_MS);
}

bool heartbeat_hear(struct heartbeat *h, uint64_t seq, int64_t now_ms)
{
	const bool was_deaf = h->deaf;

	if (!h->asked_ms || seq != h->seq)
		return false;
	*h = (struct heartbeat){.seq = h->seq, .next_ms = now_ms + HEARTBEAT_EVERY_MS};
	return was_deaf;
}
