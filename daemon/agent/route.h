/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Which sinks are told of an event, and when: facts, configuration and time in, a choice out. No
 * I/O and no state, so that a restart forgets nothing: what waits has its date, and what is still
 * to be escalated follows from when the breaker opened. Any thread.
 *
 * - An event of no endpoint (source_failed) has no severity and no process: `match.severity` lets
 *   it pass, any other condition on endpoints does not.
 * - A sink with escalate_after hears of an endpoint first by the event `escalated`, and then all
 *   that comes; of what nobody can acknowledge, since it is of no endpoint, only what its
 *   `match.events` names.
 * - For `match.events`, `escalated` and `refresh` are the `opened` that they stand for.
 * - In quiet hours, what is below quiet_except waits for their end. They are by the host's local
 *   time, as its clock on the wall shows it: an hour that is skipped in spring is shorter, one that
 *   comes twice in autumn is quiet twice.
 */
#pragma once

#include "daemon/agent/match.h"

struct route_facts {
	const char *event;               /* its name, as in docs/alerts.md */
	enum finding_severity severity;  /* the worst of this exposure; SEVERITY_NONE: not known */
	const struct endpoint *endpoint; /* NULL: it is of none */
	const struct owner *owner;       /* NULL: nothing is known */
	int64_t escalated_ms; /* the last escalate_after that was reached; of `escalated` it is the
	                         one that is reached now; 0: none */
};

struct route_choice {
	unsigned index; /* of conf.alerts */
	/*
	 * Wall clock; 0: now. Whoever keeps what waits keeps each endpoint's events in order: when
	 * one goes, those that the sink has still to get of that endpoint go before it.
	 */
	int64_t not_before_ms;
};

struct routes;

/*
 * Reads the host's time zone anew. `conf` must outlive it. Returns 0, -ENOMEM, or -EINVAL with
 * what was wrong in `error`.
 */
int routes_new(const struct conf *conf, struct routes **out, char error[static CONF_ERROR_LEN]);
void routes_free(struct routes *routes);

/* In the order of the configuration; returns how many. */
size_t route_choose(const struct routes *routes, const struct route_facts *facts, int64_t wall_ms,
                    struct route_choice out[static CONF_MAX_ALERTS]);
/* When the quiet hours of a sink end that are now, by the clock on the wall; 0: it has none now. */
int64_t route_quiet_until(const struct routes *routes, size_t sink, int64_t wall_ms);
/*
 * The next escalate_after, of the sinks that these facts fit, beyond facts.escalated_ms; 0: none is
 * left. Whatever facts.event is.
 */
int64_t route_next_escalation(const struct routes *routes, const struct route_facts *facts);
/*
 * How often those are told again of what is open that forget it otherwise (type alertmanager); 0:
 * none of them is told of it. They alone hear `refresh`. Whatever facts.event is.
 */
int64_t route_refresh_every(const struct routes *routes, const struct route_facts *facts);
