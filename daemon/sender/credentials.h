/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * systemd's credentials (systemd.exec(5), LoadCredential=): small files in a directory that root
 * alone can read. So they are read once, before privileges are dropped, and kept; wiped when they
 * are freed.
 */
#pragma once

#include "common/cleanup.h"

#include <stddef.h>

enum { CREDENTIALS_MAX = 64, CREDENTIAL_MAX_BYTES = 64 * 1024 };

struct credentials;

/*
 * Reads every regular file of `directory`; none if it is NULL. What is too much, too long or cannot
 * be read is left out, with a word in the log. NULL when out of memory.
 */
struct credentials *credentials_load(const char *directory);
/* NULL is allowed. */
void credentials_free(struct credentials *c);

/* The content of that name, with a NUL behind it that *length does not count; NULL: no such. */
const char *credentials_find(const struct credentials *c, const char *name, size_t *length);
