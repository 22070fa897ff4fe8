/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A text as an incoming webhook of Slack, Mattermost or Rocket.Chat takes it. Pure. */
#pragma once

#include <stddef.h>

/* Before it is escaped. Slack advises against more; Rocket.Chat refuses more than 5,000. */
enum { SLACK_TEXT_MAX_BYTES = 3900 };

/*
 * Escapes &, < and >, with which links and mentions begin, and cuts what is too long: after a whole
 * line, if there is one, and says how many follow. To be freed; NULL when out of memory.
 */
char *slack_text_make(const char *text);
