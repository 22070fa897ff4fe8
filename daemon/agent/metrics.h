/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Writing the Prometheus text exposition format 0.0.4 into an evbuffer: HELP and TYPE once per
 * family, label values escaped, numbers as the format wants them. Families must not interleave.
 */
#pragma once

#include <event2/buffer.h>
#include <stddef.h>
#include <stdint.h>

enum metrics_type { METRICS_COUNTER, METRICS_GAUGE, METRICS_HISTOGRAM };

struct metrics_label {
	const char *name;
	const char *value; /* any bytes; escaped, and made valid UTF-8 */
};

void metrics_family(struct evbuffer *out, const char *name, enum metrics_type type,
                    const char *help);
/* One sample of the family last begun. */
void metrics_sample(struct evbuffer *out, const char *name, const struct metrics_label *labels,
                    size_t n_labels, double value);

/* A cumulative histogram in seconds; a plain value, zero-initialised with its bounds set. */
enum { METRICS_MAX_BUCKETS = 16 };
struct metrics_histogram {
	const double *bounds; /* ascending upper bounds, without +Inf; static storage */
	size_t n_bounds;      /* <= METRICS_MAX_BUCKETS */
	uint64_t counts[METRICS_MAX_BUCKETS + 1];
	double sum;
};
void metrics_observe(struct metrics_histogram *h, double value);
void metrics_histogram_write(struct evbuffer *out, const char *name,
                             const struct metrics_label *labels, size_t n_labels,
                             const struct metrics_histogram *h);
