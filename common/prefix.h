/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * An address prefix (CIDR), IPv4 or IPv6. A plain value; pure functions, any thread.
 */
#pragma once

#include "common/endpoint.h"

enum { PREFIX_TEXT_LEN = ENDPOINT_TEXT_LEN + 4 };

struct prefix {
	sa_family_t family;  /* AF_INET or AF_INET6 */
	uint8_t bits;        /* 0..32 or 0..128 */
	uint8_t address[16]; /* network byte order; bits beyond `bits` are zero */
};

enum prefix_error {
	PREFIX_OK = 0,
	PREFIX_BAD_ADDRESS, /* not a numeric address, or one with a zone */
	PREFIX_BAD_LENGTH,  /* not a number in 0..32 or 0..128 */
	PREFIX_HOST_BITS,   /* "10.0.0.1/8": *out holds the masked prefix, for a hint or to go on */
};

/* Reads "10.0.0.0/8", "2001:db8::/32", or a lone address (one host). */
enum prefix_error prefix_parse(const char *text, struct prefix *out);
/* Writes the prefix; a single host without its length. Returns text. */
const char *prefix_format(const struct prefix *p, char text[static PREFIX_TEXT_LEN]);

bool prefix_contains(const struct prefix *p, const struct endpoint *e);

/* Orders by family, address, length. */
int prefix_compare(const struct prefix *a, const struct prefix *b);
/*
 * Sorts and drops every prefix that another one contains; returns the new count. What is left is
 * disjoint, as an nftables interval set wants it.
 */
size_t prefix_simplify(struct prefix *list, size_t count);
