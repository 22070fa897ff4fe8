/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What may be passed on unread where a rule says so. Only what is known for something else: there
 * are servers that skip blanks, line ends or whatever they take for blanks before a request, and
 * they must not get one by this way. Pure.
 */
#pragma once

#include <stddef.h>

enum opaque { OPAQUE_NO = 0, OPAQUE_MORE, OPAQUE_YES };

/*
 * The first bytes of a connection: a TLS ClientHello (RFC 8446, 5.1 and 4), or the whole preface of
 * HTTP/2 (RFC 9113, 3.4), which for HTTP/1.x ends with a line that is no request.
 */
enum opaque opaque_look(const char *bytes, size_t length);
