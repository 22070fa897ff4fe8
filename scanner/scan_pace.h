/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * When a probe may begin: --rate for all of them, --per-host-rate for one host's. Endpoints whose
 * host has just been asked wait here, a bounded number, so that others need not. Times are
 * CLOCK_MONOTONIC nanoseconds, passed in. One thread.
 */
#pragma once

#include "common/endpoint.h"

struct pacer;
struct scan_pace;

/* Rates of 0 are none. Returns 0 or -ENOMEM. */
int scan_pace_new(uint64_t rate_per_sec, uint64_t per_host_per_sec, uint64_t seed, int64_t now_ns,
                  struct scan_pace **out);
void scan_pace_free(struct scan_pace *p);

/* What --rate holds: guards knock by it, too. As long-lived as the pace. */
struct pacer *scan_pace_bucket(struct scan_pace *p);
/* Whether any probe may begin; that is booked until scan_pace_return(). */
bool scan_pace_take(struct scan_pace *p, int64_t now_ns);
void scan_pace_return(struct scan_pace *p);
/*
 * Whether this host may be asked, which is booked too. false: `item`, which is the caller's, is
 * kept until scan_pace_due() gives it back, to be asked about again.
 */
bool scan_pace_allows(struct scan_pace *p, const struct endpoint *e, void *item, int64_t now_ns);
void *scan_pace_due(struct scan_pace *p, int64_t now_ns); /* or NULL */
bool scan_pace_is_full(const struct scan_pace *p);        /* take no new endpoint then */
/* Until anything may change; -1: nothing waits. */
int64_t scan_pace_wait_ns(const struct scan_pace *p, int64_t now_ns);
