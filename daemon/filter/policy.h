/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What one rule lets through, of paths that http_path_decode() took. Pure; any thread. */
#pragma once

#include "common/cleanup.h"
#include "conf/conf.h"
#include "scanner/signatures.h"

struct policy {
	char name[CONF_NAME_MAX_LEN + 1];
	enum conf_on_opaque on_opaque;
	/* Prefixes of paths without a slash at their ends; "" is every path. */
	char **deny, **allow;
	size_t n_deny, n_allow;
};

/*
 * Copies what it needs of the rule. Where that names nothing to deny, it is every prefix and
 * relative of the signatures; and without these (NULL) everything below /debug and /pprof. NULL:
 * out of memory.
 */
struct policy *policy_new(const struct conf_breaker *rule, const struct signatures *signatures);
void policy_free(struct policy *policy);
AUTO_CLEANUP(policy, struct policy *, policy_free)
#define auto_policy __attribute__((cleanup(cleanup_policy)))

/*
 * May the path be asked for? A denied prefix counts wherever it stands in the path, as in
 * http_path_has(); an allowed one at its beginning alone, in its own case. If there are allowed
 * ones nothing else passes, and what is denied below them does not, except below those that are
 * themselves at or below a denied prefix: who writes /debug/vars means it.
 */
bool policy_allows(const struct policy *policy, const char *path, size_t length);
