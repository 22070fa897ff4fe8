/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Who is told of an endpoint, and what of it as time goes by. */
#include "daemon/agent/agent.h"

struct route_facts follow_facts(const struct watch *w, const char *event)
{
	enum finding_severity worst = w->record.worst;

	/* It may show stacks before it has been called exposed. */
	if (w->last && w->last->severity > worst)
		worst = w->last->severity;
	return (struct route_facts){
	    .event = event,
	    .severity = worst,
	    .endpoint = &w->endpoint,
	    .owner = w->listener ? w->listener->owner : NULL,
	};
}
