/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * When a host may be asked again, for --per-host-rate. A table of constant size, whatever is
 * swept. Pure: the time (CLOCK_MONOTONIC nanoseconds) is passed in.
 *
 * A host is never asked too early. With more than about 50,000 hosts within their interval at the
 * same time, some are asked later than they might be, since the table has no room for them.
 */
#pragma once

#include "common/endpoint.h"

struct host_pace;

/* `seed` keys the table. Returns 0, -EINVAL (a rate of 0) or -ENOMEM. */
int host_pace_new(uint64_t per_host_per_sec, uint64_t seed, struct host_pace **out);
void host_pace_free(struct host_pace *h);
/* 0: the endpoint's host may be asked now, and that is booked; else the nanoseconds to wait. */
int64_t host_pace_ready(struct host_pace *h, const struct endpoint *e, int64_t now_ns);
