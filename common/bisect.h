/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Looks for something among sorted items, whatever these are. Pure. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

/* How the i-th item compares to what is looked for: less than, equal to, or greater than 0. */
typedef int bisect_compare_cb(const void *items, size_t i, const void *key);

/*
 * Where the key stands in items that are sorted, each once, or where it would go:
 * 0 <= place <= count. `found`: it stands there.
 */
size_t bisect_find(const void *items, size_t count, bisect_compare_cb *compare, const void *key,
                   bool *found);
