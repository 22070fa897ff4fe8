/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Both heads of an exchange, as they went over the wire; only where somebody listens (probe.h).
 * Internal to the engine.
 */
#pragma once

#include "scanner/probe.h"

#include <curl/curl.h>

struct probe_tracer;

/* Listens on a handle. NULL when memory is out. */
struct probe_tracer *probe_tracer_new(CURL *easy, size_t head_max_bytes);
/* After the handle is gone. NULL is allowed. */
void probe_tracer_free(struct probe_tracer *tracer);
/* Before each request. NULL is allowed. */
void probe_tracer_reset(struct probe_tracer *tracer);
/* Fills in the heads and the times; they are gone with the next reset. */
void probe_tracer_fill(const struct probe_tracer *tracer, CURL *easy, struct probe_exchange *out);
