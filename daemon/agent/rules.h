/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Which breaker of the configuration is the one winner for an endpoint (breakers[].match). Made
 * once for a configuration; then pure. Users' names are looked up in /etc/passwd alone, since the
 * agent waits for no directory service. Any thread.
 */
#pragma once

#include "conf/conf.h"

/* Who listens, as the inventory tells; texts are never NULL, "" where not known. */
struct owner {
	int pid; /* 0: not known */
	uint32_t uid;
	const char *command, *executable, *cgroup, *unit, *container, *runtime;
};

struct rule_facts {
	const struct endpoint *endpoint;
	const struct owner *owner;     /* NULL: not a listener of ours, nothing is known */
	bool loopback_only;            /* nobody but the host itself reaches it */
	const struct finding *finding; /* NULL: none yet, and its conditions are passed over */
};

struct rules;

/* `conf` must outlive it. Returns 0, -ENOMEM, or -EINVAL with what was wrong in `error`. */
int rules_new(const struct conf *conf, struct rules **out, char error[static CONF_ERROR_LEN]);
void rules_free(struct rules *rules);

/*
 * The key of the first condition of breaker `i` that does not fit ("match.process", "severity"), or
 * NULL if all do. `i` may be conf.n_breakers: the implicit one, which fits everything.
 */
const char *rules_why_not(const struct rules *rules, size_t i, const struct rule_facts *facts);
/* Do the conditions fit that the server's answers have no part in? */
bool rules_fits_owner(const struct rules *rules, size_t i, const struct rule_facts *facts);
/*
 * The first breaker that fits; else the first whose match does and whose severity is not reached;
 * else conf.n_breakers.
 */
unsigned rules_choose(const struct rules *rules, const struct rule_facts *facts);
