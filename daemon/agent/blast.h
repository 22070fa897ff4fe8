/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What a block would take away besides the profiles: a port that also serves metrics or an API is
 * not closed by a rule that says nothing of those who use it. Pure code; any thread.
 */
#pragma once

#include "common/finding.h"
#include "conf/conf.h"

enum { BLAST_SERVES_LEN = 64, BLAST_REASON_LEN = 224 };

/* "metrics, api and ui", for people; "" when nothing else is known of. */
const char *blast_describe(const struct finding_list *serves, char out[static BLAST_SERVES_LEN]);

/*
 * May a breaker of this rule close the port? `serves` as above; NULL when nobody has looked yet:
 * then a block that is `in_kernel` stays, and none is made until it is known.
 */
bool blast_may_block(const struct conf_breaker *rule, const char *serves, bool in_kernel);

/* Why not, and what to write where somebody wants it nevertheless. */
const char *blast_reason(const struct conf_breaker *rule, const char *serves,
                         char out[static BLAST_REASON_LEN]);
