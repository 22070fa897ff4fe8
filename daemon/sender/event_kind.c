/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/sender/event_kind.h"

#include "common/cleanup.h"
#include "common/template.h"

#include <stdio.h>
#include <string.h>

/* Made once by a random generator; never to be changed, since people search for them. */
static const struct kind {
	const char *event;
	const char *message_id;
	enum event_priority priority; /* 0: by the finding's severity */
} kinds[] = {
    {"opened", "505bd04c92da4636b3bd9b95e4fb9e10", 0},
    {"high_risk", "23f8ed33edfc4c019791f055cd9857de", 0},
    {"reminder", "f1958459d8ea4d4590b8c586ea2d52ca", 0},
    {"escalated", "768a6528ca2c4bae836ab79839d028ad", 0},
    {"acknowledged", "5041122c3d794654b2c42f756714603e", EVENT_PRIORITY_NOTICE},
    {"closed", "04800c4aef5441128a0867f5343d57d8", EVENT_PRIORITY_INFO},
    {"gone", "41bd30a1c35a48b29a08e99b837678a9", EVENT_PRIORITY_INFO},
    {"unknown", "6102d343d7844ec6b2028e1510d0b531", EVENT_PRIORITY_WARNING},
    {"manual_block", "b0ddc5b3ea99487e93e95f82dd4f5718", EVENT_PRIORITY_NOTICE},
    {"manual_unblock", "9da0b4db221e48d58c879e1cc3ccf289", EVENT_PRIORITY_NOTICE},
    {"quarantined", "251b4d4f60fb4619b7cf420df4194270", EVENT_PRIORITY_WARNING},
    {"ineffective", "692a997056634e7a9872632e35269946", EVENT_PRIORITY_CRITICAL},
    {"effective", "b73d7c059bed4c14ba5a6e68977fc568", EVENT_PRIORITY_INFO},
    {"filtered", "294e5c67bc3c4deea7618b29ff3f36d0", EVENT_PRIORITY_INFO},
    {"denied", "f99471e29e4a431ea2d0165ada2cd5f6", EVENT_PRIORITY_NOTICE},
    {"source_failed", "03b4109fcfd44bd9bf985315b42f61f8", EVENT_PRIORITY_WARNING},
    {"source_recovered", "0d2d4f08fb1e46bc837a6d6325974336", EVENT_PRIORITY_INFO},
    {"alerts_lost", "a1d89335b7034817b5ff0249902518ec", EVENT_PRIORITY_WARNING},
    {"test", "d24383427f3f4fd58b48816c1e011088", EVENT_PRIORITY_INFO},
};

/* Of a kind that is newer than the table. */
static const struct kind other = {"", "0ea0245446c24708ab3e8d10764326cd", EVENT_PRIORITY_NOTICE};

static const char *const field_names[] = {
    "id",        "event",  "endpoint", "source", "severity", "risk",    "verdict", "kind",
    "program",   "action", "mode",     "rule",   "state",    "process", "pid",     "unit",
    "container", "reason", "who",      "client", "denied",   "asked",   "count"};

static const struct kind *find_kind(const json_t *event)
{
	const char *name = json_string_value(json_object_get(event, "event"));

	for (size_t i = 0; name && i < ARRAY_LEN(kinds); i++) {
		if (!strcmp(kinds[i].event, name))
			return &kinds[i];
	}
	return &other;
}

enum event_priority event_priority(const json_t *event)
{
	const struct kind *kind = find_kind(event);
	const json_t *finding = json_object_get(event, "finding");
	const char *severity = json_string_value(json_object_get(finding, "severity"));

	if (kind->priority)
		return kind->priority;
	if (severity && !strcmp(severity, "high"))
		return EVENT_PRIORITY_CRITICAL;
	return severity && !strcmp(severity, "low") ? EVENT_PRIORITY_NOTICE
	                                            : EVENT_PRIORITY_WARNING;
}

const char *event_message_id(const json_t *event)
{
	return find_kind(event)->message_id;
}

const char *event_field_name(size_t i)
{
	return i < ARRAY_LEN(field_names) ? field_names[i] : NULL;
}

char *event_field_value(const json_t *event, const char *name)
{
	char template[64];
	char *value;

	snprintf(template, sizeof(template), "{%s}", name);
	value = template_render(template, event);
	if (value && value[0])
		return value;
	free(value);
	return NULL;
}
