/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The signature of a request's body, as receivers check it (docs/alerts.md): HMAC-SHA256 (RFC 2104)
 * over "TIME.BODY", so that nobody can change the one or the other, and what was heard long ago is
 * told from what is sent now.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

enum { SIGNATURE_LEN = 128 };

/* Writes "t=UNIX,v1=HEX". Returns 0, -ENOMEM, or -EIO (libcrypto). */
int signature_make(const char *secret, int64_t unix_s, const char *body, size_t length,
                   char out[static SIGNATURE_LEN]);
