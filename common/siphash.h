/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * SipHash-2-4 (Aumasson and Bernstein, "SipHash: a fast short-input PRF", 2012): who does not know
 * the key can neither guess a message's hash nor find messages that share one. Pure; any thread.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

struct siphash_key {
	uint64_t low, high;
};

/* Sixteen random bytes, or the paper's. */
struct siphash_key siphash_read_key(const uint8_t bytes[static 16]);
uint64_t siphash_compute(const struct siphash_key *key, const void *message, size_t length);
