/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The path of a request as a Go mux sees it, and whether it may be asked for. A path that some
 * server could resolve to another one is refused, not resolved. Pure.
 */
#pragma once

#include "daemon/filter/http_head.h"

enum { HTTP_PATH_MAX_BYTES = HTTP_LINE_MAX_BYTES };

/*
 * Decodes http_head.path once into `out`. Refused (HTTP_FAULT_PATH): empty segments and dot
 * segments, also encoded ones; encoded slashes, backslashes, control characters; a percent sign
 * without two digits, or one that would be decoded twice. Returns the fault, or 0 with *length.
 */
enum http_fault http_path_decode(struct http_text path, char out[static HTTP_PATH_MAX_BYTES],
                                 size_t *length);

/*
 * Does `prefix` ("/debug/pprof", without a slash at its end) stand in the path? Wherever, since
 * servers mount things under prefixes of their own; whatever comes behind it, since some routers
 * compare the bytes alone (with gorilla's PathPrefix, "/debug/pprofheap" shows the index); in any
 * case, since some do not mind; and whatever parameters (";x") a segment has.
 */
bool http_path_has(const char *path, size_t length, const char *prefix);
