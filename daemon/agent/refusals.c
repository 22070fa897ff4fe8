/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/agent/refusals.h"

#include <stdlib.h>
#include <string.h>

/* Told at told_ms; what has come since then is counted in it. */
struct entry {
	struct refusal refusal;
	int64_t told_ms;
};

struct refusals {
	struct entry entries[REFUSALS_MAX];
	size_t count;
	uint64_t untold;
};

struct refusals *refusals_new(void)
{
	return calloc(1, sizeof(struct refusals));
}

void refusals_free(struct refusals *r)
{
	free(r);
}

static void add(uint64_t *to, uint64_t count)
{
	*to = count > UINT64_MAX - *to ? UINT64_MAX : *to + count;
}

static struct entry *find(struct refusals *r, const struct refusal *wanted)
{
	for (size_t i = 0; i < r->count; i++) {
		const struct refusal *there = &r->entries[i].refusal;

		if (there->reason == wanted->reason &&
		    endpoint_compare(&there->client, &wanted->client) == 0 &&
		    endpoint_compare(&there->endpoint, &wanted->endpoint) == 0)
			return &r->entries[i];
	}
	return NULL;
}

bool refusals_note(struct refusals *r, const struct refusal *refusal, int64_t now_ms,
                   struct refusal *out)
{
	struct entry *e = find(r, refusal);

	if (e) {
		add(&e->refusal.count, refusal->count);
		memcpy(e->refusal.path, refusal->path, sizeof(e->refusal.path));
		return false;
	}
	if (r->count == REFUSALS_MAX) {
		add(&r->untold, refusal->count);
		return false;
	}
	e = &r->entries[r->count++];
	e->refusal = *refusal;
	e->refusal.count = 0;
	e->told_ms = now_ms;
	*out = *refusal;
	return true;
}

bool refusals_next(struct refusals *r, int64_t now_ms, struct refusal *out)
{
	for (size_t i = 0; i < r->count;) {
		struct entry *e = &r->entries[i];

		if (now_ms - e->told_ms < REFUSALS_EVERY_MS) {
			i++;
		} else if (e->refusal.count) {
			*out = e->refusal;
			e->refusal.count = 0;
			e->told_ms = now_ms;
			return true;
		} else {
			*e = r->entries[--r->count];
		}
	}
	return false;
}

uint64_t refusals_untold(const struct refusals *r)
{
	return r->untold;
}
