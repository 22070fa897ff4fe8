/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What is wanted for an endpoint, and what it meets, in words: one winner, of panic, a person's
 * decision, and the rule, of which standing filters stand first. A rule that filters does so only
 * where an answer has shown that the endpoint speaks no TLS.
 */
#include "common/clock.h"
#include "daemon/agent/enforce_internal.h"

#include <string.h>

static const char speaks_tls[] =
    "it speaks TLS, which no filter reads: the rule's fallback applies";
static const char not_heard[] = "it has not answered yet: whether it speaks TLS is not known";

static const struct conf_breaker *rule_of(const struct agent *a, const struct watch *w)
{
	return &a->conf->breakers[w->rule];
}

/* The rule would close more than profiling, and does not say that it may. */
static bool is_degraded(const struct agent *a, const struct watch *w)
{
	return !blast_may_block(rule_of(a, w), w->serves_known ? w->serves : NULL,
	                        w->wall.in_kernel);
}

static bool falls_back(const struct agent *a, const struct watch *w)
{
	return rule_of(a, w)->action == CONF_ACTION_FILTER && w->scheme == WATCH_SCHEME_TLS;
}

/* What the rule means for this endpoint. */
static enum conf_action find_action(const struct agent *a, const struct watch *w)
{
	return falls_back(a, w) ? rule_of(a, w)->filter.fallback : rule_of(a, w)->action;
}

bool enforce_means_filter(const struct agent *a, const struct watch *w)
{
	return find_action(a, w) == CONF_ACTION_FILTER;
}

/* A fallback, even of a standing filter, is for what is exposed. */
static bool is_called_for(const struct agent *a, const struct watch *w)
{
	return w->breaker.state != BREAKER_CLOSED ||
	       (rule_of(a, w)->standing && enforce_means_filter(a, w));
}

static bool must_hear_first(const struct agent *a, const struct watch *w)
{
	return enforce_means_filter(a, w) && w->scheme == WATCH_SCHEME_UNKNOWN;
}

/* Though it is called for, and whatever the mode: why the rule does not act. NULL: it does. */
static const char *find_obstacle(const struct agent *a, const struct watch *w,
                                 char out[static BLAST_REASON_LEN])
{
	const char *why = local_why_not_blocked(a, w);

	if (why)
		return why;
	if (must_hear_first(a, w))
		return not_heard;
	if (find_action(a, w) == CONF_ACTION_DROP && is_degraded(a, w))
		return blast_reason(rule_of(a, w), w->serves_known ? w->serves : NULL, out);
	return NULL;
}

struct enforce_wanted enforce_find_wanted(const struct agent *a, const struct watch *w)
{
	const struct conf_breaker *rule = rule_of(a, w);
	enum conf_action action = find_action(a, w);
	char why[BLAST_REASON_LEN];

	if (a->panic)
		return (struct enforce_wanted){0};
	if (w->decision)
		return (struct enforce_wanted){
		    .block = w->decision->block,
		    .rule = FIREWALL_RULE_MANUAL,
		    .timeout_ms = w->decision_until_ms - clock_monotonic_ms(),
		};
	if (!w->configured || !is_called_for(a, w) || a->conf->mode != CONF_MODE_ENFORCE ||
	    action == CONF_ACTION_ALERT || find_obstacle(a, w, why))
		return (struct enforce_wanted){0};
	return (struct enforce_wanted){
	    .block = true,
	    .rule = (w->rule + 1) | (action != rule->action ? WALL_FALLBACK : 0),
	    /* Longer than any restart takes: crashing a process does not open the wall. */
	    .timeout_ms = rule->open_for_ms + a->conf->firewall.slack_ms,
	};
}

bool enforce_is_due(const struct agent *a, const struct watch *w)
{
	struct enforce_wanted wanted = enforce_find_wanted(a, w);

	return a->adopted && !w->wall.pending &&
	       (wanted.block != w->wall.in_kernel ||
	        (wanted.block && wanted.rule != w->wall.kernel_rule));
}

bool enforce_filters(const struct agent *a, const struct watch *w)
{
	uint32_t rule = w->wall.kernel_rule;

	return w->wall.in_kernel && rule != FIREWALL_RULE_MANUAL && rule <= a->conf->n_breakers &&
	       a->conf->breakers[rule - 1].action == CONF_ACTION_FILTER;
}

bool enforce_is_shielded(const struct agent *a, const struct watch *w)
{
	if (!rule_of(a, w)->standing)
		return false;
	return enforce_filters(a, w) ||
	       (!w->wall.error && enforce_means_filter(a, w) && enforce_find_wanted(a, w).block);
}

const char *enforce_action(const struct agent *a, const struct watch *w)
{
	char why[BLAST_REASON_LEN];

	if (w->wall.in_kernel)
		return enforce_filters(a, w) ? "filter" : "drop";
	if (w->wall.error)
		return "refused";
	if (a->panic)
		return "panic";
	if (w->decision || !is_called_for(a, w))
		return "none";
	if (find_action(a, w) == CONF_ACTION_ALERT || find_obstacle(a, w, why))
		return w->breaker.state == BREAKER_CLOSED ? "none" : "alert";
	return a->conf->mode == CONF_MODE_ENFORCE ? "none" : "observe";
}

const char *enforce_reason(const struct agent *a, const struct watch *w,
                           char out[static BLAST_REASON_LEN])
{
	const char *why = NULL;

	if (w->wall.error)
		return w->wall.error;
	if (a->panic || w->decision || !w->configured)
		return NULL;
	if (!w->wall.in_kernel && is_called_for(a, w) && find_action(a, w) != CONF_ACTION_ALERT)
		why = find_obstacle(a, w, out);
	if (!why && falls_back(a, w) &&
	    (rule_of(a, w)->standing || w->breaker.state != BREAKER_CLOSED))
		why = speaks_tls;
	return why;
}
