/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The endpoints of a sweep as numbers 0..size-1: spans of addresses times ports, without a list.
 * A space is immutable, and any thread may ask it; asking allocates nothing.
 */
#pragma once

#include "common/prefix.h"

enum { SWEEP_MAX_SPANS = 4096 };
/* Endpoints of one space. At a billion a second that is a century and a half. */
#define SWEEP_SPACE_MAX (UINT64_C(1) << 62)

struct sweep_span {
	struct prefix prefix;
	uint32_t scope_id; /* of a link-local IPv6 prefix, else 0 */
	uint16_t port;     /* 0: every port of the list */
	uint32_t token;    /* the caller's, handed back with the span's endpoints */
};

struct sweep_space;

/*
 * Copies spans and ports. Spans may overlap: an endpoint counts once, and its token is that of the
 * widest span which has it (of one prefix, that of every port; of equal ones, the first). Spans
 * that bring nothing new are dropped. The numbers depend on the spans, and on the order of `ports`,
 * but not on the order of the spans.
 *
 * Returns 0; -ENOMEM; -EOVERFLOW: more than 2^62 endpoints, or more than SWEEP_MAX_SPANS spans;
 * -EINVAL: no span, a span of every port without a list, a port twice or 0 in the list, a prefix
 * that is none (host bits set) or lies in ::ffff:0:0/96 (IPv4 has one form only).
 */
int sweep_space_new(const struct sweep_span *spans, size_t n_spans, const uint16_t *ports,
                    size_t n_ports, struct sweep_space **out);
void sweep_space_free(struct sweep_space *s);

/* The indexes, those of duplicates included that lie inside a span that was not dropped. */
uint64_t sweep_space_size(const struct sweep_space *s);
/*
 * The endpoint with an index, and its span's token. false: there is none, or an earlier index is
 * the same endpoint (spans overlap), to be left out; *out and *token are untouched.
 */
bool sweep_space_at(const struct sweep_space *s, uint64_t index, struct endpoint *out,
                    uint32_t *token);
/* The index of an endpoint for which sweep_space_at() gives it; false: it is not of this space. */
bool sweep_space_find(const struct sweep_space *s, const struct endpoint *e, uint64_t *index);
