/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What guards say of an endpoint before it is probed. */
#pragma once

#include "common/endpoint.h"

enum guard_answer {
	GUARD_ALLOWED = 1,
	GUARD_REFUSED, /* not to be probed; *why says it */
	GUARD_PENDING, /* the callback will say */
	GUARD_FULL,    /* too many are pending: ask again after any callback of this guard's */
};

/*
 * Once for each GUARD_PENDING. Called from the event loop, never from within a call of the owner's.
 * `why` is a constant: "port 515 (LPD) is open"; NULL when allowed. It may ask the guard again, but
 * not free it.
 */
typedef void guard_cb(const struct endpoint *e, bool allowed, const char *why, void *arg);
