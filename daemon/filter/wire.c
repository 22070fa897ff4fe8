/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/filter/wire.h"

const uint32_t filter_latency_bounds_us[FILTER_LATENCY_BUCKETS - 1] = {
    500, 1000, 2500, 5000, 10000, 25000, 50000, 100000, 250000, 1000000, 5000000};

const char *filter_reason_name(enum filter_reason reason)
{
	static const char *const names[FILTER_REASON_COUNT] = {
	    [FILTER_DENIED_PATH] = "path",     [FILTER_DENIED_SYNTAX] = "syntax",
	    [FILTER_DENIED_OPAQUE] = "opaque", [FILTER_DENIED_SLOW] = "slow",
	    [FILTER_DENIED_FULL] = "full",     [FILTER_DENIED_DIRECT] = "direct",
	};

	return reason < FILTER_REASON_COUNT ? names[reason] : "unknown";
}
