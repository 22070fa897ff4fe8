/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "conf/conf_route.h"

#include "conf/conf_match.h"
#include "conf/conf_quiet.h"

#include <string.h>

static bool is_event(const char *text)
{
	static const char *const names[] = {
	    "opened",      "high_risk",   "reminder",  "escalated",     "acknowledged",
	    "closed",      "gone",        "unknown",   "manual_block",  "manual_unblock",
	    "quarantined", "ineffective", "effective", "source_failed", "source_recovered",
	    "filtered",    "denied",
	};

	for (size_t i = 0; i < ARRAY_LEN(names); i++) {
		if (strcmp(text, names[i]) == 0)
			return true;
	}
	return false;
}

static int check_quiet_hours(const struct conf_strings *list, const struct conf_diag *diag)
{
	struct conf_quiet quiet = {0};
	char shown[CONF_QUOTE_LEN];

	for (size_t i = 0; i < list->count; i++) {
		const char *text = list->items[i];

		if (conf_quiet_add(&quiet, text) < 0)
			return conf_fail(diag, list->marks[i],
			                 "alerts[].quiet_hours: %s cannot be read; expected "
			                 "\"22:00-07:00\", \"Sat 00:00-24:00\" or "
			                 "\"Mon-Fri 22:00-07:00\"",
			                 conf_quote(text, strlen(text), shown));
	}
	if (conf_quiet_left(&quiet, 0) == CONF_WEEK_MINUTES)
		return conf_fail(diag, list->marks[0],
		                 "alerts[].quiet_hours: they are all of the week; expected some "
		                 "time in which alerts are told");
	return 0;
}

int conf_route_check(const struct conf_alert *alert, const struct conf_diag *diag)
{
	int err =
	    conf_match_check_texts("alerts[].match.events", &alert->events, is_event,
	                           "an event of docs/alerts.md, such as opened or closed", diag);

	if (!err)
		err = conf_match_check_lists("alerts[]", &alert->match, diag);
	return err ? err : check_quiet_hours(&alert->quiet_hours, diag);
}
