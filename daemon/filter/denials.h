/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Which refused requests the agent is told of: the first of a client, endpoint and reason at once,
 * then one a minute with their number, and of all together so many a second. Bounded: the longest
 * untold gives way. Pure; the time is passed in.
 */
#pragma once

#include "daemon/filter/wire.h"

enum {
	DENIALS_MAX = 256,
	DENIALS_EVERY_MS = 60 * 1000,
	DENIALS_PER_SECOND = 10,
};

struct denials;

typedef void denials_tell_cb(const struct filter_denied *denied, void *arg);

/* NULL: out of memory. */
struct denials *denials_new(denials_tell_cb *tell, void *arg);
void denials_free(struct denials *d);
/* `denied`: its count is not looked at. Returns whether it was told now. */
bool denials_note(struct denials *d, const struct filter_denied *denied, int64_t now_ms);
/* Tells what has been counted and is due by now. Returns whether there is more to tell later. */
bool denials_tick(struct denials *d, int64_t now_ms);
