/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Does an endpoint fit what the configuration asks (breakers[].match, alerts[].match)? Made once
 * for a configuration; then pure. Users' names are looked up in /etc/passwd alone, since the agent
 * waits for no directory service. Any thread.
 */
#pragma once

#include "conf/conf.h"

/* Who listens, as the inventory tells; texts are never NULL, "" where not known. */
struct owner {
	int pid; /* 0: not known */
	uint32_t uid;
	const char *command, *executable, *cgroup, *unit, *container, *runtime;
};

struct match_facts {
	const struct endpoint *endpoint;
	const struct owner *owner;     /* NULL: not a listener of ours, nothing is known */
	bool loopback_only;            /* nobody but the host itself reaches it */
	const struct finding *finding; /* NULL: none yet, and its conditions are passed over */
};

struct match {
	const struct conf_match *conf;
	uint16_t *ports; /* owned, sorted */
	size_t n_ports;
	uint32_t *uids; /* owned */
	size_t n_uids;
};

/*
 * `conf` must outlive it; `breaker` is whose it is, for a message. Returns 0, -ENOMEM, or -EINVAL
 * with what was wrong in `error`; to be ended in either case.
 */
int match_init(struct match *m, const struct conf_match *conf, const char *breaker,
               char error[static CONF_ERROR_LEN]);
void match_fini(struct match *m);

/* The key of the first condition that does not fit ("match.process"), or NULL if all do. */
const char *match_why_not(const struct match *m, const struct match_facts *facts);
/* Does it ask anything at all? */
bool match_is_empty(const struct match *m);
