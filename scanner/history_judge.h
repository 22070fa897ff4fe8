/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What one endpoint's observations, sweep after sweep, amount to: new, still there, changed, fixed,
 * or not known, and why. Pure; any thread.
 *
 * "Fixed" is earned: only a server's own answer without profiles (clear), a demand for credentials
 * (protected) or a closed port count, from the same vantage point, with no wall of ours in between.
 * Whatever else came, or did not come, leaves an exposure open and has a state of its own.
 */
#pragma once

#include "common/finding.h"

enum history_state {
	HISTORY_NEW = 0, /* exposed now, and not when it was last looked at */
	HISTORY_CHANGED, /* exposed before and now, but not in the same way */
	HISTORY_STILL,
	/* Exposed when it was last seen; not known to be fixed. */
	HISTORY_WALLED,        /* blocked by pprofwall: that is the wall's answer */
	HISTORY_UNKNOWN,       /* everything on that port asks for credentials now */
	HISTORY_FILTERED,      /* no answer to the connection attempt */
	HISTORY_ERROR,         /* the probe failed */
	HISTORY_OTHER_VANTAGE, /* answered, but to another source address than the one it was
	                        * exposed to */
	HISTORY_EXCLUDED,      /* the sweep was told not to look there */
	HISTORY_NOT_ASKED,     /* not among the sweep's targets and ports */
	HISTORY_SHARD_MISSING, /* in no shard that is there, and not all are */
	HISTORY_INTERRUPTED,   /* the sweep ended before it got there */
	HISTORY_NOT_REACHED,   /* a target, but not probed: see its reason */
	HISTORY_FIXED,
	HISTORY_STATE_COUNT
};

/* One observation of the endpoint. */
struct history_row {
	int64_t time_ms;
	enum finding_verdict verdict;
	bool walled;
	const char *vantage; /* local address; "" where there was no connection */
};

/* What is known of an endpoint after some sweeps; all zero before the first. */
struct history_track {
	bool open;        /* exposed when it was last seen, and not fixed since */
	bool returned;    /* open, and had been fixed before */
	int64_t first_ms; /* first and last seen exposed; 0: never */
	int64_t last_ms;
	int64_t fixed_ms;               /* when a fix was first seen; 0 while open */
	char vantage[INET6_ADDRSTRLEN]; /* of the last exposure; "" is any */
};

/* What a sweep without an observation of the endpoint says of itself. */
struct history_absence {
	bool covered; /* by its targets and ports */
	bool excluded;
	bool shard_missing;
	bool interrupted;
};

bool history_is_exposed(enum finding_verdict verdict);
/* Rows in the order of their sweeps. */
void history_track_feed(struct history_track *track, const struct history_row *row);
/*
 * The state that `row` (NULL: none, see `absence`) gives to an endpoint that was open in `before`,
 * or is exposed in `row`. CHANGED is the caller's to tell from STILL.
 */
enum history_state history_judge(const struct history_track *before, const struct history_row *row,
                                 const struct history_absence *absence);
const char *history_state_name(enum history_state state);
/* One line for people; "" for the states that speak for themselves. */
const char *history_state_reason(enum history_state state);
