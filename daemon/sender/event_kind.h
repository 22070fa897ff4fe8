/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What sinks that know no JSON are told of an event: how bad it is, and its fields one by one.
 * Pure.
 */
#pragma once

#include <jansson.h>
#include <stddef.h>

/* As syslog(3) and PRIORITY= of the journal count. */
enum event_priority {
	EVENT_PRIORITY_CRITICAL = 2,
	EVENT_PRIORITY_WARNING = 4,
	EVENT_PRIORITY_NOTICE = 5,
	EVENT_PRIORITY_INFO = 6,
};

/* By the finding's severity while there is something to mend; what is over is of less weight. */
enum event_priority event_priority(const json_t *event);
/* For MESSAGE_ID= of the journal: 32 digits that stay the same for one kind of event, for ever. */
const char *event_message_id(const json_t *event);

/*
 * The i-th of the fields that are told apart from the text, a few of those that templates have;
 * NULL behind the last.
 */
const char *event_field_name(size_t i);
/* Its value, on one line; NULL where the event does not have it, or memory is out. Freed by the
 * caller. */
char *event_field_value(const json_t *event, const char *name);
