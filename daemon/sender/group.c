/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/sender/group.h"

enum { MINUTE_MS = 60 * 1000 };

int64_t group_due_ms(const struct group_conf *conf, const struct group_pace *pace,
                     const struct group_facts *facts)
{
	int64_t collected_ms = facts->first_ms + conf->wait_ms;
	int64_t token_ms = INT64_MIN;

	/* A token is there unless all of them are still to come back. */
	if (conf->per_minute)
		token_ms = pace->full_ms - MINUTE_MS + MINUTE_MS / conf->per_minute;
	if (facts->urgent_ms != INT64_MAX && token_ms > facts->urgent_ms + conf->wait_ms)
		token_ms = facts->urgent_ms + conf->wait_ms;
	return token_ms > collected_ms ? token_ms : collected_ms;
}

void group_take(const struct group_conf *conf, struct group_pace *pace, int64_t now_ms)
{
	if (!conf->per_minute)
		return;
	if (pace->full_ms < now_ms)
		pace->full_ms = now_ms;
	pace->full_ms += MINUTE_MS / conf->per_minute;
	/* However many were urgent: after two minutes without any, the bucket is full. */
	if (pace->full_ms > now_ms + 2 * MINUTE_MS)
		pace->full_ms = now_ms + 2 * MINUTE_MS;
}

size_t group_size(const struct group_conf *conf, const struct group_split *split, size_t waiting)
{
	size_t limit = conf->together ? GROUP_MAX_EVENTS : 1;

	if (split->left && limit > split->limit)
		limit = split->limit;
	return waiting < limit ? waiting : limit;
}

bool group_refused(struct group_split *split, size_t n, int status)
{
	if (n < 2 || (status != 413 && status != 400 && status != 422))
		return false;
	if (split->left < n)
		split->left = n;
	split->limit = n / 2;
	return true;
}

void group_over(struct group_split *split, size_t n, bool taken)
{
	split->left -= n < split->left ? n : split->left;
	/* The one that spoiled it may be over, and the others good. */
	if (taken && split->limit < GROUP_MAX_EVENTS)
		split->limit *= 2;
}
