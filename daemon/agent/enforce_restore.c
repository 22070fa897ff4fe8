/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What is found instead of decided: decisions and breakers of the state, blocks of the kernel. The
 * first list of blocks is adopted; later ones show what the kernel has lost.
 */
#include "common/cleanup.h"
#include "common/clock.h"
#include "common/log.h"
#include "daemon/agent/enforce_internal.h"

#include <stdlib.h>
#include <string.h>

enum {
	ADOPT_AT_ONCE = 256, /* renewed at the start; the others when their time comes */
	AS_SAID_MS = 1000,
};

static unsigned find_rule(const struct agent *a, const struct watch *w, const char *name)
{
	const struct match_facts facts = observe_facts(w);

	for (unsigned i = 0; i <= a->conf->n_breakers; i++) {
		if (strcmp(a->conf->breakers[i].name, name) == 0)
			return i;
	}
	return rules_choose(a->rules, &facts);
}

static void adopt_breaker(const struct agent *a, struct watch *w)
{
	struct breaker_conf conf = observe_breaker_conf(a->conf, w);

	breaker_adopt(&w->breaker, &conf, clock_monotonic_ms());
}

void enforce_restore_breaker(struct agent *a, struct watch *w, const struct state_breaker *row)
{
	int64_t offset = clock_wall_ms() - clock_monotonic_ms();

	w->rule = find_rule(a, w, row->rule);
	adopt_breaker(a, w);
	w->breaker.opened_ms = row->opened_ms - offset;
	w->high_risk = row->high_risk;
	w->shielded = a->conf->breakers[w->rule].standing;
	w->wall.restored = row->blocked;
}

void enforce_restore(struct agent *a, struct state_snapshot *snapshot)
{
	for (size_t i = 0; i < snapshot->n_manuals; i++) {
		struct watch *w = watch_set_get(a->watches, &snapshot->manuals[i]->endpoint);

		if (!w)
			continue;
		enforce_hold_taken(a, w, steal_ptr(&snapshot->manuals[i]));
		w->record.decision_saved = w->record.decision_row = true;
		w->wall.restored = w->decision->block;
	}
}

/* A person's block that was never saved: it stays for its time, whatever rules say. */
static void adopt_decision(struct agent *a, struct watch *w, int64_t left_ms)
{
	struct state_manual d = {.endpoint = w->endpoint, .block = true};

	d.made_ms = clock_wall_ms();
	d.until_ms = d.made_ms + left_ms;
	snprintf(d.reason, sizeof(d.reason), "found in the kernel at the start");
	snprintf(d.who, sizeof(d.who), "unknown");
	(void)enforce_hold(a, w, &d);
}

static bool is_standing(const struct agent *a, uint32_t rule)
{
	return rule > 0 && rule <= a->conf->n_breakers && a->conf->breakers[rule - 1].standing;
}

/* A block in the kernel that no person made: its breaker was open, and is. */
static void adopt_block(struct agent *a, struct watch *w)
{
	if (!w->configured || w->decision || !w->wall.in_kernel ||
	    w->wall.kernel_rule == FIREWALL_RULE_MANUAL || w->breaker.state != BREAKER_CLOSED ||
	    is_standing(a, w->wall.kernel_rule))
		return;
	adopt_breaker(a, w);
	/* Events are written with the row: who has none, died before it was told. */
	if (a->remembers && !w->saved)
		enforce_owe(w, BREAKER_ALERT_OPENED);
}

/* It was put in for what it had answered. */
static void adopt_scheme(const struct agent *a, struct watch *w)
{
	if (enforce_filters(a, w))
		w->scheme = WATCH_SCHEME_PLAIN;
	else if (w->wall.kernel_rule & WALL_FALLBACK && w->wall.kernel_rule != FIREWALL_RULE_ORPHAN)
		w->scheme = WATCH_SCHEME_TLS;
}

void enforce_note_block(struct agent *a, const struct firewall_reply *block)
{
	struct endpoint e = {.family = block->family, .port = block->port};
	struct watch *w;

	memcpy(e.address, block->address, sizeof(e.address));
	w = a->adopted ? watch_set_find(a->watches, &e) : watch_set_get(a->watches, &e);
	if (!w)
		return;
	wall_note_counters(a->wall, w, block, !enforce_filters(a, w));
	w->wall.listed = true;
	if (a->adopted)
		return;
	w->wall.in_kernel = true;
	w->wall.kernel_rule = wall_rule(block->rule, block->fallback);
	adopt_scheme(a, w);
	w->wall.expires_ms = clock_monotonic_ms() + (int64_t)block->expires_ms;
	if (block->rule == FIREWALL_RULE_MANUAL && !w->decision)
		adopt_decision(a, w, (int64_t)block->expires_ms);
	if (!w->configured) /* it stays for its time, unless a target turns out to be meant */
		enforce_look_again(a, w, (int64_t)block->expires_ms);
	if (w->breaker.state == BREAKER_CLOSED && block->rule != FIREWALL_RULE_MANUAL &&
	    block->rule <= a->conf->n_breakers)
		w->rule = block->rule - 1;
	adopt_block(a, w);
}

/* It is in the kernel as it is wanted, for some time yet. */
static bool is_as_wanted(const struct agent *a, const struct watch *w)
{
	struct enforce_wanted wanted = enforce_find_wanted(a, w);
	int64_t left_ms = w->wall.expires_ms - clock_monotonic_ms();

	if (!wanted.block || !w->wall.in_kernel || w->wall.kernel_rule != wanted.rule)
		return false;
	return w->decision ? llabs(left_ms - wanted.timeout_ms) < AS_SAID_MS
	                   : left_ms > wanted.timeout_ms / 4;
}

static void adopt_all(struct agent *a)
{
	size_t kept = 0;

	a->adopted = true;
	/* From the end: settling may remove the watch at hand. */
	for (size_t i = watch_set_count(a->watches); i-- > 0;) {
		struct watch *w = watch_set_at(a->watches, i);

		w->wall.listed = false;
		kept += w->wall.in_kernel;
		if (!w->configured && !w->decision)
			continue;
		a->spreading = kept > ADOPT_AT_ONCE && is_as_wanted(a, w);
		if (a->spreading)
			enforce_settled(w, a);
		else
			enforce_apply(a, w);
	}
	a->spreading = false;
	if (kept)
		log_info("%zu block%s found in the kernel and taken over", kept,
		         kept == 1 ? "" : "s");
}

void enforce_compare_list(struct agent *a, bool complete)
{
	if (!a->adopted) {
		adopt_all(a);
		return;
	}
	for (size_t i = watch_set_count(a->watches); i-- > 0;) {
		struct watch *w = watch_set_at(a->watches, i);
		bool lost = complete && w->wall.in_kernel && !w->wall.listed && !w->wall.pending;

		w->wall.listed = false;
		if (!lost)
			continue;
		w->wall.in_kernel = false;
		if (w->configured || w->decision)
			enforce_apply(a, w);
		else
			enforce_drop_unused(a, w);
	}
}

void enforce_take_up(struct agent *a, struct watch *w)
{
	record_take_up(a, w);
	adopt_block(a, w);
	if (w->wall.in_kernel || w->wall.pending ||
	    (a->adopted && w->breaker.state != BREAKER_CLOSED))
		enforce_apply(a, w);
	schedule_probe_in(a->schedule, w, 0);
}
