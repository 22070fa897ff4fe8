/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/sender/backoff.h"

int64_t backoff_next_ms(unsigned attempts, uint32_t random, int64_t retry_after_ms)
{
	int64_t span_ms = BACKOFF_CAP_MS;
	int64_t wait_ms;

	/* From the seventh on it is the cap; and no shift too far. */
	if (attempts >= 1 && attempts <= 6)
		span_ms = (int64_t)BACKOFF_BASE_MS << (attempts - 1);
	wait_ms = (int64_t)((uint64_t)span_ms * random / UINT32_MAX);
	if (retry_after_ms > BACKOFF_RETRY_AFTER_MAX_MS)
		retry_after_ms = BACKOFF_RETRY_AFTER_MAX_MS;
	return wait_ms > retry_after_ms ? wait_ms : retry_after_ms;
}

enum backoff_verdict backoff_judge_status(int status)
{
	if (status >= 200 && status < 300)
		return BACKOFF_DELIVERED;
	/* Timeout, too early (RFC 8470, 5.2), too many: the same request may succeed later. */
	if (status == 408 || status == 425 || status == 429)
		return BACKOFF_RETRY;
	if (status >= 300 && status < 500)
		return BACKOFF_REFUSED;
	return BACKOFF_RETRY;
}
