/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the filter itself answers: one line of text, of which nothing is the client's. Pure. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

enum { REPLY_MAX_BYTES = 512 };

enum reply { REPLY_BAD_REQUEST, REPLY_FORBIDDEN, REPLY_BAD_GATEWAY };

/* `minor`: of the client's HTTP/1. Returns the length. */
size_t reply_write(enum reply reply, unsigned minor, bool to_head, bool keep_alive,
                   char out[static REPLY_MAX_BYTES]);
