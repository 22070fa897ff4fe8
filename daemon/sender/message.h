/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What one attempt delivers: an event (docs/alerts.md), or a group of them, in order. */
#pragma once

#include "conf/conf.h"

#include <jansson.h>

enum { MESSAGE_ID_MAX_LEN = 128 };

struct message {
	json_t *const *events; /* objects; the message borrows them */
	size_t n;              /* at least 1; 1 unless the driver groups */
};

/*
 * The event's id, or "" where there is none that can stand in a header: [A-Za-z0-9._-], of at most
 * MESSAGE_ID_MAX_LEN bytes. Lives as long as the event.
 */
const char *message_event_id(const json_t *event);
/* The text that stands there, or "". */
const char *message_field(const json_t *event, const char *key);

/*
 * One line, and all there is to say, for people: UTF-8 without control characters (the text may
 * have line breaks). To be freed; NULL when out of memory.
 */
char *message_make_subject(const struct conf_alert *conf, const struct message *m);
char *message_make_text(const struct conf_alert *conf, const struct message *m);
