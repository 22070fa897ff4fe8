/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The shadow of what the agent last said that the files and names in allow_from stand for: one
 * list for each rule, sorted and disjoint. Single-threaded; no kernel.
 */
#pragma once

#include "conf/conf.h"

struct allowed;

/* For the rules of a configuration; all lists are empty. NULL when memory is out. */
struct allowed *allowed_new(const struct conf *conf);
void allowed_free(struct allowed *allowed);

/*
 * The list of a rule, numbered as in wire.h, and of one family of addresses; empty for a rule that
 * has none. Valid until it is set anew.
 */
struct conf_prefixes allowed_get(const struct allowed *allowed, uint32_t rule, sa_family_t family);
/* Replaces the whole list of a rule by these, of both families. Returns 0 or -ENOMEM. */
int allowed_set(struct allowed *allowed, uint32_t rule, const struct prefix *items, size_t count);
/* The same lists under the next configuration, for the rules that it keeps. NULL: out of memory. */
struct allowed *allowed_translate(const struct allowed *allowed, const struct conf *from,
                                  const struct conf *to);

/* In `a` and not in `b`, both sorted and disjoint; `out` has room for all of `a`. */
size_t allowed_subtract(const struct conf_prefixes *a, const struct conf_prefixes *b,
                        struct prefix *out);
