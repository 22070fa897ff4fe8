/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/agent/blast.h"

#include <string.h>

const char *blast_describe(const struct finding_list *serves, char out[static BLAST_SERVES_LEN])
{
	size_t used = 0;

	out[0] = '\0';
	for (size_t i = 0; i < serves->count; i++) {
		const char *before = i == 0 ? "" : i + 1 == serves->count ? " and " : ", ";
		size_t length = strlen(before) + strlen(serves->items[i]);

		/* Whole items only: a name cut within a character would make an alert no JSON. */
		if (used + length >= BLAST_SERVES_LEN)
			break;
		used += (size_t)snprintf(out + used, BLAST_SERVES_LEN - used, "%s%s", before,
		                         serves->items[i]);
	}
	return out;
}

bool blast_may_block(const struct conf_breaker *rule, const char *serves, bool in_kernel)
{
	if (rule->whole_port || rule->allow_from.count > 0 || rule->allow_dynamic)
		return true;
	return serves ? serves[0] == '\0' : in_kernel;
}

const char *blast_reason(const struct conf_breaker *rule, const char *serves,
                         char out[static BLAST_REASON_LEN])
{
	if (serves)
		snprintf(out, BLAST_REASON_LEN, "the port also serves %s; name allow_from%s %.64s",
		         serves, rule->standing ? " in filter" : ", or set whole_port, in breaker",
		         rule->name);
	else
		snprintf(out, BLAST_REASON_LEN,
		         "it is not known yet what else the port serves; it is being asked");
	return out;
}
