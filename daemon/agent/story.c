/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/agent/story.h"

#include "common/cleanup.h"
#include "common/clock.h"
#include "daemon/agent/listeners.h"

#include <stdarg.h>
#include <string.h>

struct line {
	int64_t wall_ms;
	char *text;
};

struct story {
	struct line lines[STORY_FIRST + STORY_LAST];
	uint64_t told; /* in all */
};

/* The first ones stay where they are; behind them goes a ring. */
static size_t place_of(uint64_t n)
{
	return n < STORY_FIRST ? (size_t)n : STORY_FIRST + (size_t)((n - STORY_FIRST) % STORY_LAST);
}

static void add(struct story *story, int64_t wall_ms, const char *text)
{
	auto_free char *clean = NULL;
	struct line *line = &story->lines[place_of(story->told)];

	/* Names are the processes' own choice: what is no UTF-8 would make an answer no JSON. */
	if (finding_set(&clean, text) < 0)
		return;
	free(line->text);
	*line = (struct line){.wall_ms = wall_ms, .text = steal_ptr(&clean)};
	story->told++;
}

static void begin(struct watch *w)
{
	const struct listener *l = w->listener;
	char text[STORY_LINE_LEN], endpoint[ENDPOINT_TEXT_LEN];

	w->story = calloc(1, sizeof(*w->story));
	if (!w->story || !l)
		return;
	snprintf(text, sizeof(text), "%s listens at %s (pid %d, uid %u%s%s%s%.12s)",
	         l->owner->command[0] ? l->owner->command : "a process",
	         endpoint_format(&l->bound, endpoint), l->owner->pid, (unsigned)l->owner->uid,
	         l->owner->unit[0] ? ", " : "", l->owner->unit,
	         l->owner->container[0] ? ", container " : "", l->owner->container);
	add(w->story, l->seen_wall_ms, text);
}

__attribute__((format(printf, 2, 0))) static void add_formatted(const struct watch *w,
                                                                const char *format, va_list args)
{
	char text[STORY_LINE_LEN];

	vsnprintf(text, sizeof(text), format, args);
	add(w->story, clock_wall_ms(), text);
}

void story_tell(struct watch *w, const char *format, ...)
{
	va_list args;

	if (!w->story)
		begin(w);
	va_start(args, format);
	if (w->story)
		add_formatted(w, format, args);
	va_end(args);
}

void story_add(struct watch *w, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	if (w->story)
		add_formatted(w, format, args);
	va_end(args);
}

void story_tell_wall(struct watch *w, bool filters)
{
	const char *what = !w->wall.in_kernel ? NULL : filters ? "filter" : "block";

	if (what != w->told_wall)
		story_tell(w, "the %s is %s", what ? what : w->told_wall,
		           what ? "in the kernel" : "lifted");
	w->told_wall = what;
	if (w->wall.error && w->wall.error != w->told_error)
		story_tell(w, "not blocked: %s", w->wall.error);
	w->told_error = w->wall.error;
}

void story_free(struct story *story)
{
	if (!story)
		return;
	for (size_t i = 0; i < ARRAY_LEN(story->lines); i++)
		free(story->lines[i].text);
	free(story);
}

uint64_t story_dropped(const struct watch *w)
{
	const uint64_t kept = STORY_FIRST + STORY_LAST;

	return w->story && w->story->told > kept ? w->story->told - kept : 0;
}

json_t *story_to_json(const struct watch *w)
{
	json_t *list = json_array();
	uint64_t dropped = story_dropped(w);

	for (uint64_t n = 0; w->story && n < w->story->told; n++) {
		const struct line *line;
		char when[CLOCK_TEXT_LEN];

		if (n == STORY_FIRST)
			n += dropped;
		line = &w->story->lines[place_of(n)];
		json_array_append_new(list, json_pack("{s:s, s:s}", "time",
		                                      clock_format_wall(line->wall_ms, when),
		                                      "what", line->text));
	}
	return list;
}
