/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The agent's side of the filter process (daemon/filter/wire.h): its counters, added up over its
 * restarts, and what it refuses, for people. It reads hostile bytes, so that what it says is
 * believed only as far as it goes: numbers that never go back, and requests to endpoints that are
 * filtered. There is one only where a rule filters. Loop's thread.
 */
#pragma once

#include <event2/buffer.h>
#include <jansson.h>
#include <stdint.h>

struct agent;
struct filters;

int filters_new(struct agent *a, struct filters **out);
void filters_free(struct filters *f);
/* A (new) process, whose counters begin at zero; takes over `sock`. */
int filters_set_process(struct filters *f, int sock);
void filters_ping(struct filters *f);
/* Every now and then: refusals that were counted and not told yet. */
void filters_tick(struct filters *f, int64_t now_ms);

/* null where no rule filters and there never was a process. */
json_t *filters_report(const struct filters *f);
void filters_expose(const struct filters *f, struct evbuffer *out);
