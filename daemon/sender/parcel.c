/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/sender/parcel.h"

#include "daemon/sender/message.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static bool is_urgent(const json_t *event)
{
	static const char *const kinds[] = {"opened", "high_risk", "escalated"};
	const char *kind = message_field(event, "event");
	const json_t *finding = json_object_get(event, "finding");

	if (strcmp(message_field(finding, "severity"), "high") != 0)
		return false;
	for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++)
		if (!strcmp(kind, kinds[i]))
			return true;
	return false;
}

/* When that was by the clock that does not jump; what lies ahead of us has only begun. */
static int64_t since_ms(const json_t *queued, int64_t now_ms, int64_t wall_ms)
{
	int64_t at_ms = json_integer_value(queued);

	return json_is_integer(queued) && at_ms > 0 && at_ms < wall_ms ? now_ms - (wall_ms - at_ms)
	                                                               : now_ms;
}

struct parcel *parcel_read(uint64_t seq, const char *body, size_t length, int64_t now_ms,
                           int64_t wall_ms, int *error)
{
	struct parcel *p = calloc(1, sizeof(*p));
	json_error_t unused;
	json_t *root;

	*error = -ENOMEM;
	if (!p)
		return NULL;
	root = json_loadb(body, length, 0, &unused);
	p->event = json_object_get(root, "event");
	p->sinks = json_object_get(root, "sinks");
	if (!json_is_object(p->event) || (p->sinks && !json_is_array(p->sinks))) {
		json_decref(root);
		free(p);
		*error = -EINVAL;
		return NULL;
	}
	p->seq = seq;
	p->holders = 1;
	p->envelope = root;
	p->bytes = length;
	p->came_ms = now_ms;
	p->queued_ms = since_ms(json_object_get(root, "queued_ms"), now_ms, wall_ms);
	p->best_effort = json_is_true(json_object_get(root, "best_effort"));
	p->test = json_is_true(json_object_get(root, "test"));
	p->urgent = is_urgent(p->event);
	return p;
}

bool parcel_release(struct parcel *p)
{
	if (--p->holders)
		return false;
	json_decref(p->envelope);
	free(p);
	return true;
}

bool parcel_replaces(const struct parcel *later, const struct parcel *earlier)
{
	return later->best_effort && earlier->best_effort &&
	       !strcmp(message_field(later->event, "event"),
	               message_field(earlier->event, "event")) &&
	       json_equal(json_object_get(later->event, "endpoint"),
	                  json_object_get(earlier->event, "endpoint"));
}
