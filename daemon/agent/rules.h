/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Which breaker of the configuration is the one winner for an endpoint. Made once for a
 * configuration; then pure. Any thread.
 */
#pragma once

#include "daemon/agent/match.h"

struct rules;

/* `conf` must outlive it. Returns 0, -ENOMEM, or -EINVAL with what was wrong in `error`. */
int rules_new(const struct conf *conf, struct rules **out, char error[static CONF_ERROR_LEN]);
void rules_free(struct rules *rules);

/*
 * The key of the first condition of breaker `i` that does not fit ("match.process", "severity"), or
 * NULL if all do. `i` may be conf.n_breakers: the implicit one, which fits everything.
 */
const char *rules_why_not(const struct rules *rules, size_t i, const struct match_facts *facts);
/* Do the conditions fit that the server's answers have no part in? */
bool rules_fits_owner(const struct rules *rules, size_t i, const struct match_facts *facts);
/* The first standing filter that fits, which nothing else is a winner over; else conf.n_breakers.
 */
unsigned rules_find_standing(const struct rules *rules, const struct match_facts *facts);
/*
 * The first breaker that fits; else the first whose match does and whose severity is not reached;
 * else conf.n_breakers.
 */
unsigned rules_choose(const struct rules *rules, const struct match_facts *facts);
