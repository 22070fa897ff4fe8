/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/filter/service.h"

#include "common/clock.h"
#include "daemon/filter/stats.h"

#include <string.h>

const struct filter_limits filter_limits_default = {
    .max_connections = 16384,
    .max_per_client = 2048,
    .head_ms = 10 * 1000,
    .idle_ms = 75 * 1000,
    .server_idle_ms = 10 * 1000,
    .body_ms = 60 * 1000,
    .connect_ms = 10 * 1000,
    .server_ms = 10 * 60 * 1000,
    .leaver_ms = 20 * 1000,
    .reader_ms = 60 * 1000,
    .relay_ms = 10 * 60 * 1000,
    .linger_ms = 2 * 1000,
    .stop_ms = 2 * 1000,
};

void service_deny(struct service *s, enum filter_reason reason, const struct filter_rule *rule,
                  const struct endpoint *endpoint, const struct endpoint *client, const char *path,
                  size_t path_length)
{
	struct filter_denied denied = {
	    .version = FILTER_WIRE_VERSION,
	    .reason = (uint8_t)reason,
	    .endpoint = *endpoint,
	    .client = *client,
	};

	_Static_assert(sizeof(denied.rule) == sizeof(rule->policy->name), "same name");
	memcpy(denied.rule, rule->policy->name, sizeof(denied.rule));
	if (path)
		stats_write_path(path, path_length, denied.path);
	s->stats.denied[reason]++;
	if (!denials_note(s->denials, &denied, clock_monotonic_ms()))
		s->stats.untold++;
}
