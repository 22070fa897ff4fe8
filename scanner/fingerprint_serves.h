/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What a port serves besides profiling: whoever closes the whole port wants to know what else goes
 * with it. Told by the product's signature, by how the control request was answered, and, where
 * the caller wants them made, by two more requests of exposed endpoints: /metrics and /. Pure
 * code; any thread, one fingerprint at a time in one thread.
 */
#pragma once

#include "scanner/fingerprint_rules.h"

struct fingerprint;
struct signature_product;

/* Bits of what single answers have shown; their names are those of the signatures. */
enum serves_bits {
	SERVES_METRICS = 1 << 0,
	SERVES_API = 1 << 1,
	SERVES_UI = 1 << 2,
};

/* What may stand in finding.serves and in the signatures, in this order; ended by NULL. */
extern const char *const serves_names[];

/* The answer to a random path, which was no decoy's. */
unsigned serves_read_control(const struct http_answer *a);
/* The answer to /metrics; `is_denied`: the random path was denied, too. */
unsigned serves_read_metrics(const struct http_answer *a, bool is_denied);
/* The answer to /; `prefix`: where pprof is mounted. */
unsigned serves_read_root(const struct http_answer *a, const char *prefix);

/* Fills out->serves of an exposed finding. `product` may be NULL. Returns 0 or -ENOMEM. */
int serves_fill(unsigned seen, const struct signature_product *product, struct finding *out);
