/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "scanner/history_judge.h"

#include <stdio.h>
#include <string.h>

static const struct {
	const char *name, *reason;
} states[HISTORY_STATE_COUNT] = {
    [HISTORY_NEW] = {"new", ""},
    [HISTORY_CHANGED] = {"changed", ""},
    [HISTORY_STILL] = {"still", ""},
    [HISTORY_WALLED] = {"walled", "blocked by pprofwall"},
    [HISTORY_UNKNOWN] = {"unknown", "everything there asks for credentials"},
    [HISTORY_FILTERED] = {"filtered", "no answer to the connection attempt"},
    [HISTORY_ERROR] = {"error", "the probe failed"},
    [HISTORY_OTHER_VANTAGE] = {"other-vantage", "answered to another source address"},
    [HISTORY_EXCLUDED] = {"excluded", "the sweep was told not to look there"},
    [HISTORY_NOT_ASKED] = {"not-asked", "not among the sweep's targets and ports"},
    [HISTORY_SHARD_MISSING] = {"shard-missing", "maybe in a shard that is not there"},
    [HISTORY_INTERRUPTED] = {"interrupted", "the sweep ended before"},
    [HISTORY_NOT_REACHED] = {"not-reached",
                             "its name leads elsewhere now, or a guard set it aside"},
    [HISTORY_FIXED] = {"fixed", ""},
};

bool history_is_exposed(enum finding_verdict verdict)
{
	return verdict == VERDICT_CONFIRMED || verdict == VERDICT_LIKELY;
}

/* Of an observation that is no exposure. */
static enum history_state weigh(const struct history_track *track, const struct history_row *row)
{
	if (row->walled)
		return HISTORY_WALLED;
	switch (row->verdict) {
	case VERDICT_CLEAR:
	case VERDICT_PROTECTED:
	case VERDICT_CLOSED: break;
	case VERDICT_UNKNOWN: return HISTORY_UNKNOWN;
	case VERDICT_FILTERED: return HISTORY_FILTERED;
	case VERDICT_ERROR:
	case VERDICT_CONFIRMED:
	case VERDICT_LIKELY:
	case VERDICT_COUNT: return HISTORY_ERROR;
	}
	/* A refused connection does not say from where it was made. */
	if (row->vantage[0] && track->vantage[0] && strcmp(row->vantage, track->vantage) != 0)
		return HISTORY_OTHER_VANTAGE;
	return HISTORY_FIXED;
}

void history_track_feed(struct history_track *track, const struct history_row *row)
{
	if (history_is_exposed(row->verdict)) {
		track->returned = track->open ? track->returned : track->fixed_ms != 0;
		track->open = true;
		track->fixed_ms = 0;
		if (track->first_ms == 0)
			track->first_ms = row->time_ms;
		track->last_ms = row->time_ms;
		snprintf(track->vantage, sizeof(track->vantage), "%s", row->vantage);
	} else if (track->open && weigh(track, row) == HISTORY_FIXED) {
		track->open = false;
		track->returned = false;
		track->fixed_ms = row->time_ms;
	}
}

static enum history_state judge_absence(const struct history_absence *absence)
{
	if (absence->excluded)
		return HISTORY_EXCLUDED;
	/* Targets are written down as they are begun. */
	if (!absence->covered)
		return absence->interrupted ? HISTORY_INTERRUPTED : HISTORY_NOT_ASKED;
	if (absence->shard_missing)
		return HISTORY_SHARD_MISSING;
	return absence->interrupted ? HISTORY_INTERRUPTED : HISTORY_NOT_REACHED;
}

enum history_state history_judge(const struct history_track *before, const struct history_row *row,
                                 const struct history_absence *absence)
{
	if (!row)
		return judge_absence(absence);
	if (history_is_exposed(row->verdict))
		return before->open ? HISTORY_STILL : HISTORY_NEW;
	return weigh(before, row);
}

const char *history_state_name(enum history_state state)
{
	return states[state].name;
}

const char *history_state_reason(enum history_state state)
{
	return states[state].reason;
}
