/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What has happened to an endpoint, for `pprofwall explain`: a bounded list of lines with their
 * times, of which the first ones and the last ones are kept. Only endpoints with something to tell
 * have one: a clean one costs a pointer. Loop's thread.
 */
#pragma once

#include "daemon/agent/watch.h"

#include <jansson.h>

enum { STORY_FIRST = 8, STORY_LAST = 24, STORY_LINE_LEN = 240 };

/* Adds a line, from now; begins the story if there is none. Out of memory, it is lost. */
void story_tell(struct watch *w, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* Only if there is a story. */
void story_add(struct watch *w, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* What has become of the block, if that is news. */
void story_tell_wall(struct watch *w, bool filters);
void story_free(struct story *story);

/* [{"time": ..., "what": ...}, ...], oldest first; a new reference. */
json_t *story_to_json(const struct watch *w);
/* How many lines between the first and the last were given up. */
uint64_t story_dropped(const struct watch *w);
